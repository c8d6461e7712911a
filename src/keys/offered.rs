//! A key that a host offered to a scan.

use crate::model::inventory::host_key::Verdict;
use crate::model::plan::plan::PlanHost;
use crate::model::text::name::{Address, HostLabel};
use crate::ssh::{HostKey, KnownHosts};

/// What a host offered, and what `known_hosts` says to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    pub host: HostLabel,
    pub address: Address,
    pub port: u16,
    /// `ssh-ed25519`.
    pub key_type: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    pub verdict: Verdict,
}

impl Offered {
    /// The key of a host, looked up among the pinned ones.
    pub fn new(host: &PlanHost, key: &HostKey, known: &KnownHosts) -> Self {
        let (address, port) = (&host.endpoint.address, host.endpoint.port);
        Self {
            host: host.label.clone(),
            address: address.clone(),
            port,
            key_type: key.key_type().to_owned(),
            fingerprint: key.fingerprint(),
            verdict: known.check(address.as_str(), port, key),
        }
    }
}
