use super::*;
use crate::model::text::name::Address;

fn offer(host: &str, address: &str, letter: &str, verdict: Verdict) -> Offered {
    Offered {
        host: HostLabel::parse(host).unwrap(),
        pin: Pin { address: Address::parse(address).unwrap(), port: 22, key: key(letter) },
        verdict,
    }
}

/// A key of nothing but that letter.
fn key(letter: &str) -> HostKey {
    let blob = format!("\0\0\0\x0bssh-ed25519\0\0\0\x20{}", letter.repeat(32));
    HostKey::from_blob(blob.as_bytes()).unwrap()
}

fn fingerprint_text(letter: &str) -> String {
    key(letter).fingerprint()
}

fn refused(decision: &TrustDecision) -> Vec<(&str, &Refusal)> {
    decision.refused.iter().map(|(host, refusal)| (host.as_str(), refusal)).collect()
}

fn pinned(decision: &TrustDecision) -> Vec<&str> {
    decision.pin.iter().map(|pin| pin.address.as_str()).collect()
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
    assert_eq!(pinned(&decision), ["10.0.0.1", "10.0.0.2", "10.0.0.3"], "one line for 10.0.0.1");
    assert!(decision.refused.is_empty());
}

#[test]
fn a_contradiction_is_refused_whatever_the_list_says() {
    let (path, name) = (String::from("k"), String::from("a"));
    let changed = Verdict::Changed { path: path.clone(), line: 3, pinned: "SHA256:x".to_owned(), name: name.clone() };
    let revoked = Verdict::Revoked { path: path.clone(), line: 1 };
    let other = Verdict::OtherTypeKnown { path, line: 4, types: vec!["ssh-rsa".to_owned()], name };
    let scan = [
        offer("a", "10.0.0.1", "a", changed.clone()),
        offer("b", "10.0.0.2", "a", revoked.clone()),
        offer("c", "10.0.0.3", "a", other.clone()),
    ];
    let [changed, revoked, other] = [changed, revoked, other].map(Refusal::Contradicted);
    for listed in [None, Some(listed(&fingerprint_text("a")))] {
        let decision = decide(&scan, listed.as_ref());
        assert_eq!(refused(&decision), [("a", &changed), ("b", &revoked), ("c", &other)]);
        assert!(decision.pin.is_empty());
    }
    assert_eq!(changed.to_string(), "the key has changed: SHA256:x is pinned in k:3");
}

#[test]
fn with_a_list_only_what_it_has_is_pinned() {
    let list =
        listed(&format!("web1 {a}\n10.0.0.2 {b}\nweb4 {b}\n", a = fingerprint_text("a"), b = fingerprint_text("b")));
    let scan = [
        offer("web1", "10.0.0.1", "a", Verdict::Unknown),
        offer("web2", "10.0.0.2", "a", Verdict::Unknown),
        offer("web3", "10.0.0.3", "a", Verdict::Unknown),
        offer("web3b", "10.0.0.3", "a", Verdict::Pinned),
        offer("web4", "10.0.0.4", "a", Verdict::Pinned),
    ];
    let decision = decide(&scan, Some(&list));
    assert_eq!(pinned(&decision), ["10.0.0.1"]);
    assert_eq!(
        refused(&decision),
        [
            ("web2", &Refusal::OtherFingerprint { lines: vec![2] }),
            ("web3", &Refusal::NotListed),
            ("web4", &Refusal::OtherFingerprint { lines: vec![3] })
        ]
    );
}
