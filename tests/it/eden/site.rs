//! A site as people have it before fleet comes: web2py, the application at its release v1 with 750 persons, its database, cron jobs, and Apache.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use crate::support::git::git;
use crate::support::postgres::Postgres;
use crate::support::process::{run, stdout_of};
use crate::support::tools::{PATH, tool};
use crate::support::web_server::WebServer;
use crate::support::{files, user};

pub const DOCS: &str = include_str!("../../../docs/eden.md");
pub const PASSWORD: &str = "s3cret'pass word";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

/// A line of /etc/crontab that is the site's, among others.
const CRONTAB: &str = "# m h dom mon dow user command\n17 *\t* * *\troot    cd / && run-parts --report /etc/cron.hourly\n\
    * * * * *  www-data cd @WEB2PY@ && python3 web2py.py -K eden -C -D 1 >>/tmp/cron.output 2>&1\n0 3 * * * root true";
/// What another file of the system's has.
const CRON_D: &str = "MAILTO=\"\"\n*/5 * * * *\twww-data\tcd @WEB2PY@/ && ./nightly '%'\n";

#[derive(Debug)]
pub struct Site {
    pub folder: PathBuf,
    pub database: String,
    pub apache: WebServer,
    /// Who owns what changes at run time.
    pub owner: String,
}

/// Who owns what changes at run time where nobody else is named. Root's web server does not run the application as root.
fn owner() -> String {
    if user::is_root() { "www-data".to_owned() } else { user::current() }
}

/// Where `tests/it/eden/install` has put web2py and its Python.
pub fn installed(name: &str) -> PathBuf {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("eden");
        let ready =
            std::fs::read_dir(&folder).into_iter().flatten().any(|entry| entry.unwrap().file_name() == "2.26.1-1");
        assert!(ready, "web2py is not installed\nhint: tests/it/eden/install {}", folder.display());
        folder
    });
    FOLDER.join(name)
}

pub fn python() -> PathBuf {
    installed("python/bin/python3")
}

/// A web2py that somebody works on without fleet.
pub trait ByHand {
    fn web2py(&self) -> PathBuf;

    /// Who runs it.
    fn owner(&self) -> &str;

    /// The checkout, or a file in it.
    fn home(&self, path: &str) -> PathBuf {
        let home = self.web2py().join("applications/eden");
        if path.is_empty() { home } else { home.join(path) }
    }

    /// web2py by hand, as the site's user: exit code, and all that it said.
    fn by_hand(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = as_owner(self.owner(), python().as_os_str(), args).current_dir(self.web2py()).output().unwrap();
        (output.status.code(), said(&output))
    }

    /// The old page's trial run, which migrates where `migrate` is on.
    fn trial_run(&self) -> (Option<i32>, String) {
        let tool = "applications/eden/static/scripts/tools/noop.py";
        self.by_hand(&["web2py.py", "-S", "eden", "-M", "-R", tool])
    }

    /// The old page's sed.
    fn switch_migrate(&self, from: &str, to: &str) {
        let line = |value: &str| format!("\nsettings.base.migrate = {value}\n");
        let path = self.home("models/000_config.py");
        files::write(&path, files::read(&path).replace(&line(from), &line(to)), files::mode(&path));
    }

    /// What web2py notes about its statements.
    fn log(&self) -> String {
        files::read(&self.home("databases/sql.log"))
    }
}

/// A copy of a site, without a web server.
#[derive(Debug)]
pub struct Copy {
    folder: tempfile::TempDir,
    owner: String,
}

impl ByHand for Copy {
    fn web2py(&self) -> PathBuf {
        self.folder.path().join("web2py")
    }

    fn owner(&self) -> &str {
        &self.owner
    }
}

/// How an upgrade by hand ended.
#[derive(Debug)]
pub struct OldWay {
    pub code: Option<i32>,
    pub said: String,
    pub log: String,
}

impl ByHand for Site {
    fn web2py(&self) -> PathBuf {
        self.folder.join("web2py")
    }

    fn owner(&self) -> &str {
        &self.owner
    }
}

impl Site {
    /// `folder` is new; `upstream` has the releases. All of it belongs to `user`, else what changes at run time to Apache's user.
    pub fn install(folder: &Path, upstream: &Path, postgres: Option<(&Postgres, u16)>, user: Option<&str>) -> Self {
        std::fs::create_dir(folder).unwrap();
        let web2py = folder.join("web2py");
        run(Command::new(tool("cp")).arg("-R").arg(installed("web2py")).arg(&web2py));
        files::write(&web2py.join("site-packages/files.py"), "TITLE = \"Test application\"\n", 0o644);
        let home = web2py.join("applications/eden");
        let clone = ["-c", "protocol.file.allow=always", "clone", "-q", "--recurse-submodules"];
        run(git(folder).args(clone).arg(upstream).arg(&home));
        run(git(&home).args(["checkout", "-q", "-B", "main", "v1"]));
        let database = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let config = files::read(&home.join("modules/templates/000_config.py"));
        let config = match postgres {
            None => config,
            Some((server, port)) => {
                server.sql("postgres", &format!("create database \"{database}\""));
                let database = [
                    ("db_type", "\"postgres\"".to_owned()),
                    ("host", "\"127.0.0.1\"".to_owned()),
                    ("port", port.to_string()),
                    ("database", format!("\"{database}\"")),
                    ("username", "\"site\"".to_owned()),
                    ("password", format!("\"{PASSWORD}\"")),
                ];
                let lines = database.into_iter().fold(String::new(), |mut lines, (name, value)| {
                    let _ = writeln!(lines, "settings.database.{name} = {value}");
                    lines
                });
                config.replacen("# Database settings\n", &format!("# Database settings\n{lines}"), 1)
            }
        };
        files::write(&home.join("models/000_config.py"), config, 0o640);
        for name in ["databases", "uploads", "errors", "sessions", "cache", "languages"] {
            std::fs::create_dir_all(home.join(name)).unwrap();
        }
        files::write(&home.join("uploads/picture.png"), "a picture", 0o644);
        // As Eden's own installer leaves it: the code is who deploys', and what the site writes is the site's.
        let written = ["databases", "uploads", "errors", "sessions", "cache", "languages", "models", "cron"];
        let owner = user.map_or_else(owner, str::to_owned);
        if user.is_some() {
            run(Command::new(tool("chown")).arg("-R").arg(&owner).arg(folder));
        } else if user::is_root() {
            run(Command::new(tool("chown")).arg("-R").arg(&owner).args(written.map(|name| home.join(name))));
            run(Command::new(tool("chown")).arg(&owner).args([&web2py, &web2py.join("applications")]));
            run(Command::new(tool("chown")).arg("-R").arg(&owner).arg(web2py.join("applications/welcome")));
        }
        for (path, text) in [("crontab", CRONTAB), ("cron.d/eden", CRON_D)] {
            files::write(&folder.join("etc").join(path), text.replace("@WEB2PY@", web2py.to_str().unwrap()), 0o644);
        }
        let apache = Self::serve(&web2py, &owner);
        let site = Self { folder: folder.to_owned(), database, apache, owner };
        // The first run makes the tables, and fills them.
        let (code, said) = site.trial_run();
        assert_eq!(code, Some(0), "{said}");
        site.switch_migrate("True", "False");
        site
    }

    /// Apache, with the lines that the docs show.
    fn serve(web2py: &Path, owner: &str) -> WebServer {
        let lines = DOCS.split("```apache\n").nth(1).unwrap().split("```").next().unwrap();
        let rights = if user::is_root() { format!("user={owner} group={}", group_of(owner)) } else { String::new() };
        let python = installed("python");
        let lines = lines
            .replace("user=web2py group=web2py", &format!("{rights} python-home={}", python.display()))
            .replace("/home/prod", web2py.to_str().unwrap());
        WebServer::apache_with(&["wsgi"], &lines)
    }

    /// Writes a file as the site does.
    pub fn write(&self, path: &str, text: &str) {
        files::write(&self.home(path), text, 0o644);
        if user::is_root() {
            run(Command::new(tool("chown")).arg(&self.owner).arg(self.home(path)));
        }
    }

    /// The name of the file in which web2py notes what a table looks like.
    pub fn table(&self, table: &str) -> String {
        let names = std::fs::read_dir(self.home("databases")).unwrap();
        let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.find(|name| name.ends_with(&format!("_{table}.table"))).unwrap()
    }

    pub fn etc(&self, path: &str) -> PathBuf {
        self.folder.join("etc").join(path)
    }

    pub fn git(&self, args: &[&str]) -> String {
        stdout_of(git(&self.home("")).args(args))
    }

    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Variables of fleet's file.
    pub fn vars(&self) -> String {
        let vars = [
            ("web2py", self.web2py().display().to_string()),
            ("python", python().display().to_string()),
            ("etc", self.etc("").display().to_string()),
            ("cron-users", self.owner.clone()),
            ("url", format!("{}eden/default/about", self.apache.url())),
            ("smoke", "/eden/default/index /eden/pr/person".to_owned()),
            ("backup-free", "1".to_owned()),
        ];
        vars.into_iter().fold(String::new(), |mut lines, (name, value)| {
            let _ = writeln!(lines, "{name} = \"{value}\"");
            lines
        })
    }

    /// Upgrades a copy of this site as the old page says. What that ended with, said, and left in the log of the new statements.
    pub fn old_way(&self, release: &str) -> OldWay {
        let copy = tempfile::tempdir().unwrap();
        files::set_mode(copy.path(), 0o755);
        run(Command::new(tool("cp")).arg("-a").arg(self.web2py()).arg(copy.path()));
        let site = Copy { folder: copy, owner: self.owner.clone() };
        let home = site.home("");
        run(git(&home).args(["-c", "protocol.file.allow=always", "fetch", "-q", "--tags"]));
        let log = site.log().len();
        site.switch_migrate("False", "True");
        run(git(&home).args(["checkout", "-q", "--detach", release]));
        let (code, said) = site.trial_run();
        site.switch_migrate("True", "False");
        OldWay { code, said, log: site.log().split_off(log) }
    }
    /// What SQL gives.
    pub fn sql(&self, postgres: Option<&Postgres>, text: &str) -> String {
        match postgres {
            Some(server) => server.sql(&self.database, text),
            None => stdout_of(
                Command::new(tool("sqlite3"))
                    .args(["-cmd", ".timeout 10000"])
                    .arg(self.home("databases/storage.db"))
                    .arg(text),
            ),
        }
    }

    /// All that a failed deployment must leave as it was, a line for each part: what is checked out, the whole database, the files of databases/, the
    /// configuration, uploads, cron jobs. Made without fleet.
    pub fn state(&self, postgres: Option<&Postgres>) -> String {
        let dump = match postgres {
            Some(server) => {
                let dump = stdout_of(&mut server.dump(&self.database));
                dump.lines().filter(|line| !line.contains("restrict ")).collect::<Vec<_>>().join("\n")
            }
            None => stdout_of(Command::new(tool("sqlite3")).arg(self.home("databases/storage.db")).arg(".dump")),
        };
        let mut text = format!("head {}\n", self.head());
        let _ = writeln!(text, "branch {}", self.git(&["rev-parse", "--abbrev-ref", "HEAD"]));
        let tree = self.git(&["status", "--porcelain", "--ignored"]);
        let tree: Vec<&str> = tree.lines().filter(|line| !line.contains("__pycache__")).collect();
        let _ = writeln!(text, "tree {}", tree.join(","));
        let _ = writeln!(text, "submodules {}", self.git(&["submodule", "status"]));
        let _ = writeln!(text, "database {}", sum_of(&dump));
        for folder in ["databases", "uploads", "models", "cron", "compiled"] {
            let _ = write!(text, "{}", listed(&self.home(folder)));
        }
        text + &listed(&self.etc(""))
    }
}

/// A program with the rights of the site's user.
pub fn as_owner(owner: &str, program: &OsStr, args: &[&str]) -> Command {
    let mut command = Command::new(tool(if user::is_root() { "setpriv" } else { "env" }));
    if user::is_root() {
        command.args([&format!("--reuid={owner}"), "--regid=nogroup", "--clear-groups"]);
    }
    command.arg(program).args(args).env_clear().env("PATH", PATH).env("HOME", "/nonexistent");
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

/// Name, owner, mode and sum of each file, but for what is compared by its content.
fn listed(folder: &Path) -> String {
    let find = "find \"$1\" -type f ! -name storage.db ! -path '*/__pycache__/*' -exec stat -c '%n %U %a' {} + -exec sha256sum {} + | sort";
    stdout_of(Command::new(tool("sh")).args(["-c", find, "sh"]).arg(folder).stderr(Stdio::null())) + "\n"
}

fn group_of(user: &str) -> String {
    stdout_of(Command::new(tool("id")).args(["-gn", user]))
}

fn sum_of(text: &str) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:x}", hasher.finish())
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
