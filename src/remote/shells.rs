//! Shells on a host: channels with a `/bin/sh` that reads commands from them.
//!
//! One that has answered a question, or run a durable step, waits for the next one: that saves a round trip, a login shell and the text of the
//! scripts that it has been taught. A shell is of a user, so there may be several. They are the first to go when the server refuses a channel (`MaxSessions`).

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::ssh::{ChannelReader, ChannelWriter, Connection, NoChannel};

/// Milliseconds before a channel that the server refused is asked for again. sshd frees a session only some time after its channel was
/// closed, and a strict `MaxSessions` makes the next command of a quick sequence wait for that.
const PAUSES: [u64; 5] = [20, 40, 80, 160, 320];

/// A channel, and the shell that it was opened for.
pub(super) struct Shell {
    pub reader: ChannelReader,
    pub writer: ChannelWriter,
    /// The scripts that it has read.
    taught: Vec<&'static str>,
}

impl Shell {
    /// The scripts that it has not read yet, which are sent before the command.
    pub fn teach(&mut self, scripts: &[&'static str]) -> String {
        let new: Vec<&str> = scripts.iter().copied().filter(|script| !self.taught.contains(script)).collect();
        self.taught.extend(&new);
        new.concat()
    }

    /// Closes the channel. False when the connection does not take it.
    pub async fn close(self, limit: Duration) -> bool {
        timeout(limit, self.writer.close()).await.is_ok()
    }
}

/// The shells of a connection that wait for a command, each under what the login shell got. They say nothing while they wait, so nobody
/// has to read their channels; and one may be gone without a word.
#[derive(Default)]
pub(super) struct Shells {
    pub idle: HashMap<String, Shell>,
}

impl Shells {
    /// Opens a new one.
    pub async fn open(&mut self, connection: &Connection, exec: &str) -> Result<Shell, NoChannel> {
        let (reader, writer) = self.channel(connection).await?;
        match timeout(connection.timeouts.channel, writer.exec(exec)).await {
            Ok(Ok(())) => Ok(Shell { reader, writer, taught: Vec::new() }),
            Ok(Err(_)) => Err(NoChannel::Broken(connection.lost())),
            Err(_) => Err(NoChannel::Broken("the connection takes no requests".to_owned())),
        }
    }

    async fn channel(&mut self, connection: &Connection) -> Result<(ChannelReader, ChannelWriter), NoChannel> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let refused = match connection.channel().await {
                Err(refused @ NoChannel::Refused(_)) => refused,
                opened => return opened,
            };
            for (_, shell) in self.idle.drain() {
                shell.close(connection.timeouts.channel).await;
            }
            let Some(pause) = pauses.next() else { return Err(refused) };
            sleep(Duration::from_millis(pause)).await;
        }
    }
}
