//! Keys: those in files, then the agent's, each with its certificate before it.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use russh::client::Handle;
use russh::keys::agent::AgentIdentity;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, HashAlg, PublicKey};
use russh::{AgentAuthError, MethodKind};
use tokio::time::timeout;

use super::signer::KeySigner;
use super::{Answer, Login, Stop, limited};
use crate::ssh::agent;
use crate::ssh::credentials::{Credentials, Identity};
use crate::ssh::key::PublicKeyLine;
use crate::ssh::link::Client;
use crate::ssh::timeouts::in_words;
use crate::ssh::words::server_words;

/// sshd closes the connection after six failures, and a password may follow.
const MOST_KEYS: usize = 5;

impl Login<'_> {
    /// True when one of them was all that the server wanted.
    pub(super) async fn keys(&mut self, handle: &mut Handle<Client>, credentials: &Credentials) -> Result<bool, Stop> {
        let mut identities: Vec<&Identity> = credentials.identities.iter().collect();
        identities.sort_by_key(|identity| self.host.identity.as_ref() != Some(&identity.name));
        for identity in identities {
            let Identity { name, key, certificate } = identity;
            let plain = AgentIdentity::PublicKey { key: key.public_key().clone(), comment: String::new() };
            for offer in certificate.clone().map(certified).into_iter().chain([plain]) {
                let what = if is_certificate(&offer) { "certificate of key" } else { "key" };
                let signer = KeySigner::Private(Arc::clone(key));
                if self.offer(handle, format!("{what} `{name}`"), offer, signer).await? {
                    return Ok(true);
                }
            }
        }
        let Some(path) = credentials.agent.as_ref().filter(|_| self.takes(MethodKind::PublicKey)) else {
            return Ok(false);
        };
        self.agent(handle, path, credentials).await
    }

    async fn agent(
        &mut self,
        handle: &mut Handle<Client>,
        path: &Path,
        credentials: &Credentials,
    ) -> Result<bool, Stop> {
        let binding = handle.agent_session_binding().cloned();
        let (mut agent, mut listed) = match timeout(self.limit, agent::open(path, binding.as_ref())).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(e)) => return Ok(self.remark(format!("agent {}: {e}", path.display()))),
            Err(_) => {
                return Ok(self.remark(format!("agent {}: no answer in {}", path.display(), in_words(self.limit))));
            }
        };
        if listed.is_empty() {
            return Ok(self.remark("the agent has no keys".to_owned()));
        }
        let named = |identity: &AgentIdentity| {
            let key = PublicKeyLine::of(&identity.public_key()).ok()?;
            credentials.agent_first.iter().find(|first| first.key.data() == key.data())
        };
        listed.sort_by_key(|identity| named(identity).is_none());
        for identity in listed {
            let certificate = named(&identity).and_then(|named| named.certificate.clone());
            let (comment, algorithm) = (identity.comment().to_owned(), identity.public_key().algorithm());
            for offer in certificate.map(certified).into_iter().chain([identity]) {
                let what = if is_certificate(&offer) { "agent certificate" } else { "agent key" };
                let what = format!("{what} `{comment}` ({algorithm})");
                if self.offer(handle, what, offer, KeySigner::Agent(&mut agent)).await? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// True when it was all that the server wanted.
    async fn offer(
        &mut self,
        handle: &mut Handle<Client>,
        what: String,
        identity: AgentIdentity,
        mut signer: KeySigner<'_>,
    ) -> Result<bool, Stop> {
        let (data, unfit) = match &identity {
            AgentIdentity::PublicKey { key, .. } => (key.key_data().clone(), None),
            AgentIdentity::Certificate { certificate, .. } => {
                (KeyData::from(certificate.clone()), unfit(certificate, self.host.user.as_str()))
            }
        };
        if !self.takes(MethodKind::PublicKey) || !self.is_to_be_offered(&data) {
            return Ok(false);
        }
        self.tried.push(what.clone());
        let Some(hash) = self.hash(handle, &identity.public_key()).await? else { return Ok(false) };
        let user = self.host.user.as_str();
        let attempt = async {
            match identity {
                AgentIdentity::PublicKey { key, .. } => {
                    handle.authenticate_publickey_with(user, key, hash, &mut signer).await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    handle.authenticate_certificate_with(user, certificate, hash, &mut signer).await
                }
            }
        };
        let answer = match timeout(self.limit, attempt).await {
            Ok(Ok(answer)) => self.answer(answer, &what)?,
            Ok(Err(AgentAuthError::Send(_))) => return Err(Stop::Closed),
            Ok(Err(e)) => return Ok(self.remark(format!("{what}: {e}"))),
            Err(_) => return Err(Stop::Silent),
        };
        if let (Some(why), Answer::No) = (unfit, answer) {
            self.remark(format!("the {what} {why}"));
        }
        Ok(self.looked_at(data, answer))
    }

    fn is_to_be_offered(&mut self, key: &KeyData) -> bool {
        if self.offered.contains_key(key) {
            return false;
        }
        if self.refused_keys < MOST_KEYS {
            return true;
        }
        self.remark(format!("further keys were not offered: servers close after {MOST_KEYS} or so"))
    }

    /// True when it was all that the server wanted.
    fn looked_at(&mut self, key: KeyData, answer: Answer) -> bool {
        let accepted = answer != Answer::No;
        self.key_accepted |= accepted;
        self.refused_keys += usize::from(!accepted);
        self.offered.insert(key, accepted);
        answer == Answer::In
    }

    /// The hash that an RSA key signs with. `None`: the server takes RSA keys only with SHA-1, which is not used.
    async fn hash(&mut self, handle: &Handle<Client>, key: &PublicKey) -> Result<Option<Option<HashAlg>>, Stop> {
        // Asking may take a second, so only for RSA.
        let is_rsa = match key.key_data() {
            KeyData::Certificate(certificate) => certificate.public_key().is_rsa(),
            data => data.is_rsa(),
        };
        if !is_rsa {
            return Ok(Some(None));
        }
        match limited(self.limit, handle.best_supported_rsa_hash()).await? {
            Some(None) => {
                self.remark("the server takes RSA keys only with SHA-1".to_owned());
                Ok(None)
            }
            Some(hash) => Ok(Some(hash)),
            // The server does not say: RFC 8332 recommends the attempt.
            None => Ok(Some(Some(HashAlg::Sha512))),
        }
    }
}

/// Why a certificate does not log that user in, by what it says and by the controller's clock.
fn unfit(certificate: &Certificate, user: &str) -> Option<String> {
    let day = |time| Some(Timestamp::try_from(time?).ok()?.to_zoned(TimeZone::UTC).date());
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
    let users = certificate.valid_principals();
    if certificate.cert_type().is_host() {
        Some("is a host's".to_owned())
    } else if certificate.valid_before() <= now {
        day(certificate.valid_before_time()).map(|day| format!("expired on {day}"))
    } else if certificate.valid_after() > now {
        day(certificate.valid_after_time()).map(|day| format!("is valid from {day} on"))
    } else if !users.is_empty() && !users.iter().any(|known| known == user) {
        Some(format!("is for {}", server_words(&users.join(", "))))
    } else {
        None
    }
}

fn certified(certificate: Certificate) -> AgentIdentity {
    AgentIdentity::Certificate { certificate, comment: String::new() }
}

fn is_certificate(identity: &AgentIdentity) -> bool {
    matches!(identity, AgentIdentity::Certificate { .. })
}
