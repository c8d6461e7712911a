//! Which of the host keys that a scan found are to be pinned.
//!
//! Pure. Invariant: a key that contradicts what is pinned, or a list of fingerprints that was given, is refused; there is no flag
//! against it.

use std::collections::{BTreeMap, HashSet};

use crate::model::inventory::host_key::Verdict;
use crate::model::text::name::HostLabel;
use crate::ssh::HostKey;

use super::fingerprints::Fingerprints;
use super::offered::Offered;
use super::pin::Pin;

/// What becomes of an offered key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    Pinned,
    /// To be pinned, once confirmed.
    Pin,
    Refused(Refusal),
}

/// Why a key is not pinned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    Contradicted(Verdict),
    #[error("the list of fingerprints has another for this host (line {})", .lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    OtherFingerprint { lines: Vec<usize> },
    #[error("the list of fingerprints does not have it")]
    NotListed,
}

impl Refusal {
    pub fn hint(&self) -> String {
        match self {
            Self::Contradicted(verdict) => verdict.hint(),
            Self::OtherFingerprint { .. } | Self::NotListed => {
                "it may be an attack; compare with what the host says of itself: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"
                    .to_owned()
            }
        }
    }
}

/// One row of the table: hosts that share a key and its fate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The hosts, in the order of the scan.
    pub hosts: Vec<HostLabel>,
    pub key: HostKey,
    pub decision: Decision,
}

/// What becomes of the keys of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustDecision {
    /// The table, in the order of the scan.
    pub rows: Vec<Row>,
    /// What is to be pinned, once confirmed; each once.
    pub pin: Vec<Pin>,
    /// The hosts whose keys are refused, and why.
    pub refused: Vec<(HostLabel, Refusal)>,
}

/// Decides over a scan. With `listed`, a key is only pinned when the list has it.
pub fn decide(offered: &[Offered], listed: Option<&Fingerprints>) -> TrustDecision {
    let mut decision = TrustDecision { rows: Vec::new(), pin: Vec::new(), refused: Vec::new() };
    let mut row_of = BTreeMap::new();
    let mut pinned = HashSet::new();
    for offer in offered {
        let fate = judge(offer, listed);
        match &fate {
            Decision::Pin if pinned.insert(&offer.pin) => decision.pin.push(offer.pin.clone()),
            Decision::Pin | Decision::Pinned => {}
            Decision::Refused(refusal) => decision.refused.push((offer.host.clone(), refusal.clone())),
        }
        let key = &offer.pin.key;
        let row = *row_of.entry((key.fingerprint(), fate.clone())).or_insert_with(|| {
            decision.rows.push(Row { hosts: Vec::new(), key: key.clone(), decision: fate });
            decision.rows.len() - 1
        });
        if let Some(row) = decision.rows.get_mut(row) {
            row.hosts.push(offer.host.clone());
        }
    }
    decision
}

fn judge(offer: &Offered, listed: Option<&Fingerprints>) -> Decision {
    match &offer.verdict {
        Verdict::Changed { .. } | Verdict::OtherTypeKnown { .. } | Verdict::Revoked { .. } | Verdict::Certificate => {
            Decision::Refused(Refusal::Contradicted(offer.verdict.clone()))
        }
        Verdict::Pinned | Verdict::Unknown => {
            let new = offer.verdict == Verdict::Unknown;
            let Some(listed) = listed else { return if new { Decision::Pin } else { Decision::Pinned } };
            let contradictions = listed.lines_of_others(offer);
            match (listed.has(offer), new) {
                (true, true) => Decision::Pin,
                (false, _) if !contradictions.is_empty() => {
                    Decision::Refused(Refusal::OtherFingerprint { lines: contradictions })
                }
                (false, true) => Decision::Refused(Refusal::NotListed),
                // Confirmed, or the list is silent about a host that is trusted already.
                (true | false, false) => Decision::Pinned,
            }
        }
    }
}

#[cfg(test)]
mod tests;
