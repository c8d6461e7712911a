//! A `MariaDB` server of its own: an ordinary process on a socket in a temporary folder, gone on drop.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use super::process::{run, signal, stdout_of, wait_for};
use super::tools::{PATH, tool};
use super::{files, user};

/// A server whose `root` has no password, without any other user.
#[derive(Debug)]
pub struct Mariadb {
    folder: TempDir,
    server: Option<Child>,
}

impl Mariadb {
    /// Starts the server. It refuses to run as root, so there it runs as `nobody`.
    pub fn start() -> Self {
        let mut mariadb = Self { folder: tempfile::tempdir().unwrap(), server: None };
        files::set_mode(mariadb.folder.path(), 0o777);
        let data = format!("--datadir={}", mariadb.folder.path().join("data").display());
        let normal = "--auth-root-authentication-method=normal";
        run(mariadb.unprivileged("mariadb-install-db").args(["--no-defaults", &data, normal, "--skip-test-db"]));
        let mut server = mariadb.unprivileged("mariadbd");
        server.args(["--no-defaults", &data, "--skip-networking", "--event-scheduler=ON"]);
        server.args(["--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--innodb-buffer-pool-size=24M"]);
        server.arg(format!("--socket={}", mariadb.socket().display())).stdout(Stdio::null()).stderr(Stdio::null());
        mariadb.server = Some(server.process_group(0).spawn().unwrap());
        wait_for("MariaDB", || {
            let mut asked = mariadb.client("root", "", "select 1");
            asked.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success().then_some(())
        });
        mariadb
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// What SQL gives, as `root`.
    pub fn sql(&self, database: &str, text: &str) -> String {
        stdout_of(&mut self.client("root", database, text))
    }

    /// A client that runs this SQL; a password is taken from `MYSQL_PWD`.
    pub fn client(&self, user: &str, database: &str, text: &str) -> Command {
        let mut command = Command::new(tool("mariadb"));
        command.env_clear().env("PATH", PATH).arg("--no-defaults").arg("--socket").arg(self.socket());
        command.args(["-N", "-u", user, "-e", text, "--", database]);
        command
    }

    fn unprivileged(&self, program: &str) -> Command {
        let mut command = Command::new(tool(if user::is_root() { "setpriv" } else { "env" }));
        if user::is_root() {
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
        }
        command.arg(tool(program)).current_dir(self.folder.path()).env_clear().env("PATH", PATH);
        command
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            signal(server.id(), Signal::KILL);
            let _ = server.wait();
        }
    }
}
