//! Logging in: identities, the agent's keys, the password, each named in the error when none was accepted.
//!
//! The connection's host key is pinned by the time anything here runs.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use russh::MethodKind;
use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{HashAlg, PrivateKeyWithHashAlg, PublicKey};
use secrecy::ExposeSecret as _;
use tokio::time::timeout;

use super::ConnectError;
use super::agent::{self, Agent};
use super::credentials::{Credentials, Identity, PasswordGate};
use super::key::PublicKeyLine;
use super::link::{Client, Link};
use super::timeouts::in_words;
use crate::model::plan::PlanHost;

/// sshd closes the connection after six failures, and a password may follow.
const MOST_KEYS: usize = 5;
/// A server that never stops asking.
const MOST_ROUNDS: usize = 20;

/// Logs in, or says what was tried.
pub(super) async fn login(
    link: &mut Link,
    host: &PlanHost,
    credentials: &Credentials,
    limit: Duration,
) -> Result<(), ConnectError> {
    let mut login = Login { host, limit, tried: Vec::new(), remarks: Vec::new(), offers: None };
    match login.run(&mut link.handle, credentials).await {
        Ok(()) => Ok(()),
        Err(stop) => Err(ConnectError::Auth {
            user: host.user.to_string(),
            reason: login.reason(&stop, link),
            refused: matches!(stop, Stop::Exhausted),
        }),
    }
}

struct Login<'a> {
    host: &'a PlanHost,
    limit: Duration,
    /// In words.
    tried: Vec<String>,
    /// Why something could not be tried.
    remarks: Vec<String>,
    /// The methods that the server would still take, after its last answer.
    offers: Option<Vec<MethodKind>>,
}

/// Why a login ended without success.
enum Stop {
    /// Nothing is left to try.
    Exhausted,
    /// The server has gone.
    Closed,
    /// The server does not answer.
    Silent,
}

/// One attempt's end.
enum Answer {
    In,
    /// `partial`: accepted, but the server wants something else as well.
    No {
        partial: bool,
    },
}

impl Login<'_> {
    async fn run(&mut self, handle: &mut Handle<Client>, credentials: &Credentials) -> Result<(), Stop> {
        if self.keys(handle, credentials).await? {
            return Ok(());
        }
        if let Some(gate) = &credentials.password
            && self.password(handle, gate).await?
        {
            return Ok(());
        }
        if self.offers.is_none() {
            // Nothing to log in with; the error still tells what the server takes.
            let attempt = handle.authenticate_none(self.host.user.as_str());
            let answer = limited(self.limit, attempt).await?;
            return if self.answer(answer)?.is_in() { Ok(()) } else { Err(Stop::Exhausted) };
        }
        Err(Stop::Exhausted)
    }

    fn takes(&self, method: MethodKind) -> bool {
        self.offers.as_ref().is_none_or(|offers| offers.contains(&method))
    }

    fn answer(&mut self, answer: AuthResult) -> Result<Answer, Stop> {
        match answer {
            AuthResult::Success => Ok(Answer::In),
            // russh's way to say that the connection ended.
            AuthResult::Failure { remaining_methods, .. } if remaining_methods.is_empty() => Err(Stop::Closed),
            AuthResult::Failure { remaining_methods, partial_success } => {
                self.offers = Some(remaining_methods.to_vec());
                Ok(Answer::No { partial: partial_success })
            }
        }
    }

    async fn keys(&mut self, handle: &mut Handle<Client>, credentials: &Credentials) -> Result<bool, Stop> {
        let mut offered: HashSet<KeyData> = HashSet::new();
        let mut identities: Vec<&Identity> = credentials.identities.iter().collect();
        identities.sort_by_key(|identity| self.host.identity.as_ref() != Some(&identity.name));
        for identity in identities.into_iter().take(MOST_KEYS) {
            if !self.takes(MethodKind::PublicKey) {
                return Ok(false);
            }
            if !offered.insert(identity.key.public_key().key_data().clone()) {
                continue;
            }
            self.tried.push(format!("key `{}`", identity.name));
            let Some(hash) = self.hash(handle, identity.key.public_key()).await? else { continue };
            let key = PrivateKeyWithHashAlg::new(Arc::clone(&identity.key), hash);
            let answer = limited(self.limit, handle.authenticate_publickey(self.host.user.as_str(), key)).await?;
            if self.answer(answer)?.is_in() {
                return Ok(true);
            }
        }
        let Some(path) = &credentials.agent else { return Ok(false) };
        let binding = handle.agent_session_binding().cloned();
        let (mut agent, mut listed) = match timeout(self.limit, agent::open(path, binding.as_ref())).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(e)) => {
                self.remarks.push(format!("agent {}: {e}", path.display()));
                return Ok(false);
            }
            Err(_) => {
                self.remarks.push(format!("agent {}: no answer in {}", path.display(), in_words(self.limit)));
                return Ok(false);
            }
        };
        if listed.is_empty() {
            self.remarks.push("the agent has no keys".to_owned());
        }
        let first = |key: &PublicKeyLine| credentials.agent_first.iter().any(|first| first.data() == key.data());
        listed.sort_by_key(|identity| !PublicKeyLine::of(&identity.public_key()).is_ok_and(|key| first(&key)));
        for identity in listed {
            if !self.takes(MethodKind::PublicKey) {
                return Ok(false);
            }
            let is_key = matches!(identity, AgentIdentity::PublicKey { .. });
            if is_key && offered.contains(identity.public_key().key_data()) {
                continue;
            }
            if self.tried.len() >= MOST_KEYS {
                self.remarks
                    .push(format!("further agent keys were not offered: servers close after {MOST_KEYS} or so"));
                return Ok(false);
            }
            if self.agent_key(handle, &mut agent, identity).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn agent_key(
        &mut self,
        handle: &mut Handle<Client>,
        agent: &mut Agent,
        identity: AgentIdentity,
    ) -> Result<bool, Stop> {
        let key = identity.public_key().into_owned();
        let what = format!("agent key `{}` ({})", identity.comment(), key.algorithm());
        self.tried.push(what.clone());
        let Some(hash) = self.hash(handle, &key).await? else { return Ok(false) };
        let user = self.host.user.as_str();
        let attempt = async {
            match identity {
                AgentIdentity::PublicKey { key, .. } => {
                    handle.authenticate_publickey_with(user, key, hash, agent).await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    handle.authenticate_certificate_with(user, certificate, hash, agent).await
                }
            }
        };
        match timeout(self.limit, attempt).await {
            Ok(Ok(answer)) => Ok(self.answer(answer)?.is_in()),
            Ok(Err(russh::AgentAuthError::Send(_))) => Err(Stop::Closed),
            Ok(Err(e)) => {
                self.remarks.push(format!("{what}: {e}"));
                Ok(false)
            }
            Err(_) => Err(Stop::Silent),
        }
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
                self.remarks.push("the server takes RSA keys only with SHA-1".to_owned());
                Ok(None)
            }
            Some(hash) => Ok(Some(hash)),
            // The server does not say: RFC 8332 recommends the attempt.
            None => Ok(Some(Some(HashAlg::Sha512))),
        }
    }

    async fn password(&mut self, handle: &mut Handle<Client>, gate: &PasswordGate) -> Result<bool, Stop> {
        if !self.takes(MethodKind::Password) && !self.takes(MethodKind::KeyboardInteractive) {
            self.remarks.push("the server takes no password".to_owned());
            return Ok(false);
        }
        let leave = match gate.leave().await {
            Ok(leave) => leave,
            Err(host) => {
                self.remarks.push(format!("password refused by {host}; not tried elsewhere"));
                return Ok(false);
            }
        };
        let secret = leave.password().expose_secret();
        let mut answer = Answer::No { partial: false };
        let mut sent = false;
        if self.takes(MethodKind::Password) {
            self.tried.push("password".to_owned());
            // The offers are still unknown when no key was tried: then this may be refused without a look at the password.
            let was_offered = self.offers.is_some();
            let attempt = handle.authenticate_password(self.host.user.as_str(), secret);
            answer = match limited(self.limit, attempt).await.and_then(|answer| self.answer(answer)) {
                Err(Stop::Closed) => {
                    // What sshd does to the last failure that it bears: a wrong password must not go to the next host.
                    self.remarks.push("the server closed at the password, which is not tried elsewhere".to_owned());
                    leave.refused(self.host.label.as_str()).await;
                    return Err(Stop::Closed);
                }
                answer => answer?,
            };
            sent = was_offered || self.takes(MethodKind::Password) || answer.is_accepted();
        }
        if !sent && self.takes(MethodKind::KeyboardInteractive) {
            self.tried.push("keyboard-interactive".to_owned());
            (answer, sent) = self.prompts(handle, secret).await?;
        }
        if answer.is_accepted() {
            leave.accepted();
        } else if sent {
            self.remarks.push("the password was refused, and is not tried elsewhere".to_owned());
            leave.refused(self.host.label.as_str()).await;
        }
        Ok(answer.is_in())
    }

    /// Keyboard-interactive: the password answers one prompt without echo. Second value: was it sent?
    async fn prompts(&mut self, handle: &mut Handle<Client>, secret: &str) -> Result<(Answer, bool), Stop> {
        let start = handle.authenticate_keyboard_interactive_start(self.host.user.as_str(), None::<String>);
        let mut response = limited(self.limit, start).await?;
        let mut sent = false;
        for _ in 0..MOST_ROUNDS {
            let prompts = match response {
                KeyboardInteractiveAuthResponse::Success => return Ok((Answer::In, sent)),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, partial_success } => {
                    let failure = AuthResult::Failure { remaining_methods, partial_success };
                    return Ok((self.answer(failure)?, sent));
                }
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => prompts,
            };
            let responses = match prompts.as_slice() {
                [] => Vec::new(),
                [prompt] if !prompt.echo && !sent => {
                    sent = true;
                    vec![secret.to_owned()]
                }
                _ => {
                    self.remarks.push("the server asks for more than a password".to_owned());
                    // Asked again, so what was sent was not enough; whether it was wrong is not known.
                    return Ok((Answer::No { partial: false }, sent));
                }
            };
            response = limited(self.limit, handle.authenticate_keyboard_interactive_respond(responses)).await?;
        }
        self.remarks.push(format!("the server asked {MOST_ROUNDS} times"));
        Ok((Answer::No { partial: false }, sent))
    }

    fn reason(&self, stop: &Stop, link: &Link) -> String {
        let mut parts = vec![match self.tried.as_slice() {
            [] => "there was nothing to try".to_owned(),
            tried => format!("tried {}", tried.join(", ")),
        }];
        parts.extend(self.remarks.iter().cloned());
        parts.push(match (stop, self.offers.as_deref()) {
            (Stop::Closed, _) => {
                let lost = link.lost();
                if lost == "connection lost" {
                    "server closed the connection (too many authentication failures?)".to_owned()
                } else {
                    lost
                }
            }
            (Stop::Silent, _) => format!("no answer in {}", in_words(self.limit)),
            (Stop::Exhausted, Some(offers)) => {
                let names: Vec<&str> = offers.iter().map(<&str>::from).collect();
                format!("the server takes {}", names.join(", "))
            }
            (Stop::Exhausted, None) => "the server does not say what it takes".to_owned(),
        });
        parts.join("; ")
    }
}

impl Answer {
    fn is_in(&self) -> bool {
        matches!(self, Self::In)
    }

    fn is_accepted(&self) -> bool {
        match self {
            Self::In => true,
            Self::No { partial } => *partial,
        }
    }
}

async fn limited<T>(limit: Duration, attempt: impl Future<Output = Result<T, russh::Error>>) -> Result<T, Stop> {
    match timeout(limit, attempt).await {
        Ok(Ok(value)) => Ok(value),
        // Every error here is an end of russh's task.
        Ok(Err(_)) => Err(Stop::Closed),
        Err(_) => Err(Stop::Silent),
    }
}
