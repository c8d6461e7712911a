//! The list of fingerprints that `fleet SITE trust --fingerprints FILE` takes as the truth.
//!
//! A line is one of
//!
//! ```text
//! web1 SHA256:…                      host of the inventory, or address; any port
//! 192.0.2.11:2222 SHA256:…           [2001:db8::1]:22 likewise
//! 256 SHA256:… root@web1 (ED25519)   as ssh-keygen -lf prints it: for any host
//! SHA256:…                           for any host
//! web1,192.0.2.11 ssh-ed25519 AAAA…  as ssh-keyscan prints it, or known_hosts; [host]:port for a port other than 22
//! ```
//!
//! Empty lines and lines that begin with `#` are skipped. A fingerprint for any host says that its key is good, wherever it turns up:
//! only who has the private half can offer it. Hashed, negated and wildcard names and markers are refused: they do not say for
//! whom they vouch.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;

use crate::model::text::encoding::wide_encoding;
use crate::model::text::name::{Address, HostLabel, canonical_address};
use crate::ssh::key::PublicKeyLine;

use super::offered::Offered;

/// The port that a name without one means in `known_hosts`.
const SSH_PORT: u16 = 22;

/// What is wrong in a list of fingerprints.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct FingerprintError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// For whom a line vouches.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holder {
    name: String,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    line: usize,
    /// Nobody in particular when empty.
    holders: Vec<Holder>,
    fingerprint: String,
}

/// A list of fingerprints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprints {
    entries: Vec<Entry>,
}

impl Fingerprints {
    /// Reads a list, or tells all that is wrong in it. A list without a fingerprint is wrong, too.
    pub fn parse(content: &[u8]) -> Result<Self, Vec<FingerprintError>> {
        let mut entries = Vec::new();
        let mut errors = Vec::new();
        if let Some(encoding) = wide_encoding(content) {
            let reason = format!("the file is {encoding}; save it as UTF-8");
            return Err(vec![FingerprintError { line: 1, reason }]);
        }
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
        for (index, bytes) in content.split(|&b| b == b'\n').enumerate() {
            let line = index + 1;
            let Ok(text) = std::str::from_utf8(bytes) else {
                errors.push(FingerprintError { line, reason: "it is not text".to_owned() });
                continue;
            };
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            match parse_line(text) {
                Ok((holders, fingerprint)) => entries.push(Entry { line, holders, fingerprint }),
                Err(reason) => errors.push(FingerprintError { line, reason }),
            }
        }
        if entries.is_empty() && errors.is_empty() {
            errors.push(FingerprintError { line: 1, reason: "the list has no fingerprint".to_owned() });
        }
        if errors.is_empty() { Ok(Self { entries }) } else { Err(errors) }
    }

    /// Does the list vouch for this key of this host?
    pub fn has(&self, offer: &Offered) -> bool {
        self.entries.iter().any(|e| e.fingerprint == offer.fingerprint && (e.holders.is_empty() || e.is_for(offer)))
    }

    /// The lines that name this host and another fingerprint.
    pub fn lines_of_others(&self, offer: &Offered) -> Vec<usize> {
        self.entries.iter().filter(|e| e.fingerprint != offer.fingerprint && e.is_for(offer)).map(|e| e.line).collect()
    }
}

impl Entry {
    fn is_for(&self, offer: &Offered) -> bool {
        let label = offer.host.as_str();
        // `mysite:web1` is also called `web1`.
        let name = label.rsplit_once(':').map_or(label, |(_, name)| name);
        self.holders.iter().any(|holder| {
            let named = [label, name, offer.address.as_str()].iter().any(|n| n.eq_ignore_ascii_case(&holder.name));
            named && holder.port.is_none_or(|port| port == offer.port)
        })
    }
}

fn parse_line(text: &str) -> Result<(Vec<Holder>, String), String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        [first, ..] if first.starts_with('@') => Err(format!("the marker {first} is not understood here")),
        [fingerprint] if fingerprint.contains("SHA256:") => Ok((Vec::new(), parse_fingerprint(fingerprint)?)),
        // As printed by ssh-keygen: the size of the key comes first, and its type last.
        [size, fingerprint, .., kind] if is_size(size) && kind.starts_with('(') && kind.ends_with(')') => {
            Ok((Vec::new(), parse_fingerprint(fingerprint)?))
        }
        [host, fingerprint] if fingerprint.contains(':') => {
            Ok((vec![parse_holder(host)?], parse_fingerprint(fingerprint)?))
        }
        [_, fingerprint, ..] if fingerprint.starts_with("SHA256:") => Err(
            "a host and a fingerprint are all that can stand on a line; a comment goes on a line of its own, after #"
                .to_owned(),
        ),
        [hosts, key_type, data, ..] => {
            let key = PublicKeyLine::parse(&format!("{key_type} {data}")).map_err(|e| e.to_string())?;
            let holders = hosts.split(',').map(parse_known_host).collect::<Result<_, _>>()?;
            Ok((holders, key.fingerprint()))
        }
        _ => Err("expected `HOST SHA256:…`, a line of ssh-keygen -lf, or one of ssh-keyscan".to_owned()),
    }
}

fn is_size(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit())
}

fn parse_fingerprint(text: &str) -> Result<String, String> {
    let digest = text
        .strip_prefix("SHA256:")
        .ok_or_else(|| format!("`{text}` is not a SHA256 fingerprint; ssh-keygen -lf FILE -E sha256 prints one"))?;
    // Some tools print the padding that OpenSSH leaves off.
    let digest = digest.trim_end_matches('=');
    match BASE64_STANDARD_NO_PAD.decode(digest) {
        Ok(bytes) if bytes.len() == 32 => Ok(format!("SHA256:{digest}")),
        Ok(_) | Err(_) => {
            Err(format!("`{text}` is not complete: a SHA256 fingerprint has 43 characters after the colon"))
        }
    }
}

/// `host`, `host:port`, `[address]:port`, or an IPv6 address as it is.
fn parse_holder(text: &str) -> Result<Holder, String> {
    let port = |port: &str| port.parse::<u16>().ok().filter(|&port| port > 0);
    let (name, port) = if let Some(rest) = text.strip_prefix('[') {
        let (name, rest) = rest.split_once(']').ok_or_else(|| format!("`{text}` has no closing bracket"))?;
        match rest.strip_prefix(':') {
            None if rest.is_empty() => (name, None),
            Some(digits) => (name, Some(port(digits).ok_or_else(|| format!("`{digits}` is no port"))?)),
            None => return Err(format!("`{text}` is no host")),
        }
    } else {
        match text.rsplit_once(':') {
            // `mysite:web1` is a host of a site, and `::1` an address.
            Some((name, digits)) if !name.contains(':') && is_size(digits) => {
                (name, Some(port(digits).ok_or_else(|| format!("`{digits}` is no port"))?))
            }
            _ => (text, None),
        }
    };
    if Address::parse(name).is_err() && HostLabel::parse(name).is_err() {
        return Err(format!("`{name}` is neither a host of the inventory nor an address"));
    }
    Ok(Holder { name: canonical_address(name), port })
}

/// A name as in `known_hosts`: without a port it means port 22.
fn parse_known_host(text: &str) -> Result<Holder, String> {
    if text.starts_with('|') {
        return Err("a hashed host name does not say for whom it is; ssh-keyscan without -H prints names".to_owned());
    }
    let holder = parse_holder(text)?;
    Ok(Holder { port: Some(holder.port.unwrap_or(SSH_PORT)), ..holder })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::inventory::host_key::Verdict;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK2pr+Bfus1hvPof4Wb/plZCzSbqadHH0u+/f4ODtKnE";
    const PRINT: &str = "SHA256:wX9j+SP2h7N0y1ZKQdM3E2rXGeJIBFZbmJjfvWeAgd0";
    const OTHER: &str = "SHA256:Nh0Me49Zh9fDw/VYUfq43IJmI1T+XrjiYONPND8GzaM";

    fn offer(host: &str, address: &str, port: u16) -> Offered {
        Offered {
            host: HostLabel::parse(host).unwrap(),
            address: Address::parse(address).unwrap(),
            port,
            key_type: "ssh-ed25519".into(),
            fingerprint: PRINT.into(),
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
}
