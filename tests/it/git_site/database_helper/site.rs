//! A database of a site, and the helper run on it as a recipe does.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::files;
use crate::support::mariadb::Mariadb;
use crate::support::postgres::Postgres;
use crate::support::process::{run, stdout_of};
use crate::support::tools::{PATH, tool};
use crate::support::user::random_hex;

pub const RUN: &str = "20261122-084512-7f3a19c4";

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Postgresql,
    Mariadb,
    Sqlite,
}

impl Kind {
    /// The main file of a dump.
    pub fn dump(self) -> &'static str {
        match self {
            Self::Postgresql => "dump/postgresql.dump",
            Self::Mariadb => "dump/mariadb.sql",
            Self::Sqlite => "dump/sqlite.db",
        }
    }
}

pub enum Server {
    Postgresql(Postgres),
    Mariadb(Mariadb),
    Sqlite,
}

/// A database with a table that holds `kept`, and a view on it. Its user may do what `docs/database.md` grants.
pub struct Site {
    folder: TempDir,
    pub server: Server,
    pub shell: &'static [&'static str],
    name: String,
    environment: Vec<(String, String)>,
}

impl Site {
    pub fn start(kind: Kind, name: &str) -> Self {
        let server = match kind {
            Kind::Postgresql => Server::Postgresql(Postgres::start()),
            Kind::Mariadb => Server::Mariadb(Mariadb::start()),
            Kind::Sqlite => Server::Sqlite,
        };
        let folder = tempfile::tempdir().unwrap();
        let mut site = Self { folder, server, shell: &["/bin/sh"], name: name.to_owned(), environment: Vec::new() };
        for folder in ["dump", "home", "wrapped"] {
            std::fs::create_dir(site.file(folder)).unwrap();
        }
        for program in ["psql", "pg_dump", "pg_restore", "mariadb", "mariadb-dump", "sqlite3", "ln", "mv", "cp"] {
            files::write(&site.file("wrapped").join(program), wrapper(&tool(program)), 0o755);
        }
        site.set("DATABASE", site.word());
        site.set("DATABASE_NAME", name);
        match &site.server {
            Server::Postgresql(postgres) => {
                let host = postgres.socket().display().to_string();
                postgres.sql("postgres", &format!("create database \"{}\"", name.replace('"', "\"\"")));
                site.set("DATABASE_HOST", &host);
            }
            Server::Mariadb(mariadb) => {
                let host = mariadb.socket().display().to_string();
                mariadb.sql("", &format!("create user site; create database `{name}` character set utf8mb4"));
                for place in ["", "-%"] {
                    mariadb.sql("", &format!("grant all on `{name}{place}`.* to site"));
                }
                site.set("DATABASE_HOST", &host);
            }
            Server::Sqlite => {}
        }
        site.set("DATABASE_USER", "site");
        site.sql("create table note (id int primary key, text varchar(9))");
        site.sql("create view notes as select text from note");
        site.sql("insert into note values (1, 'kept')");
        site
    }

    pub fn word(&self) -> &'static str {
        match self.server {
            Server::Postgresql(_) => "postgresql",
            Server::Mariadb(_) => "mariadb",
            Server::Sqlite => "sqlite",
        }
    }

    pub fn set(&mut self, variable: &str, value: &str) {
        self.environment.retain(|(name, _)| name != variable);
        self.environment.push((variable.to_owned(), value.to_owned()));
    }

    /// A file in the folder where the helper runs.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// How the helper calls the database of this name.
    pub fn path(&self, name: &str) -> String {
        match self.server {
            Server::Sqlite => self.file(name).canonicalize().unwrap_or_else(|_| self.file(name)).display().to_string(),
            _ => name.to_owned(),
        }
    }

    pub fn helper(&self, words: &[&str]) -> Command {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/recipes/git-site/database.sh");
        let mut command = Command::new(tool(self.shell[0].rsplit('/').next().unwrap()));
        command.args(&self.shell[1..]).arg(script).args(words).current_dir(self.folder.path()).env_clear();
        command.env("PATH", format!("{}:{PATH}", self.file("wrapped").display())).env("WRAPPED", self.file("wrapped"));
        command.env("HOME", self.file("home")).process_group(0);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn output(&self, words: &[&str]) -> Output {
        self.helper(words).output().unwrap()
    }

    /// What the helper prints; it succeeds.
    #[track_caller]
    pub fn ok(&self, words: &[&str]) -> String {
        let output = self.output(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {:?} {words:?}: {said}", self.word(), self.shell);
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// What the helper complains of; it fails.
    #[track_caller]
    pub fn fails(&self, words: &[&str]) -> String {
        let output = self.output(words);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{} {words:?}: {output:?}", self.word());
        String::from_utf8(output.stderr).unwrap()
    }

    /// What SQL gives in the site's database, as its user.
    pub fn sql(&self, text: &str) -> String {
        self.sql_in(&self.name, text)
    }

    pub fn sql_in(&self, database: &str, text: &str) -> String {
        stdout_of(&mut match &self.server {
            Server::Postgresql(postgres) => postgres.asks("site", database, text),
            Server::Mariadb(mariadb) => mariadb.client("site", database, text),
            Server::Sqlite => {
                let mut sqlite = Command::new(tool("sqlite3"));
                sqlite.arg(self.file(database)).arg(text);
                sqlite
            }
        })
    }

    pub fn kept(&self) -> String {
        self.sql("select text from notes")
    }

    /// A migration that ends half way.
    pub fn migrate(&self) {
        self.sql("drop view notes");
        self.sql("drop table note");
        self.sql("create table half (x int)");
        self.sql("insert into half values (1)");
    }

    /// An empty database.
    pub fn create(&self, name: &str) {
        match &self.server {
            Server::Postgresql(postgres) => drop(postgres.sql("postgres", &format!("create database \"{name}\""))),
            Server::Mariadb(mariadb) => drop(mariadb.sql("", &format!("create database `{name}`"))),
            Server::Sqlite => files::write(&self.file(name), "", 0o600),
        }
    }

    /// What lies beside the site's database, sorted.
    pub fn names(&self) -> Vec<String> {
        let all = match &self.server {
            Server::Postgresql(postgres) => postgres.sql("postgres", "select datname from pg_database"),
            Server::Mariadb(mariadb) => mariadb.sql("", "select schema_name from information_schema.schemata"),
            Server::Sqlite => {
                let entries = std::fs::read_dir(self.folder.path()).unwrap();
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap() + "\n").collect()
            }
        };
        let beside = format!("{}-", self.name);
        let mut names: Vec<String> = all.lines().filter(|name| name.starts_with(&beside)).map(str::to_owned).collect();
        names.sort_unstable();
        names
    }

    /// The checksums of the dump become those of its files.
    pub fn sum_again(&self) {
        let sums = format!("{}.sums", self.word());
        let again = r#"cksum $(cut -d' ' -f3 "$1") >new && mv new "$1""#;
        run(Command::new(tool("sh")).args(["-c", again, "sh", &sums]).current_dir(self.file("dump")));
    }

    /// From now on the user needs the password that this returns.
    pub fn demand_password(&self) -> String {
        let password = random_hex();
        match &self.server {
            Server::Postgresql(postgres) => postgres.demand_password("site", &password),
            Server::Mariadb(mariadb) => drop(mariadb.sql("", &format!("alter user site identified by '{password}'"))),
            Server::Sqlite => {}
        }
        password
    }

    /// All that the helper has started so far, a line each.
    pub fn argv(&self) -> String {
        files::read(&self.file("wrapped/argv"))
    }
}

/// Notes how it was called. At the call `DIES_AT`, what is called does its work, then all processes of the helper are killed.
fn wrapper(program: &std::path::Path) -> String {
    let program = program.display();
    format!(
        r#"#!/bin/sh
printf '%s\n' "{program} $*" >>"$WRAPPED/argv"
[ -n "${{DIES_AT-}}" ] || exec {program} "$@"
calls=$(($(cat "$WRAPPED/calls") + 1))
echo $calls >"$WRAPPED/calls"
[ $calls -eq "$DIES_AT" ] || exec {program} "$@"
{program} "$@" >/dev/null 2>&1
kill -9 0
"#
    )
}
