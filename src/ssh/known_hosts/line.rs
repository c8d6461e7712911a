//! One line of a `known_hosts` file (sshd(8), "`SSH_KNOWN_HOSTS` FILE FORMAT"), read as bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use super::super::host_key::HostKey;
use crate::model::text::name::canonical_address;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    Pinned,
    /// A key that must not be accepted.
    Revoked,
    /// A key that signs host certificates. They are refused, so it is never trusted.
    CertAuthority,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub marker: Marker,
    pub names: Names,
    pub key: HostKey,
}

#[derive(Debug, Clone)]
pub(super) enum Names {
    /// `|1|SALT|HASH`: one name, hidden by HMAC-SHA1.
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
    /// A list of patterns, in lower case.
    Patterns(Vec<Pattern>),
}

/// `name`, `*.example.org`, `!name`.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pub negated: bool,
    /// As [`super::lookup_name`] spells it.
    pub text: Vec<u8>,
    /// As the file does, when that is different.
    written: Option<Vec<u8>>,
}

/// Reads a line. `Ok(None)`: blank or a comment. `Err`: why OpenSSH, and fleet, skip it.
pub(super) fn parse(line: &[u8]) -> Result<Option<Entry>, &'static str> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let Some(first) = words.next().filter(|word| !word.starts_with(b"#")) else { return Ok(None) };
    let (marker, names) = match first {
        b"@revoked" => (Marker::Revoked, words.next()),
        b"@cert-authority" => (Marker::CertAuthority, words.next()),
        _ if first.starts_with(b"@") => return Err("unknown marker"),
        _ => (Marker::Pinned, Some(first)),
    };
    let names = Names::parse(names.unwrap_or_default())?;
    let key_type = words.next().unwrap_or_default();
    let key = words.next().ok_or("no key")?;
    let key = HostKey::from_base64(key).ok_or("malformed key, or of an unknown type")?;
    if key.key_type().as_bytes() != key_type {
        return Err("the key is not of the type that the line names");
    }
    Ok(Some(Entry { marker, names, key }))
}

impl Names {
    fn parse(names: &[u8]) -> Result<Self, &'static str> {
        if let Some(hashed) = names.strip_prefix(b"|") {
            let decode = |part| STANDARD.decode(part).ok().filter(|bytes: &Vec<u8>| bytes.len() == 20);
            let decoded = match *hashed.split(|&b| b == b'|').collect::<Vec<_>>() {
                [b"1", salt, hash] => decode(salt).zip(decode(hash)),
                _ => None,
            };
            let (salt, hash) = decoded.ok_or("malformed hashed name")?;
            return Ok(Self::Hashed { salt, hash });
        }
        Ok(Self::Patterns(names.split(|&b| b == b',').map(Pattern::parse).collect()))
    }

    /// How the line spells this name, where it does so literally.
    pub fn spelling_of(&self, name: String) -> String {
        let Self::Patterns(patterns) = self else { return name };
        let written = patterns.iter().find(|pattern| pattern.text == name.as_bytes());
        let written = written.and_then(|pattern| pattern.written.as_ref());
        written.map_or(name, |written| String::from_utf8_lossy(written).into_owned())
    }

    /// The names themselves, when none is hashed, negated or a pattern.
    pub fn literals(&self) -> Option<impl Iterator<Item = &[u8]>> {
        match self {
            Self::Patterns(patterns) if patterns.iter().all(Pattern::is_literal) => {
                Some(patterns.iter().map(|p| p.text.as_slice()))
            }
            Self::Patterns(_) | Self::Hashed { .. } => None,
        }
    }

    /// Is the line for this host? `name` is in lower case, as [`super::lookup_name`] makes it.
    pub fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Hashed { salt, hash } => {
                Hmac::<Sha1>::new_from_slice(salt).is_ok_and(|mac| mac.chain_update(name).verify_slice(hash).is_ok())
            }
            Self::Patterns(patterns) => {
                let matching: Vec<&Pattern> = patterns.iter().filter(|p| glob(&p.text, name)).collect();
                !matching.is_empty() && !matching.iter().any(|pattern| pattern.negated)
            }
        }
    }
}

impl Pattern {
    fn parse(text: &[u8]) -> Self {
        let (negated, text) = text.strip_prefix(b"!").map_or((false, text), |text| (true, text));
        let written = text.to_ascii_lowercase();
        match std::str::from_utf8(&written).map(canonical_name) {
            Ok(name) if name.as_bytes() != written => Self { negated, text: name.into_bytes(), written: Some(written) },
            _ => Self { negated, text: written, written: None },
        }
    }

    fn is_literal(&self) -> bool {
        !self.negated && !self.text.iter().any(|b| matches!(b, b'*' | b'?'))
    }
}

/// `address` or `[address]:port`, in the address's one spelling.
fn canonical_name(name: &str) -> String {
    match name.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => format!("[{}]{port}", canonical_address(address)),
        None => canonical_address(name),
    }
}

/// `*` stands for any bytes, `?` for one. Linear but for the last star, so a hostile pattern costs no more than its length times the name's.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(b'?') => (p, n) = (p + 1, n + 1),
            Some(byte) if Some(byte) == name.get(n) => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((star_p, star_n)) => {
                    (p, n) = (star_p + 1, star_n + 1);
                    star = Some((star_p, star_n + 1));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|&b| b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, name, expected) in [
            ("", "", true),
            ("*", "", true),
            ("?", "", false),
            ("*.example.org", "a.b.example.org", true),
            ("*.example.org", "example.org", false),
            ("web?", "web1", true),
            ("web?", "web", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("**", "x", true),
            ("[h]:22*", "[h]:2222", true),
        ] {
            assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
