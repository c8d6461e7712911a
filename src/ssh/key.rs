//! Keys of users: generating, loading and naming them.
//!
//! Private keys are made and written in OpenSSH's own format, so that `ssh -i` and `ssh-keygen` read them. Loading takes what
//! russh takes, and adds what it leaves out: the check of the file's mode, and one message per kind of trouble where the decoders
//! below have many.
//!
//! Invariant: private halves and passphrases live in types that wipe themselves and have no `Display`; no error holds a byte of them.

mod public;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use rand::TryRng as _;
use rand::rngs::SysRng;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::ssh_key::{self, Cipher, LineEnding};
use russh::keys::{Algorithm, Certificate, PrivateKey, PublicKey};
use secrecy::{ExposeSecret, ExposeSecretMut as _, SecretBox, SecretString};

use crate::files;
use crate::model::recipe::shell::quote;
use crate::model::text::hint::{Advise, Hint};

pub use public::{PublicKeyError, PublicKeyLine, fingerprint_of};

/// No key file is larger; whatever is, is not read to its end.
const LARGEST_KEY_FILE: u64 = 64 << 10;

/// What is wrong with a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("there is no key {}", .path.display())]
    Missing { path: PathBuf },
    /// Others than its owner may read the private half: OpenSSH would not use it either.
    #[error("others can read the private key {} (mode {mode:04o}): it is not used", .path.display())]
    TooOpen {
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    #[error("the private key {} has a passphrase", .path.display())]
    Encrypted { path: PathBuf },
    #[error("wrong passphrase for the private key {}", .path.display())]
    WrongPassphrase { path: PathBuf },
    #[error("{} cannot be used as a key: {reason}", .path.display())]
    NotAKey { path: PathBuf, reason: String, hint: Option<Hint> },
    #[error("{} is the public half of a key, and the agent does not hold its private half", .path.display())]
    Public {
        path: PathBuf,
        /// Where its private half usually lies, quoted for a shell.
        private: String,
    },
    #[error("cannot read the key {}: {reason}", .path.display())]
    Unreadable { path: PathBuf, reason: io::Error },
    #[error("the comment of a key must be one line without control characters")]
    Comment,
    #[error("cannot generate a key: {reason}")]
    Generate { reason: String },
}

impl Advise for KeyError {
    fn hints(&self) -> Vec<Hint> {
        let quoted = |path: &Path| quote(&path.to_string_lossy());
        vec![match self {
            Self::Missing { .. } => Hint::advice("fleet generate-keys makes keys/fleet"),
            Self::TooOpen { path, .. } => Hint::Command(format!("chmod 600 {}", quoted(path))),
            Self::Encrypted { path } => {
                Hint::Advice(format!("ssh-add {}, or run fleet on a terminal, where it asks", quoted(path)))
            }
            Self::NotAKey { hint, .. } => return hint.iter().cloned().collect(),
            Self::Public { private, .. } => {
                Hint::Advice(format!("ssh-add {private}, or name the private half: -i {private}"))
            }
            Self::WrongPassphrase { .. } | Self::Unreadable { .. } | Self::Comment | Self::Generate { .. } => {
                return Vec::new();
            }
        }]
    }
}

pub struct GeneratedKey {
    /// The private half: PEM in OpenSSH's format.
    pub private: SecretString,
    pub public: PublicKeyLine,
}

/// Makes an Ed25519 pair with randomness from the operating system. An empty passphrase is none, as for `ssh-keygen`.
///
/// With a passphrase this takes some tenths of a second of CPU (bcrypt).
pub fn generate(comment: &str, passphrase: Option<&SecretString>) -> Result<GeneratedKey, KeyError> {
    fn failed(reason: impl fmt::Display) -> KeyError {
        KeyError::Generate { reason: reason.to_string() }
    }
    if comment.chars().any(char::is_control) {
        return Err(KeyError::Comment);
    }
    let mut seed = SecretBox::new(Box::new([0_u8; 32]));
    SysRng.try_fill_bytes(seed.expose_secret_mut()).map_err(failed)?;
    let pair = KeypairData::Ed25519(SigningKey::from_bytes(seed.expose_secret()).into());
    let mut key = PrivateKey::new(pair, comment.trim()).map_err(failed)?;
    let public = PublicKeyLine::of(key.public_key()).map_err(failed)?;
    if let Some(passphrase) = passphrase.map(ExposeSecret::expose_secret).filter(|p| !p.is_empty()) {
        key = key.encrypt(&mut SysRng, passphrase).map_err(failed)?;
    }
    let pem = key.to_openssh(LineEnding::LF).map_err(failed)?;
    Ok(GeneratedKey { private: SecretString::from(pem.as_str()), public })
}

/// Reads a private key: OpenSSH's format, PKCS#8, PKCS#1, SEC1 or `PuTTY`'s. A passphrase for a key that has none is ignored.
///
/// The rule for the file's mode is OpenSSH's: a key of the current user that others may read is refused.
/// This reads a file and, for an encrypted key, computes for some tenths of a second: keep it off the network's threads.
pub fn load(path: &Path, passphrase: Option<&SecretString>) -> Result<Arc<PrivateKey>, KeyError> {
    let text = read_private(path)?;
    // A byte order mark is an editor's.
    decode(path, text.expose_secret().trim_start_matches('\u{feff}'), passphrase).map(Arc::new)
}

fn read_private(path: &Path) -> Result<SecretBox<String>, KeyError> {
    let unreadable = |reason: io::Error| match reason.kind() {
        io::ErrorKind::NotFound => KeyError::Missing { path: path.to_owned() },
        _ => KeyError::Unreadable { path: path.to_owned(), reason },
    };
    // Asked before the file is opened: opening a pipe would wait for its writer.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err(not_a_key(path, "it is not a regular file"));
    }
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.mode() & 0o7777;
    if metadata.uid() == rustix::process::getuid().as_raw() && mode & 0o077 != 0 {
        return Err(KeyError::TooOpen { path: path.to_owned(), mode });
    }
    // The buffer never grows, so no copy of the key is left behind in freed memory.
    let size = usize::try_from(metadata.len().min(LARGEST_KEY_FILE)).unwrap_or_default();
    let mut bytes = SecretBox::new(Box::new(Vec::with_capacity(size + 64)));
    file.take(LARGEST_KEY_FILE).read_to_end(bytes.expose_secret_mut()).map_err(unreadable)?;
    match String::from_utf8(std::mem::take(bytes.expose_secret_mut())) {
        Ok(text) => Ok(SecretBox::new(Box::new(text))),
        Err(e) => {
            *bytes.expose_secret_mut() = e.into_bytes();
            Err(not_a_key(path, "it is not text"))
        }
    }
}

/// The path with something after it: `KEY.pub`.
pub fn added(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// The certificate that lies beside a key, `KEY-cert.pub`, as `ssh` looks for it.
pub fn certificate(path: &Path, key: &PublicKeyLine) -> Result<Option<Certificate>, KeyError> {
    let path = &*added(path, "-cert.pub");
    let text = match files::open(path).and_then(|file| io::read_to_string(file.take(LARGEST_KEY_FILE))) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(reason) => return Err(KeyError::Unreadable { path: path.to_owned(), reason }),
    };
    let certificate = Certificate::from_openssh(text.trim())
        .map_err(|error| not_a_key(path, format!("it is no certificate ({error})")))?;
    let certified = PublicKeyLine::of(&PublicKey::from(certificate.public_key().clone()));
    if certified.is_ok_and(|certified| certified.data() == key.data()) {
        return Ok(Some(certificate));
    }
    Err(not_a_key(path, "it is the certificate of another key"))
}

fn useless(path: &Path, reason: impl Into<String>, hint: String) -> KeyError {
    KeyError::NotAKey { path: path.to_owned(), reason: reason.into(), hint: Some(Hint::Advice(hint)) }
}

fn not_a_key(path: &Path, reason: impl Into<String>) -> KeyError {
    KeyError::NotAKey { path: path.to_owned(), reason: reason.into(), hint: None }
}

/// What the text says about itself, before anything is decoded.
enum Form {
    Plain,
    Encrypted,
    Refused(String),
    /// `ssh-keygen -p` makes something of it that can be read.
    Rewritable(String, &'static str),
}

/// The decoders below answer an encrypted key without a passphrase, and a plain one with it, with errors about ASN.1 or padding.
/// So what the file is gets decided here.
fn form(text: &str) -> Form {
    let mut lines = text.lines();
    if text.trim_start().starts_with("PuTTY-User-Key-File-") {
        let plain = lines.any(|line| line.trim_end() == "Encryption: none");
        return if plain { Form::Plain } else { Form::Encrypted };
    }
    let Some(begin) = lines.find(|line| line.starts_with("-----BEGIN ") && line.contains("PRIVATE KEY-----")) else {
        let reason = if PublicKeyLine::parse(text.trim()).is_ok() {
            "it is the public half of a key; name the file without `.pub`"
        } else {
            "it holds no private key"
        };
        return Form::Refused(reason.to_owned());
    };
    let old_cipher = lines.find_map(|line| line.strip_prefix("DEK-Info: ")).and_then(|info| info.split(',').next());
    match (begin.trim_end(), old_cipher) {
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----", _) | ("-----BEGIN RSA PRIVATE KEY-----", Some("AES-128-CBC")) => {
            Form::Encrypted
        }
        (_, Some(cipher)) => Form::Rewritable(
            format!("it is encrypted with {cipher} in the old PEM format"),
            "rewrites it in OpenSSH's format",
        ),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", None) => match PrivateKey::from_openssh(text) {
            Ok(key) if key.cipher() == Cipher::TdesCbc => Form::Rewritable(
                format!("it is encrypted with {}, which fleet does not know", key.cipher()),
                "rewrites it",
            ),
            Ok(key) if key.is_encrypted() => Form::Encrypted,
            // Also what that reader does not take: the decoder is more lenient and names what is wrong.
            Ok(_) | Err(_) => Form::Plain,
        },
        (_, None) => Form::Plain,
    }
}

/// How a PKCS#8 key is encrypted, when the decoder knows the way not, and has not come to the passphrase.
fn unknown_encryption(error: &russh::keys::Error) -> Option<String> {
    /// Beginnings of object identifiers: RFC 8018, RFC 3657, RFC 5794.
    const NAMES: [(&str, &str); 5] = [
        ("1.2.840.113549.3.7", "3DES"),
        ("1.2.840.113549.3.2", "RC2"),
        ("1.3.14.3.2.7", "DES"),
        ("1.2.392.200011.61.1.1.1.", "Camellia"),
        ("1.2.410.200046.1.1.", "ARIA"),
    ];
    let russh::keys::Error::Der(error) = error else { return None };
    let said = error.to_string();
    if said.contains("OBJECT IDENTIFIER") {
        return Some("a scheme of PKCS#5 version 1".to_owned());
    }
    let (_, oid) = said.split_once("OID: ")?;
    let name = NAMES.iter().find(|(beginning, _)| oid.starts_with(beginning)).map(|(_, name)| *name);
    Some(name.map_or_else(|| format!("the algorithm {oid}"), str::to_owned))
}

/// What the decoder says of one ECDSA key in 256: it takes no secret number of 256 bits that begins with a zero byte, which OpenSSH's format
/// leaves out. PKCS#8 does not.
fn short(path: &Path, error: &russh::keys::Error) -> Option<KeyError> {
    let russh::keys::Error::SshKey(ssh_key::Error::Encoding(ssh_key::encoding::Error::Length)) = error else {
        return None;
    };
    let hint = format!("ssh-keygen -p -m PKCS8 -f {} rewrites it", quote(&path.to_string_lossy()));
    Some(useless(path, "it is damaged, or its secret number begins with a zero byte, which fleet cannot read", hint))
}

fn decode(path: &Path, text: &str, passphrase: Option<&SecretString>) -> Result<PrivateKey, KeyError> {
    // A wrong passphrase ends in a cryptographic error, bad padding, a wrong MAC or ASN.1 that makes no sense.
    let decrypt = || {
        let Some(passphrase) = passphrase else { return Err(KeyError::Encrypted { path: path.to_owned() }) };
        russh::keys::decode_secret_key(text, Some(passphrase.expose_secret())).map_err(
            |error| match unknown_encryption(&error) {
                Some(what) => useless(
                    path,
                    format!("it is encrypted with {what}, which fleet does not know"),
                    format!(
                        "openssl pkcs8 -topk8 -v2 aes-256-cbc -in {} -out {} rewrites it",
                        quote(&path.to_string_lossy()),
                        quote(&added(path, ".new").to_string_lossy()),
                    ),
                ),
                None => short(path, &error).unwrap_or(KeyError::WrongPassphrase { path: path.to_owned() }),
            },
        )
    };
    let key = match form(text) {
        Form::Refused(reason) => return Err(not_a_key(path, reason)),
        Form::Rewritable(reason, so) => {
            let hint = format!("ssh-keygen -p -f {} {so}", quote(&path.to_string_lossy()));
            return Err(useless(path, reason, hint));
        }
        Form::Encrypted => decrypt()?,
        Form::Plain => match russh::keys::decode_secret_key(text, None) {
            Ok(key) => key,
            Err(russh::keys::Error::KeyIsEncrypted) => decrypt()?,
            Err(e) => {
                let damaged = || not_a_key(path, format!("its content is damaged or of an unknown kind ({e})"));
                return Err(short(path, &e).unwrap_or_else(damaged));
            }
        },
    };
    match key.algorithm() {
        Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => Err(useless(
            path,
            "its secret lives on a hardware token",
            "ssh-add it; fleet then signs through the agent".to_owned(),
        )),
        _ => Ok(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::create_new;

    /// RFC 8410, section 10.3.
    const PKCS8: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----\n";
    /// The passphrase is `blabla`; from russh's documentation.
    const PKCS8_ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGjMF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBAWQiUHKoocuxfoZ/hF
YTjkAgIIADAMBggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBKgQQ83d1d5/S2wz475uC
CUrE7QRAvdVpD5e3zKH/MZjilWrMOm6cyI1LKBCssLztPyvOALtroLAPlp7WYWfu
9Sncmm7u14n2lia7r1r5I3VBsVuH0g==
-----END ENCRYPTED PRIVATE KEY-----\n";
    const PUBLIC: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK2pr+Bfus1hvPof4Wb/plZCzSbqadHH0u+/f4ODtKnE";

    fn load_text(text: &[u8], passphrase: Option<&str>) -> Result<Arc<PrivateKey>, KeyError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create_new(&path, 0o600, text).unwrap();
        load(&path, passphrase.map(SecretString::from).as_ref())
    }

    #[test]
    fn a_generated_key_loads_with_its_comment_and_only_with_its_passphrase() {
        let plain = generate("deploy@site", None).unwrap();
        let key = load_text(plain.private.expose_secret().as_bytes(), Some("not needed")).unwrap();
        assert_eq!(PublicKeyLine::of(key.public_key()).unwrap(), plain.public);
        assert_eq!(plain.public.comment(), "deploy@site");
        assert_ne!(generate("", None).unwrap().public.data(), plain.public.data());

        let pem = generate("c", Some(&"päss word".into())).unwrap().private;
        let pem = pem.expose_secret().as_bytes();
        assert_eq!(load_text(pem, Some("päss word")).unwrap().comment().as_bytes(), b"c");
        assert!(matches!(load_text(pem, None), Err(KeyError::Encrypted { .. })));
        assert!(matches!(load_text(pem, Some("pass word")), Err(KeyError::WrongPassphrase { .. })));
    }

    #[test]
    fn a_comment_cannot_smuggle_a_second_line() {
        assert!(matches!(generate("a\nssh-ed25519 AAAA", None), Err(KeyError::Comment)));
    }

    #[test]
    fn pkcs8_is_told_apart_from_its_encrypted_form() {
        assert!(load_text(PKCS8.as_bytes(), None).is_ok());
        assert!(load_text(PKCS8.as_bytes(), Some("not needed")).is_ok());
        assert!(load_text(PKCS8_ENCRYPTED.as_bytes(), Some("blabla")).is_ok());
        assert!(load_text(PKCS8_ENCRYPTED.replace('\n', "\r\n").as_bytes(), Some("blabla")).is_ok());
        assert!(matches!(load_text(PKCS8_ENCRYPTED.as_bytes(), None), Err(KeyError::Encrypted { .. })));
        assert!(matches!(load_text(PKCS8_ENCRYPTED.as_bytes(), Some("x")), Err(KeyError::WrongPassphrase { .. })));
    }

    #[test]
    fn what_is_no_private_key_says_what_it_is() {
        let reason = |text: &[u8]| match load_text(text, Some("x")) {
            Err(KeyError::NotAKey { reason, .. }) => reason,
            other => panic!("{other:?}"),
        };
        assert!(reason(PUBLIC.as_bytes()).contains("public half"));
        assert_eq!(reason(b""), "it holds no private key");
        assert_eq!(reason(b"\xff\xfe"), "it is not text");
        assert!(reason(PKCS8.replace("MC4C", "MC4D").as_bytes()).contains("damaged"));
        let old = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n";
        assert!(reason(old.as_bytes()).contains("AES-256-CBC"));
    }

    #[test]
    fn files_are_refused_by_kind_and_mode() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(load(folder.path(), None), Err(KeyError::NotAKey { .. })));
        assert!(matches!(load(&folder.path().join("none"), None), Err(KeyError::Missing { .. })));
        assert!(matches!(load(&folder.path().join("a\0b"), None), Err(KeyError::Unreadable { .. })));
        for (mode, refused) in [(0o600, false), (0o400, false), (0o700, false), (0o640, true), (0o602, true)] {
            let path = folder.path().join(format!("my key {mode:o}"));
            create_new(&path, mode, PKCS8.as_bytes()).unwrap();
            let result = load(&path, None);
            assert_eq!(matches!(result, Err(KeyError::TooOpen { mode: m, .. }) if m == mode), refused, "{mode:o}");
            if let Err(e) = result {
                assert_eq!(e.hints(), [Hint::Command(format!("chmod 600 '{}'", path.display()))], "{e}");
            }
        }
    }
}
