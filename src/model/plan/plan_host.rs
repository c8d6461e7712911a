//! A host of a plan, and how it is reached.

use std::sync::Arc;
use std::time::Duration;

use crate::model::plan::book::Book;
use crate::model::plan::values::Values;
use crate::model::text::name::{Address, HostLabel, HostName, RoleName, SiteName, UserName};

/// How long to retry a first connection when nobody says otherwise: sshd is back from a restart, or has room again, in less.
pub const CONNECT_RETRY: Duration = Duration::from_secs(5);
/// How long a lost connection is tried to be made again when nobody says otherwise.
pub const RECONNECT_TIMEOUT: Duration = Duration::from_secs(600);
/// Between two signs of life when nobody says otherwise.
pub const KEEPALIVE: Duration = Duration::from_secs(15);

/// A targeted host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanHost {
    /// What the run calls it.
    pub label: HostLabel,
    /// Its site.
    pub site: SiteName,
    /// Its name in the inventory.
    pub name: HostName,
    /// Where it is reached.
    pub address: Address,
    /// TCP port.
    pub port: u16,
    /// Login user.
    pub user: UserName,
    /// Private key file, when the inventory or the command line names one.
    pub identity: Option<String>,
    /// Limit of the TCP connection.
    pub connect_timeout: Duration,
    /// How long to retry a first connection that is refused or closed at once.
    pub connect_retry: Duration,
    /// How long a lost connection is tried to be made again.
    pub reconnect_timeout: Duration,
    /// Between two signs of life that are asked of the host; after four without an answer the connection is lost.
    pub keepalive: Duration,
    /// Its roles.
    pub roles: Vec<RoleName>,
    /// The folder of the site's book on it ([`crate::model::plan::book`]), where the recipe names one.
    pub book: Option<String>,
    /// What it has for placeholders, where not all hosts of the plan have the same.
    pub values: Arc<Values>,
}

impl PlanHost {
    /// The book of its site on it.
    pub fn site_book(&self) -> Book {
        Book { site: self.site.clone(), folder: self.book.clone(), login: self.user.clone(), lost: false }
    }
}
