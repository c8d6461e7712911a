//! Connections, logins and commands against a real `sshd`.

mod admission;
mod commands;
mod hostile;
mod logins;
mod shells;
mod startup;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fleet::model::inventory::ssh::Endpoint;
use fleet::model::plan::command::RemoteCommand;
use fleet::model::run::event::Stream;
use fleet::model::text::name::{Address, HostLabel, UserName};
use fleet::remote::{Connect, Exec, ExecEnd, OutputChunk, Remote, Session};
use fleet::ssh::{ConnectError, Credentials, Identity, KnownHosts, SshConnector, Timeouts};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::files;
use crate::support::process::run;
use crate::support::sshd::Sshd;
use crate::support::tools::tool;
use crate::support::user;

/// A key pair, made by `ssh-keygen`.
struct Pair {
    identity: Identity,
    public: String,
    folder: tempfile::TempDir,
}

fn pair(key_type: &str) -> Pair {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    run(std::process::Command::new(tool("ssh-keygen"))
        .args(["-q", "-N", "", "-C", "me", "-t", key_type, "-f"])
        .arg(&file));
    let key = russh::keys::PrivateKey::from_openssh(files::read(&file)).unwrap();
    let public = files::read(&file.with_extension("pub")).trim().to_owned();
    Pair { identity: Identity { name: "keys/fleet".to_owned(), key: Arc::new(key), certificate: None }, public, folder }
}

pub fn endpoint(port: u16) -> Endpoint {
    Endpoint {
        port,
        connect_timeout: Duration::from_secs(5),
        connect_retry: Duration::ZERO,
        reconnect_timeout: Duration::from_secs(1),
        ..Endpoint::new(Address::parse("127.0.0.1").unwrap(), &UserName::parse(&user::current()).unwrap())
    }
}

fn web1() -> HostLabel {
    HostLabel::parse("web1").unwrap()
}

fn timeouts() -> Timeouts {
    Timeouts { grace: Duration::from_secs(1), ..Timeouts::default() }
}

fn connector(known_hosts: &str, credentials: Credentials) -> SshConnector {
    let known_hosts = KnownHosts::parse(Path::new("keys/known_hosts"), known_hosts.as_bytes());
    SshConnector {
        known_hosts: Arc::new(known_hosts),
        credentials: Arc::new(credentials),
        timeouts: timeouts(),
        admission: Arc::default(),
    }
}

fn with_key(pair: &Pair) -> Credentials {
    Credentials { identities: vec![pair.identity.clone()], ..Credentials::default() }
}

/// The error of a connection that must not come about.
async fn refused(connector: &SshConnector, port: u16) -> ConnectError {
    connector.connect(&web1(), &endpoint(port)).await.err().expect("the connection must be refused")
}

/// A session on a host, logged in by key.
async fn session(sshd: &Sshd) -> Box<dyn Session> {
    let pair = pair("ed25519");
    sshd.authorize(&pair.public);
    connector(&sshd.known_hosts(), with_key(&pair)).connect(&web1(), &endpoint(sshd.port())).await.unwrap()
}

/// What a command printed, and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Done {
    end: ExecEnd,
    stdout: String,
    stderr: String,
}

fn done(end: ExecEnd, stdout: &str, stderr: &str) -> Done {
    Done { end, stdout: stdout.to_owned(), stderr: stderr.to_owned() }
}

#[derive(Default)]
struct Limits {
    timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
    stop: CancellationToken,
}

/// Runs a command; `watch` sees every chunk.
async fn exec(
    session: &mut dyn Session,
    command: &RemoteCommand,
    limits: Limits,
    watch: impl FnMut(&OutputChunk),
) -> ExecEnd {
    exec_remote(session, Remote::Plain(command), limits, watch).await
}

async fn exec_remote(
    session: &mut dyn Session,
    command: Remote<'_>,
    limits: Limits,
    mut watch: impl FnMut(&OutputChunk),
) -> ExecEnd {
    let (output, mut chunks) = mpsc::channel(4);
    let Limits { timeout, idle_timeout, stop } = limits;
    let running = session.exec(Exec { command, timeout, idle_timeout, stop, output, findings: None });
    let reading = async {
        while let Some(chunk) = chunks.recv().await {
            watch(&chunk);
        }
    };
    tokio::join!(running, reading).0
}

async fn run_command(session: &mut dyn Session, command: &RemoteCommand) -> Done {
    run_limited(session, command, Limits::default()).await
}

async fn run_limited(session: &mut dyn Session, command: &RemoteCommand, limits: Limits) -> Done {
    run_remote(session, Remote::Plain(command), limits).await
}

async fn run_remote(session: &mut dyn Session, command: Remote<'_>, limits: Limits) -> Done {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let end = exec_remote(session, command, limits, |chunk| match chunk.stream {
        Stream::Stdout => stdout.extend_from_slice(&chunk.bytes),
        Stream::Stderr => stderr.extend_from_slice(&chunk.bytes),
    })
    .await;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Done { end, stdout: text(stdout), stderr: text(stderr) }
}

async fn run_text(session: &mut dyn Session, text: &str) -> Done {
    run_command(session, &RemoteCommand::shell(text)).await
}
