use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::run::cause::Cause;
use crate::model::run::event::{EVENT_VERSION, OutputData, Stream};
use crate::model::run::finding::{Finding, FindingKind, read};
use crate::model::run::outcome::{StepOutcome, TimeLimit};
use crate::model::run::reason::Reason;
use crate::model::run::scripted::{Script, host, phase, rolling_deployment, run, step};
use crate::model::text::hint::Hint;
use crate::model::text::name::{StepPath, VarName};
use crate::model::text::tail::{LINE_BYTES, TAIL_LINES, Tail};

fn lines(tail: &Tail) -> Vec<String> {
    tail.lines().map(|line| String::from_utf8_lossy(&line.bytes).into_owned()).collect()
}

fn paths<'a>(paths: impl IntoIterator<Item = &'a StepPath>) -> Vec<&'a str> {
    paths.into_iter().map(StepPath::as_str).collect()
}

/// What was said before the controller ended stays said; what the step says when it runs again is said anew.
#[test]
fn what_a_run_changes_is_known_after_it_was_resumed() {
    let mut script = Script::default();
    script.start("mysite", "deploy", &["web1", "web2", "web3"]);
    let say = |script: &mut Script, name: &str, text: &str, shared: bool| {
        script.fact(Fact::ChangeDescribed { host: host(name), text: text.to_owned(), shared });
    };
    say(&mut script, "web1", "a..b", false);
    say(&mut script, "web2", "a..c", false);
    script.fact(Fact::RunResumed { direction: Direction::Forward, by: "bob@desk".to_owned() });
    say(&mut script, "web2", "a..b", false);
    let changes = Summary::of(&script.events).changes_in_short().unwrap();
    assert_eq!(changes, Changes { first: "a..b".to_owned(), others: 0 });
    say(&mut script, "web3", "x..b", false);
    let changes = Summary::of(&script.events).changes_in_short().unwrap();
    assert_eq!(changes, Changes { first: "a..b".to_owned(), others: 1 });
}

#[test]
fn a_rolling_deployment_that_fails() {
    let summary = Summary::of(&rolling_deployment());
    assert_eq!(summary.exit_code(), 10);
    assert_eq!(summary.told_exit_code, Some(10));
    assert_eq!(summary.stopped.as_deref(), Some("1 host failed, and the rollout bears 0"));
    let names: Vec<&str> = summary.hosts().map(|host| host.host.as_str()).collect();
    assert_eq!(names, ["web1", "web2", "web3", "web4", "web5"]);
    let roll = summary.phases.last().unwrap();
    assert_eq!((roll.name.as_str(), roll.batch, roll.batches, roll.finished), ("roll", 2, 3, 1));

    let web2 = summary.host("web2").unwrap();
    assert_eq!(web2.outcome, Some(HostOutcome::RolledBack));
    let failure = web2.failure.as_ref().unwrap();
    assert_eq!((failure.step.as_str(), &failure.outcome), ("roll/migrate", &StepOutcome::Failed { status: 3 }));
    assert_eq!(lines(&failure.tail).len(), 2);
    assert_eq!(paths(web2.undone()), ["roll/pull"]);
    assert_eq!(web2.duration(), Some(Duration::from_millis(16_900)));

    let web3 = summary.host("web3").unwrap();
    // Cancelled because of web2; what went wrong here is the undo.
    let failure = web3.failure.as_ref().unwrap();
    assert_eq!((failure.step.as_str(), failure.kind), ("roll/pull", StepKind::Undo));
    assert_eq!(web3.in_force, ["roll/pull"]);
    assert_eq!(paths(web3.not_undone().map(|(step, _)| step)), ["roll/pull"]);

    let web1 = summary.host("web1").unwrap();
    assert_eq!(paths(web1.undone()), ["roll/pull", "close/maintenance-on"]);
    assert!(web1.failure.is_none());
}

#[test]
fn a_retry_that_succeeds_is_no_failure() {
    let mut script = Script::default();
    script.start("mysite", "deploy", &["web1"]).connect("web1").begin("web1", "roll/health").wait(1.0);
    let (host, step) = (host("web1"), step("roll/health"));
    let outcome = StepOutcome::Failed { status: 7 };
    script.fact(Fact::StepFinished {
        host: host.clone(),
        step: step.clone(),
        attempt: 1,
        outcome,
        retrying: true,
        millis: 1000,
    });
    assert!(Summary::of(&script.events).host("web1").unwrap().failure.is_none());
    script.fact(Fact::StepStarted { host: host.clone(), step: step.clone(), attempt: 2 });
    let running = Summary::of(&script.events);
    assert_eq!(running.host("web1").unwrap().activity.as_ref().unwrap().attempt, 2);
    let outcome = StepOutcome::Succeeded;
    script.fact(Fact::StepFinished { host, step, attempt: 2, outcome, retrying: false, millis: 10 });
    script.settle("web1", HostOutcome::Succeeded, None, &[]);
    let summary = Summary::of(&script.events);
    assert_eq!(summary.exit_code(), 0);
    assert_eq!(summary.host("web1").unwrap().steps().next().unwrap().attempts, 2);
}

/// A step that is watched again after its controller died, or tried again, says again what it reported.
#[test]
fn what_an_attempt_reported_counts_once() {
    let mut script = Script::default();
    script.start("mysite", "deploy", &["web1"]).connect("web1").begin("web1", "a/b");
    let finding = read((b"notice x -- y\n", true), &std::collections::BTreeMap::new()).remove(0);
    let reported =
        |undo| Fact::FindingReported { host: host("web1"), step: step("a/b"), undo, finding: finding.clone() };
    script.fact(reported(false)).fact(Fact::StepResumed {
        host: host("web1"),
        step: step("a/b"),
        attempt: 1,
        undo: false,
    });
    assert_eq!(Summary::of(&script.events).findings().count(), 0);
    script.fact(reported(false)).end("web1", "a/b", StepOutcome::Failed { status: 1 }, 1).undo(
        "web1",
        "a/b",
        StepOutcome::Succeeded,
    );
    script.fact(reported(true));
    let summary = Summary::of(&script.events);
    assert_eq!(
        summary.findings().map(|(_, reported)| reported.kind).collect::<Vec<_>>(),
        [StepKind::Run, StepKind::Undo]
    );
}

#[test]
fn a_step_that_was_let_go_is_unknown() {
    let mut script = Script::default();
    script.start("mysite", "deploy", &["web1"]).connect("web1").begin("web1", "roll/migrate");
    script.fact(Fact::Interrupted { level: 3, signal: Signal::Int });
    script.settle("web1", HostOutcome::Unknown, Some("let go"), &["roll/migrate"]);
    let summary = Summary::of(&script.events);
    let failure = summary.host("web1").unwrap().failure.clone().unwrap();
    assert!(matches!(failure.outcome, StepOutcome::Unknown { .. }));
    assert_eq!(summary.exit_code(), 13);
}

type End = (Option<StepOutcome>, Option<HostOutcome>);

/// A run of which only the ends are of interest: host by host, its last step and how it settled.
fn ended(interrupts: u8, hosts: &[End]) -> u8 {
    let names: Vec<String> = (1..=hosts.len()).map(|n| format!("web{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut script = Script::default();
    script.start("mysite", "deploy", &names);
    if interrupts > 0 {
        script.fact(Fact::Interrupted { level: interrupts, signal: Signal::Int });
    }
    for (name, (step, outcome)) in names.iter().zip(hosts) {
        if let Some(step) = step {
            script.begin(name, "a/b").end(name, "a/b", step.clone(), 1);
        }
        if let Some(outcome) = outcome {
            script.settle(name, *outcome, None, &[]);
        }
    }
    Summary::of(&script.events).exit_code()
}

#[test]
fn the_table_of_exit_codes() {
    use HostOutcome as H;
    use StepOutcome as S;
    let failed = || Some(S::Failed { status: 1 });
    let lost = || Some(S::Unknown { reason: "connection lost".into() });
    let refused = |outcome| (Some(S::Refused { reason: "x".into() }), Some(outcome));
    let good = || (Some(S::Succeeded), Some(H::Succeeded));
    let table: Vec<(&str, u8, u8, Vec<End>)> = vec![
        ("all succeeded", 0, 0, vec![good(), (Some(S::Skipped { reason: "done".into() }), Some(H::Succeeded))]),
        ("no hosts at all", 0, 0, vec![]),
        ("a step failed", 0, 10, vec![good(), (failed(), Some(H::Failed))]),
        ("ended by a signal", 0, 10, vec![(Some(S::Signaled { signal: "KILL".into() }), Some(H::RolledBack))]),
        (
            "timed out",
            0,
            10,
            vec![(Some(S::TimedOut { limit: TimeLimit::Timeout, millis: 5000 }), Some(H::RolledBack))],
        ),
        ("held", 0, 10, vec![good(), (Some(S::Succeeded), Some(H::Held))]),
        (
            "failed, rolled back, untouched",
            0,
            10,
            vec![
                (failed(), Some(H::RolledBack)),
                (Some(S::Cancelled), Some(H::RolledBack)),
                (None, Some(H::Untouched)),
            ],
        ),
        ("failed within the budget, the others succeeded", 0, 10, vec![good(), (failed(), Some(H::RolledBack))]),
        ("refused, rolled back, untouched", 0, 6, vec![refused(H::RolledBack), (None, Some(H::Untouched))]),
        ("refused, and the others succeeded", 0, 6, vec![good(), refused(H::Failed)]),
        ("refused and held", 0, 6, vec![(Some(S::Succeeded), Some(H::Held)), refused(H::Held)]),
        ("refused and failed", 0, 10, vec![refused(H::RolledBack), (failed(), Some(H::RolledBack))]),
        ("refused, and another one has no room", 0, 10, vec![refused(H::RolledBack), (None, Some(H::Failed))]),
        ("refused and unreachable", 0, 6, vec![refused(H::RolledBack), (None, Some(H::Unreachable))]),
        ("refused and unknown", 0, 13, vec![refused(H::RolledBack), (lost(), Some(H::Unknown))]),
        ("unreachable", 0, 11, vec![good(), (None, Some(H::Unreachable))]),
        ("unreachable, others untouched", 0, 11, vec![(None, Some(H::Unreachable)), (None, Some(H::Untouched))]),
        (
            "unreachable, others rolled back",
            0,
            11,
            vec![(None, Some(H::Unreachable)), (Some(S::Succeeded), Some(H::RolledBack))],
        ),
        ("failed and unreachable", 0, 10, vec![(None, Some(H::Unreachable)), (failed(), Some(H::Failed))]),
        ("rolled back for no reason that is known", 0, 10, vec![(Some(S::Succeeded), Some(H::RolledBack))]),
        ("unknown wins over failed", 0, 13, vec![(failed(), Some(H::Failed)), (lost(), Some(H::Unknown))]),
        ("an unknown step on a host that claims to have failed", 0, 13, vec![(lost(), Some(H::Failed))]),
        ("not settled", 0, 13, vec![good(), (None, None)]),
        (
            "interrupted, rolled back",
            1,
            130,
            vec![(Some(S::Cancelled), Some(H::RolledBack)), (None, Some(H::Untouched))],
        ),
        ("interrupted and failed", 2, 130, vec![(failed(), Some(H::Failed))]),
        ("interrupted and unreachable", 1, 130, vec![(None, Some(H::Unreachable))]),
        ("interrupted too late", 1, 130, vec![good()]),
        ("interrupted and unknown", 3, 13, vec![(lost(), Some(H::Unknown))]),
    ];
    for (case, interrupts, code, hosts) in table {
        assert_eq!(ended(interrupts, &hosts), code, "{case}");
    }
}

#[test]
fn mixed_codes() {
    use crate::model::run::exit::worst;
    let order = [1, 13, 130, 10, 6, 12, 11, 0];
    for (place, &code) in order.iter().enumerate() {
        for &weaker in &order[place..] {
            assert_eq!((worst([code, weaker]), worst([weaker, code])), (code, code));
        }
    }
    assert_eq!(worst([]), 0);
    assert_eq!(worst([0, 6]), 6);
}

fn any_reason() -> impl Strategy<Value = Reason> {
    let hints = prop::collection::vec(any::<String>().prop_map(Hint::Command), 0..2);
    let cause = prop::sample::select(vec![None, Some(Cause::Resolve), Some(Cause::LockHeld)]);
    (any::<String>(), cause, hints).prop_map(|(text, cause, hints)| Reason { text, cause, hints })
}

fn any_step_outcome() -> impl Strategy<Value = StepOutcome> {
    prop_oneof![
        Just(StepOutcome::Succeeded),
        any::<String>().prop_map(|reason| StepOutcome::Skipped { reason }),
        (1u8..).prop_map(|status| StepOutcome::Failed { status }),
        Just(StepOutcome::Signaled { signal: "TERM".into() }),
        any::<u64>().prop_map(|millis| StepOutcome::TimedOut { limit: TimeLimit::IdleTimeout, millis }),
        Just(StepOutcome::Cancelled),
        any::<String>().prop_map(|reason| StepOutcome::Refused { reason }),
        any_reason().prop_map(|reason| StepOutcome::NotStarted { reason }),
        any_reason().prop_map(|reason| StepOutcome::Unknown { reason }),
    ]
}

fn any_host_outcome() -> impl Strategy<Value = HostOutcome> {
    use HostOutcome::{Failed, Held, RolledBack, Succeeded, Unknown, Unreachable, Untouched};
    prop::sample::select(vec![Succeeded, Untouched, RolledBack, Failed, Unreachable, Held, Unknown])
}

fn any_finding() -> impl Strategy<Value = Finding> {
    let name = prop::option::of(Just(FindingName::parse("a.b").unwrap()));
    let details = prop::collection::btree_map("[a-z]{1,3}", any::<String>(), 0..3);
    let kind = prop::sample::select(FindingKind::ALL.to_vec());
    (kind, name, details, any::<String>(), prop::option::of(any::<String>()))
        .prop_map(|(kind, name, details, text, accepted)| Finding { kind, name, details, text, accepted })
}

pub(crate) fn any_fact() -> impl Strategy<Value = Fact> {
    let hosts = || prop::sample::select(vec!["web1", "web2", "site:db"]).prop_map(host);
    let steps = || prop::sample::select(vec!["a/one", "a/two", "b/t/one"]).prop_map(step);
    let phases = || prop::sample::select(vec!["a", "b"]).prop_map(phase);
    let streams = prop::sample::select(vec![Stream::Stdout, Stream::Stderr]);
    prop_oneof![
        prop::collection::vec(hosts(), 0..4).prop_map(|hosts| Fact::RunStarted {
            basis: None,
            sites: vec![],
            task: "deploy".into(),
            hosts,
            by: "me".into()
        }),
        hosts().prop_map(|host| Fact::HostStarted { host }),
        hosts().prop_map(|host| Fact::Connected { host }),
        (hosts(), any::<String>()).prop_map(|(host, what)| Fact::LessPromised { host, what }),
        (hosts(), any::<String>()).prop_map(|(host, by)| Fact::HostGivenUp { host, by }),
        (phases(), any::<usize>()).prop_map(|(phase, batches)| Fact::PhaseStarted { phase, batches }),
        (phases(), any::<usize>(), prop::collection::vec(hosts(), 0..3))
            .prop_map(|(phase, batch, hosts)| Fact::BatchStarted { phase, batch, hosts }),
        (hosts(), steps(), any::<u32>()).prop_map(|(host, step, attempt)| Fact::StepStarted { host, step, attempt }),
        (hosts(), steps(), any::<String>()).prop_map(|(host, step, reason)| Fact::StepSkipped { host, step, reason }),
        (hosts(), steps()).prop_map(|(host, step)| Fact::UndoPlanned { host, step }),
        (hosts(), steps(), any::<bool>(), any_finding())
            .prop_map(|(host, step, undo, finding)| Fact::FindingReported { host, step, undo, finding }),
        (phases(), any::<usize>(), any::<u64>()).prop_map(|(phase, batch, millis)| Fact::WatchStarted {
            phase,
            batch,
            millis
        }),
        (hosts(), steps(), any_step_outcome(), any::<u32>()).prop_map(|(host, step, outcome, failures)| {
            Fact::WatchFailed { host, step, outcome, failures, limit: 2 }
        }),
        Just(Fact::AcceptUnused { names: vec![FindingName::parse("a.b").unwrap()] }),
        (hosts(), steps(), streams, any::<Vec<u8>>()).prop_map(|(host, step, stream, data)| Fact::Output {
            host,
            step,
            stream,
            data: OutputData(data)
        }),
        (hosts(), steps(), any::<u32>(), any_step_outcome(), any::<bool>(), any::<u64>()).prop_map(
            |(host, step, attempt, outcome, retrying, millis)| Fact::StepFinished {
                host,
                step,
                attempt,
                outcome,
                retrying,
                millis
            }
        ),
        (hosts(), any::<String>()).prop_map(|(host, value)| Fact::Registered {
            host,
            name: VarName::parse("x").unwrap(),
            value
        }),
        (hosts(), any::<String>(), any::<bool>()).prop_map(|(host, text, shared)| Fact::ChangeDescribed {
            host,
            text,
            shared
        }),
        (hosts(), any_reason()).prop_map(|(host, reason)| Fact::ConnectionLost { host, reason, step_goes_on: true }),
        (hosts(), steps()).prop_map(|(host, step)| Fact::UndoStarted { host, step, attempt: 1 }),
        (hosts(), steps(), any_step_outcome(), any::<u64>())
            .prop_map(|(host, step, outcome, millis)| Fact::UndoFinished { host, step, outcome, millis }),
        (hosts(), any_host_outcome(), prop::option::of(any_reason()), prop::collection::vec(steps(), 0..3)).prop_map(
            |(host, outcome, reason, in_force)| Fact::HostFinished {
                host,
                outcome,
                reason,
                kept: in_force.clone(),
                locked: false,
                in_force: in_force.iter().map(ToString::to_string).collect()
            }
        ),
        (phases(), any::<usize>()).prop_map(|(phase, batch)| Fact::BatchFinished { phase, batch }),
        any::<String>().prop_map(|reason| Fact::RolloutStopped { reason }),
        any::<u8>().prop_map(|level| Fact::Interrupted { level, signal: Signal::Int }),
        any::<String>().prop_map(|reason| Fact::ReporterDropped { reporter: "json".into(), reason }),
        any::<u8>().prop_map(|exit_code| Fact::RunFinished {
            exit_code,
            proven: None,
            sequence: None,
            changes: Some(Changes { first: "a..b".to_owned(), others: 1 }),
            undone: false
        }),
    ]
}

/// Events in any order, at any time.
pub(crate) fn any_events() -> impl Strategy<Value = Vec<Event>> {
    let at = (-1_000_000_000i64..4_000_000_000).prop_map(|seconds| Timestamp::from_second(seconds).unwrap());
    let event = (at, any_fact()).prop_map(|(at, fact)| Event { v: EVENT_VERSION, at, run: run(), fact });
    prop::collection::vec(event, 0..60)
}

proptest! {
    #[test]
    fn the_fold_is_total_and_bounded(events in any_events()) {
        let summary = Summary::of(&events);
        let code = summary.exit_code();
        prop_assert!([0, 10, 11, 13, 130].contains(&code));
        // Green only when every host is.
        if code == 0 {
            prop_assert!(summary.hosts().all(|host| host.outcome == Some(HostOutcome::Succeeded)));
            prop_assert_eq!(summary.interrupts, 0);
        }
        for host in summary.hosts() {
            prop_assert!(host.tail.lines().len() <= TAIL_LINES);
            prop_assert!(host.tail.lines().all(|line| line.bytes.len() <= LINE_BYTES));
            prop_assert_eq!(summary.host(host.host.as_str()), Some(host));
        }
    }

    #[test]
    fn an_event_reads_back_from_its_line(events in any_events()) {
        for event in events {
            let line = serde_json::to_string(&event).unwrap();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
        }
    }
}
