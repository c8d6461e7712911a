//! How long each stage may take. russh has no limit of its own before the login.

use std::time::Duration;

/// Between TERM and KILL.
pub const GRACE: Duration = Duration::from_secs(5);

/// The limits of the stages; that of the TCP connection is the host's own ([`crate::model::inventory::ssh::Endpoint::connect_timeout`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Name to addresses.
    pub resolve: Duration,
    /// Banner and key exchange.
    pub handshake: Duration,
    /// Each attempt to log in.
    pub auth: Duration,
    /// Opening a channel, and from there to the first sign of the command's shell.
    pub channel: Duration,
    /// Between TERM and KILL, and again until a command that KILL did not end is given up.
    pub grace: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(10),
            handshake: Duration::from_secs(20),
            auth: Duration::from_secs(20),
            channel: Duration::from_secs(20),
            grace: GRACE,
        }
    }
}

impl Timeouts {
    /// The handshake's limit: twice the connection's, if that is less. Who wants to wait less for the one means both, as with
    /// OpenSSH's `ConnectTimeout`.
    pub(super) fn handshake_of(&self, connect: Duration) -> Duration {
        self.handshake.min(connect.saturating_mul(2))
    }
}

/// `20 s`, `0.5 s`.
pub(crate) fn in_words(limit: Duration) -> String {
    format!("{} s", limit.as_secs_f64())
}
