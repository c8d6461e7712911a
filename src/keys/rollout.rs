//! The new key on many hosts: log in with what there is, add the key, and prove it by a second login with nothing else.
//!
//! Invariants: a host counts as done only after the second login, and the first connection stays open until then, so that there is
//! a way back in. Every host gets exactly one outcome, in the order of the hosts.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::model::plan::plan::PlanHost;
use crate::model::text::name::HostLabel;
use crate::ssh::key::PublicKeyLine;
use crate::ssh::{Backoff, Connect, ConnectError, KeyAnswer};

use super::distribute::{Change, DistributeError, Distributed, Warning, distribute, run};

/// What became of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyOutcome {
    /// The host.
    pub host: HostLabel,
    /// How it ended.
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
    /// The key could not be added.
    NotDistributed(DistributeError),
    /// The key is in the file, but no login with it works.
    NotProven {
        /// What was done to the file.
        change: Change,
        /// Why there is no login.
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
        match self {
            Self::Proven(_) => true,
            Self::NoLogin(_)
            | Self::NotDistributed(_)
            | Self::NotProven { .. }
            | Self::Interrupted
            | Self::Panicked => false,
        }
    }
}

impl fmt::Display for HostKeyResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proven(Change::Added) => f.write_str("added, and proven by a login"),
            Self::Proven(Change::AlreadyThere) => f.write_str("already there, proven by a login"),
            Self::NoLogin(error) => error.fmt(f),
            Self::NotDistributed(error) => error.fmt(f),
            Self::NotProven { change, error } => {
                let change = match change {
                    Change::Added => "was added to",
                    Change::AlreadyThere => "was already in",
                };
                match error {
                    ConnectError::Auth { key: KeyAnswer::Accepted, .. } => {
                        write!(f, "the key {change} ~/.ssh/authorized_keys, and alone does not log in: {error}")
                    }
                    error => write!(
                        f,
                        "the key {change} ~/.ssh/authorized_keys, but does not work: {error}\n\
                         hint: does `sshd -T` on the host say `pubkeyauthentication yes` and read that file (authorizedkeysfile)?"
                    ),
                }
            }
            Self::Interrupted => f.write_str("interrupted; the same again is safe"),
            Self::Panicked => f.write_str("fleet failed (a bug); the same again is safe"),
        }
    }
}

/// Proves a login: connects, runs a command that does nothing, says good-bye.
///
/// It proves what `connector` offers, so give it one that has nothing but the key in question.
pub async fn prove(connector: &dyn Connect, host: &PlanHost) -> Result<(), ConnectError> {
    let mut session = Backoff::retry(host.connect_retry, || connector.connect(host)).await?;
    let result = run(session.as_mut(), ":".to_owned()).await;
    session.close().await;
    match result {
        Ok(_) => Ok(()),
        // A forced command or a shell that is none: to whom can run nothing, the login is worth nothing.
        Err(error) => Err(ConnectError::Auth {
            user: host.user.to_string(),
            reason: format!("the login works, but no command runs ({error})"),
            refused: true,
            key: KeyAnswer::Accepted,
        }),
    }
}

/// Adds the key over a login with `login`, and proves it with `proof`, which must offer the new key alone.
pub async fn distribute_to_host(
    login: &dyn Connect,
    proof: &dyn Connect,
    host: &PlanHost,
    key: &PublicKeyLine,
) -> HostKeyOutcome {
    let outcome = |result, warnings| HostKeyOutcome { host: host.label.clone(), result, warnings };
    let mut session = match Backoff::retry(host.connect_retry, || login.connect(host)).await {
        Ok(session) => session,
        Err(error) => return outcome(HostKeyResult::NoLogin(error), Vec::new()),
    };
    let distributed = distribute(session.as_mut(), key).await;
    let outcome = match distributed {
        Err(error) => outcome(HostKeyResult::NotDistributed(error), Vec::new()),
        Ok(Distributed { change, warnings }) => match prove(proof, host).await {
            Ok(()) => outcome(HostKeyResult::Proven(change), warnings),
            Err(error) => outcome(HostKeyResult::NotProven { change, error }, warnings),
        },
    };
    session.close().await;
    outcome
}

/// The two ways in, and what to bring.
#[derive(Clone)]
pub struct Distribution {
    /// Logs in with what there is now: agent, another key, a password.
    pub login: Arc<dyn Connect>,
    /// Logs in with the new key and nothing else.
    pub proof: Arc<dyn Connect>,
    /// The new key.
    pub key: Arc<PublicKeyLine>,
}

/// Does [`distribute_to_host`] on all hosts, `width` at a time. The outcomes come in the order of the hosts.
///
/// When `stop` is cancelled no further host is started, and those at work are let go.
pub async fn distribute_to_all(
    distribution: &Distribution,
    hosts: &[PlanHost],
    width: usize,
    stop: &CancellationToken,
) -> Vec<HostKeyOutcome> {
    let mut results: Vec<HostKeyOutcome> = hosts
        .iter()
        .map(|host| HostKeyOutcome {
            host: host.label.clone(),
            result: HostKeyResult::Interrupted,
            warnings: Vec::new(),
        })
        .collect();
    let mut waiting = hosts.iter().cloned().enumerate();
    let mut working = JoinSet::new();
    let mut index_of = HashMap::new();
    loop {
        while working.len() < width.max(1)
            && !stop.is_cancelled()
            && let Some((index, host)) = waiting.next()
        {
            let Distribution { login, proof, key } = distribution.clone();
            let stop = stop.clone();
            let task = working.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => None,
                    outcome = distribute_to_host(login.as_ref(), proof.as_ref(), &host, &key) => Some(outcome),
                }
            });
            index_of.insert(task.id(), index);
        }
        let Some(ended) = working.join_next_with_id().await else { return results };
        let id = ended.as_ref().map_or_else(tokio::task::JoinError::id, |(id, _)| *id);
        let Some(result) = index_of.remove(&id).and_then(|index| results.get_mut(index)) else { continue };
        match ended {
            Ok((_, Some(outcome))) => *result = outcome,
            Err(error) if error.is_panic() => result.result = HostKeyResult::Panicked,
            // Stopped: it says so already.
            Ok((_, None)) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::text::name::{Address, HostName, SiteName, UserName};
    use crate::ssh::{Exec, ExecEnd, OutputChunk, Session};
    use futures::future::BoxFuture;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::sync::Barrier;

    fn host(name: &str) -> PlanHost {
        PlanHost {
            label: HostLabel::parse(name).unwrap(),
            site: SiteName::parse("mysite").unwrap(),
            name: HostName::parse(name).unwrap(),
            address: Address::parse("192.0.2.1").unwrap(),
            port: 22,
            user: UserName::parse("release").unwrap(),
            identity: None,
            connect_timeout: Duration::from_secs(1),
            connect_retry: Duration::ZERO,
            reconnect_timeout: Duration::from_secs(1),
            keepalive: Duration::from_secs(15),
            roles: Vec::new(),
            book: None,
            values: std::sync::Arc::default(),
        }
    }

    /// Every host gets on well, but those whose name says otherwise. `together` connections are waited for.
    struct Hosts {
        together: Barrier,
        open: AtomicUsize,
        most: AtomicUsize,
    }

    impl Hosts {
        fn new(together: usize) -> Arc<Self> {
            let (open, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            Arc::new(Self { together: Barrier::new(together), open, most })
        }
    }

    impl Connect for Arc<Hosts> {
        fn connect<'a>(&'a self, host: &'a PlanHost) -> BoxFuture<'a, Result<Box<dyn Session>, ConnectError>> {
            Box::pin(async move {
                let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(open, Ordering::SeqCst);
                self.together.wait().await;
                match host.name.as_str() {
                    "down" => Err(ConnectError::Resolve { address: "down".into(), reason: "no such name".into() }),
                    "bug" => panic!("a bug"),
                    "hangs" => std::future::pending().await,
                    _ => Ok(Box::new(Script(Arc::clone(self))) as Box<dyn Session>),
                }
            })
        }
    }

    struct Script(Arc<Hosts>);

    impl Session for Script {
        fn exec<'a>(&'a mut self, exec: Exec<'a>) -> BoxFuture<'a, ExecEnd> {
            Box::pin(async move {
                let answer = if exec.command.text().contains("answer added") { "added\n" } else { "none\n" };
                let chunk = OutputChunk { stream: crate::model::run::event::Stream::Stdout, bytes: answer.into() };
                exec.output.send(chunk).await.unwrap();
                ExecEnd::Exited(0)
            })
        }

        fn is_alive(&self) -> bool {
            true
        }

        fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
            self.0.open.fetch_sub(1, Ordering::SeqCst);
            Box::pin(async {})
        }
    }

    fn distribution(login: Arc<Hosts>, proof: Arc<Hosts>) -> Distribution {
        let key = crate::ssh::key::generate("", None).unwrap().public;
        Distribution { login: Arc::new(login), proof: Arc::new(proof), key: Arc::new(key) }
    }

    #[tokio::test]
    async fn every_host_has_one_outcome_in_its_place_and_a_bug_stays_with_its_host() {
        let names = ["a", "down", "bug", "b"];
        let hosts = names.map(host);
        let distribution = distribution(Hosts::new(1), Hosts::new(1));
        let outcomes = distribute_to_all(&distribution, &hosts, 2, &CancellationToken::new()).await;
        assert_eq!(outcomes.iter().map(|o| o.host.as_str()).collect::<Vec<_>>(), names);
        let [a, down, bug, b] = outcomes.map_results();
        assert_eq!((a, b), (HostKeyResult::Proven(Change::Added), HostKeyResult::Proven(Change::Added)));
        assert!(matches!(down, HostKeyResult::NoLogin(ConnectError::Resolve { .. })));
        assert_eq!(bug, HostKeyResult::Panicked);
    }

    trait MapResults {
        fn map_results<const N: usize>(self) -> [HostKeyResult; N];
    }

    impl MapResults for Vec<HostKeyOutcome> {
        fn map_results<const N: usize>(self) -> [HostKeyResult; N] {
            self.into_iter().map(|o| o.result).collect::<Vec<_>>().try_into().unwrap()
        }
    }

    #[tokio::test]
    async fn as_many_work_at_a_time_as_the_width_says() {
        let login = Hosts::new(3);
        let hosts: Vec<_> = (1..=6).map(|n| host(&format!("web{n}"))).collect();
        let distribution = distribution(Arc::clone(&login), Hosts::new(1));
        let outcomes = distribute_to_all(&distribution, &hosts, 3, &CancellationToken::new()).await;
        // With fewer at a time the barrier would never open.
        assert!(outcomes.iter().all(|o| o.result.is_success()), "{outcomes:?}");
        assert_eq!(login.most.load(Ordering::SeqCst), 3);
        assert_eq!(login.open.load(Ordering::SeqCst), 0, "all said good-bye");
    }

    #[tokio::test]
    async fn a_stop_lets_go_of_hosts_that_hang_and_starts_no_other() {
        let stop = CancellationToken::new();
        let login = Hosts::new(2);
        let distribution = distribution(Arc::clone(&login), Hosts::new(1));
        let hosts = [host("hangs"), host("a")];
        let run = distribute_to_all(&distribution, &hosts, 1, &stop);
        // The barrier of two opens when the first host hangs and we are here: then it is certainly at work.
        let cancel = async {
            login.together.wait().await;
            stop.cancel();
        };
        let (outcomes, ()) = tokio::join!(run, cancel);
        assert_eq!(outcomes.map_results(), [HostKeyResult::Interrupted, HostKeyResult::Interrupted]);
    }

    #[tokio::test]
    async fn the_way_back_in_is_open_until_the_new_key_is_proven() {
        struct Proof(Arc<Hosts>);
        impl Connect for Proof {
            fn connect<'a>(&'a self, host: &'a PlanHost) -> BoxFuture<'a, Result<Box<dyn Session>, ConnectError>> {
                assert_eq!(self.0.open.load(Ordering::SeqCst), 1, "the first session is there");
                let user = host.user.to_string();
                Box::pin(async {
                    Err(ConnectError::Auth { user, reason: "no".into(), refused: true, key: KeyAnswer::Refused })
                })
            }
        }
        let login = Hosts::new(1);
        let key = crate::ssh::key::generate("", None).unwrap().public;
        let outcome = distribute_to_host(&Arc::clone(&login), &Proof(Arc::clone(&login)), &host("a"), &key).await;
        assert!(matches!(outcome.result, HostKeyResult::NotProven { change: Change::Added, .. }), "{outcome:?}");
        let text = outcome.result.to_string();
        assert!(text.starts_with("the key was added to ~/.ssh/authorized_keys, but does not work: login as"), "{text}");
    }
}
