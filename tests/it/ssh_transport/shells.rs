//! Durable steps: the shell on the host that takes one after another.

use std::time::Duration;

use fleet::model::plan::book::{Book, EffectChange};
use fleet::model::plan::command::RemoteCommand;
use fleet::model::plan::plan::HostIndex;
use fleet::model::run::scheduler::StepIndex;
use fleet::model::text::name::{RunId, SiteName, UserName};
use fleet::remote::{Claim, Connect as _, DurableStep, Entry, ExecEnd, Remote, Scope, Session, StepKey};
use rustix::process::Signal;

use super::{Done, Limits, connector, done, endpoint, pair, run_remote, run_text, session, web1, with_key};
use crate::support::files;
use crate::support::process::{signal, wait_or};
use crate::support::proxy::Proxy;
use crate::support::sshd::Sshd;
use crate::support::user::{self, TestUser};

const RUN: &str = "20261122-084512-7f3a";

/// Starts steps in a session, each once.
struct Steps {
    session: Box<dyn Session>,
    next: usize,
}

fn book() -> Book {
    let login = UserName::parse(&user::current()).unwrap();
    Book { site: SiteName::parse("mysite").unwrap(), folder: None, login, lost: false }
}

fn name(user: &TestUser) -> UserName {
    UserName::parse(&user.name).unwrap()
}

impl Steps {
    /// On a host that is locked for the run.
    async fn on(sshd: &Sshd, user: Option<&TestUser>) -> Self {
        Self::over(session(sshd).await, user).await
    }

    async fn over(mut session: Box<dyn Session>, user: Option<&TestUser>) -> Self {
        let claim = Claim {
            run: RunId::parse(RUN).unwrap(),
            host: HostIndex(0),
            book: book(),
            since: String::new(),
            resumed: false,
            whole: true,
            users: user.map(name).into_iter().collect(),
        };
        for question in std::iter::once(claim.lock()).chain(user.map(|user| claim.prepare(&name(user)))) {
            let answer = run_remote(&mut *session, Remote::Question(&question), Limits::default()).await.stdout;
            assert!(answer.ends_with("ready\n"), "{answer}");
        }
        Self { session, next: 0 }
    }

    async fn run(&mut self, text: &str, user: Option<&TestUser>) -> Done {
        let at = StepIndex { phase: 0, step: self.next };
        self.next += 1;
        let step = DurableStep {
            run: RunId::parse(RUN).unwrap(),
            key: StepKey::run(HostIndex(0), at, 1),
            label: "a step".to_owned(),
            command: RemoteCommand { as_user: user.map(name), ..RemoteCommand::shell(text) },
            limit: None,
            spent: Vec::new(),
            effects: EffectChange::default(),
            book: Some(book()),
            witness: None,
            scope: Scope::Session,
        };
        run_remote(&mut *self.session, Remote::Durable(&step, Entry::Start), Limits::default()).await
    }

    /// A step that tells its supervisor.
    async fn supervisor(&mut self, user: Option<&TestUser>) -> u32 {
        let told = self.run("echo $PPID", user).await;
        assert_eq!(told.end, ExecEnd::Exited(0));
        told.stdout.trim().parse().unwrap()
    }
}

#[tokio::test]
async fn steps_of_a_user_share_a_shell_as_root() {
    let (sshd, user) = (Sshd::start(), TestUser::create());
    let mut steps = Steps::on(&sshd, Some(&user)).await;
    let (own, other) = (steps.supervisor(None).await, steps.supervisor(Some(&user)).await);
    assert_ne!(own, other);
    assert_eq!(steps.run("echo err >&2; exit 3", None).await, done(ExecEnd::Exited(3), "", "err\n"));
    assert_eq!(run_text(&mut *steps.session, "echo plain").await, done(ExecEnd::Exited(0), "plain\n", ""));
    assert_eq!(steps.supervisor(None).await, own);
    assert_eq!(steps.supervisor(Some(&user)).await, other);
    steps.session.close().await;
    wait_or(|| sshd.commands().is_empty().then_some(()), || format!("still there: {:?}", sshd.commands()));
}

#[tokio::test]
async fn a_shell_that_is_gone_is_replaced() {
    let sshd = Sshd::start();
    let mut steps = Steps::on(&sshd, None).await;
    let first = steps.supervisor(None).await;
    signal(first, Signal::KILL);
    assert_ne!(first, steps.supervisor(None).await);
}

/// It may have been started, though nothing comes back, and no other shell can be had.
#[tokio::test]
async fn a_step_that_is_not_answered_is_lost() {
    let (sshd, pair) = (Sshd::start(), pair("ed25519"));
    sshd.authorize(&pair.public);
    let proxy = Proxy::start(sshd.port());
    let known_hosts = sshd.known_hosts().replace(&format!("]:{} ", sshd.port()), &format!("]:{} ", proxy.port()));
    let mut connector = connector(&known_hosts, with_key(&pair));
    connector.timeouts.channel = Duration::from_secs(3);
    let mut steps = Steps::over(connector.connect(&web1(), &endpoint(proxy.port())).await.unwrap(), None).await;
    steps.supervisor(None).await;
    proxy.black_hole();
    let end = steps.run("true", None).await.end;
    assert!(matches!(&end, ExecEnd::Lost(reason) if reason.text.contains("no sign of its shell")), "{end:?}");
}

/// Nothing of it may be lost without a word, and no step may wait for what never comes.
#[tokio::test]
async fn steps_run_where_a_startup_file_takes_standard_error_away() {
    let sshd = Sshd::settings().login_shell("bash").start();
    files::write(&sshd.home().join(".bashrc"), "exec 2>/dev/null\n", 0o644);
    let mut steps = Steps::on(&sshd, None).await;
    for status in [0, 3, 0] {
        let ran = steps.run(&format!("echo out; echo err >&2; exit {status}"), None).await;
        assert_eq!((ran.end, &*ran.stdout), (ExecEnd::Exited(status), "out\n"));
        assert!(ran.stderr.contains("(.bashrc) redirects standard error"), "{}", ran.stderr);
    }
}

/// One session at a time: the shell that waits gives way.
#[tokio::test]
async fn a_strict_server_sees_one_shell_at_a_time_as_root() {
    let (sshd, user) = (Sshd::settings().line("MaxSessions 1").start(), TestUser::create());
    let mut steps = Steps::on(&sshd, Some(&user)).await;
    for _ in 0..3 {
        let own = steps.supervisor(None).await;
        assert_eq!(steps.supervisor(None).await, own);
        assert_eq!(run_text(&mut *steps.session, "echo plain").await, done(ExecEnd::Exited(0), "plain\n", ""));
        steps.supervisor(Some(&user)).await;
    }
}
