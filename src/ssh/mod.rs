//! The only place that names russh: connections, host keys, authentication, commands.
//!
//! The rest of fleet sees two small traits, so that a scripted transport can stand in for the network in tests.
//! The crate `russh-keys` that older guides name is dead: it was merged into russh as `russh::keys`.

mod agent;
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
mod scan;
mod session;
mod timeouts;
mod trust;

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::model::command::RemoteCommand;
use crate::model::event::Stream;
use crate::model::plan::PlanHost;

pub use agent::agent_has;
pub use connector::SshConnector;
pub use credentials::{Credentials, Identity, PasswordGate};
pub use host_key::HostKey;
pub use known_hosts::{KnownHosts, KnownHostsError, Pin, Verdict, pin};
pub use scan::scan_host_key;
pub use timeouts::Timeouts;

/// Makes connections to hosts.
pub trait Connect: Send + Sync + 'static {
    /// Reaches the host, verifies its key and logs in. Every stage has a time limit of its own; cancelling is dropping the future.
    fn connect<'a>(&'a self, host: &'a PlanHost) -> BoxFuture<'a, Result<Box<dyn Session>, ConnectError>>;
}

/// One connection to one host. Each command runs in a channel of its own.
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
    pub command: &'a RemoteCommand,
    /// Longest running time.
    pub timeout: Option<Duration>,
    /// Longest time without a byte of output.
    pub idle_timeout: Option<Duration>,
    /// Ends the command: TERM to its process group, after [`GRACE`] KILL.
    pub stop: CancellationToken,
    /// Bounded: the channel's reader waits when the receiver is slow, and so, in the end, does the command.
    pub output: mpsc::Sender<OutputChunk>,
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
    /// It exited; 0 to 255, above 128 perhaps by a signal (see [`crate::model::command::signal_of_status`]).
    Exited(u8),
    /// The running time was over and its process group was ended.
    TimedOut,
    /// It was silent for too long and its process group was ended.
    IdleTimedOut,
    /// `stop` was cancelled and its process group was ended.
    Stopped,
    /// It was certainly not started.
    NotStarted(String),
    /// It may have been started, and nobody knows how it ended.
    Lost(String),
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
    },
    /// Something listens, but does not speak SSH in time, or the key exchange failed.
    #[error("no SSH handshake with {address}: {reason}")]
    Handshake {
        /// Address and port.
        address: String,
        /// `no SSH banner in 20 s`, `key exchange: …`.
        reason: String,
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
    },
}
