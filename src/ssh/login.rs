//! Logging in: identities, the agent's keys, the password, each named in the error when none was accepted.
//!
//! A server may want several proofs, one after the other (RFC 4252, section 5.1, "partial success"): each acceptance is progress, and what
//! it did not look at before may be what it wants now.
//!
//! The connection's host key is pinned by the time anything here runs.

mod keys;
mod password;
mod signer;

use std::collections::HashMap;
use std::time::Duration;

use russh::MethodKind;
use russh::client::{AuthResult, Handle};
use russh::keys::ssh_key::public::KeyData;
use tokio::time::timeout;
use tracing::{debug, info};

use super::connect_error::{ConnectError, KeyAnswer};
use super::credentials::Credentials;
use super::link::{Client, Link};
use super::timeouts::in_words;
use crate::model::inventory::ssh::Endpoint;
use crate::model::run::cause::Cause;
use crate::model::text::name::HostLabel;

/// A server that never stops asking.
const MOST_ROUNDS: usize = 20;

/// Logs in, or says what was tried.
pub(super) async fn login(
    link: &mut Link,
    (label, host): (&HostLabel, &Endpoint),
    credentials: &Credentials,
    limit: Duration,
) -> Result<(), ConnectError> {
    let mut login = Login::new(label, host, limit);
    let end = login.run(&mut link.handle, credentials).await;
    // To a login that is to prove a key, whatever else opens the host is none.
    let end = end.and_then(|()| {
        if login.key_accepted || !credentials.key_required {
            return Ok(());
        }
        login.remark("the server lets the user in without the key".to_owned());
        Err(Stop::Exhausted)
    });
    match end {
        Ok(()) => {
            info!(user = %host.user, method = login.tried.last().map_or("none", String::as_str), "logged in");
            Ok(())
        }
        Err(stop) => Err(ConnectError::Auth {
            user: host.user.to_string(),
            reason: login.reason(&stop, link),
            cause: match stop {
                Stop::Exhausted if login.needs_password(credentials) => Cause::PasswordNeeded,
                Stop::Exhausted => Cause::LoginRefused,
                Stop::Closed => Cause::LoginClosed,
                Stop::Silent => Cause::LoginTimedOut,
            },
            key: login.key_answer(),
        }),
    }
}

struct Login<'a> {
    label: &'a HostLabel,
    host: &'a Endpoint,
    limit: Duration,
    /// In words.
    tried: Vec<String>,
    /// What the server has accepted as a part of the login, in words.
    accepted: Vec<String>,
    key_accepted: bool,
    /// The methods of a password that were accepted: each is one proof.
    passed: Vec<MethodKind>,
    /// Some of them have seen the password.
    password_accepted: bool,
    /// Why something could not be tried.
    remarks: Vec<String>,
    /// The methods that the server would still take, after its last answer.
    offers: Option<Vec<MethodKind>>,
    /// Keys that it has looked at, and whether it accepted them.
    offered: HashMap<KeyData, bool>,
    /// How many of them it has refused.
    refused_keys: usize,
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
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    In,
    /// Accepted, but the server wants something else as well.
    Partly,
    No,
}

impl<'a> Login<'a> {
    fn new(label: &'a HostLabel, host: &'a Endpoint, limit: Duration) -> Self {
        Self {
            label,
            host,
            limit,
            tried: Vec::new(),
            accepted: Vec::new(),
            key_accepted: false,
            passed: Vec::new(),
            password_accepted: false,
            remarks: Vec::new(),
            offers: None,
            offered: HashMap::new(),
            refused_keys: 0,
        }
    }

    async fn run(&mut self, handle: &mut Handle<Client>, credentials: &Credentials) -> Result<(), Stop> {
        // The server may want the password first: a key before it would be a failure of the few that it bears.
        if credentials.password.is_some() && self.none(handle).await? {
            return Ok(());
        }
        for _ in 0..MOST_ROUNDS {
            let accepted = self.accepted.len();
            if self.keys(handle, credentials).await? || self.password(handle, credentials).await? {
                return Ok(());
            }
            if self.accepted.len() == accepted {
                break;
            }
        }
        // Nothing to log in with; the error still tells what the server takes.
        if self.offers.is_none() && self.none(handle).await? {
            return Ok(());
        }
        Err(Stop::Exhausted)
    }

    /// Asks what the server takes. True when it wants nothing.
    async fn none(&mut self, handle: &mut Handle<Client>) -> Result<bool, Stop> {
        let answer = limited(self.limit, handle.authenticate_none(self.host.user.as_str())).await?;
        Ok(self.answer(answer, "")? == Answer::In)
    }

    fn takes(&self, method: MethodKind) -> bool {
        self.offers.as_ref().is_none_or(|offers| offers.contains(&method))
    }

    /// `what` was tried, in words.
    fn answer(&mut self, answer: AuthResult, what: &str) -> Result<Answer, Stop> {
        debug!(method = what, ?answer, "login");
        match answer {
            AuthResult::Success => Ok(Answer::In),
            // russh's way to say that the connection ended.
            AuthResult::Failure { remaining_methods, .. } if remaining_methods.is_empty() => Err(Stop::Closed),
            AuthResult::Failure { remaining_methods, partial_success } => {
                self.offers = Some(remaining_methods.to_vec());
                if partial_success {
                    self.accepted.push(what.to_owned());
                    // A key that was refused may be wanted now; one that was accepted is no second proof.
                    self.offered.retain(|_, accepted| *accepted);
                }
                Ok(if partial_success { Answer::Partly } else { Answer::No })
            }
        }
    }

    /// False, for whoever has nothing more to try.
    fn remark(&mut self, remark: String) -> bool {
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
        false
    }

    fn key_answer(&self) -> KeyAnswer {
        match (self.key_accepted, self.takes(MethodKind::PublicKey)) {
            (true, _) => KeyAnswer::Accepted,
            (false, true) => KeyAnswer::Refused,
            (false, false) => KeyAnswer::NotWanted,
        }
    }

    fn needs_password(&self, credentials: &Credentials) -> bool {
        let takes_one = self.takes(MethodKind::Password) || self.takes(MethodKind::KeyboardInteractive);
        self.key_accepted && takes_one && credentials.password.is_none()
    }

    fn reason(&self, stop: &Stop, link: &Link) -> String {
        let refused: Vec<&str> =
            self.tried.iter().filter(|tried| !self.accepted.contains(tried)).map(String::as_str).collect();
        let mut parts = Vec::new();
        if !self.accepted.is_empty() {
            let wanted = match (stop, self.offers.as_deref()) {
                (Stop::Exhausted, Some(offers)) => format!(", and the server wants {} as well", in_human_words(offers)),
                (Stop::Exhausted | Stop::Closed | Stop::Silent, _) => String::new(),
            };
            parts.push(format!("{} accepted{wanted}", self.accepted.join(", ")));
        }
        match refused.as_slice() {
            [] if self.accepted.is_empty() => parts.push("there was nothing to try".to_owned()),
            [] => {}
            refused => parts.push(format!("tried {}", refused.join(", "))),
        }
        parts.extend(self.remarks.iter().cloned());
        let banner = link.banner();
        parts.extend(banner.iter().map(|banner| format!("the server says: {banner}")));
        parts.extend(match (stop, self.offers.as_deref()) {
            (Stop::Closed, _) => {
                let lost = link.lost();
                Some(match (lost == "connection lost", &banner) {
                    (true, None) => "server closed the connection (too many authentication failures?)".to_owned(),
                    (true, Some(_)) => "it closed the connection".to_owned(),
                    (false, _) => lost,
                })
            }
            (Stop::Silent, _) => Some(format!("no answer in {}", in_words(self.limit))),
            (Stop::Exhausted, Some(_)) if !self.accepted.is_empty() => None,
            (Stop::Exhausted, Some(offers)) => {
                let names: Vec<&str> = offers.iter().map(<&str>::from).collect();
                Some(format!("the server takes {}", names.join(", ")))
            }
            (Stop::Exhausted, None) => Some("the server does not say what it takes".to_owned()),
        });
        parts.join("; ")
    }
}

/// `a password or a key`.
fn in_human_words(offers: &[MethodKind]) -> String {
    let words = offers.iter().map(|method| match method {
        MethodKind::Password => "a password",
        MethodKind::PublicKey => "a key",
        MethodKind::KeyboardInteractive => "an answer (keyboard-interactive)",
        other => <&str>::from(other),
    });
    words.collect::<Vec<_>>().join(" or ")
}

async fn limited<T>(limit: Duration, attempt: impl Future<Output = Result<T, russh::Error>>) -> Result<T, Stop> {
    match timeout(limit, attempt).await {
        Ok(Ok(value)) => Ok(value),
        // Every error here is an end of russh's task.
        Ok(Err(_)) => Err(Stop::Closed),
        Err(_) => Err(Stop::Silent),
    }
}
