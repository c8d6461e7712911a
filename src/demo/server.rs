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
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::distr::{Alphanumeric, SampleString as _};
use russh::MethodKind;
use russh::keys::{Algorithm, HashAlg, PrivateKey};
use russh::server::Config;
use secrecy::SecretString;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use super::host::{Faults, HostSpec, Seen};
use super::host::{HostState, lock};
use super::session::Login;
use super::{process, session, stream};

#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    #[error("cannot listen on 127.0.0.1 for host {host}")]
    Listen {
        host: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot make a host key for {host}")]
    HostKey {
        host: String,
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
