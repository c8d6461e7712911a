//! Why something did not work: a closed list, for programs. People read the text beside it.

use serde::{Deserialize, Serialize};

/// What fleet can tell apart. What a step itself did wrong is in its [`StepOutcome`](crate::model::run::outcome::StepOutcome).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The name has no address.
    Resolve,
    ResolveTimedOut,
    /// Nothing listens there.
    ConnectionRefused,
    /// It was closed as soon as it was made.
    ConnectionReset,
    /// No route, no network, or what else the system says.
    Unreachable,
    ConnectTimedOut,
    /// Something else than SSH 2 listens there.
    NotSsh,
    /// The server speaks only protocol 1 of SSH.
    OldSsh,
    /// No key exchange.
    Handshake,
    /// It was closed before the key exchange was through, or the server takes no connection now.
    HandshakeClosed,
    /// It was not through in time.
    HandshakeTimedOut,
    /// No key is pinned for the host.
    HostKeyUnknown,
    /// The host has another key than the pinned one.
    HostKeyChanged,
    HostKeyRevoked,
    /// The server accepted none of what was tried.
    LoginRefused,
    /// It accepted the key, and wants a password as well.
    PasswordNeeded,
    LoginClosed,
    LoginTimedOut,
    /// The user may run nothing there, or nothing as another user.
    NoShell,
    SudoNeedsPassword,
    /// The connection breaks again and again.
    Unstable,
    /// Another run has locked the site.
    LockHeld,
    /// Another run has worked on the site since.
    Superseded,
    /// The lock could not be asked for.
    LockFailed,
    LockTaken,
    /// The lock could not be given back.
    LockKept,
    /// Others can write to the spool.
    SpoolNotSafe,
    /// The site's book cannot be written to.
    NoBook,
    /// The spool cannot be written to.
    NoSpool,
    NoRoom,
    /// A step did not succeed.
    Step,
    /// An undo did not succeed.
    Undo,
    /// The run stopped: what was done is held, or waits to be resumed.
    Stopped,
    Interrupted,
    LetGo,
    GivenUp,
    Bug,
}
