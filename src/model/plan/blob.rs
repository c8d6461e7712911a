//! Bytes that travel with a plan, named by their SHA-256. They are no part of `plan.json`: the record keeps each in a file of its name.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of a blob, in hex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct BlobId(String);

impl BlobId {
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        }))
    }
}

impl TryFrom<String> for BlobId {
    type Error = String;

    /// It becomes a file name.
    fn try_from(text: String) -> Result<Self, String> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(is_hex) {
            Ok(Self(text))
        } else {
            Err(format!("`{text}` is no SHA-256"))
        }
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blobs(BTreeMap<BlobId, Arc<[u8]>>);

impl Blobs {
    pub fn add(&mut self, bytes: impl Into<Arc<[u8]>>) -> BlobId {
        let bytes = bytes.into();
        let id = BlobId::of(&bytes);
        self.0.entry(id.clone()).or_insert(bytes);
        id
    }

    pub fn get(&self, id: &BlobId) -> Option<&Arc<[u8]>> {
        self.0.get(id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&BlobId, &[u8])> {
        self.0.iter().map(|(id, bytes)| (id, bytes.as_ref()))
    }
}
