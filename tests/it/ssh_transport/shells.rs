//! Durable steps: the shell on the host that takes one after another.

use fleet::model::command::RemoteCommand;
use fleet::model::durable::{DurableStep, Entry, Scope, StepKey};
use fleet::model::name::{RunId, UserName};
use fleet::model::plan::HostIndex;
use fleet::model::scheduler::StepIndex;
use fleet::ssh::{ExecEnd, Remote, Session};
use rustix::process::Signal;

use super::{Done, Limits, done, run_remote, run_text, session};
use crate::support::process::{signal, wait_or};
use crate::support::sshd::Sshd;
use crate::support::user::TestUser;

/// Starts steps in a session, each once.
struct Steps {
    session: Box<dyn Session>,
    next: usize,
}

impl Steps {
    async fn on(sshd: &Sshd) -> Self {
        Self { session: session(sshd).await, next: 0 }
    }

    async fn run(&mut self, text: &str, user: Option<&TestUser>) -> Done {
        let at = StepIndex { phase: 0, step: self.next };
        self.next += 1;
        let step = DurableStep {
            run: RunId::parse("20261122-084512-7f3a").unwrap(),
            key: StepKey::run(HostIndex(0), at, 1),
            label: "a step".to_owned(),
            command: RemoteCommand {
                as_user: user.map(|user| UserName::parse(&user.name).unwrap()),
                ..RemoteCommand::shell(text)
            },
            limit: None,
            spent: Vec::new(),
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
async fn steps_of_a_user_share_a_shell() {
    let (sshd, user) = (Sshd::start(), TestUser::create());
    let mut steps = Steps::on(&sshd).await;
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
    let mut steps = Steps::on(&sshd).await;
    let first = steps.supervisor(None).await;
    signal(first, Signal::KILL);
    assert_ne!(first, steps.supervisor(None).await);
}

/// One session at a time: the shell that waits gives way.
#[tokio::test]
async fn a_strict_server_sees_one_shell_at_a_time() {
    let (sshd, user) = (Sshd::settings().line("MaxSessions 1").start(), TestUser::create());
    let mut steps = Steps::on(&sshd).await;
    for _ in 0..3 {
        let own = steps.supervisor(None).await;
        assert_eq!(steps.supervisor(None).await, own);
        assert_eq!(run_text(&mut *steps.session, "echo plain").await, done(ExecEnd::Exited(0), "plain\n", ""));
        steps.supervisor(Some(&user)).await;
    }
}
