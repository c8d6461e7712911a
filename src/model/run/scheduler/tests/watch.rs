//! Hosts that were rolled are watched while a batch soaks.

use super::*;

/// close (all) -> roll (canary, rest), and each batch is watched.
fn watched() -> Plan {
    let mut roll = phase("roll", &[&[0], &[1, 2]], &["pull!", "health"]);
    roll.steps[1].read_only = true;
    roll.steps[1].watch = Some(Watch { every: Duration::from_secs(5), failures: 2 });
    plan(3, vec![phase("close", &[&[0, 1, 2]], &["close!"]), roll])
}

fn told(play: Play, after: usize) -> String {
    play.run()[after..].join(" | ")
}

#[test]
fn every_batch_is_watched_also_the_last_one_and_hosts_settle_when_the_phase_ends() {
    let mut p = watched();
    p.phases[0].steps[0].undo = None;
    p.phases[1].steps[0].undo = None;
    p.phases.push(phase("open", &[&[0, 1, 2]], &["open"]));
    p.phases[2].batches = vec![vec![HostIndex(2)]];
    assert_eq!(
        told(Play::of(p), 3),
        "0:pull | 0:health | 0:watch | soak | 1:pull | 2:pull | 1:health | 2:health | 0:watch | 1:watch | 2:watch | soak \
         | 0 succeeded | 1 succeeded | 2:open | 2 succeeded"
    );
}

#[test]
fn a_canary_that_goes_bad_while_it_is_watched_is_undone_and_the_others_are_not_begun() {
    assert_eq!(
        told(Play::of(watched()).step(0, "watch", FAILED), 3),
        "0:pull | 0:health | 0:watch | soak | stopped: 1 host failed, 0 allowed | 0:undo-pull | 0:undo-close | 1:undo-close \
         | 2:undo-close | 0 rolled back | 1 rolled back | 2 rolled back"
    );
}

#[test]
fn a_host_that_fails_within_the_budget_leaves_the_phase_alone() {
    let mut p = watched();
    p.max_failures = 1;
    assert_eq!(
        told(Play::of(p).step(0, "watch", FAILED), 3),
        "0:pull | 0:health | 0:watch | soak | 0:undo-pull | 1:pull | 2:pull | 1:health | 2:health | 1:watch | 2:watch | soak \
         | 0 failed [close/close] | 1 succeeded | 2 succeeded"
    );
}

#[test]
fn a_watched_host_that_fails_after_the_last_batch_takes_all_back() {
    let log = told(Play::of(watched()).step(2, "watch", FAILED), 12);
    assert!(log.starts_with("1:watch | 2:watch | soak | stopped: 1 host failed, 0 allowed | 0:undo-pull"), "{log}");
    assert!(log.ends_with("0 rolled back | 1 rolled back | 2 rolled back"), "{log}");
}

#[test]
fn the_policy_to_hold_holds() {
    let mut p = watched();
    p.on_failure = OnFailure::Hold;
    assert_eq!(
        told(Play::of(p).step(0, "watch", FAILED), 7),
        "stopped: 1 host failed, 0 allowed | 0 held [close/close roll/pull] | 1 held [close/close] | 2 held [close/close]"
    );
}

#[test]
fn an_interrupt_ends_the_watch_and_what_was_done_is_undone() {
    let mut scheduler = Scheduler::new(Arc::new(watched()));
    let mut inputs = VecDeque::from([Input::Start]);
    let mut all = Vec::new();
    while let Some(input) = inputs.pop_front() {
        for action in scheduler.on(input) {
            match &action {
                Action::Connect(h) => inputs.push_back(Input::Connected(*h)),
                Action::Run(h, ..) => inputs.push_back(Input::StepEnded(*h, StepOutcome::Succeeded)),
                Action::Undo(h, ..) => inputs.push_back(Input::UndoEnded(*h, StepOutcome::Succeeded)),
                Action::Soak(_) => inputs.push_back(Input::Interrupt),
                Action::End(h) => inputs.push_back(Input::WatchEnded(*h, None)),
                _ => {}
            }
            all.push(action);
        }
    }
    assert!(scheduler.is_finished());
    assert!(all.contains(&Action::End(HostIndex(0))), "{all:?}");
    let undone = all.iter().filter(|action| matches!(action, Action::Undo(..))).count();
    assert_eq!(undone, 4, "{all:?}");
}

#[test]
fn a_watch_has_the_time_that_it_needs_to_find_out() {
    let mut roll = watched().phases.remove(1);
    assert_eq!((roll.soak_after(false), roll.soak_after(true)), (Duration::from_secs(15), Duration::from_secs(15)));
    roll.soak = Duration::from_secs(60);
    assert_eq!((roll.soak_after(false), roll.soak_after(true)), (roll.soak, roll.soak));
    roll.steps[1].watch = None;
    assert_eq!((roll.soak_after(false), roll.soak_after(true)), (roll.soak, Duration::ZERO));
}
