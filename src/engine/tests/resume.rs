//! A controller may end between any two lines of its record. Hosts that remember what was started on them, as the spool does, and every
//! beginning of the events of a run: resumed from there, it ends as it would have without the crash, and runs nothing twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use tokio::sync::mpsc;

use super::{phase, plan, run_of, step};
use crate::engine::{Observer, Resumed, Run, Unwritten, execute};
use crate::model::plan::command::CommandTemplate;
use crate::model::plan::plan::{Guard, HostIndex, OnFailure, Plan, PlanStep, Retry};
use crate::model::run::event::{Direction, Event, Fact, Stream};
use crate::model::run::past::Past;
use crate::model::run::scheduler::StepIndex;
use crate::model::run::summary::Summary;
use crate::model::run::{cause::Cause, outcome::HostOutcome};
use crate::model::text::name::{HostLabel, VarName};
use crate::remote::{Connect, Connecting, Entry, Exec, ExecEnd, OutputChunk, Remote, Session, StepKey};
use crate::ssh::ConnectError;

/// What was announced when the controller ended, and not seen to its end: it never came to the host, or it was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InFlight {
    Never,
    Done,
}

/// What the hosts of a test know, whoever asks.
#[derive(Debug, Clone, Default)]
struct Hosts {
    /// The steps that were started, and the text of each: the spool.
    started: BTreeMap<(String, String), String>,
    /// What was run, in order: host and text.
    ran: Vec<(String, String)>,
    locked: BTreeSet<String>,
    unreachable: BTreeSet<&'static str>,
}

impl Hosts {
    fn run_once(&mut self, host: &str, key: &StepKey, text: &str) {
        let key = (host.to_owned(), key.as_str().to_owned());
        if self.started.insert(key, text.to_owned()).is_none() {
            self.ran.push((host.to_owned(), text.to_owned()));
        }
    }
}

type Shared = Arc<Mutex<Hosts>>;

struct Connection {
    host: String,
    hosts: Shared,
}

impl Connect for Shared {
    fn connect<'a>(&'a self, label: &'a HostLabel, _: &'a crate::model::inventory::ssh::Endpoint) -> Connecting<'a> {
        let (host, cause) = (label.to_string(), Cause::ConnectionRefused);
        async move {
            if self.lock().unwrap().unreachable.contains(host.as_str()) {
                return Err(ConnectError::Tcp { address: host, reason: "connection refused".into(), cause });
            }
            Ok(Box::new(Connection { host, hosts: Arc::clone(self) }) as Box<dyn Session>)
        }
        .boxed()
    }
}

impl Session for Connection {
    fn exec<'a>(&'a mut self, exec: Exec<'a>) -> BoxFuture<'a, ExecEnd> {
        async move {
            let text = exec.command.text().to_owned();
            let (end, printed) = match exec.command {
                Remote::Plain(_) | Remote::Question(_) => self.errand(&text),
                Remote::Durable(step, entry) => self.durable(&step.key, &text, entry),
            };
            if let Some(bytes) = printed {
                exec.output.send(OutputChunk { stream: Stream::Stdout, bytes }).await.unwrap();
            }
            end
        }
        .boxed()
    }

    fn is_alive(&self) -> bool {
        true
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

impl Connection {
    /// Taking the lock, giving it back; or a guard.
    fn errand(&self, text: &str) -> (ExecEnd, Option<Vec<u8>>) {
        let mut hosts = self.hosts.lock().unwrap();
        if !text.starts_with("_run=") {
            return (end_of(text, 1), None);
        }
        if text.contains("fleet_release") {
            assert!(hosts.locked.contains(&self.host), "{} gives back a lock that it has not", self.host);
            hosts.locked.remove(&self.host);
            hosts.started.retain(|(host, _), _| *host != self.host);
            return (ExecEnd::Exited(0), Some(b"released\n".to_vec()));
        }
        hosts.locked.insert(self.host.clone());
        (ExecEnd::Exited(0), Some(b"ready\n".to_vec()))
    }

    fn durable(&self, key: &StepKey, text: &str, entry: Entry) -> (ExecEnd, Option<Vec<u8>>) {
        let mut hosts = self.hosts.lock().unwrap();
        assert!(hosts.locked.contains(&self.host), "{}: {text} without the lock", self.host);
        match (entry, hosts.started.get(&(self.host.clone(), key.as_str().to_owned()))) {
            (_, Some(_)) => {}
            (Entry::Watch { .. } | Entry::Forbid { .. }, None) => return (ExecEnd::Absent, None),
            (Entry::Start, None) => hosts.run_once(&self.host, key, text),
        }
        let attempt = key.as_str().rsplit('.').next().unwrap().trim_start_matches('u').parse().unwrap();
        (end_of(text, attempt), text.strip_prefix("print ").map(|words| format!("{words}\n").into_bytes()))
    }
}

/// `exit N NAME`; `flaky N NAME` fails N times; all else succeeds.
fn end_of(text: &str, attempt: u8) -> ExecEnd {
    let words: Vec<&str> = text.split(' ').collect();
    match words.as_slice() {
        ["exit", status, ..] => ExecEnd::Exited(status.parse().unwrap()),
        ["flaky", times, ..] => ExecEnd::Exited(u8::from(attempt <= times.parse().unwrap())),
        _ => ExecEnd::Exited(0),
    }
}

#[derive(Default)]
struct Memory(Vec<Event>);

impl Observer for Memory {
    fn observe(&mut self, event: &Event, _: &mut Summary) {
        self.0.push(event.clone());
    }

    fn commit(&mut self, _: &mut Summary) -> Result<(), Unwritten> {
        Ok(())
    }

    fn tick(&mut self, _: &mut Summary) {}
}

/// Runs the plan, from its beginning or from what these events tell. Gives the events that came.
async fn carry_out(plan: &Plan, past: Option<(&[Event], Direction)>, hosts: &Shared) -> (Summary, Vec<Event>) {
    let (_sender, interrupts) = mpsc::channel(1);
    let resumed = past.map(|(events, direction)| Resumed {
        past: Past::of(plan, events),
        summary: Summary::of(events),
        direction,
        decided: Vec::new(),
        given_up: Vec::new(),
        recorded: Vec::new(),
    });
    let run = Run { resumed, ..run_of(plan.clone(), Arc::new(Arc::clone(hosts)), interrupts) };
    let mut memory = Memory::default();
    let summary = execute(run, &mut memory).await;
    (summary, memory.0)
}

/// How a run ended: its exit code, its hosts, which of them are locked, and what ran how often.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ending {
    code: u8,
    hosts: Vec<(String, HostOutcome)>,
    locked: BTreeSet<String>,
    ran: Vec<(String, String)>,
}

impl Ending {
    fn of(summary: &Summary, hosts: &Shared) -> Self {
        let hosts = hosts.lock().unwrap().clone();
        let mut ran = hosts.ran;
        ran.sort();
        ran.dedup_by(|a, b| a == b && a.1.starts_with("exit 1 undo-"));
        Self {
            code: summary.exit_code(),
            hosts: summary.hosts().map(|host| (host.host.to_string(), host.outcome.unwrap())).collect(),
            locked: hosts.locked,
            ran,
        }
    }
}

fn at(plan: &Plan, path: &str) -> StepIndex {
    plan.phases
        .iter()
        .enumerate()
        .flat_map(|(phase, p)| p.steps.iter().enumerate().map(move |(step, s)| (StepIndex { phase, step }, s)))
        .find_map(|(at, step)| (step.path.as_str() == path).then_some(at))
        .unwrap()
}

fn hosts_after(plan: &Plan, events: &[Event], in_flight: InFlight, unreachable: &BTreeSet<&'static str>) -> Hosts {
    let mut hosts = Hosts { unreachable: unreachable.clone(), ..Hosts::default() };
    for (nth, event) in events.iter().enumerate() {
        let later = || events.iter().skip(nth + 1);
        let Some(host) = event.fact.host() else { continue };
        let index = HostIndex(plan.hosts.iter().position(|known| known.label == *host).unwrap());
        match &event.fact {
            Fact::LockRequested { .. } => {
                let told = later().any(|event| event.fact.host() == Some(host));
                if in_flight == InFlight::Done && !told && !unreachable.contains(host.as_str()) {
                    hosts.locked.insert(host.to_string());
                }
            }
            Fact::LockAcquired { .. } => drop(hosts.locked.insert(host.to_string())),
            Fact::LockReleased { .. } => {
                hosts.locked.remove(host.as_str());
                hosts.started.retain(|(of, _), _| of != host.as_str());
            }
            Fact::StepStarted { step, attempt, .. } | Fact::StepResumed { step, attempt, undo: false, .. } => {
                let ended = later().find_map(|event| match &event.fact {
                    Fact::StepFinished { host: of, step: ended, attempt: nth, .. }
                        if of == host && ended == step && nth == attempt =>
                    {
                        Some(true)
                    }
                    Fact::StepSkipped { host: of, step: ended, .. } if of == host && ended == step => Some(false),
                    _ => None,
                });
                let at = at(plan, step.as_str());
                // The guard of a step that is skipped says so however often it is asked.
                let may_be_sent =
                    !matches!(plan.guard(index, at), Some(Guard::Unless(guard)) if guard.text.to_string() == "exit 0");
                if ended.unwrap_or(in_flight == InFlight::Done && may_be_sent) {
                    hosts.run_once(
                        host.as_str(),
                        &StepKey::run(index, at, *attempt),
                        &sent(&plan.run(index, at).unwrap()),
                    );
                }
            }
            Fact::UndoStarted { step, attempt, .. } | Fact::StepResumed { step, attempt, undo: true, .. } => {
                let ended = later().any(
                    |event| matches!(&event.fact, Fact::UndoFinished { host: of, step: ended, .. } if of == host && ended == step),
                );
                let at = at(plan, step.as_str());
                if ended || in_flight == InFlight::Done {
                    let text = sent(&plan.undo(index, at).unwrap());
                    hosts.run_once(host.as_str(), &StepKey::undo(index, at, *attempt), &text);
                }
            }
            _ => {}
        }
    }
    hosts
}

/// What comes to the host of this command: in all plans here `x` becomes `abc`.
fn sent(command: &CommandTemplate) -> String {
    command.text.to_string().replace("{{x}}", "abc")
}

/// An undo `undo-NAME` comes after its step `NAME`, and those of a host in the opposite order.
fn check_order(ran: &[(String, String)]) {
    for host in ran.iter().map(|(host, _)| host).collect::<BTreeSet<_>>() {
        let of_host: Vec<&str> = ran.iter().filter(|(of, _)| of == host).map(|(_, text)| text.as_str()).collect();
        let mut last = usize::MAX;
        for (nth, undo) in of_host.iter().enumerate() {
            let Some(name) = undo.strip_prefix("undo-").or_else(|| undo.strip_prefix("exit 1 undo-")) else { continue };
            let step = of_host.iter().rposition(|text| text.rsplit(' ').next() == Some(name));
            let step = step.unwrap_or_else(|| panic!("{host}: {undo} without its step: {of_host:?}"));
            assert!(step < nth, "{host}: {undo} before its step: {of_host:?}");
            assert!(step <= last, "{host}: {undo} in the wrong order: {of_host:?}");
            last = step;
        }
    }
}

fn check_told(plan: &Plan, events: &[Event], case: &str) {
    for host in &plan.hosts {
        let of_host: Vec<&Event> = events.iter().filter(|event| event.fact.host() == Some(&host.label)).collect();
        let ends = |event: &&&Event| matches!(event.fact, Fact::HostFinished { .. });
        assert_eq!(of_host.iter().filter(ends).count(), 1, "{case}: {}: {of_host:#?}", host.label);
        assert!(ends(&of_host.last().unwrap()), "{case}: {}: {of_host:#?}", host.label);
    }
}

/// Crashes after every event of the run, resumes, and compares with the run that was not disturbed. `deep`: the resumed runs crash as well.
async fn crash_everywhere(plan: &Plan, unreachable: &BTreeSet<&'static str>, deep: bool) -> Ending {
    let hosts = Shared::default();
    hosts.lock().unwrap().unreachable = unreachable.clone();
    let (summary, events) = carry_out(plan, None, &hosts).await;
    check_order(&hosts.lock().unwrap().ran);
    let expected = Ending::of(&summary, &hosts);
    for cut in 1..events.len() {
        let begun = &events[..cut];
        // A resumed run waits for a host that it has begun without and that nothing is known of; that is not the end of this one.
        let known = |host: &str| Summary::of(begun).host(host).is_some_and(|host| host.outcome.is_some());
        if !Past::of(plan, begun).is_empty() && !unreachable.iter().all(|host| known(host)) {
            continue;
        }
        for in_flight in [InFlight::Never, InFlight::Done] {
            let case = format!("{in_flight:?} after {cut} of {}: {:?}", events.len(), begun.last().unwrap().fact);
            let resumed = resume(plan, begun, in_flight, unreachable, &case, &expected).await;
            if !deep {
                continue;
            }
            for second in 1..resumed.len() {
                let begun = [begun, &resumed[..second]].concat();
                for in_flight in [InFlight::Never, InFlight::Done] {
                    let case = format!("{case}; then {in_flight:?} after {:?}", begun.last().unwrap().fact);
                    resume(plan, &begun, in_flight, unreachable, &case, &expected).await;
                }
            }
        }
    }
    expected
}

async fn resume(
    plan: &Plan,
    begun: &[Event],
    in_flight: InFlight,
    unreachable: &BTreeSet<&'static str>,
    case: &str,
    expected: &Ending,
) -> Vec<Event> {
    let hosts: Shared = Arc::new(Mutex::new(hosts_after(plan, begun, in_flight, unreachable)));
    let (summary, events) = carry_out(plan, Some((begun, Direction::Forward)), &hosts).await;
    check_order(&hosts.lock().unwrap().ran);
    check_told(plan, &events, case);
    // It was told as locked, and the run counted as unfinished for ever.
    let before = Summary::of(begun);
    let unreachable =
        |host: &str| before.host(host).is_some_and(|known| known.outcome == Some(HostOutcome::Unreachable));
    let locked = summary.hosts().find(|host| host.locked && unreachable(host.host.as_str()));
    assert!(locked.is_none(), "{case}: {locked:?}");
    assert_eq!(Ending::of(&summary, &hosts), *expected, "{case}\n{}", told(&events));
    events
}

fn told(events: &[Event]) -> String {
    events.iter().map(|event| format!("{:?}", event.fact)).collect::<Vec<_>>().join("\n")
}

fn durable(name: &str, hosts: &[usize], run: &str, undo: Option<&str>) -> PlanStep {
    PlanStep { durable: true, ..step(name, hosts, run, undo) }
}

fn only_undo(name: &str, hosts: &[usize], undo: &str) -> PlanStep {
    let mut step = durable(name, hosts, "", Some(undo));
    step.run = None;
    step
}

/// A site is closed, its database is migrated once, the hosts roll in two batches, the site is opened. `migrate` and `pull` are commands.
fn deployment(migrate: &str, pull: [&str; 3]) -> Plan {
    let all = [0, 1, 2];
    let mut read = durable("read", &[0], "print abc", None);
    read.register = Some(VarName::parse("x").unwrap());
    let mut skipped = durable("skipped", &[0], "skipped", Some("undo-skipped"));
    skipped.guard = Some(Guard::Unless(super::text("exit 0")));
    let mut once = phase("once", &[0], vec![read, skipped, durable("migrate", &[0], migrate, Some("undo-migrate"))]);
    once.once = true;
    let pulls = durable("pull", &all, "{{pull|raw}}", Some("undo-pull"));
    let mut flaky = durable("flaky", &all, "flaky 2 restart", Some("undo-restart"));
    flaky.retry = Some(Retry { times: 2, delay: Duration::from_secs(1) });
    flaky.idempotent = true;
    let code = only_undo("code", &all, "code {{x}}");
    let mut roll = phase("roll", &[], vec![durable("drain", &all, "drain", Some("undo-drain")), code, pulls, flaky]);
    roll.batches = vec![vec![HostIndex(0)], vec![HostIndex(1), HostIndex(2)]];
    roll.soak = Duration::from_secs(1);
    let close = durable("close", &all, "close", Some("undo-close"));
    let close = phase("close", &all, vec![close, only_undo("restart", &all, "restart-former")]);
    let open = phase("open", &all, vec![durable("open", &all, "open {{x}}", None)]);
    let mut plan = plan(3, vec![close, once, roll, open]);
    super::set(&mut plan, "pull", &pull);
    plan
}

fn one_by_one(mut plan: Plan) -> Plan {
    plan.phases[2].batches = (0..3).map(|host| vec![HostIndex(host)]).collect();
    plan
}

const PULL: [&str; 3] = ["pull", "pull", "pull"];

#[tokio::test(start_paused = true)]
async fn a_run_that_succeeds() {
    let ending = crash_everywhere(&deployment("migrate", PULL), &BTreeSet::new(), false).await;
    assert_eq!((ending.code, ending.locked.len()), (0, 0));
    let open = ending.ran.iter().filter(|(_, text)| text == "open abc").count();
    assert_eq!(open, 3, "{:?}", ending.ran);
}

#[tokio::test(start_paused = true)]
async fn a_run_on_one_host_whose_controllers_crash_twice() {
    let mut read = durable("read", &[0], "print abc", None);
    read.register = Some(VarName::parse("x").unwrap());
    let mut flaky = durable("flaky", &[0], "flaky 1 a", Some("undo-a"));
    flaky.retry = Some(Retry { times: 1, delay: Duration::from_secs(1) });
    for last in ["open {{x}}", "exit 1 open"] {
        let steps = vec![read.clone(), flaky.clone(), durable("b", &[0], "b", Some("undo-b"))];
        let phases = vec![phase("p", &[0], steps), phase("q", &[0], vec![durable("c", &[0], last, Some("undo-open"))])];
        crash_everywhere(&plan(1, phases), &BTreeSet::new(), true).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_fails_and_is_undone() {
    let plan = one_by_one(deployment("migrate", ["pull", "exit 1 pull", "pull"]));
    let ending = crash_everywhere(&plan, &BTreeSet::new(), false).await;
    assert_eq!((ending.code, ending.locked.len()), (10, 0));
    assert!(ending.hosts.iter().all(|(_, outcome)| *outcome == HostOutcome::RolledBack), "{:?}", ending.hosts);
    for (undo, times) in [("restart-former", 3), ("code abc", 2)] {
        assert_eq!(ending.ran.iter().filter(|(_, text)| text == undo).count(), times, "{undo}: {:?}", ending.ran);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_once_step_fails() {
    let ending = crash_everywhere(&deployment("exit 1 migrate", PULL), &BTreeSet::new(), false).await;
    assert_eq!((ending.code, ending.locked.len()), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn a_run_in_which_a_host_fails_within_the_budget() {
    let plan = Plan { max_failures: 1, ..deployment("migrate", ["pull", "exit 1 pull", "pull"]) };
    for plan in [one_by_one(plan.clone()), plan] {
        let ending = crash_everywhere(&plan, &BTreeSet::new(), false).await;
        assert_eq!((ending.code, ending.locked.len()), (10, 0));
        assert_eq!(ending.hosts.iter().filter(|(_, outcome)| *outcome == HostOutcome::Succeeded).count(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_fails_and_is_held() {
    let plan = Plan { on_failure: OnFailure::Hold, ..deployment("migrate", ["exit 1 pull", "pull", "pull"]) };
    let ending = crash_everywhere(&plan, &BTreeSet::new(), false).await;
    assert_eq!((ending.code, ending.locked.len()), (10, 0));
    assert!(ending.hosts.iter().all(|(_, outcome)| *outcome == HostOutcome::Held), "{:?}", ending.hosts);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_begins_without_a_host() {
    let unreachable = BTreeSet::from(["web3"]);
    let plan = Plan { max_failures: 1, ..deployment("migrate", PULL) };
    let ending = crash_everywhere(&plan, &unreachable, false).await;
    assert_eq!(ending.code, 11);
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_undo_fails() {
    let mut plan = deployment("migrate", ["exit 1 pull", "pull", "pull"]);
    plan.phases[1].steps[2].undo = Some(super::text("exit 1 undo-migrate"));
    let ending = crash_everywhere(&plan, &BTreeSet::new(), false).await;
    assert_eq!(ending.code, 10);
    assert_eq!(ending.locked.len(), 3, "the database is in doubt: {:?}", ending.hosts);
}

#[tokio::test(start_paused = true)]
async fn undo_from_everywhere_takes_back_all_that_was_done() {
    let plan = deployment("migrate", PULL);
    let hosts = Shared::default();
    let (_, events) = carry_out(&plan, None, &hosts).await;
    for cut in 1..=events.len() {
        for in_flight in [InFlight::Never, InFlight::Done] {
            for direction in [Direction::Back, Direction::Cancel] {
                if cut == events.len() && direction == Direction::Cancel {
                    continue;
                }
                let begun = &events[..cut];
                let case = format!("{direction:?}, {in_flight:?} after {:?}", begun.last().unwrap().fact);
                let before = hosts_after(&plan, begun, in_flight, &BTreeSet::new());
                let hosts: Shared = Arc::new(Mutex::new(before.clone()));
                let (_, events) = carry_out(&plan, Some((begun, direction)), &hosts).await;
                check_told(&plan, &events, &case);
                let hosts = hosts.lock().unwrap().clone();
                check_order(&hosts.ran);
                assert!(hosts.locked.is_empty(), "{case}: {:?}", hosts.locked);
                for name in ["close", "migrate", "drain", "pull"] {
                    let times = |ran: &[(String, String)]| ran.iter().filter(|(_, ran)| ran == name).count();
                    assert_eq!(times(&hosts.ran), times(&before.ran), "{case}: {name} was begun, to be undone");
                    let count = |text: &str| hosts.ran.iter().filter(|(_, ran)| ran == text).count();
                    let undone = count(&format!("undo-{name}"));
                    assert_eq!(count(name), undone, "{case}: {:?}\n{}", hosts.ran, told(&events));
                }
            }
        }
    }
}
