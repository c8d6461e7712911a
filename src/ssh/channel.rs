//! A connection that is logged in, and the channels in it: how a shell is opened, written to and listened to.

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect};
use tokio::time::timeout;
use tracing::{debug, info};

use super::link::Link;
use super::timeouts::{Timeouts, in_words};
use crate::model::run::event::Stream;

pub(crate) struct Connection {
    link: Link,
    pub timeouts: Timeouts,
}

pub(crate) enum NoChannel {
    /// The server refuses another one, and the connection stands.
    Refused(String),
    /// The connection is of no more use.
    Broken(String),
}

pub(crate) struct ChannelReader(ChannelReadHalf);

pub(crate) struct ChannelWriter(ChannelWriteHalf<Msg>);

#[derive(Debug)]
pub(crate) enum Heard {
    Output(Stream, Vec<u8>),
    Exit(String),
    Refused,
    Closed,
    Lost,
}

#[derive(Debug)]
pub(crate) struct Broken;

impl Connection {
    pub(super) fn new(link: Link, timeouts: Timeouts) -> Self {
        Self { link, timeouts }
    }

    /// What a command says comes from one half of its channel, and what is said to it goes to the other.
    pub async fn channel(&self) -> Result<(ChannelReader, ChannelWriter), NoChannel> {
        match timeout(self.timeouts.channel, self.link.handle.channel_open_session()).await {
            Ok(Ok(channel)) => {
                debug!("channel opened");
                let (reader, writer) = channel.split();
                Ok((ChannelReader(reader), ChannelWriter(writer)))
            }
            Ok(Err(russh::Error::ChannelOpenFailure(reason))) => {
                info!(?reason, "the server opens no channel");
                Err(NoChannel::Refused(format!("the server opens no channel: {reason:?}")))
            }
            Ok(Err(_)) => Err(NoChannel::Broken(self.lost())),
            Err(_) => {
                Err(NoChannel::Broken(format!("the server opened no channel in {}", in_words(self.timeouts.channel))))
            }
        }
    }

    /// Waits for an answer, behind which all that was sent before it has come. False: there is none in time.
    pub async fn answers(&self) -> bool {
        timeout(self.timeouts.channel, self.link.handle.send_ping()).await.is_ok()
    }

    pub fn is_closed(&self) -> bool {
        self.link.handle.is_closed()
    }

    pub fn lost(&self) -> String {
        self.link.lost()
    }

    pub async fn close(mut self) {
        self.link.note_closing();
        // The server need not be there any more to say good-bye to.
        let _ = timeout(self.timeouts.grace, async {
            let _ = self.link.handle.disconnect(Disconnect::ByApplication, "", "").await;
            let _ = (&mut self.link.handle).await;
        })
        .await;
    }
}

impl ChannelWriter {
    /// Asks for the command. The reply comes as what the channel tells.
    pub async fn exec(&self, command: &str) -> Result<(), Broken> {
        self.0.exec(true, command).await.map_err(|_| Broken)
    }

    pub async fn write(&self, bytes: Vec<u8>) -> Result<(), Broken> {
        self.0.data_bytes(bytes).await.map_err(|_| Broken)
    }

    pub async fn close(&self) {
        let _ = self.0.close().await;
    }
}

impl ChannelReader {
    /// What comes next. Nothing is lost when this is dropped.
    pub async fn next(&mut self) -> Heard {
        loop {
            return match self.0.wait().await {
                Some(ChannelMsg::Data { data }) => Heard::Output(Stream::Stdout, data.to_vec()),
                Some(ChannelMsg::ExtendedData { data, ext: 1 }) => Heard::Output(Stream::Stderr, data.to_vec()),
                Some(ChannelMsg::ExitStatus { exit_status }) => Heard::Exit(format!("exit status {exit_status}")),
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                    Heard::Exit(format!("ended by signal {signal_name:?}"))
                }
                Some(ChannelMsg::Failure) => Heard::Refused,
                Some(ChannelMsg::Close) => Heard::Closed,
                None => Heard::Lost,
                // Eof comes before or after the status, and a daemon may hold it back for ever.
                Some(_) => continue,
            };
        }
    }
}
