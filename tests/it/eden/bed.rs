//! The bed of the tests: the releases, Test and Production each on a host of its own with a web2py of its own, and the project that deploys them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::site::{ByHand as _, Database, PASSWORD, Site};
use crate::support::files;
use crate::support::hosts::ReadyProject;
use crate::support::output::Output;
use crate::support::postgres::Postgres;
use crate::support::process::run;
use crate::support::tools::tool;
use crate::support::user::{TestUser, current};
use crate::support::web_server::free_port;

pub const TEST: &str = "mysite-test";
pub const PRODUCTION: &str = "mysite";

/// A crontab for each login, in files below the host's home folder.
const CRONTAB: &str = "#!/bin/sh
who=$(id -un)
[ \"$1\" != -u ] || { who=$2; shift 2; }
f=$HOME/crontabs/$who
case $1 in
-l) cat \"$f\" 2>/dev/null || { echo \"no crontab for $who\" >&2; exit 1; } ;;
-r) rm \"$f\" ;;
-) cat >\"$f\" ;;
esac
";
/// What the crontab of the site's user holds.
pub const CRON: &str = "MAILTO=x@example.org\n5 4 * * *\t./job '%' \u{e9}  \n";

pub struct Bed {
    pub ready: ReadyProject,
    pub sites: BTreeMap<&'static str, Site>,
    pub postgres: Option<Postgres>,
    folder: TempDir,
}

impl Bed {
    /// Production alone, which follows nobody.
    pub fn alone(database: Database) -> Self {
        Self::start(database, &[(PRODUCTION, "stage = \"production\"")], None)
    }

    /// Production alone, with `SQLite`; all of it belongs to this user, who logs in, else the code to root.
    pub fn of(user: Option<&TestUser>) -> Self {
        Self::start(Database::Sqlite, &[(PRODUCTION, "stage = \"production\"")], user)
    }

    /// Test, and Production, which follows it.
    pub fn both(database: Database) -> Self {
        let production = (PRODUCTION, "stage = \"production\"\nfollows = \"mysite-test\"");
        Self::start(database, &[production, (TEST, "stage = \"test\"")], None)
    }

    /// Two sites that have nothing to do with each other: one for the old way, one for fleet's.
    pub fn apart(database: Database) -> Self {
        Self::start(database, &[(PRODUCTION, "stage = \"production\""), (TEST, "stage = \"test\"")], None)
    }

    fn start(database: Database, sites: &[(&'static str, &str)], user: Option<&TestUser>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        files::set_mode(folder.path(), 0o755);
        let app = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/eden/app");
        let upstream = folder.path().join("eden.git");
        run(Command::new(tool("sh")).arg(format!("{app}/publish")).arg(app).arg(&upstream));
        let port = free_port();
        let postgres = (database == Database::Postgres).then(|| Postgres::start_on(Some(port)));
        if let Some(server) = &postgres {
            server.set_password("site", PASSWORD);
        }
        let mut ready = None;
        let mut made = BTreeMap::new();
        for (name, head) in sites {
            let site = Site::install(
                &folder.path().join(name),
                &upstream,
                postgres.as_ref().map(|server| (server, port)),
                user.map(|user| user.name.as_str()),
            );
            let login = user.map_or_else(current, |user| user.name.clone());
            let head = format!("recipe = \"eden\"\n{head}\n[ssh]\nuser = \"{login}\"\n[vars]\n{}", site.vars());
            let host = host_of(name);
            let ready: &mut ReadyProject = match &mut ready {
                None => ready.insert(ReadyProject::start(&head, &[host])),
                Some(ready) => {
                    ready.add_site(name, &head, &[host]);
                    ready
                }
            };
            let host = &ready[host];
            files::write(&host.bin().join("crontab"), CRONTAB, 0o755);
            files::write(&host.home().join("crontabs").join(&site.owner), CRON, 0o644);
            files::write(&host.home().join(".gitconfig"), "[protocol \"file\"]\n\tallow = always\n", 0o644);
            if let Some(user) = user {
                files::set_mode(&host.home().join(".ssh"), 0o755);
                files::set_mode(&host.authorized_keys(), 0o644);
                let etc = site.etc("");
                let all = format!("{}:", user.name);
                run(Command::new(tool("chown")).args(["-R", &all]).args([&host.home(), &upstream, &etc]));
                run(Command::new(tool("chown"))
                    .args(["-R", &user.name])
                    .arg(upstream.with_file_name("eden_deploy.git")));
            }
            made.insert(*name, site);
        }
        Self { ready: ready.unwrap(), sites: made, postgres, folder }
    }

    pub fn site(&self, name: &str) -> &Site {
        &self.sites[name]
    }

    /// The bare repository.
    pub fn upstream(&self) -> PathBuf {
        self.folder.path().join("eden.git")
    }

    pub fn sql(&self, site: &str, text: &str) -> String {
        self.site(site).sql(self.postgres.as_ref(), text)
    }

    /// All that a failure must leave as it was.
    pub fn state(&self, site: &str) -> String {
        let login = files::read(&self.crontab(site));
        format!("{}crontab {login}", self.site(site).state(self.postgres.as_ref()))
    }

    /// The crontab of the site's user.
    pub fn crontab(&self, site: &str) -> PathBuf {
        self.ready[host_of(site)].home().join("crontabs").join(&self.site(site).owner)
    }

    /// Adds lines to a site's file, below `[vars]`.
    pub fn write_vars(&self, site: &str, lines: &str) {
        let path = format!("hosts/{site}.toml");
        let file = self.ready.read(&path).replacen("[vars]\n", &format!("[vars]\n{lines}\n"), 1);
        self.ready.write(&path, file);
    }

    /// A task; what Production asks is answered.
    pub fn run(&self, args: &[&str]) -> Output {
        self.ready.fleet(&[args, &["--yes"]].concat())
    }

    /// Fails unless the run was stopped before anything changed, and says what it said.
    #[track_caller]
    pub fn is_refused(&self, site: &str, args: &[&str], because: &[&str]) {
        let before = self.state(site);
        let said = self.run(&[&[site], args].concat()).expect_code(6).all();
        for text in because {
            assert!(said.contains(text), "no {text:?} in {said}");
        }
        assert!(!said.contains("maintenance-on"), "{said}");
        assert_eq!(self.state(site), before);
        self.is_open(site);
    }

    /// A deployment of this release.
    pub fn deploy(&self, site: &str, release: &str) -> Output {
        self.run(&[site, "deploy", "-e", &format!("revision={release}")])
    }

    /// A task that must end with this code; all that was said.
    #[track_caller]
    pub fn ends(&self, code: i32, args: &[&str]) -> String {
        self.run(args).expect_code(code).all()
    }

    /// Fails unless visitors are served, cron runs, and `migrate` is off.
    #[track_caller]
    pub fn is_open(&self, site: &str) {
        let at = self.site(site);
        assert!(!at.home("maintenance.flag").exists(), "closed");
        let answer = at.apache.ask("GET", "eden/pr/person");
        assert!(answer.contains("first person: Given0"), "{answer}");
        assert_eq!(files::read(&self.crontab(site)), CRON);
        for path in ["crontab", "cron.d/eden"] {
            assert!(!files::read(&at.etc(path)).contains("fleet"), "{path}");
        }
        assert!(files::read(&at.home("models/000_config.py")).contains("\nsettings.base.migrate = False\n"));
    }
}

pub fn host_of(site: &str) -> &'static str {
    if site == TEST { "test1" } else { "web1" }
}
