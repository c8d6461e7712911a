//! The public half of a key: one line of text, and a fingerprint.

use std::fmt;
use std::io::{self, Read as _};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use russh::keys::PublicKey;
use sha2::{Digest as _, Sha256};

use super::{KeyError, LARGEST_KEY_FILE, not_a_key};
use crate::files;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a public key: {reason}")]
pub struct PublicKeyError {
    pub reason: &'static str,
}

/// A public key as a `.pub` file has it: `ssh-ed25519 AAAA… comment`. It is always one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKeyLine {
    key_type: String,
    data: Vec<u8>,
    comment: String,
}

impl PublicKeyLine {
    /// Parses one line. The key data must be of the type that stands before it.
    pub fn parse(line: &str) -> Result<Self, PublicKeyError> {
        let error = |reason| PublicKeyError { reason };
        let line = line.trim();
        if line.chars().any(|c| c.is_control() && c != '\t') {
            return Err(error("it is more than one line, or holds control characters"));
        }
        let (key_type, rest) = line.split_once([' ', '\t']).ok_or(error("the key data is missing"))?;
        let rest = rest.trim_start();
        let (data, comment) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        let data = BASE64_STANDARD.decode(data).map_err(|_| error("the key data is not base64"))?;
        let key = russh::keys::key::parse_public_key(&data).map_err(|_| error("the key data is damaged"))?;
        if key.algorithm().as_str() != key_type {
            return Err(error("the key data is of another type than the line says"));
        }
        // What trails the key in its data is not shown by the decoder, and no sshd takes it.
        if key.to_bytes().ok().as_deref() != Some(&data) {
            return Err(error("the key data is damaged"));
        }
        Ok(Self { key_type: key_type.to_owned(), data, comment: comment.trim().to_owned() })
    }

    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let mut text = String::new();
        let read = files::open(path).and_then(|file| file.take(LARGEST_KEY_FILE).read_to_string(&mut text));
        match read {
            // An editor on Windows may have put a byte order mark there.
            Ok(_) => Self::parse(text.trim_start_matches('\u{feff}')).map_err(|e| not_a_key(path, e.reason)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(KeyError::Missing { path: path.to_owned() }),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(not_a_key(path, "it is not text")),
            Err(reason) => Err(KeyError::Unreadable { path: path.to_owned(), reason }),
        }
    }

    pub fn of(key: &PublicKey) -> Result<Self, PublicKeyError> {
        let line = key.to_openssh().map_err(|_| PublicKeyError { reason: "it cannot be encoded" })?;
        Self::parse(&line)
    }

    /// `ssh-ed25519`.
    pub fn key_type(&self) -> &str {
        &self.key_type
    }

    /// The key as the protocol sends it: what makes two lines the same key.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// `SHA256:…`, as `ssh-keygen -l` shows it.
    pub fn fingerprint(&self) -> String {
        fingerprint_of(&self.data)
    }
}

/// `SHA256:…` of the key data, as `ssh-keygen -l` shows it.
pub fn fingerprint_of(data: &[u8]) -> String {
    format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(Sha256::digest(data)))
}

impl fmt::Display for PublicKeyLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key_type, BASE64_STANDARD.encode(&self.data))?;
        if !self.comment.is_empty() {
            write!(f, " {}", self.comment)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK2pr+Bfus1hvPof4Wb/plZCzSbqadHH0u+/f4ODtKnE";

    #[test]
    fn public_lines() {
        let key = PublicKeyLine::parse(&format!("  {PUBLIC}\t two words \r\n")).unwrap();
        assert_eq!((key.key_type(), key.comment(), key.data().len()), ("ssh-ed25519", "two words", 51));
        assert_eq!(key.to_string(), format!("{PUBLIC} two words"));
        // As `ssh-keygen -lf` prints it.
        assert_eq!(key.fingerprint(), "SHA256:wX9j+SP2h7N0y1ZKQdM3E2rXGeJIBFZbmJjfvWeAgd0");
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 ????",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK2pr+Bfus1hvPof4Wb/plZCzSbqadHH0u+/f4ODtKnEAAAA",
            &PUBLIC.replace("ssh-ed25519", "ssh-rsa"),
            &format!("{PUBLIC} a\n{PUBLIC} b"),
        ] {
            assert!(PublicKeyLine::parse(bad).is_err(), "{bad}");
        }
    }
}
