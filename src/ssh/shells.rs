//! Shells on a host: channels with a `/bin/sh` that reads commands from them.
//!
//! One that has run a durable step waits for the next one: that saves a round trip, a login shell and the supervisor's text. A shell is of
//! a user, so there may be several. They are the first to go when the server refuses a channel (`MaxSessions`).

use std::collections::HashMap;
use std::time::Duration;

use russh::client::Msg;
use russh::{Channel, ChannelReadHalf, ChannelWriteHalf};
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::link::Link;
use super::timeouts::{Timeouts, in_words};

/// Milliseconds before a channel that the server refused is asked for again. sshd frees a session only some time after its channel was
/// closed, and a strict `MaxSessions` makes the next command of a quick sequence wait for that.
const PAUSES: [u64; 5] = [20, 40, 80, 160, 320];

/// A channel, and the shell that it was opened for.
pub(super) struct Shell {
    pub reader: ChannelReadHalf,
    pub writer: ChannelWriteHalf<Msg>,
}

impl Shell {
    /// Closes the channel. False when the connection does not take it.
    pub async fn close(self, timeouts: &Timeouts) -> bool {
        timeout(timeouts.channel, self.writer.close()).await.is_ok()
    }
}

/// The shells of a connection that wait for a command, each under what the login shell got. They say nothing while they wait, so nobody
/// has to read their channels.
#[derive(Default)]
pub(super) struct Shells {
    idle: HashMap<String, Shell>,
}

impl Shells {
    /// One that waits, or may be gone without a word.
    pub fn take(&mut self, exec: &str) -> Option<Shell> {
        self.idle.remove(exec)
    }

    /// Lets it wait for its next command.
    pub fn keep(&mut self, exec: &str, shell: Shell) {
        self.idle.insert(exec.to_owned(), shell);
    }

    /// Opens a new one. An error is why not, and whether the connection can be used again.
    pub async fn open(&mut self, link: &Link, timeouts: &Timeouts, exec: &str) -> Result<Shell, (String, bool)> {
        let channel = match timeout(timeouts.channel, self.channel(link)).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(Some(refusal))) => return Err((refusal, true)),
            Ok(Err(None)) => return Err((link.lost(), false)),
            Err(_) => return Err((format!("the server opened no channel in {}", in_words(timeouts.channel)), false)),
        };
        debug!("channel opened");
        let (reader, writer) = channel.split();
        match timeout(timeouts.channel, writer.exec(true, exec)).await {
            Ok(Ok(())) => Ok(Shell { reader, writer }),
            Ok(Err(_)) => Err((link.lost(), false)),
            Err(_) => Err(("the connection takes no requests".to_owned(), false)),
        }
    }

    /// Err: the server's refusal, or `None` when the connection is gone.
    async fn channel(&mut self, link: &Link) -> Result<Channel<Msg>, Option<String>> {
        let mut pauses = PAUSES.into_iter();
        loop {
            match link.handle.channel_open_session().await {
                Ok(channel) => return Ok(channel),
                Err(russh::Error::ChannelOpenFailure(reason)) => {
                    for (_, shell) in self.idle.drain() {
                        let _ = shell.writer.close().await;
                    }
                    info!(?reason, "the server opens no channel");
                    let Some(pause) = pauses.next() else {
                        return Err(Some(format!("the server opens no channel: {reason:?}")));
                    };
                    sleep(Duration::from_millis(pause)).await;
                }
                Err(_) => return Err(None),
            }
        }
    }
}
