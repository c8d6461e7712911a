//! A host's public key, without russh's types, so that the rest of fleet can show, compare and pin it.
//!
//! Invariant: the bytes are the canonical encoding of a plain key of a known type (never a certificate), so equal keys are equal bytes.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, HashAlg, PublicKey};

use super::key::fingerprint_of;
use crate::model::text::name::canonical_address;

#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HostKey {
    key_type: String,
    blob: Vec<u8>,
}

impl HostKey {
    /// Reads the wire encoding (RFC 4253, section 6.6). None: malformed, a certificate, or of an unknown type.
    pub fn from_blob(blob: &[u8]) -> Option<Self> {
        let key = russh::keys::key::parse_public_key(blob).ok()?;
        // What follows the key, or another encoding of the same numbers, is not what OpenSSH writes.
        Self::from_russh(&key).filter(|key| key.blob == blob)
    }

    /// Reads the wire encoding in base64, as `known_hosts` files and `.pub` files have it.
    pub fn from_base64(text: impl AsRef<[u8]>) -> Option<Self> {
        Self::from_blob(&STANDARD.decode(text).ok()?)
    }

    pub(super) fn from_russh(key: &PublicKey) -> Option<Self> {
        match key.key_data() {
            KeyData::Certificate(_) | KeyData::Other(_) => None,
            data => Some(Self { key_type: data.algorithm().as_str().to_owned(), blob: key.to_bytes().ok()? }),
        }
    }

    /// `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ssh-rsa`, …
    pub fn key_type(&self) -> &str {
        &self.key_type
    }

    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        fingerprint_of(&self.blob)
    }

    /// The line that pins it in a `known_hosts` file, without its newline.
    pub fn to_known_hosts_line(&self, address: &str, port: u16) -> String {
        format!("{} {self}", lookup_name(address, port))
    }

    /// The wire encoding in base64.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.blob)
    }
}

/// What a `known_hosts` file calls a host: `name`, or `[name]:port` when the port is not 22. In lower case, and an IP address in its one
/// spelling.
pub fn lookup_name(address: &str, port: u16) -> String {
    let address = canonical_address(address).to_ascii_lowercase();
    if port == 22 { address } else { format!("[{address}]:{port}") }
}

/// `ssh-ed25519 AAAA…`.
impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key_type, self.to_base64())
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKey({} {})", self.key_type, self.fingerprint())
    }
}

/// The signature algorithms that a client may ask for, for a host key of a pinned type. `ssh-rsa` with SHA-1 is not among them.
pub(super) fn algorithms_of_type(key_type: &str) -> Vec<Algorithm> {
    match Algorithm::new(key_type) {
        Ok(Algorithm::Rsa { .. }) => {
            vec![Algorithm::Rsa { hash: Some(HashAlg::Sha512) }, Algorithm::Rsa { hash: Some(HashAlg::Sha256) }]
        }
        Ok(Algorithm::Dsa | Algorithm::Other(_)) | Err(_) => Vec::new(),
        Ok(algorithm) => vec![algorithm],
    }
}
