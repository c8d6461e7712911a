//! Each of these was told or done wrongly once.

use super::*;

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

/// The others went on without its migration.
#[test]
fn a_host_that_fails_before_its_once_step_stops_the_rollout_whatever_the_budget() {
    let mut p = deployment();
    p.max_failures = 3;
    let log = Play::of(p).step(0, "maintenance", FAILED).run();
    assert!(
        log.contains(&"stopped: close/maintenance failed on the host of phase `db`, which runs once".to_owned()),
        "{log:?}"
    );
}
