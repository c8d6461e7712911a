//! The only place that names russh: connections, host keys, authentication, channels. What is said in a channel is known to
//! [`crate::remote`].
//!
//! The crate `russh-keys` that older guides name is dead: it was merged into russh as `russh::keys`.

mod admission;
mod agent;
mod backoff;
mod channel;
mod connect_error;
mod connector;
mod credentials;
mod dial;
mod host_key;
pub mod key;
pub mod known_hosts;
mod link;
mod login;
mod scan;
mod timeouts;
mod words;

pub use crate::model::inventory::host_key::Verdict;
pub use admission::Admission;
pub use agent::agent_has;
pub use backoff::Backoff;
pub(crate) use channel::{Broken, ChannelReader, ChannelWriter, Connection, Heard, NoChannel};
pub use connect_error::{ConnectError, KeyAnswer};
pub use connector::SshConnector;
pub use credentials::{AgentKey, Credentials, Identity, PasswordGate};
pub use host_key::HostKey;
pub use known_hosts::{KnownHosts, KnownHostsError};
pub use russh::keys::{Certificate, PrivateKey};
pub use scan::scan_host_key;
pub(crate) use timeouts::in_words;
pub use timeouts::{GRACE, Timeouts};
