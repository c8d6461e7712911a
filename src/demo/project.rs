//! What the demo is played with: a project of fleet, an upstream repository with releases, and hosts that run the site.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;
use tokio::process::Command;

use crate::files;
use crate::model::recipe::shell::quote;

use super::demo_error::DemoError;
use super::process;
use super::server::{EmbeddedFleet, HostSpec};

/// A site of the demo and its hosts; the first host has the database.
pub(super) struct DemoSite {
    pub(super) name: &'static str,
    pub(super) hosts: &'static [&'static str],
    settings: &'static str,
}

pub(super) const TEST: DemoSite = DemoSite {
    name: "notes-test",
    hosts: &["test1"],
    settings: "\
# Upgraded first. What a whole deployment proves here, the site `notes` may get.
recipe = \"git-site\"
stage = \"test\"
",
};

pub(super) const PRODUCTION: DemoSite = DemoSite {
    name: "notes",
    hosts: &["web1", "web2", "web3"],
    settings: "\
recipe = \"git-site\"
stage = \"production\"
follows = \"notes-test\"

[rollout]
batches = [1, \"100%\"]
",
};

const DEFAULTS: &str = r#"# What both sites share.
[ssh]
user = "release"

[vars]
home = "site"
backup = 'python3 manage.py backup "$BACKUP/notes.sqlite"'
restore = 'python3 manage.py restore "$BACKUP/notes.sqlite"'
migrate = "python3 manage.py migrate"
restart = "sh restart.sh"
health = "python3 manage.py expect 200 /health"
closed = "python3 manage.py expect 503 /"
open = "python3 manage.py expect 200 /"
"#;

pub(super) const CRONTAB: &str = "# The site's jobs\n*/10 * * * *\tcd site && python3 manage.py expect 200 /\n";

pub(super) struct Release {
    pub(super) tag: &'static str,
    title: &'static str,
    notes: &'static str,
    migrations: &'static [(&'static str, &'static str)],
}

macro_rules! migration {
    ($name:literal) => {
        ($name, include_str!(concat!("site/migrations/", $name)))
    };
}

const NOTES: (&str, &str) = migration!("001-notes.sql");
const AUTHOR: (&str, &str) = migration!("002-author.sql");
const BODY: (&str, &str) = migration!("003-body.sql");

/// The releases. v3 fails in its second migration, on data that no developer has; v4 is what comes of it.
pub(super) const RELEASES: [Release; 4] = [
    Release { tag: "v1", title: "Notes", notes: "SELECT text FROM note ORDER BY id\n", migrations: &[NOTES] },
    Release {
        tag: "v2",
        title: "Notes have authors",
        notes: "SELECT author, text FROM note ORDER BY id\n",
        migrations: &[NOTES, AUTHOR],
    },
    Release {
        tag: "v3",
        title: "One note each",
        notes: "SELECT author, body FROM note ORDER BY author\n",
        migrations: &[NOTES, AUTHOR, BODY, migration!("004-author-unique.sql")],
    },
    Release {
        tag: "v4",
        title: "As many notes as you like",
        notes: "SELECT author, body FROM note ORDER BY author\n",
        migrations: &[NOTES, AUTHOR, BODY, migration!("004-author-index.sql")],
    },
];

/// The demo's folder. It is a project of fleet, and holds the hosts' folders, too.
pub(super) struct Project {
    root: PathBuf,
}

impl Project {
    /// Fills an empty folder. `python` is the interpreter that the hosts have.
    pub(super) async fn create(root: &Path, python: &Path) -> Result<Self, DemoError> {
        let project = Self { root: root.to_owned() };
        for host in TEST.hosts.iter().chain(PRODUCTION.hosts) {
            let home = project.home(host);
            for folder in [".ssh", "bin", "run"] {
                files::private_dir(&home.join(folder)).map_err(written(&home))?;
            }
            // Not the `python3` of the search path: that may be a shim that looks for its settings in the login folder.
            let python = format!("#!/bin/sh\nexec {} \"$@\"\n", quote(&python.to_string_lossy()));
            project.write(&format!("machines/{host}/bin/python3"), 0o755, &python)?;
            project.write(&format!("machines/{host}/bin/crontab"), 0o755, include_str!("site/crontab.sh"))?;
            project.write(&format!("machines/{host}/crontab"), 0o600, CRONTAB)?;
        }
        for folder in ["upstream/migrations", "databases", "hosts", "controller"] {
            files::private_dir(&root.join(folder)).map_err(written(root))?;
        }
        project.git(&["init", "--quiet", "--initial-branch", "main"]).await?;
        project.write("upstream/.gitignore", 0o644, "__pycache__/\nmaintenance.flag\n")?;
        project.write("upstream/server.py", 0o644, include_str!("site/server.py"))?;
        project.write("upstream/manage.py", 0o644, include_str!("site/manage.py"))?;
        project.write("upstream/restart.sh", 0o755, include_str!("site/restart.sh"))?;
        Ok(project)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn home(&self, host: &str) -> PathBuf {
        self.root.join("machines").join(host)
    }

    pub(super) fn hosts(&self) -> Vec<HostSpec> {
        let hosts = TEST.hosts.iter().chain(PRODUCTION.hosts);
        hosts.map(|host| HostSpec { name: (*host).to_owned(), folder: self.home(host) }).collect()
    }

    /// Commits and tags a release upstream.
    pub(super) async fn publish(&self, release: &Release) -> Result<(), DemoError> {
        let migrations = self.root.join("upstream/migrations");
        for (name, _) in RELEASES.iter().flat_map(|release| release.migrations) {
            // Not there is fine. The release's own are written again below.
            let _ = std::fs::remove_file(migrations.join(name));
        }
        for (name, statements) in release.migrations {
            self.write(&format!("upstream/migrations/{name}"), 0o644, statements)?;
        }
        self.write("upstream/notes.sql", 0o644, release.notes)?;
        self.write("upstream/VERSION", 0o644, &format!("{}\n", release.tag))?;
        self.git(&["add", "--all"]).await?;
        self.git(&["commit", "--quiet", "--message", &format!("{}: {}", release.tag, release.title)]).await?;
        self.git(&["tag", release.tag]).await
    }

    /// Writes what fleet reads: the sites, and beside them the password and the fingerprints that an administrator would have been
    /// told when the hosts were set up.
    pub(super) fn describe(&self, fleet: &EmbeddedFleet) -> Result<(), DemoError> {
        self.write("hosts/defaults.toml", 0o644, DEFAULTS)?;
        let mut fingerprints = String::new();
        for site in [TEST, PRODUCTION] {
            let mut text = site.settings.to_owned();
            for (number, host) in site.hosts.iter().enumerate() {
                let (port, fingerprint) =
                    (fleet.port(host).unwrap_or_default(), fleet.fingerprint(host).unwrap_or_default());
                let roles = if number == 0 { r#"["web", "db"]"# } else { r#"["web"]"# };
                let _ = write!(
                    text,
                    "\n[[host]]\nname = \"{host}\"\naddress = \"127.0.0.1\"\nport = {port}\nroles = {roles}\n"
                );
                let _ = writeln!(fingerprints, "127.0.0.1:{port} {fingerprint}");
            }
            self.write(&format!("hosts/{}.toml", site.name), 0o644, &text)?;
        }
        self.write("fingerprints", 0o644, &fingerprints)?;
        self.write("password", 0o600, &format!("{}\n", fleet.password().expose_secret()))
    }

    /// Brings a site into the state in which its administrator finds it: the release that is upstream runs on all hosts.
    pub(super) async fn install(&self, fleet: &EmbeddedFleet, site: &DemoSite) -> Result<(), DemoError> {
        let database = self.root.join("databases").join(format!("{}.sqlite", site.name));
        for (number, host) in site.hosts.iter().enumerate() {
            let config = serde_json::json!({ "name": site.name, "database": database.to_string_lossy(), "port": 0 });
            self.write(&format!("machines/{host}/site.json"), 0o600, &config.to_string())?;
            let upstream = quote(&self.root.join("upstream").to_string_lossy());
            let migrate = if number == 0 { "python3 manage.py migrate" } else { ":" };
            let script = format!("git clone --quiet {upstream} site && cd site && {migrate} && sh restart.sh");
            let Some(mut command) = fleet.command(host, &script) else { continue };
            // The server that it leaves running must not hold a pipe to us.
            let log = std::fs::File::create(self.home(host).join("install.log")).map_err(written(&self.home(host)))?;
            let error = log.try_clone().map_err(written(&self.home(host)))?;
            let status = command.stdin(std::process::Stdio::null()).stdout(log).stderr(error).status().await;
            if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
                let log = std::fs::read_to_string(self.home(host).join("install.log")).unwrap_or_default();
                return Err(DemoError::Install { host: (*host).to_owned(), reason: log.trim_end().to_owned() });
            }
        }
        Ok(())
    }

    /// Makes migrations of the site's database take their time, until it is taken back.
    pub(super) fn set_large(&self, site: &DemoSite, large: bool) -> Result<(), DemoError> {
        let name = format!("databases/{}.sqlite.large", site.name);
        if large {
            return self.write(&name, 0o600, "");
        }
        let path = self.root.join(name);
        std::fs::remove_file(&path).map_err(written(&path))
    }

    /// Ends the sites' servers by their pid files.
    pub(super) fn end_servers(&self) {
        let ids = self.hosts().into_iter().filter_map(|host| {
            let id = std::fs::read_to_string(host.folder.join("run/pid")).ok()?;
            id.trim().parse::<i64>().ok().filter(|id| *id > 1)
        });
        let ids: Vec<i64> = ids.collect();
        if !ids.is_empty() {
            process::signal("TERM", &ids);
        }
    }

    fn write(&self, path: &str, mode: u32, text: &str) -> Result<(), DemoError> {
        let path = self.root.join(path);
        files::replace(&path, mode, text.as_bytes()).map_err(written(&path))
    }

    /// Git in the upstream repository, without the user's settings.
    async fn git(&self, arguments: &[&str]) -> Result<(), DemoError> {
        let mut git = Command::new("git");
        git.args(arguments)
            .current_dir(self.root.join("upstream"))
            .env("HOME", self.root.join("controller"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE")
            .envs([("GIT_AUTHOR_NAME", "Demo"), ("GIT_AUTHOR_EMAIL", "demo@example.org")])
            .envs([("GIT_COMMITTER_NAME", "Demo"), ("GIT_COMMITTER_EMAIL", "demo@example.org")])
            .kill_on_drop(true);
        match git.output().await {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(DemoError::Git { reason: String::from_utf8_lossy(&output.stderr).trim_end().to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(DemoError::Missing { tool: "git" }),
            Err(error) => Err(DemoError::Git { reason: error.to_string() }),
        }
    }
}

fn written(path: &Path) -> impl FnOnce(io::Error) -> DemoError + '_ {
    |source| DemoError::Write { path: path.to_owned(), source }
}
