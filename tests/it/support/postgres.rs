//! A database server of its own: on a socket in a temporary folder, with nothing durable, gone on drop.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use super::process::{run, signal, stdout_of, wait_for};
use super::tools::{PATH, tool};
use super::{files, user};

/// A server with the role `site`, which may make databases and is nothing else.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    server: Option<Child>,
    port: Option<u16>,
}

impl Postgres {
    /// Starts the server. It refuses to run as root, so there it runs as `nobody`.
    pub fn start() -> Self {
        Self::start_on(None)
    }

    /// The same, and on this port of the loopback interface, where every role needs its password.
    pub fn start_on(port: Option<u16>) -> Self {
        let mut postgres = Self { folder: tempfile::tempdir().unwrap(), server: None, port };
        files::set_mode(postgres.folder.path(), 0o777);
        let data = postgres.folder.path().join("data");
        run(postgres.unprivileged("initdb").args(["-N", "-A", "trust", "-U", "postgres", "-D"]).arg(&data));
        let mut server = postgres.unprivileged("postgres");
        server.arg("-D").arg(&data).arg("-k").arg(postgres.folder.path());
        if let Some(port) = port {
            server.arg("-p").arg(port.to_string());
            files::write(
                &data.join("pg_hba.conf"),
                "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n",
                0o644,
            );
        }
        server
            .args(["-c", if port.is_some() { "listen_addresses=127.0.0.1" } else { "listen_addresses=" }])
            .args(["-c", "fsync=off", "-c", "max_prepared_transactions=2"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        postgres.server = Some(server.process_group(0).spawn().unwrap());
        wait_for("PostgreSQL", || {
            let mut asked = postgres.client("psql");
            asked
                .args(["-U", "postgres", "-d", "postgres", "-c", "select 1"])
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            asked.status().unwrap().success().then_some(())
        });
        let role = ["-q", "-U", "postgres", "-d", "postgres", "-c", "create role site login createdb"];
        run(postgres.client("psql").args(role));
        postgres
    }

    /// What makes an ordinary login on a host find the server, as `site`.
    pub fn session(&self) -> String {
        let folder = self.folder.path().display();
        format!("export PGHOST='{folder}' PGUSER=site PATH=\"{}:$PATH\"\n", bin().display())
    }

    /// The folder of its socket: what `PGHOST` names.
    pub fn socket(&self) -> &Path {
        self.folder.path()
    }

    /// What SQL gives, as `site`.
    pub fn sql(&self, database: &str, text: &str) -> String {
        stdout_of(&mut self.asks("site", database, text))
    }

    /// A client that runs this SQL as `role`.
    pub fn asks(&self, role: &str, database: &str, text: &str) -> Command {
        let database = database.replace('\\', "\\\\").replace('\'', "\\'");
        let mut psql = self.client("psql");
        psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", role, "-d", &format!("dbname='{database}'"), "-c", text]);
        psql
    }

    /// From now on this role needs a password.
    pub fn demand_password(&self, role: &str, password: &str) {
        let rules = self.folder.path().join("data/pg_hba.conf");
        files::write(&rules, format!("local all {role} scram-sha-256\n{}", files::read(&rules)), 0o644);
        let set = format!("alter role {role} password '{password}'");
        run(self.asks("postgres", "postgres", &set).args(["-c", "select pg_reload_conf()"]));
    }

    /// Sets the password of a role.
    pub fn set_password(&self, role: &str, password: &str) {
        run(&mut self.asks(
            "postgres",
            "postgres",
            &format!("alter role {role} password '{}'", password.replace('\'', "''")),
        ));
    }

    /// A client that prints the whole database.
    pub fn dump(&self, database: &str) -> Command {
        let mut dump = self.client("pg_dump");
        dump.args(["-U", "postgres", "-d", database]);
        dump
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(bin().join(program));
        command.env_clear().env("PATH", PATH).env("PGHOST", self.folder.path());
        if let Some(port) = self.port {
            command.env("PGPORT", port.to_string());
        }
        command
    }

    fn unprivileged(&self, program: &str) -> Command {
        let mut command = Command::new(tool(if user::is_root() { "setpriv" } else { "env" }));
        if user::is_root() {
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
        }
        command
            .arg(bin().join(program))
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C.UTF-8");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // At once, with all its processes.
            signal(server.id(), Signal::QUIT);
            let _ = server.wait();
        }
    }
}

/// Debian has the server's programs in no folder of `PATH`.
fn bin() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|entry| entry.unwrap().path().join("bin")).collect();
    folders.retain(|folder| folder.join("initdb").is_file());
    folders.sort();
    folders.pop().unwrap_or_else(|| tool("initdb").parent().map(Path::to_owned).unwrap())
}
