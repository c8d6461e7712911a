use std::path::Path;

use super::*;

/// Real keys; what they are is of no matter but that they differ.
const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINjAYNtjyAEa+u6f+bL6Y0xLeeWKQgwPhmBuerpHN5EO";
const ED2: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ/Lsynw3LA5e1ptoc4q3t7aWNMHa4LuHJIHaNubbd2L";

fn ecdsa() -> String {
    let mut blob = Vec::new();
    // The generator of P-256 is a point on the curve.
    let point = "046B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C2964FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5";
    let point: Vec<u8> =
        (0..point.len()).step_by(2).map(|i| u8::from_str_radix(&point[i..i + 2], 16).unwrap()).collect();
    for part in [&b"ecdsa-sha2-nistp256"[..], b"nistp256", &point] {
        blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        blob.extend(part);
    }
    HostKey::from_blob(&blob).unwrap().to_string()
}

fn key(line: &str) -> HostKey {
    HostKey::from_base64(line.split(' ').nth(1).unwrap()).unwrap()
}

fn parse(lines: &str) -> KnownHosts {
    KnownHosts::parse(Path::new("known_hosts"), lines.as_bytes())
}

/// The verdict on key `ED` for host `h1`, in a word and the line it points to.
fn verdict(lines: &str) -> (&'static str, usize) {
    word(&parse(lines).check("h1", 22, &key(ED)))
}

fn word(verdict: &Verdict) -> (&'static str, usize) {
    match verdict {
        Verdict::Pinned => ("pinned", 0),
        Verdict::Unknown => ("unknown", 0),
        Verdict::Changed { line, .. } => ("changed", *line),
        Verdict::Revoked { line, .. } => ("revoked", *line),
        Verdict::OtherTypeKnown { line, .. } => ("other type", *line),
        Verdict::Certificate => ("certificate", 0),
    }
}

#[test]
fn every_case_that_russh_or_others_got_wrong() {
    let ecdsa = ecdsa();
    let cases = [
        (String::new(), ("unknown", 0)),
        (format!("h1 {ED}"), ("pinned", 0)),
        (format!("h1 {ED}\n"), ("pinned", 0)),
        (format!("# h1 {ED}\n\n \t\nh2 {ED}\n"), ("unknown", 0)),
        (format!("@revoked * {ED}\nh1 {ED}\n"), ("revoked", 1)),
        (format!("h1 {ED}\n@revoked\th1 {ED} stolen\n"), ("revoked", 2)),
        (format!("@revoked h1 {ED2}\nh1 {ED}\n"), ("pinned", 0)),
        (format!("@revoked h1 {ED2}\n"), ("unknown", 0)),
        (format!("!h1,h1 {ED}\n"), ("unknown", 0)),
        (format!("*,!h1 {ED}\n"), ("unknown", 0)),
        (format!("h?,!h2 {ED}\n"), ("pinned", 0)),
        (format!("*.example.com {ED}\n"), ("unknown", 0)),
        (format!("* {ED}\n"), ("pinned", 0)),
        (format!("@cert-authority * {ED}\n"), ("unknown", 0)),
        (format!("@cert-authority * {ED}\nh1 {ED2}\n"), ("changed", 2)),
        (format!("@unknown h1 {ED}\n"), ("unknown", 0)),
        (format!("h1 {ecdsa}\n"), ("other type", 1)),
        (format!("h1 {ecdsa}\nh1 {ED2}\n"), ("changed", 2)),
        (format!("h1 {ED2}\nh1 {ED}\n"), ("pinned", 0)),
        (format!(" \th1 {ED2}\n"), ("changed", 1)),
        (format!("H1 {ED2}\n"), ("changed", 1)),
        (format!("h0,H1\t{}\t me@x\n", ED2.replace(' ', "\t ")), ("changed", 1)),
        (format!("h1  {}  a comment\n", ED.replace(' ', "  ")), ("pinned", 0)),
        (format!("h1 {ED}\r\nh2 {ED}\r\n"), ("pinned", 0)),
        (format!("\u{feff}h1 {ED}\n"), ("pinned", 0)),
        (format!("h1 ssh-future AAAA\nh1 {ED}\n"), ("pinned", 0)),
        ("h1 ssh-future AAAA\n".to_owned(), ("unknown", 0)),
        ("h1\nh1 ssh-ed25519\n".to_owned(), ("unknown", 0)),
        (format!("h1 {}\n", &ED[..ED.len() - 4]), ("unknown", 0)),
        (format!("h1 {}\n", ED.replace("ssh-ed25519 ", "ssh-rsa ")), ("unknown", 0)),
        (format!("[h1]:2222 {ED}\n"), ("unknown", 0)),
        (format!("[h1]:22 {ED}\n"), ("unknown", 0)),
        // ssh-keygen -H of "h1", and the same with a broken salt.
        (format!("|1|{HASHED} {ED}\n"), ("pinned", 0)),
        (format!("|1|{HASHED} {ED2}\n"), ("changed", 1)),
        (format!("|1|x{HASHED} {ED}\n"), ("unknown", 0)),
        (format!("|2|{HASHED} {ED}\n"), ("unknown", 0)),
    ];
    for (lines, expected) in cases {
        assert_eq!(verdict(&lines), expected, "{lines}");
    }
}

/// HMAC-SHA1 of `h1` under a salt of twenty letters.
const HASHED: &str = "YWJjZGVmZ2hpamtsbW5vcHFyc3Q=|6OH7bBLbvTELx3sSrQn6IimqGjI=";

#[test]
fn bytes_that_are_not_utf_8_hide_no_other_line() {
    let lines = [b"h\xff\xfe ", ED2.as_bytes(), b"\n# \xc3\x28\nh1 ", ED.as_bytes(), b" m\xfcller@x\n"].concat();
    assert_eq!(KnownHosts::parse(Path::new("x"), &lines).check("h1", 22, &key(ED)), Verdict::Pinned);
}

#[test]
fn a_port_that_is_not_22_is_part_of_the_name() {
    let known = parse(&format!("h1 {ED}\n[h1]:2222,[10.0.0.*]:24 {ED2}\n[::1]:2222 {ED}\n"));
    assert_eq!(word(&known.check("H1", 22, &key(ED))), ("pinned", 0));
    assert_eq!(word(&known.check("h1", 2222, &key(ED2))), ("pinned", 0));
    assert_eq!(word(&known.check("h1", 2222, &key(ED))), ("changed", 2));
    assert_eq!(word(&known.check("h1", 2223, &key(ED))), ("unknown", 0));
    assert_eq!(word(&known.check("10.0.0.7", 24, &key(ED2))), ("pinned", 0));
    assert_eq!(word(&known.check("::1", 2222, &key(ED))), ("pinned", 0));
}

/// A pin was not found, and a key was not seen to be revoked, because the file spells the address in another way.
#[test]
fn an_address_is_found_in_every_spelling_and_no_other_is() {
    let spellings = ["::1", "0:0:0:0:0:0:0:1", "0::0001", "::0:1"];
    for written in spellings {
        for asked in spellings {
            let check = |lines: &str, port| word(&parse(lines).check(asked, port, &key(ED)));
            assert_eq!(check(&format!("{written} {ED}\n"), 22), ("pinned", 0), "{written} {asked}");
            assert_eq!(check(&format!("[{written}]:2222 {ED}\n"), 2222), ("pinned", 0), "{written} {asked}");
            assert_eq!(check(&format!("h1,{written} {ED2}\n"), 22), ("changed", 1), "{written} {asked}");
            assert_eq!(check(&format!("*,!{written} {ED}\n"), 22), ("unknown", 0), "{written} {asked}");
            assert_eq!(check(&format!("@revoked {written} {ED}\n* {ED}\n"), 22), ("revoked", 1), "{written} {asked}");
            // Neither another address nor another port.
            for other in ["::2", "1::1", "::1:1", "::1%lo", "0.0.0.1", "1"] {
                assert_eq!(check(&format!("{other} {ED}\n[{written}]:2222 {ED}\n"), 22), ("unknown", 0), "{other}");
            }
        }
    }
    let known = parse(&format!("192.0.2.1 {ED}\n[2001:DB8::A]:2222 {ED}\nfe80::1%eth0 {ED}\n"));
    for (address, port, expected) in [
        ("::ffff:192.0.2.1", 22, "pinned"),
        ("::FFFF:C000:201", 22, "pinned"),
        ("::192.0.2.1", 22, "unknown"),
        ("2001:db8:0::000a", 2222, "pinned"),
        ("2001:db8::a", 22, "unknown"),
        ("FE80:0::1%eth0", 22, "pinned"),
        ("fe80::1", 22, "unknown"),
        ("fe80::1%eth1", 22, "unknown"),
    ] {
        assert_eq!(word(&known.check(address, port, &key(ED))).0, expected, "{address}");
    }
}

#[test]
fn pinned_types_are_those_to_ask_for() {
    let known = parse(&format!("h1 {}\nh1 {ED}\nh1 {ED2}\n@revoked h1 {ED2}\n", ecdsa()));
    assert_eq!(known.pinned_types("h1", 22), ["ecdsa-sha2-nistp256", "ssh-ed25519"]);
    assert!(known.pinned_types("h2", 22).is_empty());
}

#[test]
fn skipped_lines_are_told() {
    let known = parse(&format!("h1 {ED}\n@x h1 {ED}\n\nh1\n"));
    assert_eq!(known.skipped(), [(2, "unknown marker"), (4, "no key")]);
}

#[test]
fn a_missing_file_is_empty_and_an_unreadable_one_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let missing = KnownHosts::load(&folder.path().join("none")).unwrap();
    assert_eq!(missing.check("h1", 22, &key(ED)), Verdict::Unknown);
    // A folder can not be read as a file, even by root.
    assert!(matches!(KnownHosts::load(folder.path()), Err(KnownHostsError::Read { .. })));
}
