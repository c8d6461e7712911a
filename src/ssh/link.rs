//! An encrypted connection to a host whose key was looked at: russh's settings, its callbacks, and the limit of the handshake.
//!
//! Invariant: a key that is not [pinned](Verdict::Pinned) by the [`Judge`] ends the connection inside the key exchange, before a byte of a login is sent.
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
use tracing::{Span, debug};

use super::admission::LoginPermit;
use super::connect_error::ConnectError;
use super::dial::{Admitted, Cuttable, Dial, Heard};
use super::host_key::{HostKey, algorithms_of_type};
use super::timeouts::in_words;
use super::words::server_words;
use crate::model::inventory::host_key::{HostKeyRefusal, Verdict};
use crate::model::run::cause::Cause;

/// Looks at the host's key.
pub(super) type Judge = Box<dyn Fn(&HostKey) -> Verdict + Send + Sync>;

/// A connection. Dropping it ends russh's task, whatever the peer does.
pub(super) struct Link {
    pub handle: Handle<Client>,
    pub shared: Arc<Shared>,
    /// Until it has logged in.
    pub permits: Option<[LoginPermit; 2]>,
    _cut: DropGuard,
}

impl Link {
    pub fn lost(&self) -> String {
        self.shared.ended.lock().ok().and_then(|e| e.clone()).unwrap_or_else(|| "connection lost".to_owned())
    }

    /// Notes that fleet itself is about to close it.
    pub fn note_closing(&self) {
        self.shared.ended("closed by fleet".to_owned());
    }

    /// What the server said last to who logs in, fit for a message.
    pub fn banner(&self) -> Option<String> {
        self.shared.banner.lock().ok().and_then(|banner| banner.clone())
    }
}

/// What russh's callbacks have seen.
#[derive(Default)]
pub(super) struct Shared {
    refused: Mutex<Option<HostKeyRefusal>>,
    ended: Mutex<Option<String>>,
    banner: Mutex<Option<String>>,
}

impl Shared {
    /// Notes why the connection ended, and tells it; the first reason is the one.
    fn ended(&self, words: String) -> String {
        self.ended.lock().map_or_else(|_| String::new(), |mut ended| ended.get_or_insert(words).clone())
    }
}

/// Connects, exchanges keys, and has the host's key judged. `pinned_types` are asked for first.
pub(super) async fn connect(dial: &Dial<'_>, pinned_types: &[String], judge: Judge) -> Result<Link, ConnectError> {
    let Admitted { stream, permits } = dial.dial().await?;
    let config = Arc::new(config(pinned_types, dial.host.keepalive));
    let limit = dial.timeouts.handshake_of(dial.host.connect_timeout);
    let (cut, heard) = (CancellationToken::new(), Arc::new(Heard::default()));
    let guard = cut.clone().drop_guard();
    // Unbuffered, russh reads every packet with two system calls.
    let stream = BufReader::with_capacity(16 << 10, Cuttable::new(stream, cut, heard.clone()));
    let shared = Arc::new(Shared::default());
    let client = Client { host: dial.target(), judge, shared: shared.clone(), span: Span::current() };
    let failed = |(reason, cause)| ConnectError::Handshake { address: dial.target(), reason, cause };
    match timeout(limit, client::connect_stream(config, stream, client)).await {
        Ok(Ok(handle)) => {
            debug!(server = heard.line(|line| line.starts_with(b"SSH-")), "SSH handshake done");
            Ok(Link { handle, shared, permits: Some(permits), _cut: guard })
        }
        Ok(Err(e)) => {
            let refused = shared.refused.lock().ok().and_then(|mut refused| refused.take());
            let failure = || failed(handshake_failure(&e, &heard));
            Err(refused.map_or_else(failure, |refused| ConnectError::HostKey(Box::new(refused))))
        }
        // Whoever speaks something else waits for us to do so, too.
        Err(_) => {
            let stage = if heard.is_empty() { "no SSH banner in" } else { "key exchange not finished in" };
            let late = || (format!("{stage} {}", in_words(limit)), Cause::HandshakeTimedOut);
            Err(failed(other_protocol(&heard).unwrap_or_else(late)))
        }
    }
}

fn handshake_failure(error: &russh::Error, heard: &Heard) -> (String, Cause) {
    let closed = match error {
        russh::Error::Disconnect | russh::Error::HUP => None,
        russh::Error::IO(e) if e.kind() == io::ErrorKind::UnexpectedEof => None,
        russh::Error::IO(e) => Some(e.to_string()),
        russh::Error::Version => {
            let other = || ("what listens there does not speak SSH 2".to_owned(), Cause::NotSsh);
            return other_protocol(heard).unwrap_or_else(other);
        }
        russh::Error::NoCommonAlgo { kind, ours, theirs } => {
            let theirs = server_words(&theirs.join(", "));
            let reason =
                format!("no common algorithm ({kind:?}): the server offers {theirs}; fleet knows {}", ours.join(", "));
            return (reason, Cause::Handshake);
        }
        e => return (format!("key exchange: {e}"), Cause::Handshake),
    };
    if let Some(said) = turned_away(heard) {
        return (format!("the server takes no connection now; it says: {said}"), Cause::HandshakeClosed);
    }
    if let Some(other) = other_protocol(heard) {
        return other;
    }
    let stage = if heard.is_empty() { "before an SSH banner came" } else { "during the key exchange" };
    let cause = closed.map(|cause| format!(": {cause}")).unwrap_or_default();
    (format!("the connection was closed {stage}{cause}"), Cause::HandshakeClosed)
}

/// What OpenSSH says in place of a banner to a connection that is one too many (`MaxStartups`, `PerSourceMaxStartups`), or that comes from
/// an address with a penalty (`PerSourcePenalties`).
fn turned_away(heard: &Heard) -> Option<String> {
    heard.line(|line| matches!(line.trim_ascii_end(), b"Exceeded MaxStartups" | b"Not allowed at this time"))
}

/// What listens there, if it has shown a banner that is not of SSH 2, or something else and no banner.
fn other_protocol(heard: &Heard) -> Option<(String, Cause)> {
    let says = match heard.line(|line| line.starts_with(b"SSH-")) {
        Some(banner) if banner.starts_with("SSH-2.0-") || banner.starts_with("SSH-1.99-") => return None,
        Some(banner) if banner.starts_with("SSH-1.") => {
            let reason = format!("the server speaks only protocol 1 of SSH, which is not safe: {banner}");
            return Some((reason, Cause::OldSsh));
        }
        Some(other) => other,
        None => heard.line(|line| !line.trim_ascii().is_empty())?,
    };
    Some((format!("what listens there does not speak SSH 2; it says: {says}"), Cause::NotSsh))
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
            cipher: Cow::Owned(ciphers()),
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
fn ciphers() -> Vec<cipher::Name> {
    let gcm = [cipher::AES_128_GCM, cipher::AES_256_GCM];
    let ctr = [cipher::AES_256_CTR, cipher::AES_192_CTR, cipher::AES_128_CTR];
    let mut all = [&gcm[..], &ctr].concat();
    all.insert(if has_aes() { gcm.len() } else { 0 }, cipher::CHACHA20_POLY1305);
    all
}

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
    host: String,
    judge: Judge,
    shared: Arc<Shared>,
    /// Of whoever connects: russh calls from a task of its own.
    span: Span,
}

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, offered: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let key = match offered {
            PublicKeyOrCertificate::PublicKey { key, .. } => HostKey::from_russh(key),
            // None was asked for.
            PublicKeyOrCertificate::Certificate(_) => None,
        };
        let verdict = key.as_ref().map_or(Verdict::Certificate, &self.judge);
        let accepted = verdict == Verdict::Pinned;
        let offered = key.map(|key| format!("{} {}", key.key_type(), key.fingerprint())).unwrap_or_default();
        // russh's own lines have the number of its task, and this one tells whose that is.
        let task = tokio::task::try_id().map(tracing::field::display);
        self.span.in_scope(|| debug!(task, offered, %verdict, "host key"));
        if let (false, Ok(mut refused)) = (accepted, self.shared.refused.lock()) {
            *refused = Some(HostKeyRefusal { host: self.host.clone(), offered, verdict });
        }
        Ok(accepted)
    }

    async fn kex_done(&mut self, _: Option<&[u8]>, names: &Names, _: &mut client::Session) -> Result<(), russh::Error> {
        let Names { kex, key, cipher, .. } = names;
        self.span.in_scope(|| debug!(kex = kex.as_ref(), host_key = %key, cipher = cipher.as_ref(), "keys exchanged"));
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
        let reason = self.shared.ended(words);
        self.span.in_scope(|| debug!(reason, "connection ended"));
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
        let judge = Box::new(|_: &HostKey| Verdict::Pinned);
        let mut client = Client { host: String::new(), judge, shared: Arc::default(), span: Span::none() };
        let id = ChannelId::decode(&mut &[0_u8; 4][..]).unwrap();
        assert!(!client.should_accept_unknown_server_channel(id, "made-up@example.com").await);
    }
}
