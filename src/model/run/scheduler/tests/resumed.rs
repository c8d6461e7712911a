//! Each of these was told or done wrongly once, in a run that another controller began.

use super::known::past_of;
use super::*;
use crate::model::run::event::{Decision, Direction, Fact};

const X: StepIndex = StepIndex { phase: 0, step: 0 };
const Y: StepIndex = StepIndex { phase: 0, step: 1 };
const NEXT: StepIndex = StepIndex { phase: 1, step: 0 };
const FIRST: HostIndex = HostIndex(0);
const SECOND: HostIndex = HostIndex(1);

/// What is on record of a run.
struct Story {
    plan: Plan,
    facts: Vec<Fact>,
}

impl Story {
    fn of(plan: Plan) -> Self {
        Self { plan, facts: Vec::new() }
    }

    fn fact(mut self, fact: impl FnOnce(HostLabel, StepPath) -> Fact, host: HostIndex, at: StepIndex) -> Self {
        let (label, path) = (&self.plan.hosts[host.0].label, &self.plan.phases[at.phase].steps[at.step].path);
        self.facts.push(fact(label.clone(), path.clone()));
        self
    }

    fn begin(self, h: HostIndex, at: StepIndex, attempt: u32) -> Self {
        self.fact(|host, step| Fact::StepStarted { host, step, attempt }, h, at)
    }

    fn end(self, h: HostIndex, at: StepIndex, outcome: StepOutcome) -> Self {
        let retrying = false;
        let fact = |host, step| Fact::StepFinished { host, step, attempt: 1, outcome, retrying, millis: 0 };
        self.fact(fact, h, at)
    }

    fn done(self, h: HostIndex, at: StepIndex) -> Self {
        self.begin(h, at, 1).end(h, at, StepOutcome::Succeeded)
    }

    fn undo(self, h: HostIndex, at: StepIndex, outcome: StepOutcome) -> Self {
        self.fact(|host, step| Fact::UndoStarted { host, step, attempt: 1 }, h, at).fact(
            |host, step| Fact::UndoFinished { host, step, outcome, millis: 0 },
            h,
            at,
        )
    }

    fn rerun(self, h: HostIndex, at: StepIndex) -> Self {
        self.fact(|host, step| Fact::StepDecided { host, step, decision: Decision::Rerun }, h, at)
    }

    fn resume(&self, direction: Direction) -> Scheduler {
        Scheduler::resume(&self.plan, &past_of(&self.plan, &self.facts), direction)
    }

    /// All that is done when it is resumed, and then this happens.
    fn play(&self, direction: Direction, inputs: &[Input]) -> Vec<Action> {
        let mut scheduler = self.resume(direction);
        let mut actions = scheduler.on(Input::Start);
        actions.extend(inputs.iter().flat_map(|input| scheduler.on(input.clone())));
        actions
    }
}

fn settled(actions: &[Action], host: HostIndex) -> (HostOutcome, usize, bool) {
    let settled = |a: &Action| if let Action::Settle(s) = a { (s.host == host).then(|| s.clone()) } else { None };
    let settled = actions.iter().find_map(settled).unwrap_or_else(|| panic!("it never settled: {actions:?}"));
    (settled.outcome, settled.in_force.len(), settled.keeps_lock)
}

fn one(steps: &[&str]) -> Plan {
    plan(1, vec![phase("a", &[&[0]], steps)])
}

/// It was told as untouched.
#[test]
fn a_host_that_was_not_asked_about_its_step_when_the_run_was_let_go_is_detached() {
    let actions = Story::of(one(&["x!"])).begin(FIRST, X, 1).play(Direction::Forward, &[Input::LetGo]);
    assert_eq!(settled(&actions, FIRST), (HostOutcome::Detached, 1, true));
}

/// Its host stayed unknown for every later controller, and was not undone.
#[test]
fn a_step_that_was_unknown_is_undone_once_it_is_known_how_it_ended() {
    let story = Story::of(one(&["x!"])).begin(FIRST, X, 1).end(FIRST, X, unknown()).end(FIRST, X, FAILED);
    let actions = story.play(Direction::Forward, &[Input::Connected(FIRST)]);
    assert!(actions.contains(&Action::Undo(FIRST, X, 1)), "{actions:?}");
}

/// Its host was told as unknown again, and its lock as kept.
#[test]
fn a_step_that_was_unknown_and_is_undone_is_in_doubt_no_more() {
    let story = Story::of(one(&["x!"])).begin(FIRST, X, 1).end(FIRST, X, unknown());
    let actions = story.undo(FIRST, X, StepOutcome::Succeeded).play(Direction::Cancel, &[]);
    assert_eq!(settled(&actions, FIRST), (HostOutcome::RolledBack, 0, false));
}

/// It stayed in force.
#[test]
fn what_ran_before_an_unknown_step_that_is_undone_is_undone_too() {
    let story = Story::of(one(&["x!", "y!"])).done(FIRST, X).begin(FIRST, Y, 1).end(FIRST, Y, unknown());
    let story = story.undo(FIRST, Y, StepOutcome::Succeeded);
    let actions = story.play(Direction::Forward, &[Input::Connected(FIRST)]);
    assert!(actions.contains(&Action::Undo(FIRST, X, 1)), "{actions:?}");
}

/// It was undone, as if the first attempt had failed.
#[test]
fn a_host_whose_unknown_step_ran_again_and_succeeded_goes_on() {
    let mut p = one(&["x!", "y"]);
    p.max_failures = 1;
    let story = Story::of(p).begin(FIRST, X, 1).end(FIRST, X, unknown());
    let story = story.begin(FIRST, X, 2).end(FIRST, X, StepOutcome::Succeeded);
    let actions = story.play(Direction::Forward, &[Input::Connected(FIRST)]);
    assert!(actions.contains(&Action::Run(FIRST, Y, 1)), "{actions:?}");
}

/// It ran a second time, though nobody had said so.
#[test]
fn what_was_decided_about_one_step_does_not_hold_for_the_next() {
    let story = Story::of(one(&["x", "y"])).begin(FIRST, X, 1).rerun(FIRST, X);
    let story = story.end(FIRST, X, StepOutcome::Succeeded).begin(FIRST, Y, 1);
    let inputs = [Input::Connected(FIRST), Input::StepEnded(FIRST, unknown())];
    let actions = story.play(Direction::Forward, &inputs);
    assert!(actions.contains(&Action::Watch(FIRST, Y, 1)), "{actions:?}");
    assert_eq!(settled(&actions, FIRST).0, HostOutcome::Unknown);
}

/// It was forgotten: its host was told as untouched, and not undone.
#[test]
fn a_step_that_was_to_run_again_is_undone_when_the_run_goes_back() {
    let mut p = one(&["x!"]);
    p.phases[0].steps[0].durable = false;
    let story = Story::of(p).begin(FIRST, X, 1).rerun(FIRST, X);
    let actions = story.play(Direction::Back, &[Input::Connected(FIRST)]);
    assert!(actions.contains(&Action::Undo(FIRST, X, 1)), "{actions:?}");
}

/// It began before the others were through the phase before.
#[test]
fn a_step_that_may_run_again_waits_for_its_phase() {
    let mut p = plan(2, vec![phase("a", &[&[0, 1]], &["x"]), phase("b", &[&[0, 1]], &["y"])]);
    p.phases[1].steps[0].idempotent = true;
    let story = Story::of(p).done(FIRST, X).begin(FIRST, NEXT, 1);
    let mut scheduler = story.resume(Direction::Forward);
    scheduler.on(Input::Start);
    assert_eq!(scheduler.on(Input::Connected(FIRST)), []);
    assert_eq!(scheduler.on(Input::Connected(SECOND)), [Action::Run(SECOND, X, 1)]);
    let actions = scheduler.on(Input::StepEnded(SECOND, StepOutcome::Succeeded));
    assert!(actions.contains(&Action::Watch(FIRST, NEXT, 1)), "{actions:?}");
}

/// The others were opened while the database was being migrated.
#[test]
fn nothing_is_undone_before_a_once_step_that_may_be_running() {
    let p = plan(2, vec![phase("close", &[&[0, 1]], &["x!"]), once(phase("db", &[&[1]], &["migrate"]))]);
    let story = Story::of(p).done(FIRST, X).done(SECOND, X).begin(SECOND, NEXT, 1);
    let inputs = [Input::ConnectFailed(SECOND, "away".into()), Input::Connected(FIRST)];
    let actions = story.play(Direction::Back, &inputs);
    assert_eq!(settled(&actions, FIRST), (HostOutcome::Held, 1, true));
    assert_eq!(settled(&actions, SECOND), (HostOutcome::Detached, 1, true));
}

/// The others were opened, on a database that was still migrated.
#[test]
fn nothing_is_undone_before_a_once_step_on_a_host_that_is_away() {
    let close = phase("close", &[&[0, 2]], &["x!"]);
    let story = Story::of(plan(3, vec![close, once(phase("db", &[&[1]], &["migrate!"]))]));
    let story = story.done(FIRST, X).done(SECOND, NEXT);
    let (away, third) = (Input::ConnectFailed(SECOND, "away".into()), HostIndex(2));
    let inputs = [away, Input::Connected(FIRST), Input::Connected(third), Input::StepEnded(third, FAILED)];
    let actions = story.play(Direction::Forward, &inputs);
    assert_eq!(settled(&actions, FIRST), (HostOutcome::Held, 1, true));
}

/// It went on without it.
#[test]
fn a_run_whose_once_step_did_not_start_goes_back() {
    let mut p = plan(2, vec![once(phase("db", &[&[0]], &["migrate"])), phase("roll", &[&[1]], &["pull"])]);
    p.max_failures = 1;
    let story = Story::of(p).begin(FIRST, X, 1).end(FIRST, X, StepOutcome::NotStarted { reason: "lost".into() });
    assert!(story.resume(Direction::Forward).goes_back());
}

/// The run never ended.
#[test]
fn a_failed_host_that_may_be_locked_does_not_hold_up_the_run() {
    let mut p = one(&["x!"]);
    p.max_failures = 1;
    let story = Story::of(p).begin(FIRST, X, 1).end(FIRST, X, FAILED);
    let actions = story.play(Direction::Forward, &[Input::LockUnknown(FIRST, "lost".into())]);
    assert_eq!(settled(&actions, FIRST), (HostOutcome::Detached, 1, true));
}

/// It was told as failed, and its lock as given back.
#[test]
fn a_step_that_nobody_watches_any_more_keeps_its_host_locked() {
    let story = Story::of(one(&["x"])).begin(FIRST, X, 1).end(FIRST, X, unknown());
    let story = story.fact(|host, _| Fact::LockReleased { host }, FIRST, X);
    let detached = StepOutcome::Detached { reason: "away".into() };
    let inputs = [Input::Connected(FIRST), Input::StepEnded(FIRST, detached)];
    let actions = story.play(Direction::Back, &inputs);
    assert_eq!(settled(&actions, FIRST), (HostOutcome::Detached, 0, true));
}

/// Its lock was given back, half undone as it was.
#[test]
fn an_undo_that_is_to_run_again_keeps_its_host_locked() {
    let mut p = plan(2, vec![phase("a", &[&[0, 1]], &["x!"])]);
    p.parallel = 1;
    let story = Story::of(p).done(FIRST, X).done(SECOND, X).undo(FIRST, X, unknown());
    let inputs = [Input::Connected(FIRST), Input::UndoEnded(FIRST, unknown()), Input::LetGo];
    let actions = story.play(Direction::Forward, &inputs);
    assert_eq!(settled(&actions, FIRST), (HostOutcome::Held, 1, true));
}

/// They were planned a second time, and an undo of the run took back the first.
#[test]
fn a_run_that_came_to_undos_alone_goes_on_after_them() {
    let story = Story::of(one(&["x?", "y"])).fact(|host, step| Fact::UndoPlanned { host, step }, FIRST, X);
    let actions = story.play(Direction::Forward, &[Input::Connected(FIRST)]);
    assert!(!actions.contains(&Action::PlanUndo(FIRST, X)), "{actions:?}");
    assert_eq!(actions.last(), Some(&Action::Run(FIRST, Y, 1)), "{actions:?}");
}

/// What it had done in the phase before was undone, too.
#[test]
fn a_host_that_failed_within_the_budget_keeps_what_it_did_in_earlier_phases() {
    let mut check = phase("check", &[&[0, 1]], &["look"]);
    check.steps[0].read_only = true;
    let mut p = plan(2, vec![phase("roll", &[&[0, 1]], &["pull!"]), check, phase("long", &[&[1]], &["work"])]);
    p.max_failures = 1;
    let story = Story::of(p).done(FIRST, X).done(SECOND, X).begin(FIRST, NEXT, 1).end(FIRST, NEXT, FAILED);
    let story = story.done(SECOND, NEXT);
    let actions = story.play(Direction::Forward, &[Input::Connected(FIRST), Input::Connected(SECOND)]);
    assert!(!actions.iter().any(|action| matches!(action, Action::Undo(..))), "{actions:?}");
    assert!(actions.contains(&Action::Run(SECOND, StepIndex { phase: 2, step: 0 }, 1)), "{actions:?}");
}

/// It was told as unreachable, and took no further part.
#[test]
fn a_host_that_was_asked_again_by_a_run_that_began_anew_takes_part() {
    let mut p = plan(2, vec![phase("a", &[&[0, 1]], &["x"])]);
    p.max_failures = 1;
    let unreachable = |host, _| Fact::HostFinished {
        host,
        outcome: HostOutcome::Unreachable,
        reason: None,
        in_force: Vec::new(),
        kept: Vec::new(),
        locked: false,
    };
    let anew = |_, _| Fact::RunResumed { direction: Direction::Forward, by: "me".into() };
    let story = Story::of(p).fact(unreachable, SECOND, X).fact(anew, FIRST, X).begin(FIRST, X, 1);
    let actions = story.play(Direction::Forward, &[]);
    assert!(actions.contains(&Action::Connect(SECOND)), "{actions:?}");
}
