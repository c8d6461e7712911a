use super::*;
use crate::keys::pin::Pin;
use crate::model::inventory::host_key::Verdict;
use crate::ssh::HostKey;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK2pr+Bfus1hvPof4Wb/plZCzSbqadHH0u+/f4ODtKnE";
const PRINT: &str = "SHA256:wX9j+SP2h7N0y1ZKQdM3E2rXGeJIBFZbmJjfvWeAgd0";
const OTHER: &str = "SHA256:Nh0Me49Zh9fDw/VYUfq43IJmI1T+XrjiYONPND8GzaM";

fn offer(host: &str, address: &str, port: u16) -> Offered {
    let key = HostKey::from_base64(KEY.split(' ').nth(1).unwrap()).unwrap();
    Offered {
        host: HostLabel::parse(host).unwrap(),
        pin: Pin { address: Address::parse(address).unwrap(), port, key },
        verdict: Verdict::Unknown,
    }
}

fn has(line: &str, offer: &Offered) -> bool {
    Fingerprints::parse(line.as_bytes()).unwrap_or_else(|e| panic!("{line}: {e:?}")).has(offer)
}

#[test]
fn a_line_vouches_for_the_hosts_it_names() {
    let web = offer("mysite:web1", "192.0.2.11", 2222);
    for line in ["web1", "mysite:web1", "WEB1", "192.0.2.11", "192.0.2.11:2222", "[192.0.2.11]:2222", "web1:2222"] {
        assert!(has(&format!("{line} {PRINT}"), &web), "{line}");
        assert!(has(&format!("\u{feff}# c\r\n\r\n  {line}\t{PRINT}=\r\n"), &web), "{line}");
        assert!(!has(&format!("{line} {OTHER}"), &web), "{line}");
    }
    for line in ["web2", "other:web1", "192.0.2.1", "192.0.2.11:22", "web1:22", "[192.0.2.11]:22"] {
        assert!(!has(&format!("{line} {PRINT}"), &web), "{line}");
    }
    let six = offer("six", "2001:db8::1", 22);
    assert!(has(&format!("2001:DB8::1 {PRINT}"), &six));
    assert!(has(&format!("[2001:db8::1]:22 {PRINT}"), &six));
    assert!(has(&format!("2001:0db8:0:0:0:0:0:1 {PRINT}"), &six));
    assert!(has(&format!("[::FFFF:192.0.2.11]:2222 {PRINT}"), &web));
    assert!(!has(&format!("[2001:db8::1]:23 {PRINT}"), &six));
}

#[test]
fn output_of_ssh_keygen_and_ssh_keyscan_is_taken_as_it_is() {
    let (web, port) = (offer("web1", "192.0.2.11", 22), offer("web1", "192.0.2.11", 2222));
    assert!(has(&format!("256 {PRINT} no comment (ED25519)"), &web));
    assert!(has(&format!("256 {PRINT} root@web9 (ED25519)"), &web));
    assert!(has(PRINT, &web));
    assert!(has(&format!("192.0.2.11 {KEY}"), &web));
    assert!(has(&format!("a.example,192.0.2.11 {KEY} comment"), &web));
    assert!(!has(&format!("192.0.2.11 {KEY}"), &port), "without a port it is port 22");
    assert!(has(&format!("# 192.0.2.11:2222 SSH-2.0-OpenSSH_9.2\n[192.0.2.11]:2222 {KEY}"), &port));
}

#[test]
fn lines_that_contradict_are_named() {
    let list = format!("web1 {OTHER}\n{OTHER}\n192.0.2.11 {OTHER}\nweb2 {OTHER}\n");
    let list = Fingerprints::parse(list.as_bytes()).unwrap();
    assert_eq!(list.lines_of_others(&offer("web1", "192.0.2.11", 22)), [1, 3]);
}

#[test]
fn all_errors_are_told_with_their_lines() {
    let text = format!(
        "web1 {PRINT}\nweb1\nweb1 MD5:00:11\nweb1 SHA256:abc\nweb1 {PRINT} c\n|1|a=|b= {KEY}\n*.example {KEY}\n\
         @revoked * {KEY}\nweb1:0 {PRINT}\n[::1 {PRINT}\nweb1 ssh-rsa AAAA\n"
    );
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(b"\xff\n");
    let errors = Fingerprints::parse(&bytes).unwrap_err();
    assert_eq!(errors.iter().map(|e| e.line).collect::<Vec<_>>(), (2..=12).collect::<Vec<_>>());
    let said = |index: usize, what: &str| assert!(errors[index].reason.contains(what), "{}", errors[index]);
    said(1, "not a SHA256 fingerprint");
    said(2, "43 characters");
    said(4, "hashed");
    said(5, "`*.example`");
    said(6, "@revoked");
    assert_eq!(errors[10].to_string(), "line 12: it is not text");
    assert_eq!(Fingerprints::parse(b"# nothing\n").unwrap_err().len(), 1);
}
