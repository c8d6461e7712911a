//! Hosts that cost little: a server of russh, and one `/bin/sh` a command.

use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{PublicKey, load_public_key, load_secret_key};
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey, run_stream,
};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Error, MethodKind};
use rustix::process::WaitStatus;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::host::Host;
use super::reaper::Reaper;
use crate::algorithms::algorithms;
use crate::support::tools::PATH;
use crate::workspace::Workspace;

/// Takes connections for ever.
pub async fn serve(listener: TcpListener, workspace: Workspace, reaper: Arc<Reaper>) {
    let key = load_public_key(workspace.key().with_extension("pub")).unwrap();
    let config = Arc::new(Config {
        methods: [MethodKind::PublicKey].as_slice().into(),
        auth_rejection_time: Duration::ZERO,
        keys: vec![load_secret_key(workspace.host_key(), None).unwrap()],
        inactivity_timeout: None,
        preferred: algorithms(),
        ..Config::default()
    });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                let Ok(address) = socket.local_addr() else { continue };
                let host = Host::at(address, &workspace);
                let login = Login { host: Arc::new(host), key: key.clone(), reaper: Arc::clone(&reaper), commands: JoinSet::new() };
                connections.spawn(connection(socket, Arc::clone(&config), login));
            }
        }
    }
}

async fn connection(socket: TcpStream, config: Arc<Config>, login: Login) {
    let _ = socket.set_nodelay(true);
    // A client that breaks off is its own trouble.
    if let Ok(running) = run_stream(config, BufReader::with_capacity(16 << 10, socket), login).await {
        let _ = running.await;
    }
}

struct Login {
    host: Arc<Host>,
    key: PublicKey,
    reaper: Arc<Reaper>,
    /// They end with their connection.
    commands: JoinSet<()>,
}

impl Login {
    fn verdict(&self, key: &PublicKey) -> Auth {
        if key.key_data() == self.key.key_data() { Auth::Accept } else { Auth::reject() }
    }
}

impl Handler for Login {
    type Error = Error;

    async fn auth_publickey_offered(&mut self, _user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Error> {
        Ok(self.verdict(offer.public_key))
    }

    async fn auth_publickey(&mut self, _user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Error> {
        Ok(self.verdict(key.public_key))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Error> {
        let (host, reaper) = (Arc::clone(&self.host), Arc::clone(&self.reaper));
        self.commands.spawn(serve_channel(channel, session.handle(), host, reaper));
        reply.accept().await;
        Ok(())
    }
}

/// The first command that the channel is asked for, to its end.
async fn serve_channel(channel: Channel<Msg>, handle: Handle, host: Arc<Host>, reaper: Arc<Reaper>) {
    let (mut input, writer) = channel.split();
    while let Some(message) = input.wait().await {
        if let ChannelMsg::Exec { command, .. } = message {
            let running = Running::start(&String::from_utf8_lossy(&command), &host, &reaper);
            if handle.channel_success(writer.id()).await.is_ok() {
                running.join(input, &writer).await;
            }
            return;
        }
    }
}

struct Running {
    input: Option<Sender>,
    output: Receiver,
    errors: Receiver,
    ended: oneshot::Receiver<WaitStatus>,
}

impl Running {
    fn start(script: &str, host: &Host, reaper: &Reaper) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).env_clear().env("HOME", &host.home).env("PATH", PATH).current_dir(&host.home);
        command.env("USER", host.workspace.user()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (mut child, ended) = reaper.spawn(&mut command).unwrap();
        let input = Sender::from_owned_fd(OwnedFd::from(child.stdin.take().unwrap())).unwrap();
        let output = Receiver::from_owned_fd(OwnedFd::from(child.stdout.take().unwrap())).unwrap();
        let errors = Receiver::from_owned_fd(OwnedFd::from(child.stderr.take().unwrap())).unwrap();
        Self { input: Some(input), output, errors, ended }
    }

    async fn join(self, reader: ChannelReadHalf, writer: &ChannelWriteHalf<Msg>) {
        let Self { input, output, errors, ended } = self;
        let whole = async {
            let status = async {
                let status = ended.await.ok().and_then(WaitStatus::exit_status).unwrap_or(255);
                let _ = writer.exit_status(u32::try_from(status).unwrap_or(255)).await;
            };
            tokio::join!(copy(output, writer, None), copy(errors, writer, Some(1)), status);
            let _ = writer.eof().await;
            let _ = writer.close().await;
        };
        tokio::join!(feed(reader, input), whole);
    }
}

/// Passes on what the client sends, until it closes the channel.
async fn feed(mut reader: ChannelReadHalf, mut input: Option<Sender>) {
    while let Some(message) = reader.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                if let Some(pipe) = &mut input
                    && pipe.write_all(&data).await.is_err()
                {
                    input = None;
                }
            }
            ChannelMsg::Eof => input = None,
            ChannelMsg::Close => return,
            _ => {}
        }
    }
}

async fn copy(mut pipe: Receiver, writer: &ChannelWriteHalf<Msg>, stream: Option<u32>) {
    let mut buffer = vec![0; 32 << 10];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        let bytes = buffer[..length].to_vec();
        let sent = match stream {
            None => writer.data_bytes(bytes).await,
            Some(stream) => writer.extended_data_bytes(stream, bytes).await,
        };
        if sent.is_err() {
            return;
        }
    }
}
