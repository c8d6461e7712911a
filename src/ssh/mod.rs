//! The only place that names russh: connections, host keys, authentication, channels. What is said in a channel is known to
//! [`crate::remote`].
//!
//! The crate `russh-keys` that older guides name is dead: it was merged into russh as `russh::keys`.

mod admission;
mod agent;
mod backoff;
mod channel;
mod connector;
mod credentials;
mod dial;
mod host_key;
pub mod key;
pub mod known_hosts;
mod link;
mod login;
mod lookup_name;
mod scan;
mod timeouts;
mod words;

use std::time::Duration;

use crate::model::inventory::host_key::HostKeyRefusal;
use crate::model::text::name::SiteName;

pub use crate::model::inventory::host_key::Verdict;
pub use admission::Admission;
pub use agent::agent_has;
pub use backoff::Backoff;
pub(crate) use channel::{Broken, Channel, ChannelReader, ChannelWriter, Connection, Heard, NoChannel};
pub use connector::SshConnector;
pub use credentials::{AgentKey, Credentials, Identity, PasswordGate};
pub use host_key::HostKey;
pub use known_hosts::{KnownHosts, KnownHostsError};
pub use russh::keys::{Certificate, PrivateKey};
pub use scan::scan_host_key;
pub use timeouts::Timeouts;
pub(crate) use timeouts::in_words;

/// Between TERM and KILL.
pub const GRACE: Duration = Duration::from_secs(5);

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
    #[error("{0}")]
    HostKey(Box<HostKeyRefusal>),
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
    /// What people read of it: with what to type about a host of this site.
    pub fn told(&self, site: &SiteName) -> String {
        let hint = match self {
            Self::HostKey(refusal) => refusal.hint(site),
            Self::Auth { reason, refused: true, key: KeyAnswer::Refused, .. } if !reason.contains("\nhint: ") => {
                Some(format!("`fleet {site} distribute-keys` brings the project's key to hosts that lack it"))
            }
            Self::Resolve { .. } | Self::Tcp { .. } | Self::Handshake { .. } | Self::Auth { .. } => None,
        };
        hint.map_or_else(|| self.to_string(), |hint| format!("{self}\nhint: {hint}"))
    }

    /// Would another attempt only be told the same?
    pub fn is_final(&self) -> bool {
        match self {
            Self::HostKey(_) => true,
            Self::Auth { refused, .. } => *refused,
            Self::Resolve { .. } | Self::Tcp { .. } | Self::Handshake { .. } => false,
        }
    }

    /// Was it turned away at once, as a server does that is busy or restarts?
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Tcp { transient, .. } | Self::Handshake { transient, .. } => *transient,
            Self::Resolve { .. } | Self::HostKey(_) | Self::Auth { .. } => false,
        }
    }
}
