//! Each of these was told or done wrongly once.

use super::known::past_of;
use super::*;
use crate::model::run::event::{Direction, Fact};

#[test]
fn a_failed_ending_leaves_what_it_was_to_end_in_force() {
    let mut p = deployment();
    p.on_failure = OnFailure::Hold;
    let log = Play::of(p).step(0, "open", FAILED).run();
    assert!(log.contains(&"0 held [close/maintenance db/migrate roll/pull]".to_owned()), "{log:?}");
}

#[test]
fn a_retry_waits_for_its_place_within_the_width() {
    let mut p = plan(2, vec![phase("a", &[&[0, 1]], &["x"])]);
    p.parallel = 1;
    p.phases[0].steps[0].retry = Some(Retry { times: 1, delay: Duration::from_secs(1) });
    let mut scheduler = Scheduler::new(Arc::new(p));
    let (first, second) = (HostIndex(0), HostIndex(1));
    scheduler.on(Input::Start);
    scheduler.on(Input::Connected(first));
    scheduler.on(Input::Connected(second));
    let actions = scheduler.on(Input::StepEnded(first, FAILED));
    assert!(actions.contains(&Action::Run(second, StepIndex { phase: 0, step: 0 }, 1)), "{actions:?}");
    assert_eq!(scheduler.on(Input::RetryDue(first)), [], "the only place is taken");
    let actions = scheduler.on(Input::StepEnded(second, StepOutcome::Succeeded));
    assert!(actions.contains(&Action::Run(first, StepIndex { phase: 0, step: 0 }, 2)), "{actions:?}");
}

#[test]
fn a_once_step_in_doubt_holds_hosts_whose_effects_were_ended_too() {
    let p = plan(
        2,
        vec![
            phase("close", &[&[0, 1]], &["maintenance!"]),
            phase("roll", &[&[0, 1]], &["open! -close/maintenance"]),
            once(phase("tell", &[&[0]], &["notify"])),
        ],
    );
    let log = Play::of(p).step(0, "notify", unknown()).run();
    assert!(!log.iter().any(|l| l.contains("undo-")), "{log:?}");
}

#[test]
fn letting_go_of_a_second_attempt_names_its_step_once() {
    let mut p = plan(1, vec![phase("a", &[&[0]], &["x!"])]);
    p.phases[0].steps[0].retry = Some(Retry { times: 1, delay: Duration::from_secs(1) });
    let mut scheduler = Scheduler::new(Arc::new(p));
    let host = HostIndex(0);
    let inputs = [Input::Start, Input::Connected(host), Input::StepEnded(host, FAILED), Input::RetryDue(host)];
    for input in inputs {
        scheduler.on(input);
    }
    let actions: Vec<Action> = (0..3).flat_map(|_| scheduler.on(Input::Interrupt)).collect();
    let settled = actions.iter().find_map(|a| if let Action::Settle(s) = a { Some(s.in_force.len()) } else { None });
    assert_eq!(settled, Some(1), "{actions:?}");
}

/// One host, the one step that was begun there, and how a later controller begins.
fn resumed(ends: &[StepOutcome]) -> Scheduler {
    let p = plan(1, vec![phase("a", &[&[0]], &["x!"])]);
    let (host, step) = (p.hosts[0].label.clone(), p.phases[0].steps[0].path.clone());
    let mut facts = vec![
        Fact::LockAcquired { host: host.clone() },
        Fact::StepStarted { host: host.clone(), step: step.clone(), attempt: 1 },
    ];
    facts.extend(ends.iter().map(|outcome| Fact::StepFinished {
        host: host.clone(),
        step: step.clone(),
        attempt: 1,
        outcome: outcome.clone(),
        retrying: false,
        millis: 0,
    }));
    Scheduler::resume(&p, &past_of(&p, &facts), Direction::Forward)
}

/// Its host was told as unknown again, and its lock as kept.
#[test]
fn a_step_that_was_unknown_and_is_undone_is_in_doubt_no_more() {
    let p = plan(1, vec![phase("a", &[&[0]], &["x!"])]);
    let (host, step) = (p.hosts[0].label.clone(), p.phases[0].steps[0].path.clone());
    let facts = [
        Fact::StepStarted { host: host.clone(), step: step.clone(), attempt: 1 },
        Fact::StepFinished {
            host: host.clone(),
            step: step.clone(),
            attempt: 1,
            outcome: unknown(),
            retrying: false,
            millis: 0,
        },
        Fact::UndoStarted { host: host.clone(), step: step.clone(), attempt: 1 },
        Fact::UndoFinished { host, step, outcome: StepOutcome::Succeeded, millis: 0 },
    ];
    let mut scheduler = Scheduler::resume(&p, &past_of(&p, &facts), Direction::Cancel);
    let actions = scheduler.on(Input::Start);
    let settled = actions.iter().find_map(|a| if let Action::Settle(s) = a { Some(s) } else { None }).unwrap();
    assert_eq!((settled.outcome, settled.keeps_lock), (HostOutcome::RolledBack, false));
}

/// It was told as untouched.
#[test]
fn a_host_that_was_not_asked_about_its_step_when_the_run_was_let_go_is_detached() {
    let mut scheduler = resumed(&[]);
    scheduler.on(Input::Start);
    let actions: Vec<Action> = (0..3).flat_map(|_| scheduler.on(Input::Interrupt)).collect();
    let settled = actions.iter().find_map(|a| if let Action::Settle(s) = a { Some(s) } else { None }).unwrap();
    assert_eq!((settled.outcome, settled.in_force.len(), settled.keeps_lock), (HostOutcome::Detached, 1, true));
}

/// Its host stayed unknown for every later controller, and was not undone.
#[test]
fn a_step_that_was_unknown_is_undone_once_it_is_known_how_it_ended() {
    let mut scheduler = resumed(&[unknown(), StepOutcome::Succeeded]);
    scheduler.on(Input::Start);
    let actions = scheduler.on(Input::Connected(HostIndex(0)));
    assert_eq!(actions, [Action::Undo(HostIndex(0), StepIndex { phase: 0, step: 0 }, 1)]);
}
