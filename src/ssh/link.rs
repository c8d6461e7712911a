//! An encrypted connection to a host whose key was looked at: russh's settings, its callbacks, and the limit of the handshake.
//!
//! Invariant: a key that the [`Judge`] does not accept ends the connection inside the key exchange, before a byte of a login is sent.
//! The server can open no channel: every one of russh's defaults that would accept one is overridden.

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::client::{self, ChannelOpenHandle, DisconnectReason, Handle, Msg};
use russh::keys::{Algorithm, PublicKeyOrCertificate};
use russh::{Channel, Names, Preferred, cipher, compression};
use tokio::io::BufReader;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use super::ConnectError;
use super::admission::LoginPermit;
use super::dial::{Admitted, Cuttable, Dial, Heard};
use super::host_key::{HostKey, algorithms_of_type};
use super::timeouts::in_words;
use super::words::server_words;

/// Looks at the host's key: an error refuses it, and becomes the connection's.
pub(super) type Judge = Box<dyn Fn(&HostKey) -> Result<(), ConnectError> + Send + Sync>;

/// A connection. Dropping it ends russh's task, whatever the peer does.
pub(super) struct Link {
    pub handle: Handle<Client>,
    pub shared: Arc<Shared>,
    /// Until it has logged in.
    pub permits: Option<[LoginPermit; 2]>,
    _cut: DropGuard,
}

impl Link {
    /// Why the connection ended, in words.
    pub fn lost(&self) -> String {
        self.shared.ended.lock().ok().and_then(|e| e.clone()).unwrap_or_else(|| "connection lost".to_owned())
    }

    /// What the server said last to who logs in, fit for a message.
    pub fn banner(&self) -> Option<String> {
        self.shared.banner.lock().ok().and_then(|banner| banner.clone())
    }
}

/// What russh's callbacks have seen.
#[derive(Default)]
pub(super) struct Shared {
    refused: Mutex<Option<ConnectError>>,
    ended: Mutex<Option<String>>,
    banner: Mutex<Option<String>>,
}

/// Connects, exchanges keys, and has the host's key judged. `pinned_types` are asked for first.
pub(super) async fn connect(
    dial: &Dial<'_>,
    handshake: Duration,
    pinned_types: &[String],
    keepalive: Duration,
    judge: Judge,
) -> Result<Link, ConnectError> {
    let Admitted { stream, permits } = dial.dial().await?;
    let (cut, heard) = (CancellationToken::new(), Arc::new(Heard::default()));
    let guard = cut.clone().drop_guard();
    // Unbuffered, russh reads every packet with two system calls.
    let stream = BufReader::with_capacity(16 << 10, Cuttable::new(stream, cut, heard.clone()));
    let shared = Arc::new(Shared::default());
    let client = Client { judge, shared: shared.clone() };
    let failed = |(reason, transient)| ConnectError::Handshake { address: dial.target(), reason, transient };
    match timeout(handshake, client::connect_stream(Arc::new(config(pinned_types, keepalive)), stream, client)).await {
        Ok(Ok(handle)) => {
            debug!(server = heard.line(|line| line.starts_with(b"SSH-")), "SSH handshake done");
            Ok(Link { handle, shared, permits: Some(permits), _cut: guard })
        }
        Ok(Err(e)) => {
            let refused = shared.refused.lock().ok().and_then(|mut refused| refused.take());
            Err(refused.unwrap_or_else(|| failed(handshake_failure(&e, &heard))))
        }
        // Whoever speaks something else waits for us to do so, too.
        Err(_) => {
            let stage = if heard.is_empty() { "no SSH banner in" } else { "key exchange not finished in" };
            let late = || format!("{stage} {}", in_words(handshake));
            Err(failed((other_protocol(&heard).unwrap_or_else(late), false)))
        }
    }
}

/// Why, and whether another attempt may be let in.
fn handshake_failure(error: &russh::Error, heard: &Heard) -> (String, bool) {
    let closed = match error {
        russh::Error::Disconnect | russh::Error::HUP => None,
        russh::Error::IO(e) if e.kind() == io::ErrorKind::UnexpectedEof => None,
        russh::Error::IO(e) => Some(e.to_string()),
        russh::Error::Version => {
            let reason = other_protocol(heard).unwrap_or_else(|| "what listens there does not speak SSH 2".to_owned());
            return (reason, false);
        }
        russh::Error::NoCommonAlgo { kind, ours, theirs } => {
            let theirs = server_words(&theirs.join(", "));
            let reason =
                format!("no common algorithm ({kind:?}): the server offers {theirs}; fleet knows {}", ours.join(", "));
            return (reason, false);
        }
        e => return (format!("key exchange: {e}"), false),
    };
    if let Some(said) = turned_away(heard) {
        return (format!("the server takes no connection now; it says: {said}"), true);
    }
    if let Some(other) = other_protocol(heard) {
        return (other, false);
    }
    let stage = if heard.is_empty() { "before an SSH banner came" } else { "during the key exchange" };
    let cause = closed.map(|cause| format!(": {cause}")).unwrap_or_default();
    (format!("the connection was closed {stage}{cause}"), true)
}

/// What OpenSSH says in place of a banner to a connection that is one too many (`MaxStartups`, `PerSourceMaxStartups`), or that comes from
/// an address with a penalty (`PerSourcePenalties`).
fn turned_away(heard: &Heard) -> Option<String> {
    heard.line(|line| matches!(line.trim_ascii_end(), b"Exceeded MaxStartups" | b"Not allowed at this time"))
}

/// What listens there, if it has shown a banner that is not of SSH 2, or something else and no banner.
fn other_protocol(heard: &Heard) -> Option<String> {
    match heard.line(|line| line.starts_with(b"SSH-")) {
        Some(banner) if banner.starts_with("SSH-2.0-") || banner.starts_with("SSH-1.99-") => None,
        Some(banner) if banner.starts_with("SSH-1.") => Some(format!(
            "the server speaks only protocol 1 of SSH, which is not safe: {banner}\nhint: it needs a newer sshd"
        )),
        Some(other) => Some(format!("what listens there does not speak SSH 2; it says: {other}")),
        None => {
            let line = heard.line(|line| !line.trim_ascii().is_empty())?;
            Some(format!("what listens there does not speak SSH 2; it says: {line}"))
        }
    }
}

/// russh's settings. The numbers were measured: see the comments.
fn config(pinned_types: &[String], keepalive: Duration) -> client::Config {
    client::Config {
        // A silent step may last for hours, but a dead peer is found after four intervals, by default in 60 s.
        inactivity_timeout: None,
        keepalive_interval: Some(keepalive),
        keepalive_max: 3,
        // 2 MiB, the default, is 38 MiB/s at 20 ms. Memory is bounded by the channel's buffer: 100 packets.
        window_size: 16 << 20,
        preferred: Preferred {
            key: Cow::Owned(key_algorithms(pinned_types)),
            // Refused until fleet verifies authorities, principals and validity itself.
            host_key_certificates: Cow::Borrowed(&[]),
            cipher: Cow::Borrowed(if has_aes() { AES_FIRST } else { CHACHA_FIRST }),
            // No decompression code can be reached.
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        ..client::Config::default()
    }
}

/// The types that are pinned for the host first, or a server with several keys would show one that is not pinned. Never SHA-1.
fn key_algorithms(pinned_types: &[String]) -> Vec<Algorithm> {
    let mut algorithms: Vec<Algorithm> = Vec::new();
    let pinned = pinned_types.iter().flat_map(|t| algorithms_of_type(t));
    for algorithm in pinned.chain(Preferred::DEFAULT.key.iter().cloned()) {
        if algorithm != (Algorithm::Rsa { hash: None }) && !algorithms.contains(&algorithm) {
            algorithms.push(algorithm);
        }
    }
    algorithms
}

/// AES-GCM needs half of `ChaCha20`'s CPU time where the processor has instructions for it.
const AES_FIRST: &[cipher::Name] = &[
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

const CHACHA_FIRST: &[cipher::Name] = &[
    cipher::CHACHA20_POLY1305,
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// russh's callbacks.
pub(super) struct Client {
    judge: Judge,
    shared: Arc<Shared>,
}

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, offered: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let key = match offered {
            PublicKeyOrCertificate::PublicKey { key, .. } => HostKey::from_russh(key),
            // None was asked for.
            PublicKeyOrCertificate::Certificate(_) => None,
        };
        let verdict = match key {
            Some(key) => (self.judge)(&key),
            None => Err(ConnectError::HostKey { message: "the host shows a certificate instead of a key".to_owned() }),
        };
        let accepted = verdict.is_ok();
        if let (Err(error), Ok(mut refused)) = (verdict, self.shared.refused.lock()) {
            *refused = Some(error);
        }
        Ok(accepted)
    }

    async fn kex_done(&mut self, _: Option<&[u8]>, names: &Names, _: &mut client::Session) -> Result<(), russh::Error> {
        let Names { kex, key, cipher, .. } = names;
        debug!(kex = kex.as_ref(), host_key = %key, cipher = cipher.as_ref(), "keys exchanged");
        Ok(())
    }

    async fn auth_banner(&mut self, banner: &str, _: &mut client::Session) -> Result<(), russh::Error> {
        // The last one is about this login: PAM's words on an account come after the one that all visitors get.
        let words = server_words(banner);
        if let (false, Ok(mut last)) = (words.is_empty(), self.shared.banner.lock()) {
            *last = Some(words);
        }
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<russh::Error>) -> Result<(), russh::Error> {
        let (words, result) = match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                (format!("the server closed the connection: {}", server_words(&info.message)), Ok(()))
            }
            DisconnectReason::Error(e) => {
                let words = match &e {
                    russh::Error::KeepaliveTimeout => "connection lost: no sign of life".to_owned(),
                    russh::Error::Disconnect | russh::Error::HUP => "connection lost".to_owned(),
                    russh::Error::IO(e) if e.kind() == io::ErrorKind::UnexpectedEof => "connection lost".to_owned(),
                    e => format!("connection lost: {e}"),
                };
                (words, Err(e))
            }
        };
        debug!(reason = words, "connection ended");
        if let Ok(mut ended) = self.shared.ended.lock() {
            ended.get_or_insert(words);
        }
        result
    }

    // russh accepts every channel of a kind that it knows, unless it is told otherwise: a dropped `ChannelOpenHandle` is a refusal. Other
    // kinds it refuses by itself, as a test below makes sure.

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use russh::ChannelId;
    use russh::client::Handler as _;
    use russh::keys::ssh_key::encoding::Decode as _;

    use super::*;

    #[tokio::test]
    async fn a_channel_of_a_made_up_kind_is_refused() {
        let mut client = Client { judge: Box::new(|_| Ok(())), shared: Arc::default() };
        let id = ChannelId::decode(&mut &[0_u8; 4][..]).unwrap();
        assert!(!client.should_accept_unknown_server_channel(id, "made-up@example.com").await);
    }
}
