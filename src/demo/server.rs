//! An embedded fleet of SSH servers on loopback: the hosts of the demo, and the tests' fault injector.
//!
//! A host is a folder, which is the login folder of its one account (whatever user name is given). Logins and commands are as
//! `sshd` would have them: the folder's `.ssh/authorized_keys` is read at each login, a command outlives its connection, a
//! command's exit status waits for no daemon that holds its output. There is no pty and no SFTP.
//!
//! Invariant: nothing outlives the fleet. Every task is in a `JoinSet` of the task above it, russh's own task of a connection
//! ends with the connection's stream, and the processes that the hosts' commands left behind are found by a mark in their
//! environment and ended.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::distr::{Alphanumeric, SampleString as _};
use russh::MethodKind;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey};
use russh::server::Config;
use secrecy::SecretString;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::session::Login;
use super::{process, session, stream};

/// A host to be embedded.
#[derive(Debug, Clone)]
pub struct HostSpec {
    /// What it is called here.
    pub name: String,
    /// Its login folder, which exists.
    pub folder: PathBuf,
}

/// What goes wrong on a host. Read anew for each connection.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "faults are independent switches, not states")]
pub struct Faults {
    /// The connection is closed as soon as it is there.
    pub close_at_once: bool,
    /// Not a byte is ever sent.
    pub silent_banner: bool,
    /// No login succeeds.
    pub refuse_auth: bool,
    /// The connection is cut after the server has sent so many bytes.
    pub cut_after: Option<u64>,
    /// Another host key is shown than [`EmbeddedFleet::host_key`] tells.
    pub other_host_key: bool,
    /// Printed on both streams before a command's own output, as a `.bashrc` does.
    pub noise: Option<String>,
    /// Sessions open, but every command is refused.
    pub refuse_exec: bool,
}

/// What clients did on a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// TCP connections.
    pub connections: usize,
    /// Passwords that were sent, right or wrong.
    pub passwords: usize,
    /// Public keys that were offered or used.
    pub public_keys: usize,
    /// Successful logins.
    pub logins: usize,
    /// Commands that were started.
    pub commands: usize,
}

/// Why the fleet did not start.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The system gives no port on loopback.
    #[error("cannot listen on 127.0.0.1 for host {host}")]
    Listen {
        /// The host.
        host: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No host key could be made.
    #[error("cannot make a host key for {host}")]
    HostKey {
        /// The host.
        host: String,
        /// What went wrong.
        #[source]
        source: russh::keys::ssh_key::Error,
    },
}

/// SSH servers on 127.0.0.1, one port a host.
pub struct EmbeddedFleet {
    hosts: BTreeMap<String, (u16, Arc<HostState>)>,
    password: SecretString,
    mark: String,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// What the connections of a host share.
pub(super) struct HostState {
    pub(super) folder: PathBuf,
    pub(super) password: SecretString,
    /// `NAME=VALUE` in the environment of everything that runs on the fleet.
    mark: String,
    key: PublicKey,
    config: Arc<Config>,
    other_config: Arc<Config>,
    faults: Mutex<Faults>,
    seen: Mutex<Seen>,
    /// Cancelled to cut the connections that are there.
    cut: Mutex<CancellationToken>,
}

impl EmbeddedFleet {
    /// Starts a server for each host, on ports that the kernel picks.
    pub async fn start(hosts: Vec<HostSpec>) -> Result<Self, FleetError> {
        let mut random = rand::rng();
        let password = Alphanumeric.sample_string(&mut random, 24);
        let mark = format!("FLEET_EMBEDDED={}", Alphanumeric.sample_string(&mut random, 24));
        let mut fleet = Self {
            hosts: BTreeMap::new(),
            password: SecretString::from(password),
            mark,
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
        };
        for host in hosts {
            fleet.add(host).await?;
        }
        Ok(fleet)
    }

    async fn add(&mut self, host: HostSpec) -> Result<(), FleetError> {
        let key = || {
            PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519)
                .map_err(|source| FleetError::HostKey { host: host.name.clone(), source })
        };
        let (key, other_key) = (key()?, key()?);
        let listen = |source| FleetError::Listen { host: host.name.clone(), source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(listen)?;
        let port = listener.local_addr().map_err(listen)?.port();
        let state = Arc::new(HostState {
            folder: host.folder,
            password: self.password.clone(),
            mark: self.mark.clone(),
            key: key.public_key().clone(),
            config: Arc::new(config(key)),
            other_config: Arc::new(config(other_key)),
            faults: Mutex::default(),
            seen: Mutex::default(),
            cut: Mutex::default(),
        });
        self.tasks.spawn(accept(listener, Arc::clone(&state), self.stop.clone()));
        self.hosts.insert(host.name, (port, state));
        Ok(())
    }

    /// The host's port on 127.0.0.1.
    pub fn port(&self, host: &str) -> Option<u16> {
        self.hosts.get(host).map(|(port, _)| *port)
    }

    /// The host's key, as a line of a `.pub` file: `ssh-ed25519 AAAA…`.
    pub fn host_key(&self, host: &str) -> Option<String> {
        self.hosts.get(host).and_then(|(_, state)| state.key.to_openssh().ok())
    }

    /// The fingerprint of the host's key: `SHA256:…`.
    pub fn fingerprint(&self, host: &str) -> Option<String> {
        self.hosts.get(host).map(|(_, state)| state.key.fingerprint(HashAlg::Sha256).to_string())
    }

    /// The password that all hosts accept: random, new for each fleet.
    pub fn password(&self) -> &SecretString {
        &self.password
    }

    /// Shell text as a command on the host, without SSH: for what was there before anybody logged in.
    pub fn command(&self, host: &str, script: &str) -> Option<Command> {
        self.hosts.get(host).map(|(_, state)| state.command(script.as_ref(), "root"))
    }

    /// What goes wrong on the host from the next connection on.
    pub fn set_faults(&self, host: &str, faults: Faults) {
        if let Some((_, state)) = self.hosts.get(host) {
            *lock(&state.faults) = faults;
        }
    }

    /// Cuts the host's connections. What runs there goes on, as with a broken network.
    pub fn cut(&self, host: &str) {
        if let Some((_, state)) = self.hosts.get(host) {
            std::mem::take(&mut *lock(&state.cut)).cancel();
        }
    }

    /// What clients did on the host so far.
    pub fn seen(&self, host: &str) -> Option<Seen> {
        self.hosts.get(host).map(|(_, state)| *lock(&state.seen))
    }

    /// Ends all connections, and all processes that were started on the fleet.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        process::end_marked(&self.mark);
    }
}

impl Drop for EmbeddedFleet {
    /// For the ways out that do not pass [`EmbeddedFleet::stop`]: a failed test, an interrupt.
    fn drop(&mut self) {
        if !self.stop.is_cancelled() {
            self.stop.cancel();
            process::end_marked(&self.mark);
        }
    }
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
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn config(key: PrivateKey) -> Config {
    Config {
        methods: [MethodKind::PublicKey, MethodKind::Password].as_slice().into(),
        // Slow enough to show what a wrong password costs, fast enough for tests.
        auth_rejection_time: Duration::from_millis(50),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![key],
        inactivity_timeout: None,
        nodelay: true,
        // russh refills a channel's window on receipt and blocks the whole connection once this many packets wait for one
        // channel: a command that reads its input late must not block its own output.
        channel_buffer_size: 2048,
        ..Config::default()
    }
}

/// Owns the host's connections.
async fn accept(listener: TcpListener, host: Arc<HostState>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else {
                    // Out of file descriptors, mostly: accepting again at once would only spin.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                };
                connections.spawn(connection(socket, Arc::clone(&host), stop.clone()));
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn connection(socket: TcpStream, host: Arc<HostState>, stop: CancellationToken) {
    host.saw(|seen| seen.connections += 1);
    let faults = lock(&host.faults).clone();
    let cut = lock(&host.cut).child_token();
    if faults.close_at_once {
        return;
    }
    if faults.silent_banner {
        tokio::select! { () = stop.cancelled() => {}, () = cut.cancelled() => {} }
        return;
    }
    // A small packet must not wait for the acknowledgement of the one before; without it, it is slower and works.
    let _ = socket.set_nodelay(true);
    let config = Arc::clone(if faults.other_host_key { &host.other_config } else { &host.config });
    let stream = stream::Cuttable::new(socket, cut.clone(), faults.cut_after);
    // Filled by the login, emptied here; one entry a channel, each of which the client waits for.
    let (sender, mut channels) = tokio::sync::mpsc::channel(16);
    let login = Login { host: Arc::clone(&host), faults: faults.clone(), channels: sender, user: String::new() };
    let mut commands = JoinSet::new();
    let serve = async {
        // A client that breaks off or talks nonsense is its own trouble.
        if let Ok(running) = russh::server::run_stream(config, stream, login).await {
            let _ = running.await;
        }
    };
    tokio::pin!(serve);
    loop {
        tokio::select! {
            () = &mut serve => break,
            () = stop.cancelled(), if !cut.is_cancelled() => cut.cancel(),
            Some(_) = commands.join_next() => {}
            Some(opened) = channels.recv() => {
                commands.spawn(session::serve(opened, Arc::clone(&host), faults.clone()));
            }
        }
    }
    // As with sshd, commands go on without their connection. Here only somebody to wait for them is left.
    tokio::select! {
        () = stop.cancelled() => {}
        () = async { while commands.join_next().await.is_some() {} } => {}
    }
}
