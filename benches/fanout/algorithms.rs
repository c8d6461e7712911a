//! What everybody has to use.

use std::borrow::Cow;

use russh::{Preferred, cipher, compression, kex};

/// It takes half of what post-quantum key exchange does, and half of what chacha20 does where there are instructions for AES.
pub const KEX: &str = "curve25519-sha256";
pub const CIPHER: &str = "aes128-gcm@openssh.com";

/// [`KEX`] and [`CIPHER`], for russh.
pub fn algorithms() -> Preferred {
    Preferred {
        kex: Cow::Borrowed(&[kex::CURVE25519, kex::EXTENSION_SUPPORT_AS_CLIENT, kex::EXTENSION_SUPPORT_AS_SERVER]),
        cipher: Cow::Borrowed(&[cipher::AES_128_GCM]),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::DEFAULT
    }
}
