//! Which of the host keys that a scan found are to be pinned.
//!
//! Pure. Invariant: a key that contradicts what is pinned, or a list of fingerprints that was given, is refused; there is no flag
//! against it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::model::inventory::host_key::Verdict;
use crate::model::text::name::HostLabel;

use super::fingerprints::Fingerprints;
use super::offered::Offered;

/// What becomes of an offered key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// It is pinned already.
    Pinned,
    /// To be pinned, once confirmed.
    Pin,
    /// Not to be pinned.
    Refused(Refusal),
}

/// Why a key is not pinned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// It contradicts what is pinned.
    Contradicted(Verdict),
    /// The list of fingerprints has others for this host.
    OtherFingerprint {
        /// The lines that have them.
        lines: Vec<usize>,
    },
    /// The list of fingerprints does not have it.
    NotListed,
}

impl Refusal {
    /// What to do about it.
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

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contradicted(verdict) => verdict.fmt(f),
            Self::OtherFingerprint { lines } => {
                let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
                write!(f, "the list of fingerprints has another for this host (line {})", lines.join(", "))
            }
            Self::NotListed => f.write_str("the list of fingerprints does not have it"),
        }
    }
}

/// One row of the table: hosts that share a key and its fate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The hosts, in the order of the scan.
    pub hosts: Vec<HostLabel>,
    /// `ssh-ed25519`.
    pub key_type: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// What becomes of the key.
    pub decision: Decision,
}

/// What becomes of the keys of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustDecision {
    /// The table, in the order of the scan.
    pub rows: Vec<Row>,
    /// Indexes of what is to be pinned, once confirmed: one for each address, port and key.
    pub pin: Vec<usize>,
    /// Indexes of what is refused, and why.
    pub refused: Vec<(usize, Refusal)>,
}

/// Decides over a scan. With `listed`, a key is only pinned when the list has it.
pub fn decide(offered: &[Offered], listed: Option<&Fingerprints>) -> TrustDecision {
    let mut decision = TrustDecision { rows: Vec::new(), pin: Vec::new(), refused: Vec::new() };
    let mut row_of = BTreeMap::new();
    let mut pinned = BTreeSet::new();
    for (index, offer) in offered.iter().enumerate() {
        let place = (&offer.address, offer.port);
        let fate = judge(offer, listed);
        match &fate {
            Decision::Pin if pinned.insert((place, &offer.fingerprint)) => decision.pin.push(index),
            Decision::Pin | Decision::Pinned => {}
            Decision::Refused(refusal) => decision.refused.push((index, refusal.clone())),
        }
        let row = *row_of.entry((&offer.key_type, &offer.fingerprint, fate.clone())).or_insert_with(|| {
            decision.rows.push(Row {
                hosts: Vec::new(),
                key_type: offer.key_type.clone(),
                fingerprint: offer.fingerprint.clone(),
                decision: fate,
            });
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
mod tests {
    use super::*;
    use crate::model::text::name::Address;

    fn offer(host: &str, address: &str, fingerprint: &str, verdict: Verdict) -> Offered {
        Offered {
            host: HostLabel::parse(host).unwrap(),
            address: Address::parse(address).unwrap(),
            port: 22,
            key_type: "ssh-ed25519".into(),
            fingerprint: fingerprint_text(fingerprint),
            verdict,
        }
    }

    /// A fingerprint that is easy to tell apart.
    fn fingerprint_text(letter: &str) -> String {
        format!("SHA256:{}", letter.repeat(43).get(..42).unwrap().to_owned() + "A")
    }

    fn listed(text: &str) -> Fingerprints {
        Fingerprints::parse(text.as_bytes()).unwrap()
    }

    fn fates(decision: &TrustDecision) -> Vec<(Vec<&str>, &Decision)> {
        decision.rows.iter().map(|r| (r.hosts.iter().map(HostLabel::as_str).collect(), &r.decision)).collect()
    }

    #[test]
    fn hosts_that_share_a_key_and_its_fate_share_a_row() {
        let scan = [
            offer("web1", "10.0.0.1", "a", Verdict::Unknown),
            offer("db1", "10.0.0.2", "b", Verdict::Unknown),
            offer("web2", "10.0.0.3", "a", Verdict::Unknown),
            offer("web3", "10.0.0.4", "a", Verdict::Pinned),
            offer("other:web1", "10.0.0.1", "a", Verdict::Unknown),
        ];
        let decision = decide(&scan, None);
        assert_eq!(
            fates(&decision),
            [
                (vec!["web1", "web2", "other:web1"], &Decision::Pin),
                (vec!["db1"], &Decision::Pin),
                (vec!["web3"], &Decision::Pinned)
            ]
        );
        assert_eq!(decision.pin, [0, 1, 2], "one line for 10.0.0.1");
        assert!(decision.refused.is_empty());
    }

    #[test]
    fn a_contradiction_is_refused_whatever_the_list_says() {
        let (path, name) = (String::from("k"), String::from("a"));
        let changed =
            Verdict::Changed { path: path.clone(), line: 3, pinned: "SHA256:x".to_owned(), name: name.clone() };
        let revoked = Verdict::Revoked { path: path.clone(), line: 1 };
        let other = Verdict::OtherTypeKnown { path, line: 4, types: vec!["ssh-rsa".to_owned()], name };
        let scan = [
            offer("a", "10.0.0.1", "a", changed.clone()),
            offer("b", "10.0.0.2", "a", revoked.clone()),
            offer("c", "10.0.0.3", "a", other.clone()),
        ];
        let refusals = [
            (0, Refusal::Contradicted(changed)),
            (1, Refusal::Contradicted(revoked)),
            (2, Refusal::Contradicted(other)),
        ];
        for listed in [None, Some(listed(&fingerprint_text("a")))] {
            let decision = decide(&scan, listed.as_ref());
            assert_eq!(decision.refused, refusals);
            assert!(decision.pin.is_empty());
        }
        assert_eq!(refusals[0].1.to_string(), "the key has changed: SHA256:x is pinned in k:3");
    }

    #[test]
    fn with_a_list_only_what_it_has_is_pinned() {
        let list = listed(&format!(
            "web1 {a}\n10.0.0.2 {b}\nweb4 {b}\n",
            a = fingerprint_text("a"),
            b = fingerprint_text("b")
        ));
        let scan = [
            offer("web1", "10.0.0.1", "a", Verdict::Unknown),
            offer("web2", "10.0.0.2", "a", Verdict::Unknown),
            offer("web3", "10.0.0.3", "a", Verdict::Unknown),
            offer("web3b", "10.0.0.3", "a", Verdict::Pinned),
            offer("web4", "10.0.0.4", "a", Verdict::Pinned),
        ];
        let decision = decide(&scan, Some(&list));
        assert_eq!(decision.pin, [0]);
        assert_eq!(
            decision.refused,
            [
                (1, Refusal::OtherFingerprint { lines: vec![2] }),
                (2, Refusal::NotListed),
                (4, Refusal::OtherFingerprint { lines: vec![3] })
            ]
        );
    }
}
