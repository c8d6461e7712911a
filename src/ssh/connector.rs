//! Connections to real hosts.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tracing::{Span, debug};

use super::admission::Admission;
use super::credentials::{Credentials, PasswordGate};
use super::dial::Dial;
use super::known_hosts::{KnownHosts, Verdict};
use super::link::{self, Judge};
use super::session::SshSession;
use super::timeouts::Timeouts;
use super::trust::Offer;
use super::{Connect, ConnectError, Session, login};
use crate::model::plan::plan::PlanHost;

/// Connects over the network, to hosts whose keys are pinned, and to no others.
#[derive(Debug, Clone)]
pub struct SshConnector {
    /// The pinned keys.
    pub known_hosts: Arc<KnownHosts>,
    /// What to log in with.
    pub credentials: Arc<Credentials>,
    /// How long each stage may take.
    pub timeouts: Timeouts,
    /// How many may log in at the same time.
    pub admission: Arc<Admission>,
}

impl SshConnector {
    /// The same, with a password besides.
    #[must_use]
    pub fn with_password(&self, password: &Arc<PasswordGate>) -> Self {
        let credentials = Credentials { password: Some(Arc::clone(password)), ..Credentials::clone(&self.credentials) };
        Self { credentials: Arc::new(credentials), ..self.clone() }
    }

    async fn connect_to(&self, host: &PlanHost) -> Result<SshSession, ConnectError> {
        let dial = Dial {
            address: host.address.as_str(),
            port: host.port,
            resolve: self.timeouts.resolve,
            connect: host.connect_timeout,
            admission: &self.admission,
        };
        let types = self.known_hosts.pinned_types(dial.address, dial.port);
        let identity = host.identity.as_deref();
        debug!(address = dial.address, port = dial.port, user = %host.user, identity, ?types, "connecting");
        let handshake = self.timeouts.handshake_of(host.connect_timeout);
        let mut link = link::connect(&dial, handshake, &types, host.keepalive, self.judge(host)).await?;
        login::login(&mut link, host, &self.credentials, self.timeouts.auth).await?;
        link.permits = None;
        Ok(SshSession::new(link, self.timeouts))
    }

    fn judge(&self, host: &PlanHost) -> Judge {
        let (known_hosts, site) = (Arc::clone(&self.known_hosts), host.site.clone());
        let (address, port) = (host.address.clone(), host.port);
        // russh asks in a task of its own.
        let span = Span::current();
        Box::new(move |key| {
            let offer = Offer { site: site.as_str(), address: address.as_str(), port, key };
            let verdict = known_hosts.check(address.as_str(), port, key);
            let (task, fingerprint) = (tokio::task::try_id().map(tracing::field::display), key.fingerprint());
            let pinned = matches!(verdict, Verdict::Pinned);
            span.in_scope(|| debug!(task, kind = key.key_type(), fingerprint, pinned, "host key"));
            offer.judge(&verdict)
        })
    }
}

impl Connect for SshConnector {
    fn connect<'a>(&'a self, host: &'a PlanHost) -> BoxFuture<'a, Result<Box<dyn Session>, ConnectError>> {
        async move {
            let connected = self.connect_to(host).await.inspect_err(|error| debug!(%error, "no connection"));
            Ok(Box::new(connected?) as Box<dyn Session>)
        }
        .boxed()
    }
}
