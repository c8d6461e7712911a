//! The folder of a benchmark: keys, the hosts' home folders, projects. Gone on drop.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use crate::support::process::run;
use crate::support::tools::{PATH, tool};
use crate::support::{files, user};

/// Paths in the folder.
#[derive(Debug, Clone)]
pub struct Workspace {
    folder: PathBuf,
    user: String,
    /// Removes the folder with the last clone. The processes that are only told of the folder do not.
    _owner: Option<Arc<TempDir>>,
}

impl Workspace {
    /// A new one, with a key pair for logins and one of the hosts.
    pub fn create() -> Self {
        let owner = tempfile::Builder::new().prefix("fanout-").tempdir().unwrap();
        // sshd reads the keys as who logs in.
        files::set_mode(owner.path(), 0o755);
        let workspace = Self { folder: owner.path().to_owned(), user: user::current(), _owner: Some(Arc::new(owner)) };
        for key in [workspace.key(), workspace.host_key()] {
            let mut keygen = Command::new(tool("ssh-keygen"));
            run(keygen.args(["-q", "-t", "ed25519", "-C", "fanout", "-N", "", "-f"]).arg(key));
        }
        workspace
    }

    /// One that another process has created.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder, user: user::current(), _owner: None }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Who logs in.
    pub fn user(&self) -> &str {
        &self.user
    }

    pub fn key(&self) -> PathBuf {
        self.folder.join("key")
    }

    pub fn host_key(&self) -> PathBuf {
        self.folder.join("host_key")
    }

    pub fn home_of(&self, host: Ipv4Addr) -> PathBuf {
        self.folder.join("homes").join(host.to_string())
    }

    /// A new folder for what a contender needs.
    pub fn room(&self, name: &str) -> PathBuf {
        let room = self.folder.join(name);
        std::fs::create_dir_all(room.join("home")).unwrap();
        room
    }

    /// Type and key of all hosts.
    pub fn pin(&self) -> String {
        let line = files::read(&self.host_key().with_extension("pub"));
        line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// A command with nothing of the caller's environment, in a room.
    pub fn command(&self, program: &Path, room: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(room).env_clear().env("HOME", room.join("home")).env("PATH", PATH).env("TMPDIR", room);
        command.env("USER", &self.user).env("TZ", "UTC").env("LC_ALL", "C.UTF-8").env("NO_COLOR", "1");
        command
    }
}

/// Hosts by their addresses: those of a lane are its own.
pub fn addresses(lane: usize, hosts: usize) -> Vec<Ipv4Addr> {
    assert!(hosts <= 60_000, "{hosts} hosts are more than there are addresses for");
    let part = |number: usize| u8::try_from(number).unwrap();
    (0..hosts).map(|host| Ipv4Addr::new(127, part(10 + lane), part(host / 250), part(1 + host % 250))).collect()
}

/// A line for each address.
pub fn lines(addresses: &[Ipv4Addr]) -> String {
    addresses.iter().fold(String::new(), |mut lines, address| {
        let _ = writeln!(lines, "{address}");
        lines
    })
}
