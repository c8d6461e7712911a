//! The engine on a scripted transport: what a host answers is decided by the text of the command.

mod cut;
mod resume;
mod when;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Observer, Run, Unwritten, execute};
use crate::model::inventory::ssh::Endpoint;
use crate::model::plan::command::CommandTemplate;
use crate::model::plan::operation::Operation;
use crate::model::plan::plan::{Guard, HostIndex, Plan, PlanHost, PlanPhase, PlanStep, Retry};
use crate::model::recipe::template::{Language, Template};
use crate::model::run::cause::Cause;
use crate::model::run::event::{Event, Fact, Signal, Stream};
use crate::model::run::outcome::HostOutcome;
use crate::model::run::scripted;
use crate::model::run::summary::Summary;
use crate::model::text::name::{Address, HostLabel, HostName, PhaseName, RunId, SiteName, StepPath, UserName, VarName};
use crate::remote::{Connect, Connecting, Exec, ExecEnd, OutputChunk, Session};
use crate::ssh::ConnectError;

/// What all hosts of a test share: the commands that were sent, as `host: text`, and how often each host was connected to.
#[derive(Default)]
struct Network {
    pub sent: Mutex<Vec<String>>,
    pub connections: Mutex<BTreeMap<String, usize>>,
    pub unreachable: BTreeSet<&'static str>,
    /// A host is gone after so many.
    pub most: Option<usize>,
    /// A host that was dropped is away until then.
    pub away_until: Mutex<Option<Instant>>,
}

/// `exit N`, `print TEXT`, `lose` (the connection), `cut N STATUS` (prints `part` and loses the connection, the first N times; then prints
/// `whole` and exits), `stand N` (says nothing for a minute and loses the connection, the first N times), `die` (the connection, before the command was sent, once), `wait` (for ever),
/// `drop` (succeeds, and the host is away for five seconds), `panic`, `flaky N` (fails the first N times); anything else succeeds.
struct ScriptedSession {
    host: String,
    network: Arc<Network>,
    alive: bool,
}

impl Connect for Arc<Network> {
    fn connect<'a>(&'a self, label: &'a HostLabel, _: &'a Endpoint) -> Connecting<'a> {
        let host = label.to_string();
        async move {
            let is_away = self.away_until.lock().unwrap().is_some_and(|until| Instant::now() < until);
            if is_away || self.unreachable.contains(host.as_str()) {
                return Err(ConnectError::Tcp {
                    address: host,
                    reason: "connection refused".into(),
                    cause: Cause::ConnectionRefused,
                });
            }
            {
                let mut connections = self.connections.lock().unwrap();
                let count = connections.entry(host.clone()).or_default();
                if self.most.is_some_and(|most| *count >= most) {
                    return Err(ConnectError::Tcp {
                        address: host,
                        reason: "connection refused".into(),
                        cause: Cause::ConnectionRefused,
                    });
                }
                *count += 1;
                assert!(*count < 200, "{host} is called without end");
            }
            let session: Box<dyn Session> = Box::new(ScriptedSession { host, network: Arc::clone(self), alive: true });
            Ok(session)
        }
        .boxed()
    }
}

impl Session for ScriptedSession {
    fn exec<'a>(&'a mut self, exec: Exec<'a>) -> BoxFuture<'a, ExecEnd> {
        async move {
            let text = exec.command.text();
            if text == "die" && self.network.connections.lock().unwrap()[&self.host] == 1 {
                self.alive = false;
                return ExecEnd::NotStarted("broken pipe".into());
            }
            // The run comes to the host, or leaves it.
            if text.starts_with("_run=") {
                if !self.alive {
                    return ExecEnd::NotStarted("broken pipe".into());
                }
                let bytes = b"ready\nheld\nnoted\nreleased\n".to_vec();
                exec.output.send(OutputChunk { stream: Stream::Stdout, bytes }).await.unwrap();
                return ExecEnd::Exited(0);
            }
            let before = {
                let mut sent = self.network.sent.lock().unwrap();
                let line = format!("{}: {text}", self.host);
                let before = sent.iter().filter(|other| **other == line).count();
                sent.push(line);
                before
            };
            match text.split_once(' ').unwrap_or((text, "")) {
                ("exit", status) => ExecEnd::Exited(status.parse().unwrap()),
                ("print", words) => {
                    let bytes = format!("{words}\n").into_bytes();
                    exec.output.send(OutputChunk { stream: Stream::Stdout, bytes }).await.unwrap();
                    ExecEnd::Exited(0)
                }
                ("lose", _) => {
                    self.alive = false;
                    ExecEnd::Lost("connection reset by peer".into())
                }
                ("stand", times) if before < times.parse().unwrap() => {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    self.alive = false;
                    ExecEnd::Lost("connection reset by peer".into())
                }
                ("cut", rest) => {
                    let (times, status) = rest.split_once(' ').unwrap();
                    let cut = before < times.parse().unwrap();
                    let bytes = if cut { b"part\n".to_vec() } else { b"whole\n".to_vec() };
                    exec.output.send(OutputChunk { stream: Stream::Stdout, bytes }).await.unwrap();
                    self.alive = !cut;
                    let lost = ExecEnd::Lost("connection reset by peer".into());
                    if cut { lost } else { ExecEnd::Exited(status.parse().unwrap()) }
                }
                ("wait", _) => {
                    exec.stop.cancelled().await;
                    ExecEnd::Stopped
                }
                ("flaky", times) => ExecEnd::Exited(u8::from(before < times.parse().unwrap())),
                ("drop", _) => {
                    self.alive = false;
                    *self.network.away_until.lock().unwrap() = Some(Instant::now() + Duration::from_secs(5));
                    ExecEnd::Exited(0)
                }
                ("panic", _) => panic!("a bug"),
                _ => ExecEnd::Exited(0),
            }
        }
        .boxed()
    }

    fn is_alive(&self) -> bool {
        self.alive
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

fn text(text: &str) -> CommandTemplate {
    CommandTemplate::shell(Template::parse(text, Language::Shell).unwrap())
}

/// Gives each host its own value of a variable.
fn set(plan: &mut Plan, name: &str, values: &[&str]) {
    for (host, value) in plan.hosts.iter_mut().zip(values) {
        Arc::make_mut(&mut host.values).insert(VarName::parse(name).unwrap(), Template::literal(value));
    }
}

fn step(name: &str, hosts: &[usize], run: &str, undo: Option<&str>) -> PlanStep {
    PlanStep {
        run: Some(Operation::Command(text(run))),
        undo: undo.map(text),
        durable: false,
        ..PlanStep::new(StepPath::parse(&format!("p/{name}")).unwrap(), hosts.iter().map(|h| HostIndex(*h)).collect())
    }
}

fn phase(name: &str, hosts: &[usize], steps: Vec<PlanStep>) -> PlanPhase {
    PlanPhase {
        name: PhaseName::parse(name).unwrap(),
        once: false,
        batches: vec![hosts.iter().copied().map(HostIndex).collect()],
        soak: Duration::ZERO,
        steps,
    }
}

fn plan(hosts: usize, phases: Vec<PlanPhase>) -> Plan {
    let host = |i: usize| PlanHost {
        label: HostLabel::parse(&format!("web{}", i + 1)).unwrap(),
        site: SiteName::parse("s").unwrap(),
        name: HostName::parse(&format!("web{}", i + 1)).unwrap(),
        endpoint: Endpoint {
            connect_timeout: Duration::from_secs(1),
            connect_retry: Duration::ZERO,
            reconnect_timeout: Duration::from_secs(1),
            ..Endpoint::new(Address::parse("127.0.0.1").unwrap(), &UserName::parse("u").unwrap())
        },
        roles: Vec::new(),
        book: None,
        values: Arc::default(),
    };
    Plan {
        sites: vec![SiteName::parse("s").unwrap()],
        task: "t".to_owned(),
        hosts: (0..hosts).map(host).collect(),
        phases,
        ..scripted::plan(&[], &[])
    }
}

#[derive(Default)]
struct Memory {
    pub events: Vec<Event>,
    /// Interrupts when this step starts.
    pub interrupt_at: Option<(&'static str, mpsc::Sender<Signal>)>,
    /// To see that what is announced has not been done yet.
    pub network: Option<Arc<Network>>,
}

impl Observer for Memory {
    fn observe(&mut self, event: &Event, _: &mut Summary) {
        if let Fact::StepStarted { step, host, .. } = &event.fact {
            if let Some((name, interrupts)) = &self.interrupt_at
                && step.as_str().ends_with(name)
            {
                for _ in 0..2 {
                    interrupts.try_send(Signal::Int).unwrap();
                }
            }
            if let Some(network) = &self.network {
                let sent = network.sent.lock().unwrap();
                let word = step.as_str().rsplit('/').next().unwrap();
                assert!(!sent.contains(&format!("{host}: {word}")), "{step} was sent before it was told");
            }
        }
        self.events.push(event.clone());
    }

    fn commit(&mut self, _: &mut Summary) -> Result<(), Unwritten> {
        Ok(())
    }

    fn tick(&mut self, _: &mut Summary) {}
}

async fn play(plan: Plan, network: &Arc<Network>) -> (Summary, Memory) {
    play_with(plan, network, Memory::default()).await
}

/// A run from its beginning.
fn run_of(plan: Plan, connector: Arc<dyn Connect>, interrupts: mpsc::Receiver<Signal>) -> Run {
    Run {
        plan: Arc::new(plan),
        secrets: std::collections::BTreeMap::new(),
        resumed: None,
        id: RunId::parse("20260101-000000-0000").unwrap(),
        by: "me@here".to_owned(),
        project: "/".into(),
        connector,
        interrupts,
        now: || Timestamp::UNIX_EPOCH,
    }
}

async fn play_with(plan: Plan, network: &Arc<Network>, mut memory: Memory) -> (Summary, Memory) {
    let (sender, interrupts) = mpsc::channel(4);
    if let Some((_, slot)) = &mut memory.interrupt_at {
        *slot = sender.clone();
    }
    let run = run_of(plan, Arc::new(Arc::clone(network)), interrupts);
    let summary = execute(run, &mut memory).await;
    (summary, memory)
}

fn outcomes(summary: &Summary) -> Vec<HostOutcome> {
    summary.hosts().map(|host| host.outcome.unwrap()).collect()
}

fn sent(network: &Network) -> Vec<String> {
    network.sent.lock().unwrap().clone()
}

#[tokio::test]
async fn a_failed_step_is_undone_together_with_those_before_it() {
    let network = Arc::new(Network::default());
    let steps = vec![
        step("a", &[0], "a", Some("undo-a")),
        step("b", &[0], "exit 3", Some("undo-b")),
        step("c", &[0], "c", None),
    ];
    let (summary, _) = play(plan(1, vec![phase("p", &[0], steps)]), &network).await;
    assert_eq!(sent(&network), ["web1: a", "web1: exit 3", "web1: undo-b", "web1: undo-a"]);
    assert_eq!(outcomes(&summary), [HostOutcome::RolledBack]);
    assert_eq!(summary.exit_code(), 10);
}

#[tokio::test]
async fn what_a_step_registers_is_quoted_into_later_commands_and_their_undos() {
    let network = Arc::new(Network::default());
    let mut read = step("read", &[0, 1], "print it's", None);
    read.register = Some(VarName::parse("x").unwrap());
    let steps = vec![read, step("use", &[0, 1], "use {{x}}", Some("undo {{x}}")), step("fail", &[1], "exit 1", None)];
    let (_, memory) = play(plan(2, vec![phase("p", &[0, 1], steps)]), &network).await;
    let sent = sent(&network);
    for line in [r"web1: use 'it'\''s'", r"web2: undo 'it'\''s'", r"web1: undo 'it'\''s'"] {
        assert!(sent.contains(&line.to_owned()), "{sent:?}");
    }
    let registered =
        memory.events.iter().filter(|e| matches!(&e.fact, Fact::Registered { value, .. } if value == "it's"));
    assert_eq!(registered.count(), 2);
}

#[tokio::test]
async fn an_undo_gets_what_its_step_got_though_the_variable_was_registered_anew() {
    let network = Arc::new(Network::default());
    let read = |name, run| {
        let mut read = step(name, &[0], run, None);
        read.register = Some(VarName::parse("x").unwrap());
        read
    };
    let steps = vec![
        read("first", "print 1"),
        step("use", &[0], "use {{x}}", Some("undo {{x}}")),
        read("second", "print 2"),
        step("fail", &[0], "exit 1", None),
    ];
    play(plan(1, vec![phase("p", &[0], steps)]), &network).await;
    assert_eq!(sent(&network).last().unwrap(), "web1: undo 1");
}

#[tokio::test]
async fn what_a_once_step_registers_is_known_to_all_hosts() {
    let network = Arc::new(Network::default());
    let mut pin = step("pin", &[0], "print abc", None);
    pin.register = Some(VarName::parse("revision").unwrap());
    let mut once = phase("pin", &[0], vec![pin]);
    once.once = true;
    let mut p = plan(2, vec![once, phase("roll", &[0, 1], vec![step("pull", &[0, 1], "pull {{revision}}", None)])]);
    p.proves = vec![VarName::parse("revision").unwrap()];
    let (_, memory) = play(p, &network).await;
    assert!(sent(&network).contains(&"web2: pull abc".to_owned()));
    let Fact::RunFinished { exit_code: 0, proven: Some(proven), .. } = &memory.events.last().unwrap().fact else {
        panic!("{:?}", memory.events.last());
    };
    assert_eq!(proven.value, "abc");
}

#[tokio::test]
async fn a_guard_skips_and_a_skipped_step_is_not_undone() {
    let network = Arc::new(Network::default());
    let mut skipped = step("a", &[0], "a", Some("undo-a"));
    skipped.guard = Some(Guard::Unless(text("exit 0")));
    let mut done = step("b", &[0], "b", Some("undo-b"));
    done.guard = Some(Guard::OnlyIf(text("true")));
    let steps = vec![skipped, done, step("c", &[0], "exit 1", None)];
    let (summary, _) = play(plan(1, vec![phase("p", &[0], steps)]), &network).await;
    assert_eq!(sent(&network), ["web1: exit 0", "web1: true", "web1: b", "web1: exit 1", "web1: undo-b"]);
    assert_eq!(outcomes(&summary), [HostOutcome::RolledBack]);
}

#[tokio::test]
async fn a_lost_connection_is_unknown_and_never_repeated_or_undone() {
    let network = Arc::new(Network::default());
    let steps = vec![step("a", &[0], "a", Some("undo-a")), step("b", &[0], "lose", Some("undo-b"))];
    let (summary, _) = play(plan(1, vec![phase("p", &[0], steps)]), &network).await;
    assert_eq!(sent(&network), ["web1: a", "web1: lose"]);
    assert_eq!(outcomes(&summary), [HostOutcome::Unknown]);
    assert_eq!(summary.exit_code(), 13);
}

#[tokio::test]
async fn a_connection_that_broke_before_the_command_was_sent_is_made_again() {
    let network = Arc::new(Network::default());
    let (summary, memory) = play(plan(1, vec![phase("p", &[0], vec![step("a", &[0], "die", None)])]), &network).await;
    assert_eq!(outcomes(&summary), [HostOutcome::Succeeded]);
    assert_eq!(network.connections.lock().unwrap()["web1"], 2);
    let told: Vec<&str> = memory
        .events
        .iter()
        .filter_map(|e| match e.fact {
            Fact::Connected { .. } => Some("connected"),
            Fact::ConnectionLost { .. } => Some("lost"),
            Fact::Reattached { .. } => Some("again"),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["connected", "lost", "again"], "who looks sees that it is there again");
}

/// The step of the first host needs what a skipped step was to register, so it fails before anything is sent.
#[tokio::test]
async fn a_step_that_cannot_be_made_ready_fails_after_what_came_with_it_was_told() {
    let network = Arc::new(Network::default());
    let mut read = step("read", &[0], "print x", None);
    read.guard = Some(Guard::Unless(text("exit 0")));
    read.register = Some(VarName::parse("x").unwrap());
    let use_it = step("use", &[0, 1], "use {{x}}", None);
    let mut p = plan(2, vec![phase("p", &[0], vec![read]), phase("q", &[0, 1], vec![use_it])]);
    set(&mut p, "x", &["1", "2"]);
    let (summary, memory) = play(p, &network).await;
    assert_eq!(sent(&network), ["web1: exit 0", "web2: use 2"]);
    assert_eq!(outcomes(&summary), [HostOutcome::Failed, HostOutcome::Succeeded]);
    let stopped = memory.events.iter().position(|e| matches!(e.fact, Fact::RolloutStopped { .. })).unwrap();
    let started = memory.events.iter().rposition(|e| matches!(e.fact, Fact::StepStarted { .. })).unwrap();
    assert!(started < stopped, "a step started after the rollout stopped");
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_and_each_attempt_is_told() {
    let network = Arc::new(Network::default());
    let mut flaky = step("a", &[0], "flaky 2", None);
    flaky.retry = Some(Retry { times: 3, delay: Duration::from_secs(60) });
    let started = tokio::time::Instant::now();
    let (summary, memory) = play(plan(1, vec![phase("p", &[0], vec![flaky])]), &network).await;
    assert_eq!(outcomes(&summary), [HostOutcome::Succeeded]);
    assert_eq!(started.elapsed().as_secs(), 120);
    let attempts: Vec<(u32, bool)> = memory
        .events
        .iter()
        .filter_map(|e| match &e.fact {
            Fact::StepFinished { attempt, retrying, .. } => Some((*attempt, *retrying)),
            _ => None,
        })
        .collect();
    assert_eq!(attempts, [(1, true), (2, true), (3, false)]);
}

#[tokio::test]
async fn a_panic_of_a_worker_costs_its_host_and_no_other() {
    let network = Arc::new(Network::default());
    let steps = vec![step("a", &[0, 1], "{{do|raw}}", None)];
    let mut p = plan(2, vec![phase("p", &[0, 1], steps)]);
    set(&mut p, "do", &["panic", "a"]);
    p.max_failures = 2;
    let (summary, _) = play(p, &network).await;
    assert_eq!(outcomes(&summary), [HostOutcome::Unknown, HostOutcome::Succeeded]);
}

#[tokio::test]
async fn the_second_interrupt_ends_the_running_step_and_undoes() {
    let network = Arc::new(Network::default());
    let steps = vec![step("a", &[0], "a", Some("undo-a")), step("b", &[0], "wait", Some("undo-b"))];
    let (sender, _) = mpsc::channel(1);
    let memory = Memory { interrupt_at: Some(("/b", sender)), ..Memory::default() };
    let (summary, _) = play_with(plan(1, vec![phase("p", &[0], steps)]), &network, memory).await;
    assert_eq!(sent(&network), ["web1: a", "web1: wait", "web1: undo-b", "web1: undo-a"]);
    assert_eq!(outcomes(&summary), [HostOutcome::RolledBack]);
    assert_eq!(summary.exit_code(), 130);
}

#[tokio::test]
async fn unreachable_hosts_stop_a_deployment_before_it_begins() {
    let network = Arc::new(Network { unreachable: BTreeSet::from(["web2"]), ..Network::default() });
    let (summary, _) =
        play(plan(3, vec![phase("p", &[0, 1, 2], vec![step("a", &[0, 1, 2], "a", None)])]), &network).await;
    assert!(sent(&network).is_empty());
    assert_eq!(outcomes(&summary), [HostOutcome::Untouched, HostOutcome::Unreachable, HostOutcome::Untouched]);
    assert_eq!(summary.exit_code(), 11);
}

#[tokio::test]
async fn what_is_about_to_happen_is_told_before_it_happens() {
    let network = Arc::new(Network::default());
    let all: Vec<usize> = (0..20).collect();
    let steps = ["a", "b", "c"].map(|name| step(name, &all, name, None)).to_vec();
    let memory = Memory { network: Some(Arc::clone(&network)), ..Memory::default() };
    let (summary, memory) = play_with(plan(20, vec![phase("p", &all, steps)]), &network, memory).await;
    assert_eq!(summary.exit_code(), 0);
    assert_eq!(sent(&network).len(), 60);
    for host in summary.hosts() {
        let last = memory.events.iter().rev().find(|e| e.fact.host() == Some(&host.host)).unwrap();
        assert!(matches!(last.fact, Fact::HostFinished { .. }), "{last:?}");
    }
}

#[tokio::test]
async fn secret_output_reaches_neither_events_nor_record_but_later_steps() {
    let network = Arc::new(Network::default());
    let mut read = step("read", &[0], "print hunter2", None);
    read.register = Some(VarName::parse("token").unwrap());
    read.secret_output = true;
    let steps = vec![read, step("use", &[0], "use {{token}}", None), step("show", &[0], "print a {{token}} b", None)];
    let (_, memory) = play(plan(1, vec![phase("p", &[0], steps)]), &network).await;
    assert!(sent(&network).contains(&"web1: use hunter2".to_owned()));
    let told = serde_json::to_string(&memory.events).unwrap();
    assert!(!told.contains("hunter2") && told.contains("a *** b"), "{told}");
}
