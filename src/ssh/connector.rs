//! Connections to real hosts.

use std::sync::Arc;

use tracing::debug;

use super::admission::Admission;
use super::channel::Connection;
use super::connect_error::ConnectError;
use super::credentials::{Credentials, PasswordGate};
use super::dial::Dial;
use super::known_hosts::KnownHosts;
use super::link::{self, Judge};
use super::login;
use super::timeouts::Timeouts;
use crate::model::inventory::ssh::Endpoint;
use crate::model::text::name::HostLabel;

/// Connects over the network, to hosts whose keys are pinned, and to no others.
#[derive(Debug, Clone)]
pub struct SshConnector {
    pub known_hosts: Arc<KnownHosts>,
    pub credentials: Arc<Credentials>,
    pub timeouts: Timeouts,
    pub admission: Arc<Admission>,
}

impl SshConnector {
    #[must_use]
    pub fn with_password(&self, password: &Arc<PasswordGate>) -> Self {
        let credentials = Credentials { password: Some(Arc::clone(password)), ..Credentials::clone(&self.credentials) };
        Self { credentials: Arc::new(credentials), ..self.clone() }
    }

    pub(crate) async fn connect_to(&self, label: &HostLabel, host: &Endpoint) -> Result<Connection, ConnectError> {
        let (address, port, identity) = (host.address.as_str(), host.port, host.identity.as_deref());
        let types = self.known_hosts.pinned_types(address, port);
        debug!(address, port, user = %host.user, identity, ?types, "connecting");
        let dial = Dial { host, timeouts: &self.timeouts, admission: &self.admission };
        let mut link = link::connect(&dial, &types, self.judge(host)).await?;
        login::login(&mut link, (label, host), &self.credentials, self.timeouts.auth).await?;
        link.permits = None;
        Ok(Connection::new(link, self.timeouts))
    }

    fn judge(&self, host: &Endpoint) -> Judge {
        let (known_hosts, address, port) = (Arc::clone(&self.known_hosts), host.address.clone(), host.port);
        Box::new(move |key| known_hosts.check(address.as_str(), port, key))
    }
}
