//! The only place that names russh: connections, host keys, authentication, commands.
//!
//! The rest of fleet sees two small traits, so that a scripted transport can stand in for the network in tests.
//! The crate `russh-keys` that older guides name is dead: it was merged into russh as `russh::keys`.

mod admission;
mod agent;
mod backoff;
mod connector;
mod credentials;
mod dial;
mod exec;
mod framing;
mod host_key;
pub mod key;
pub mod known_hosts;
mod link;
mod login;
mod progress;
mod scan;
mod session;
mod shells;
mod timeouts;
mod trust;
mod words;

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::model::plan::command::{RemoteCommand, Wire};
use crate::model::plan::durable::{DurableStep, Entry};
use crate::model::plan::plan::PlanHost;
use crate::model::plan::spool::Question;
use crate::model::run::event::Stream;

pub use admission::Admission;
pub use agent::agent_has;
pub use backoff::Backoff;
pub use connector::SshConnector;
pub use credentials::{AgentKey, Credentials, Identity, PasswordGate};
pub use host_key::HostKey;
pub use known_hosts::{KnownHosts, KnownHostsError, Pin, Verdict, pin};
pub use russh::keys::{Certificate, PrivateKey};
pub use scan::scan_host_key;
pub use timeouts::Timeouts;

/// Makes connections to hosts.
pub trait Connect: Send + Sync + 'static {
    /// Reaches the host, verifies its key and logs in. Every stage has a time limit of its own; cancelling is dropping the future.
    fn connect<'a>(&'a self, host: &'a PlanHost) -> BoxFuture<'a, Result<Box<dyn Session>, ConnectError>>;
}

/// One connection to one host. A plain command runs in a channel of its own; all questions and durable steps of a user share one.
pub trait Session: Send {
    /// Runs a command to its end, or until a limit or `stop` ends it. Output goes to `exec.output` as it comes.
    fn exec<'a>(&'a mut self, exec: Exec<'a>) -> BoxFuture<'a, ExecEnd>;

    /// Is the connection still there? A session that says no will never say yes again.
    fn is_alive(&self) -> bool;

    /// Says good-bye.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// A command to run, with its limits.
pub struct Exec<'a> {
    /// The command.
    pub command: Remote<'a>,
    /// Longest running time. A durable step's is its own, since the host keeps to it.
    pub timeout: Option<Duration>,
    /// Longest time without a byte of output.
    pub idle_timeout: Option<Duration>,
    /// Ends the command: TERM to its process group, after [`GRACE`] KILL.
    pub stop: CancellationToken,
    /// Bounded: the channel's reader waits when the receiver is slow, and so, in the end, does the command.
    pub output: mpsc::Sender<OutputChunk>,
}

/// What is run in a channel.
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
    /// What is sent, and what to expect; `nonce` is fresh random hex.
    pub fn wire(&self, nonce: &str) -> Wire {
        match self {
            Self::Plain(command) => command.wire(nonce),
            Self::Durable(step, entry) => step.wire(*entry, nonce),
            Self::Question(question) => question.wire(nonce),
        }
    }

    /// The command's own text.
    pub fn text(&self) -> &str {
        match self {
            Self::Plain(command) => &command.text,
            Self::Durable(step, _) => &step.command.text,
            Self::Question(question) => question.text(),
        }
    }
}

/// Between TERM and KILL.
pub const GRACE: Duration = Duration::from_secs(5);

/// Bytes that a command printed, without the marks around them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputChunk {
    /// Where it printed them.
    pub stream: Stream,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// How a command ended.
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
    NotStarted(String),
    /// A durable step that was only to be watched, and the host proves that it was never started.
    Absent,
    /// It may have been started, and nobody listens to it any more. A durable step can be asked for again.
    Lost(String),
    /// A durable step that may have been started, and what became of it cannot be found out.
    Unknown(String),
    /// A durable step that goes on, and whose host could not be reached again.
    Detached(String),
}

/// Why there is no connection. Each names the stage, so that the message does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("cannot resolve {address}: {reason}")]
    Resolve {
        /// The name.
        address: String,
        /// The resolver's words, or a time-out.
        reason: String,
    },
    /// No TCP connection.
    #[error("cannot connect to {address}: {reason}")]
    Tcp {
        /// Address and port.
        address: String,
        /// `connection refused`, `no answer in 10 s`.
        reason: String,
        /// It was turned away at once: another attempt may be let in.
        transient: bool,
    },
    /// Something listens, but does not speak SSH in time, or the key exchange failed.
    #[error("no SSH handshake with {address}: {reason}")]
    Handshake {
        /// Address and port.
        address: String,
        /// `no SSH banner in 20 s`, `key exchange: …`.
        reason: String,
        /// The connection was closed: another attempt may be let in.
        transient: bool,
    },
    /// The host's key is not the pinned one.
    #[error("{message}")]
    HostKey {
        /// All of it: what was offered, what is pinned and where, and what to do.
        message: String,
    },
    /// No login.
    #[error("login as {user} failed: {reason}")]
    Auth {
        /// The user.
        user: String,
        /// Which methods were tried and what the server still offers.
        reason: String,
        /// The server said no. Else the connection broke, or nothing was answered in time.
        refused: bool,
        /// What it said to the keys.
        key: KeyAnswer,
    },
}

/// What a server that did not let in said to keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAnswer {
    /// It accepted one: something else is missing.
    Accepted,
    /// It takes keys, and accepted none.
    Refused,
    /// It takes none, or none before something else.
    NotWanted,
}

impl ConnectError {
    /// Would another attempt only be told the same?
    pub fn is_final(&self) -> bool {
        match self {
            Self::HostKey { .. } => true,
            Self::Auth { refused, .. } => *refused,
            Self::Resolve { .. } | Self::Tcp { .. } | Self::Handshake { .. } => false,
        }
    }

    /// Was it turned away at once, as a server does that is busy or restarts?
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Tcp { transient, .. } | Self::Handshake { transient, .. } => *transient,
            Self::Resolve { .. } | Self::HostKey { .. } | Self::Auth { .. } => false,
        }
    }
}
