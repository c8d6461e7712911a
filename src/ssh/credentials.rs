//! What fleet can log in with.
//!
//! Invariant: a password that one host refused is never sent to another in this run, or it would lock an account on every host.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use russh::keys::{Certificate, PrivateKey};
use secrecy::SecretString;
use tokio::sync::{Mutex, MutexGuard};

use super::key::PublicKeyLine;

/// What to log in with, in this order: identities, the agent's keys, the password.
#[derive(Debug, Default, Clone)]
pub struct Credentials {
    /// Private keys. The one that a host names goes first there.
    pub identities: Vec<Identity>,
    /// The agent's socket (`SSH_AUTH_SOCK`), when its keys may be used.
    pub agent: Option<PathBuf>,
    /// Keys of the agent that go first there, since somebody named their files: a server looks at a few only.
    pub agent_first: Vec<AgentKey>,
    /// A password, shared by all hosts.
    pub password: Option<Arc<PasswordGate>>,
    /// A login without a key is none: a password only completes it, where a server wants both.
    pub key_required: bool,
}

/// A key of the agent that somebody has named.
#[derive(Debug, Clone)]
pub struct AgentKey {
    pub key: PublicKeyLine,
    /// The certificate that lies beside its file.
    pub certificate: Option<Certificate>,
}

/// A private key.
#[derive(Clone)]
pub struct Identity {
    /// What messages, and hosts, call it: its file.
    pub name: String,
    /// The key, already decrypted.
    pub key: Arc<PrivateKey>,
    /// The certificate that lies beside its file.
    pub certificate: Option<Certificate>,
}

/// Without the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A password that is tried on one host first, while the others wait.
pub struct PasswordGate {
    password: SecretString,
    state: Mutex<State>,
}

enum State {
    Untried,
    Accepted,
    /// By this host.
    Refused(String),
}

/// Permits to send the password once.
pub(super) struct PasswordPermit<'a> {
    gate: &'a PasswordGate,
    /// Nobody has tried it: the others wait until this is settled. None: it was accepted somewhere.
    untried: Option<MutexGuard<'a, State>>,
}

impl PasswordGate {
    /// A password that nobody has tried.
    pub fn new(password: SecretString) -> Self {
        Self { password, state: Mutex::new(State::Untried) }
    }

    /// Waits until it is known whether the password may be sent. Err: the host that refused it. Dropped unsettled, because the
    /// connection broke, the next one tries.
    pub(super) async fn permit(&self) -> Result<PasswordPermit<'_>, String> {
        let state = self.state.lock().await;
        match &*state {
            State::Untried => Ok(PasswordPermit { gate: self, untried: Some(state) }),
            State::Accepted => Ok(PasswordPermit { gate: self, untried: None }),
            State::Refused(host) => Err(host.clone()),
        }
    }
}

impl PasswordPermit<'_> {
    pub(super) fn password(&self) -> &SecretString {
        &self.gate.password
    }

    pub(super) fn accepted(self) {
        if let Some(mut state) = self.untried {
            *state = State::Accepted;
        }
    }

    pub(super) async fn refused(self, host: &str) {
        let mut state = match self.untried {
            Some(state) => state,
            None => self.gate.state.lock().await,
        };
        *state = State::Refused(host.to_owned());
    }
}

/// Without the password.
impl fmt::Debug for PasswordGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordGate").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use secrecy::ExposeSecret as _;

    fn gate() -> PasswordGate {
        PasswordGate::new("secret".to_owned().into())
    }

    #[tokio::test]
    async fn others_wait_for_the_first_and_learn_that_the_password_is_wrong() {
        let gate = gate();
        let first = gate.permit().await.unwrap();
        assert!(gate.permit().now_or_never().is_none(), "a second host must wait");
        first.refused("web1").await;
        assert_eq!(gate.permit().await.err().as_deref(), Some("web1"));
    }

    #[tokio::test]
    async fn once_accepted_all_may_try_at_the_same_time_until_one_refuses() {
        let gate = gate();
        gate.permit().await.unwrap().accepted();
        let (one, two) = (gate.permit().await.unwrap(), gate.permit().await.unwrap());
        assert_eq!(two.password().expose_secret(), "secret");
        one.refused("web2").await;
        assert_eq!(gate.permit().await.err().as_deref(), Some("web2"));
    }

    #[tokio::test]
    async fn a_broken_attempt_settles_nothing() {
        let gate = gate();
        drop(gate.permit().await.unwrap());
        assert!(gate.permit().await.is_ok());
    }

    #[test]
    fn debug_shows_no_secret() {
        let credentials = Credentials { password: Some(Arc::new(gate())), ..Credentials::default() };
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
