//! The new key on many hosts: log in with what there is, add the key, and prove it by a second login with nothing else.
//!
//! Invariants: a host counts as done only after the second login, and the first connection stays open until then, so that there is
//! a way back in. Every host gets exactly one outcome, in the order of the hosts.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _, stream};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info, info_span};

use crate::model::plan::command::RemoteCommand;
use crate::model::plan::plan::PlanHost;
use crate::model::run::cause::Cause;
use crate::model::text::hint::{Advise as _, Hint};
use crate::model::text::name::{HostLabel, SiteName};
use crate::remote::Connect;
use crate::ssh::key::PublicKeyLine;
use crate::ssh::{Backoff, ConnectError, KeyAnswer};

use super::distribute::{Change, DistributeError, Distributed, Warning, distribute, run};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyOutcome {
    pub host: HostLabel,
    pub site: SiteName,
    pub result: HostKeyResult,
    /// What may keep this or another key from working.
    pub warnings: Vec<Warning>,
}

/// How the distribution to one host ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKeyResult {
    /// The key is there, and a login with it alone works.
    Proven(Change),
    /// No login with what there is now. Nothing was changed.
    NoLogin(ConnectError),
    NotDistributed(DistributeError),
    /// The key is in the file, but no login with it works.
    NotProven {
        change: Change,
        error: ConnectError,
    },
    /// Stopped before it was done; the same again is safe.
    Interrupted,
    /// A bug in fleet; the same again is safe.
    Panicked,
}

impl HostKeyResult {
    /// Does the key work on the host?
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Proven(_))
    }
}

impl fmt::Display for HostKeyOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.result {
            HostKeyResult::Proven(Change::Added) => f.write_str("added, and proven by a login"),
            HostKeyResult::Proven(Change::AlreadyThere) => f.write_str("already there, proven by a login"),
            HostKeyResult::NoLogin(error) => error.fmt(f),
            HostKeyResult::NotDistributed(error) => error.fmt(f),
            HostKeyResult::NotProven { change, error } => {
                let change = match change {
                    Change::Added => "was added to",
                    Change::AlreadyThere => "was already in",
                };
                match error {
                    ConnectError::Auth { key: KeyAnswer::Accepted, .. } => {
                        write!(f, "the key {change} ~/.ssh/authorized_keys, and alone does not log in: {error}")
                    }
                    error => write!(f, "the key {change} ~/.ssh/authorized_keys, but does not work: {error}"),
                }
            }
            HostKeyResult::Interrupted => f.write_str("interrupted; the same again is safe"),
            HostKeyResult::Panicked => f.write_str("fleet failed (a bug); the same again is safe"),
        }
    }
}

impl HostKeyOutcome {
    fn new(host: &PlanHost, result: HostKeyResult, warnings: Vec<Warning>) -> Self {
        Self { host: host.label.clone(), site: host.site.clone(), result, warnings }
    }

    /// What to do about it.
    pub fn hints(&self) -> Vec<Hint> {
        // To bring the key is what is being done, and no hint.
        let known = |error: &ConnectError| match error {
            ConnectError::Auth { cause: Cause::LoginRefused, .. } => None,
            error => error.hint(&self.site),
        };
        match &self.result {
            HostKeyResult::NotDistributed(error) => error.hints(),
            HostKeyResult::NoLogin(error)
            | HostKeyResult::NotProven { error: error @ ConnectError::Auth { key: KeyAnswer::Accepted, .. }, .. } => {
                known(error).into_iter().collect()
            }
            HostKeyResult::NotProven { error, .. } => {
                let sshd = "does `sshd -T` on the host say `pubkeyauthentication yes` and read that file (authorizedkeysfile)?";
                known(error).into_iter().chain([Hint::advice(sshd)]).collect()
            }
            HostKeyResult::Proven(_) | HostKeyResult::Interrupted | HostKeyResult::Panicked => Vec::new(),
        }
    }
}

/// Proves a login: connects, runs a command that does nothing, says good-bye.
///
/// It proves what `connector` offers, so give it one that has nothing but the key in question.
pub async fn prove(connector: &dyn Connect, host: &PlanHost) -> Result<(), ConnectError> {
    let mut session =
        Backoff::retry(host.endpoint.connect_retry, || connector.connect(&host.label, &host.endpoint)).await?;
    let result = run(session.as_mut(), &RemoteCommand::shell(":")).await;
    session.close().await;
    match result {
        Ok(_) => Ok(()),
        // A forced command or a shell that is none: to whom can run nothing, the login is worth nothing.
        Err(error) => Err(ConnectError::Auth {
            user: host.endpoint.user.to_string(),
            reason: format!("the login works, but no command runs ({error})"),
            cause: Cause::NoShell,
            key: KeyAnswer::Accepted,
        }),
    }
}

/// The two ways in, and what to bring.
pub struct Distribution {
    /// Logs in with what there is now: agent, another key, a password.
    pub login: Arc<dyn Connect>,
    /// Logs in with the new key and nothing else.
    pub proof: Arc<dyn Connect>,
    pub key: Arc<PublicKeyLine>,
}

/// Adds the key over the one login, and proves it by the other.
async fn distribute_to_host(distribution: &Distribution, host: &PlanHost) -> HostKeyOutcome {
    let Distribution { login, proof, key } = distribution;
    let outcome = |result, warnings| HostKeyOutcome::new(host, result, warnings);
    let mut session =
        match Backoff::retry(host.endpoint.connect_retry, || login.connect(&host.label, &host.endpoint)).await {
            Ok(session) => session,
            Err(error) => return outcome(HostKeyResult::NoLogin(error), Vec::new()),
        };
    let outcome = match distribute(session.as_mut(), key).await {
        Err(error) => outcome(HostKeyResult::NotDistributed(error), Vec::new()),
        Ok(Distributed { change, warnings }) => match prove(proof.as_ref(), host).await {
            Ok(()) => outcome(HostKeyResult::Proven(change), warnings),
            Err(error) => outcome(HostKeyResult::NotProven { change, error }, warnings),
        },
    };
    session.close().await;
    outcome
}

/// Brings the key to all hosts and proves it there, `width` at a time. The outcomes come in the order of the hosts.
///
/// When `stop` is cancelled no further host is started, and those at work are let go.
pub async fn distribute_to_all(
    distribution: &Distribution,
    hosts: &[PlanHost],
    width: usize,
    stop: &CancellationToken,
) -> Vec<HostKeyOutcome> {
    let outcomes = hosts.iter().enumerate().map(async |(index, host)| {
        let distributing = distribute_to_host(distribution, host).instrument(info_span!("host", host = %host.label));
        let outcome = match AssertUnwindSafe(stop.run_until_cancelled(distributing)).catch_unwind().await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => HostKeyOutcome::new(host, HostKeyResult::Interrupted, Vec::new()),
            Err(_) => HostKeyOutcome::new(host, HostKeyResult::Panicked, Vec::new()),
        };
        info!(host = %host.label, %outcome, "the key was brought");
        (index, outcome)
    });
    let outcomes: BTreeMap<usize, _> = stream::iter(outcomes).buffer_unordered(width.max(1)).collect().await;
    outcomes.into_values().collect()
}

#[cfg(test)]
mod tests;
