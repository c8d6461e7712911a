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

use crate::model::inventory::ssh::SSH_PORT;
use crate::model::text::encoding::wide_encoding;
use crate::model::text::name::{Address, HostLabel, canonical_address};
use crate::ssh::key::PublicKeyLine;

use super::offered::Offered;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct FingerprintError {
    /// The line, from 1.
    pub line: usize,
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
        let fingerprint = offer.pin.key.fingerprint();
        self.entries.iter().any(|e| e.fingerprint == fingerprint && (e.holders.is_empty() || e.is_for(offer)))
    }

    /// The lines that name this host and another fingerprint.
    pub fn lines_of_others(&self, offer: &Offered) -> Vec<usize> {
        let fingerprint = offer.pin.key.fingerprint();
        self.entries.iter().filter(|e| e.fingerprint != fingerprint && e.is_for(offer)).map(|e| e.line).collect()
    }
}

impl Entry {
    fn is_for(&self, offer: &Offered) -> bool {
        let label = offer.host.as_str();
        // `mysite:web1` is also called `web1`.
        let name = label.rsplit_once(':').map_or(label, |(_, name)| name);
        self.holders.iter().any(|holder| {
            let named = [label, name, offer.pin.address.as_str()].iter().any(|n| n.eq_ignore_ascii_case(&holder.name));
            named && holder.port.is_none_or(|port| port == offer.pin.port)
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
    let (name, digits) = if let Some(rest) = text.strip_prefix('[') {
        let (name, rest) = rest.split_once(']').ok_or_else(|| format!("`{text}` has no closing bracket"))?;
        match rest.strip_prefix(':') {
            None if rest.is_empty() => (name, None),
            Some(digits) => (name, Some(digits)),
            None => return Err(format!("`{text}` is no host")),
        }
    } else {
        match text.rsplit_once(':') {
            // `mysite:web1` is a host of a site, and `::1` an address.
            Some((name, digits)) if !name.contains(':') && is_size(digits) => (name, Some(digits)),
            _ => (text, None),
        }
    };
    let port =
        |digits: &str| digits.parse().ok().filter(|&port| port > 0).ok_or_else(|| format!("`{digits}` is no port"));
    let port = digits.map(port).transpose()?;
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
mod tests;
