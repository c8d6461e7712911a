//! Why there is no connection.

use crate::model::inventory::host_key::HostKeyRefusal;
use crate::model::run::cause::Cause;
use crate::model::run::reason::Reason;
use crate::model::text::hint::Hint;
use crate::model::text::name::SiteName;

/// Why there is no connection. Each names the stage, so that the message does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot resolve {address}: {reason}")]
    Resolve {
        /// The name.
        address: String,
        /// The resolver's words, or a time-out.
        reason: String,
        /// [`Cause::Resolve`] or [`Cause::ResolveTimedOut`].
        cause: Cause,
    },
    #[error("cannot connect to {address}: {reason}")]
    Tcp {
        /// Address and port.
        address: String,
        /// `connection refused`, `no answer in 10 s`.
        reason: String,
        /// Which of the two, or another trouble.
        cause: Cause,
    },
    /// Something listens, but does not speak SSH in time, or the key exchange failed.
    #[error("no SSH handshake with {address}: {reason}")]
    Handshake {
        /// Address and port.
        address: String,
        /// `no SSH banner in 20 s`, `key exchange: …`.
        reason: String,
        /// What was in the way.
        cause: Cause,
    },
    #[error("{0}")]
    HostKey(Box<HostKeyRefusal>),
    #[error("login as {user} failed: {reason}")]
    Auth {
        user: String,
        /// Which methods were tried and what the server still offers.
        reason: String,
        /// The server said no, wants a password as well, closed the connection or did not answer.
        cause: Cause,
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
    /// For a host of this site.
    pub fn reason(&self, site: &SiteName) -> Reason {
        Reason { text: self.to_string(), cause: Some(self.cause()), hints: self.hint(site).into_iter().collect() }
    }

    /// What to do about it on a host of this site.
    pub fn hint(&self, site: &SiteName) -> Option<Hint> {
        match self {
            Self::HostKey(refusal) => refusal.hint(site).map(Hint::Advice),
            Self::Auth { cause: Cause::PasswordNeeded, .. } => {
                Some(Hint::advice("--ask-pass, or --password-file FILE"))
            }
            Self::Auth { cause: Cause::LoginRefused, key: KeyAnswer::Refused, .. } => {
                let hint = format!("`fleet {site} distribute-keys` brings the project's key to hosts that lack it");
                Some(Hint::Advice(hint))
            }
            Self::Handshake { cause: Cause::OldSsh, .. } => Some(Hint::advice("it needs a newer sshd")),
            Self::Resolve { .. } | Self::Tcp { .. } | Self::Handshake { .. } | Self::Auth { .. } => None,
        }
    }

    /// Would another attempt only be told the same?
    pub fn is_final(&self) -> bool {
        match self {
            Self::HostKey(_) => true,
            Self::Auth { cause, .. } => !matches!(cause, Cause::LoginClosed | Cause::LoginTimedOut),
            Self::Resolve { .. } | Self::Tcp { .. } | Self::Handshake { .. } => false,
        }
    }

    /// Was it turned away at once, as a server does that is busy or restarts?
    pub fn is_transient(&self) -> bool {
        matches!(self.cause(), Cause::ConnectionRefused | Cause::ConnectionReset | Cause::HandshakeClosed)
    }

    fn cause(&self) -> Cause {
        match self {
            Self::Resolve { cause, .. }
            | Self::Tcp { cause, .. }
            | Self::Handshake { cause, .. }
            | Self::Auth { cause, .. } => *cause,
            Self::HostKey(refusal) => refusal.cause(),
        }
    }
}
