//! One connection of an embedded host: the login, and the commands that run in its channels.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use russh::keys::{PublicKey, parse_public_key_base64};
use russh::server::{Auth, ChannelOpenHandle, Handle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, MethodKind, Sig};
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::model::plan::command::signal_of_status;
use crate::model::recipe::shell::quote;

use super::host::{Faults, HostState};
use super::process;

pub(super) struct Opened {
    channel: Channel<Msg>,
    handle: Handle,
    user: String,
}

/// Decides about logins and hands opened channels to the owner of the connection.
pub(super) struct Login {
    pub(super) host: Arc<HostState>,
    pub(super) faults: Faults,
    pub(super) channels: mpsc::Sender<Opened>,
    pub(super) user: String,
}

impl Login {
    /// Is the key in the login folder's `authorized_keys`, as it is now?
    fn verdict(&self, key: &PublicKey) -> Auth {
        let lists = std::fs::read(self.host.folder.join(".ssh/authorized_keys")).unwrap_or_default();
        if !self.faults.refuse_auth && authorizes(&lists, key) { Auth::Accept } else { refused() }
    }
}

/// Both methods may be tried again, as with sshd.
fn refused() -> Auth {
    let methods = [MethodKind::PublicKey, MethodKind::Password].as_slice().into();
    Auth::Reject { proceed_with_methods: Some(methods), partial_success: false }
}

/// Does a line of `authorized_keys` hold this key? Options are skipped over, as nothing here would keep to them.
fn authorizes(file: &[u8], key: &PublicKey) -> bool {
    file.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok()).any(|line| {
        let mut words = line.split_ascii_whitespace();
        let algorithm = key.algorithm();
        !line.starts_with('#')
            && words.any(|word| word == algorithm.as_str())
            && words
                .next()
                .and_then(|data| parse_public_key_base64(data).ok())
                .is_some_and(|known| known.key_data() == key.key_data())
    })
}

impl Handler for Login {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        self.host.saw(|seen| seen.passwords += 1);
        user.clone_into(&mut self.user);
        let right = password == self.host.password.expose_secret();
        Ok(if right && !self.faults.refuse_auth { Auth::Accept } else { refused() })
    }

    async fn auth_publickey_offered(&mut self, _user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        self.host.saw(|seen| seen.public_keys += 1);
        Ok(self.verdict(offer.public_key))
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        user.clone_into(&mut self.user);
        Ok(self.verdict(key.public_key))
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> Result<(), Self::Error> {
        self.host.saw(|seen| seen.logins += 1);
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let opened = Opened { channel, handle: session.handle(), user: self.user.clone() };
        if self.channels.send(opened).await.is_ok() {
            reply.accept().await;
        }
        Ok(())
    }
}

/// Serves one channel to its end: the first command that it is asked for.
pub(super) async fn serve(opened: Opened, host: Arc<HostState>, faults: Faults) {
    let Opened { channel, handle, user } = opened;
    let (mut reader, writer) = channel.split();
    while let Some(message) = reader.wait().await {
        let command = match message {
            ChannelMsg::Exec { command, .. } if !faults.refuse_exec => command,
            // There is no terminal, so this is a shell that reads its commands from standard input.
            ChannelMsg::RequestShell { .. } if !faults.refuse_exec => b"exec /bin/sh".to_vec(),
            ChannelMsg::Exec { .. }
            | ChannelMsg::RequestShell { .. }
            | ChannelMsg::RequestPty { .. }
            | ChannelMsg::RequestSubsystem { .. }
            | ChannelMsg::RequestX11 { .. }
            | ChannelMsg::SetEnv { .. }
            | ChannelMsg::AgentForward { .. } => {
                if handle.channel_failure(writer.id()).await.is_err() {
                    return;
                }
                continue;
            }
            ChannelMsg::Close => return,
            _ => continue,
        };
        let Ok(child) = spawn(&command, &host, &user, faults.noise.as_deref()) else {
            let _ = handle.channel_failure(writer.id()).await;
            let _ = writer.close().await;
            return;
        };
        host.saw(|seen| seen.commands += 1);
        if handle.channel_success(writer.id()).await.is_ok() {
            run(child, reader, &writer, &handle).await;
        }
        return;
    }
}

fn spawn(command: &[u8], host: &HostState, user: &str, noise: Option<&str>) -> io::Result<Child> {
    let mut script = OsString::new();
    if let Some(noise) = noise {
        script.push(format!("printf %s {0}; printf %s {0} >&2\n", quote(noise)));
    }
    script.push(OsStr::from_bytes(command));
    host.command(&script, user).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Joins a command to its channel until both have ended.
///
/// Exit status and end of output are told as they come, in either order, as sshd does. When the client goes away, the command
/// loses its input and the readers of its output, and nothing ends it.
async fn run(mut child: Child, mut reader: ChannelReadHalf, writer: &ChannelWriteHalf<Msg>, handle: &Handle) {
    let group = child.id().map(i64::from);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (gone, ended) = (CancellationToken::new(), CancellationToken::new());
    let input = async {
        feed(&mut reader, stdin, group, &ended).await;
        gone.cancel();
    };
    let output = async {
        let copied = async { tokio::join!(copy(stdout, writer, None), copy(stderr, writer, Some(1))) };
        tokio::select! {
            _ = copied => { let _ = writer.eof().await; }
            () = gone.cancelled() => {}
        }
    };
    let status = async {
        let status = tokio::select! {
            status = child.wait() => status,
            () = gone.cancelled() => {
                // Not the command: only what stands for sshd's process of the connection.
                let _ = child.start_kill();
                child.wait().await
            }
        };
        ended.cancel();
        if let Ok(status) = status {
            tell(status, writer, handle).await;
        }
    };
    let whole = async {
        tokio::join!(output, status);
        let _ = writer.close().await;
    };
    // The client answers our close with its own, which ends the input.
    tokio::join!(input, whole);
}

/// Passes what the client sends to the command, until the client closes the channel or is gone.
async fn feed(
    reader: &mut ChannelReadHalf,
    mut stdin: Option<ChildStdin>,
    group: Option<i64>,
    ended: &CancellationToken,
) {
    while let Some(message) = reader.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                if let Some(pipe) = &mut stdin
                    && pipe.write_all(&data).await.is_err()
                {
                    // The command reads no more; what is still sent is dropped, as by sshd.
                    stdin = None;
                }
            }
            ChannelMsg::Eof => stdin = None,
            ChannelMsg::Signal { signal } => {
                // After its end the number may be another's.
                if let (Some(group), Some(name), false) = (group, signal_name(&signal), ended.is_cancelled()) {
                    process::signal(&name, &[-group]);
                }
            }
            ChannelMsg::Close => return,
            _ => {}
        }
    }
}

async fn copy(pipe: Option<impl AsyncRead + Unpin>, writer: &ChannelWriteHalf<Msg>, stream: Option<u32>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
        // Waits for the client's window, and so, in the end, does the command.
        let sent = match stream {
            None => writer.data_bytes(bytes).await,
            Some(stream) => writer.extended_data_bytes(stream, bytes).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn tell(status: ExitStatus, writer: &ChannelWriteHalf<Msg>, handle: &Handle) {
    if let Some(signal) = status.signal() {
        let name = signal_of_status(u8::try_from(128 + signal).unwrap_or(u8::MAX)).unwrap_or("UNKNOWN");
        let core = status.core_dumped();
        // By its name, as it travels.
        let signal = Sig::Custom(name.to_owned());
        let _ = handle.exit_signal_request(writer.id(), signal, core, String::new(), String::new()).await;
    } else {
        let _ = writer.exit_status(u32::try_from(status.code().unwrap_or(255)).unwrap_or(255)).await;
    }
}

/// The name for `kill`, as russh calls it, too; a client's own invention is not passed on.
fn signal_name(signal: &Sig) -> Option<String> {
    if let Sig::Custom(_) = signal { None } else { Some(format!("{signal:?}")) }
}
