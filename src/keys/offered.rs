//! A key that a host offered to a scan.

use crate::model::inventory::host_key::Verdict;
use crate::model::plan::plan::PlanHost;
use crate::model::text::name::HostLabel;
use crate::ssh::{HostKey, KnownHosts};

use super::pin::Pin;

/// What a host offered, and what `known_hosts` says to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    pub host: HostLabel,
    /// What would pin it.
    pub pin: Pin,
    pub verdict: Verdict,
}

impl Offered {
    /// The key of a host, looked up among the pinned ones.
    pub fn new(host: &PlanHost, key: &HostKey, known: &KnownHosts) -> Self {
        let pin = Pin { address: host.endpoint.address.clone(), port: host.endpoint.port, key: key.clone() };
        let verdict = known.check(pin.address.as_str(), pin.port, &pin.key);
        Self { host: host.label.clone(), pin, verdict }
    }
}
