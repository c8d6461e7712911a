//! A host of the embedded fleet: its folder, its account, what goes wrong on it, and what clients did there.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russh::keys::PublicKey;
use russh::server::Config;
use secrecy::SecretString;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone)]
pub struct HostSpec {
    pub name: String,
    /// Its login folder, which exists.
    pub folder: PathBuf,
}

/// What goes wrong on a host. Read anew for each connection.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "faults are independent switches, not states")]
pub struct Faults {
    pub close_at_once: bool,
    /// Not a byte is ever sent.
    pub silent_banner: bool,
    pub refuse_auth: bool,
    /// The connection is cut after the server has sent so many bytes.
    pub cut_after: Option<u64>,
    /// Another host key is shown than [`EmbeddedFleet::host_key`](super::server::EmbeddedFleet::host_key) tells.
    pub other_host_key: bool,
    /// Printed on both streams before a command's own output, as a `.bashrc` does.
    pub noise: Option<String>,
    /// Sessions open, but every command is refused.
    pub refuse_exec: bool,
}

/// What clients did on a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    pub connections: usize,
    /// Passwords that were sent, right or wrong.
    pub passwords: usize,
    /// Public keys that were offered or used.
    pub public_keys: usize,
    pub logins: usize,
    pub commands: usize,
}

/// What the connections of a host share.
pub(super) struct HostState {
    pub(super) folder: PathBuf,
    pub(super) password: SecretString,
    /// `NAME=VALUE` in the environment of everything that runs on the fleet.
    pub(super) mark: String,
    pub(super) key: PublicKey,
    pub(super) config: Arc<Config>,
    pub(super) other_config: Arc<Config>,
    pub(super) faults: Mutex<Faults>,
    pub(super) seen: Mutex<Seen>,
    /// Cancelled to cut the connections that are there.
    pub(super) cut: Mutex<CancellationToken>,
}

impl HostState {
    /// Shell text as a command of the host's account: its folder, its environment, its own programs before the controller's.
    pub(super) fn command(&self, script: &OsStr, user: &str) -> Command {
        let mut path = self.folder.join("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()));
        let (name, value) = self.mark.split_once('=').unwrap_or_default();
        let mut command = Command::new("/bin/sh");
        // A process that stands between this one and the command, as sshd's process of a connection does, and that ends with it.
        command
            .args(["-c", "/bin/sh -c \"$1\"; s=$?; [ $s -le 128 ] || kill -$((s - 128)) $$; exit $s", "sh"])
            .arg(script)
            .env_clear()
            .env("HOME", &self.folder)
            .env("USER", user)
            .env("LOGNAME", user)
            .env("SHELL", "/bin/sh")
            .env("PATH", path)
            .env(name, value)
            .current_dir(&self.folder)
            .process_group(0);
        command
    }

    pub(super) fn saw(&self, what: impl FnOnce(&mut Seen)) {
        what(&mut lock(&self.seen));
    }
}

/// A fault setting or a counter is whole whatever a panicking holder did.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
