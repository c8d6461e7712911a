use super::*;
use crate::model::inventory::ssh::Endpoint;
use crate::model::run::cause::Cause;
use crate::model::text::name::{Address, HostName, UserName};
use crate::remote::{Connecting, Exec, ExecEnd, OutputChunk, Session};
use futures::future::BoxFuture;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Barrier;

fn host(name: &str) -> PlanHost {
    PlanHost {
        label: HostLabel::parse(name).unwrap(),
        site: SiteName::parse("mysite").unwrap(),
        name: HostName::parse(name).unwrap(),
        endpoint: Endpoint {
            connect_timeout: Duration::from_secs(1),
            connect_retry: Duration::ZERO,
            reconnect_timeout: Duration::from_secs(1),
            ..Endpoint::new(Address::parse("192.0.2.1").unwrap(), &UserName::parse("release").unwrap())
        },
        roles: Vec::new(),
        book: None,
        values: Arc::default(),
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
    fn connect<'a>(&'a self, label: &'a HostLabel, _: &'a Endpoint) -> Connecting<'a> {
        Box::pin(async move {
            let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(open, Ordering::SeqCst);
            self.together.wait().await;
            match label.as_str() {
                "down" => Err(ConnectError::Resolve {
                    address: "down".into(),
                    reason: "no such name".into(),
                    cause: Cause::Resolve,
                }),
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
        fn connect<'a>(&'a self, _: &'a HostLabel, host: &'a Endpoint) -> Connecting<'a> {
            assert_eq!(self.0.open.load(Ordering::SeqCst), 1, "the first session is there");
            let user = host.user.to_string();
            Box::pin(async {
                Err(ConnectError::Auth {
                    user,
                    reason: "no".into(),
                    cause: Cause::LoginRefused,
                    key: KeyAnswer::Refused,
                })
            })
        }
    }
    let login = Hosts::new(1);
    let distribution = distribution(Arc::clone(&login), Hosts::new(1));
    let distribution = Distribution { proof: Arc::new(Proof(login)), ..distribution };
    let outcome = distribute_to_host(&distribution, &host("a")).await;
    assert!(matches!(outcome.result, HostKeyResult::NotProven { change: Change::Added, .. }), "{outcome:?}");
    let text = outcome.to_string();
    assert!(text.starts_with("the key was added to ~/.ssh/authorized_keys, but does not work: login as"), "{text}");
}
