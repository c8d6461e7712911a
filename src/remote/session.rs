//! Two small traits, so that a scripted transport can stand in for the network in tests, and what a session is told to run.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::command::Wire;
use super::question::Question;
use super::step::{DurableStep, Entry};
use crate::model::inventory::ssh::Endpoint;
use crate::model::plan::command::RemoteCommand;
use crate::model::run::event::Stream;
use crate::model::run::reason::Reason;
use crate::model::text::name::HostLabel;
use crate::ssh::ConnectError;

pub type Connecting<'a> = BoxFuture<'a, Result<Box<dyn Session>, ConnectError>>;

pub trait Connect: Send + Sync + 'static {
    /// Reaches the host, which `label` names to people, verifies its key and logs in. Every stage has a time limit of its own; cancelling is
    /// dropping the future.
    fn connect<'a>(&'a self, label: &'a HostLabel, host: &'a Endpoint) -> Connecting<'a>;
}

/// One connection to one host. A plain command runs in a channel of its own; all questions and durable steps of a user share one.
pub trait Session: Send {
    /// Runs a command to its end, or until a limit or `stop` ends it. Output goes to `exec.output` as it comes.
    fn exec<'a>(&'a mut self, exec: Exec<'a>) -> BoxFuture<'a, ExecEnd>;

    /// Is the connection still there? A session that says no will never say yes again.
    fn is_alive(&self) -> bool;

    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}

pub struct Exec<'a> {
    pub command: Remote<'a>,
    /// Longest running time. A durable step's is its own, since the host keeps to it.
    pub timeout: Option<Duration>,
    /// Longest time without a byte of output.
    pub idle_timeout: Option<Duration>,
    /// Ends the command: TERM to its process group, after [`GRACE`](crate::ssh::GRACE) KILL.
    pub stop: CancellationToken,
    /// Bounded: the channel's reader waits when the receiver is slow, and so, in the end, does the command.
    pub output: mpsc::Sender<OutputChunk>,
    /// Takes what the command reports about itself, at its end. With room for one; without it, a plain command cannot report anything.
    pub findings: Option<mpsc::Sender<Vec<u8>>>,
}

#[derive(Debug, Clone, Copy)]
pub enum Remote<'a> {
    /// A command that ends with its channel, or is lost with it.
    Plain(&'a RemoteCommand),
    /// A step that outlives its channel.
    Durable(&'a DurableStep, Entry),
    /// A question. It has no leash: `stop` does not cut it short.
    Question(&'a Question),
}

impl Remote<'_> {
    /// `reports`: somebody takes what a plain command reports.
    pub fn wire(&self, nonce: &str, reports: bool) -> Wire {
        match self {
            Self::Plain(command) if reports => command.reporting_wire(nonce),
            Self::Plain(command) => command.wire(nonce),
            Self::Durable(step, entry) => step.wire(*entry, nonce),
            Self::Question(question) => question.wire(nonce),
        }
    }

    pub fn text(&self) -> &str {
        match self {
            Self::Plain(command) => &command.text,
            Self::Durable(step, _) => &step.command.text,
            Self::Question(question) => question.text(),
        }
    }
}

/// Bytes that a command printed, without the marks around them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputChunk {
    pub stream: Stream,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecEnd {
    /// It exited; 0 to 255, above 128 perhaps by a signal (see [`crate::model::plan::command::signal_of_status`]).
    Exited(u8),
    /// The running time was over and its process group was ended.
    TimedOut,
    /// It was silent for too long and its process group was ended.
    IdleTimedOut,
    /// `stop` was cancelled and its process group was ended.
    Stopped,
    /// It was certainly not started.
    NotStarted(Reason),
    /// A durable step that was only to be watched, and the host proves that it was never started.
    Absent,
    /// It may have been started, and nobody listens to it any more. A durable step can be asked for again.
    Lost(Reason),
    /// A durable step that may have been started, and what became of it cannot be found out.
    Unknown(Reason),
    /// A durable step that goes on, and whose host could not be reached again.
    Detached(Reason),
}
