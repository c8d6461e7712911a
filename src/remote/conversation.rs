//! Runs one command in a shell on the host, from the request to the end mark.
//!
//! Invariant: an exit status is told only when the end mark with this command's nonce came. A channel that ends without it is
//! [`ExecEnd::NotStarted`] if the begin mark cannot have been written, else [`ExecEnd::Lost`]. The channel is closed, unless its shell waits
//! for the next command, and read without pause until then: one unread channel would stop the whole connection, its keepalive too.

use futures::FutureExt as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::trace;

use super::command::Wire;
use super::progress::Progress;
use super::session::{Exec, ExecEnd, Remote};
use super::shells::{Shell, Shells};
use super::step::{Entry, LeashOrder};
use crate::ssh::{Broken, Connection, Heard, NoChannel};

/// Lines to the leash that wait for the connection.
const LEASH: usize = 8;

/// For a startup file of the login shell that reads a line or two: what is to run must not go there.
const EATEN: &[u8] = b"\n\n\n\n";

/// Runs the progress. The second value: may the connection be used again?
pub async fn run(connection: &Connection, shells: &mut Shells, mut exec: Exec<'_>) -> (ExecEnd, bool) {
    // A step that is only watched may run already: it is ended when the host has been asked for it.
    if exec.stop.is_cancelled() && matches!(exec.command, Remote::Plain(_) | Remote::Durable(_, Entry::Start)) {
        return (ExecEnd::NotStarted("stopped before it was sent".into()), true);
    }
    let nonce = format!("{:032x}", rand::random::<u128>());
    let wire = exec.command.wire(&nonce, exec.findings.is_some());
    if !wire.setup.is_empty()
        && let Some(shell) = shells.idle.remove(&wire.exec)
    {
        trace!("shell reused");
        let talk = converse(connection, &mut exec, &wire, shell).await;
        // It may have been killed, or closed by the server, since its last command. One that does not answer may have read it.
        let gone = matches!(talk.end, ExecEnd::NotStarted(_)) && !connection.is_closed();
        if !gone || exec.stop.is_cancelled() {
            return talk.over(connection, shells, &wire.exec);
        }
    }
    match shells.open(connection, &wire.exec).await {
        Ok(shell) => converse(connection, &mut exec, &wire, shell).await.over(connection, shells, &wire.exec),
        Err(NoChannel::Refused(reason)) => (ExecEnd::NotStarted(reason.into()), true),
        Err(NoChannel::Broken(reason)) => (ExecEnd::NotStarted(reason.into()), false),
    }
}

/// A command's way through a shell.
struct Talk {
    end: ExecEnd,
    /// The shell, if it takes another progress.
    shell: Option<Shell>,
    /// The connection took all that it was to take.
    usable: bool,
}

impl Talk {
    fn over(self, connection: &Connection, shells: &mut Shells, exec: &str) -> (ExecEnd, bool) {
        if let Some(shell) = self.shell {
            shells.idle.insert(exec.to_owned(), shell);
        }
        (self.end, self.usable && !connection.is_closed())
    }
}

/// Sends the command to the shell, after what that has to be taught, and listens to the end.
async fn converse(connection: &Connection, exec: &mut Exec<'_>, wire: &Wire, mut shell: Shell) -> Talk {
    let text = [EATEN, shell.teach(&wire.setup).as_bytes(), &wire.stdin].concat();
    let mut progress = Progress::new(exec, wire, &connection.timeouts);
    let mut end = None;
    {
        // Orders to the leash. Emptied as fast as the connection takes them; a question that finds no room is left out.
        let (leash, mut lines) = mpsc::channel::<String>(LEASH);
        let writer = &shell.writer;
        let feed = async {
            // Not waiting for the reply to the request saves a round trip. If it is a refusal, nobody reads this.
            writer.write(text).await?;
            while let Some(line) = lines.recv().await {
                writer.write(line.into_bytes()).await?;
            }
            Ok::<(), Broken>(())
        };
        tokio::pin!(feed);
        let (mut feeding, mut listening) = (true, true);
        while end.is_none() || !progress.pending.is_empty() {
            let wake = progress.wake();
            tokio::select! {
                permit = exec.output.reserve(), if listening && !progress.pending.is_empty() => match permit {
                    Ok(permit) => {
                        if let Some(chunk) = progress.pending.pop_front() {
                            permit.send(chunk);
                        }
                        progress.heard();
                    }
                    Err(_) => listening = false,
                },
                heard = shell.reader.next(), if end.is_none() && progress.pending.is_empty() => end = progress.take(heard, connection),
                // An error here is the end of the connection, which the reader tells as well.
                _ = &mut feed, if feeding => feeding = false,
                () = exec.stop.cancelled(), if !progress.stop => progress.stop = true,
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() && end.is_none() => {
                    if progress.is_unheard() {
                        // What the server had sent before it answers has come by then, however slow the line is.
                        if !connection.answers().await {
                            end = progress.take(Heard::Lost, connection);
                        }
                        while end.is_none() && let Some(heard) = shell.reader.next().now_or_never() {
                            end = progress.take(heard, connection);
                        }
                    }
                    end = end.or_else(|| progress.late());
                }
            }
            if !listening {
                progress.pending.clear();
            }
            if let Some(line) = progress.next_line() {
                // Questions leave room for the other lines there are; and if the feed has ended, so has the connection.
                let _ = leash.try_send(line);
            }
            if progress.asks() && leash.capacity() > LEASH / 2 {
                let _ = leash.try_send(LeashOrder::Poll.line().to_owned());
            }
        }
    }
    let end = end.unwrap_or_else(|| ExecEnd::Lost(connection.lost().into()));
    if progress.leaves_its_shell(exec.command) {
        return Talk { end, shell: Some(shell), usable: true };
    }
    Talk { end, shell: None, usable: shell.close(connection.timeouts.channel).await }
}
