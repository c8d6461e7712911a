//! Runs whose controllers die, again and again, and what a person then does: in whatever order, nothing is done beside what may be running.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::*;
use crate::model::run::event::{Decision, Direction, EVENT_VERSION, Event, Fact};
use crate::model::run::host_summary::StepKind;
use crate::model::run::past::Past;
use crate::model::text::name::RunId;

/// What is true, whoever knows it.
struct World {
    plan: Plan,
    facts: Vec<Fact>,
    /// How each attempt ended, as far as anybody knows; none while it runs.
    attempts: BTreeMap<(usize, StepIndex, bool), Option<StepOutcome>>,
    given_up: BTreeSet<usize>,
    settled: BTreeSet<usize>,
}

impl World {
    fn new(plan: Plan) -> Self {
        Self { plan, facts: Vec::new(), attempts: BTreeMap::new(), given_up: BTreeSet::new(), settled: BTreeSet::new() }
    }

    fn past(&self) -> Past {
        let event = |fact: &Fact| Event {
            v: EVENT_VERSION,
            at: Timestamp::UNIX_EPOCH,
            run: RunId::parse("20260101-000000-0000").unwrap(),
            fact: fact.clone(),
        };
        Past::of(&self.plan, &self.facts.iter().map(event).collect::<Vec<_>>())
    }

    fn place(&self, host: HostIndex, at: StepIndex) -> (HostLabel, StepPath) {
        (self.plan.hosts[host.0].label.clone(), self.plan.phases[at.phase].steps[at.step].path.clone())
    }

    /// Something begins on the host: nothing may be running there, and of what is unknown somebody must have looked.
    fn begin(&mut self, host: HostIndex, at: StepIndex, undo: bool, watch: bool) {
        assert!(!self.given_up.contains(&host.0), "host {} was given up", host.0);
        assert!(!self.settled.contains(&host.0), "host {} settled before", host.0);
        if !watch {
            let running = self.attempts.iter().find(|((of, ..), outcome)| *of == host.0 && outcome.is_none());
            assert!(running.is_none(), "{at:?}, undo {undo}, beside {running:?}");
        }
        self.attempts.insert((host.0, at, undo), None);
    }

    /// One controller, from what is on record until it is through, or dies. Tells whether it came to the end.
    fn control(&mut self, mut scheduler: Scheduler, roll: &mut dyn FnMut() -> usize) -> bool {
        self.settled.clear();
        let mut waiting = vec![Input::Start];
        while !waiting.is_empty() {
            if roll().is_multiple_of(25) {
                return false;
            }
            let input = waiting.swap_remove(roll() % waiting.len());
            for action in scheduler.on(input) {
                match action {
                    Action::Connect(h) => {
                        self.facts.push(Fact::HostStarted { host: self.plan.hosts[h.0].label.clone() });
                        assert!(!self.given_up.contains(&h.0), "host {} was given up", h.0);
                        let away = roll().is_multiple_of(12);
                        waiting.push(if away { Input::ConnectFailed(h, "away".into()) } else { Input::Connected(h) });
                    }
                    Action::PlanUndo(h, at) => {
                        let (host, step) = self.place(h, at);
                        self.facts.push(Fact::UndoPlanned { host, step });
                    }
                    Action::Run(h, at, attempt) => {
                        self.begin(h, at, false, false);
                        let (host, step) = self.place(h, at);
                        self.facts.push(Fact::StepStarted { host, step, attempt });
                        waiting.push(self.end(h, at, false, roll));
                    }
                    Action::Watch(h, at, attempt) => {
                        self.begin(h, at, false, true);
                        let (host, step) = self.place(h, at);
                        self.facts.push(Fact::StepResumed { host, step, attempt, undo: false });
                        waiting.push(self.end(h, at, false, roll));
                    }
                    Action::Undo(h, at, attempt) => {
                        self.begin(h, at, true, false);
                        let (host, step) = self.place(h, at);
                        self.facts.push(Fact::UndoStarted { host, step, attempt });
                        waiting.push(self.end(h, at, true, roll));
                    }
                    Action::WatchUndo(h, at, attempt) => {
                        self.begin(h, at, true, true);
                        let (host, step) = self.place(h, at);
                        self.facts.push(Fact::StepResumed { host, step, attempt, undo: true });
                        waiting.push(self.end(h, at, true, roll));
                    }
                    Action::Retry(h, _) => waiting.push(Input::RetryDue(h)),
                    Action::Soak(_) => waiting.push(Input::SoakOver),
                    Action::Settle(settled) => {
                        assert!(self.settled.insert(settled.host.0), "host {} settled twice", settled.host.0);
                        let gave_up = self.given_up.contains(&settled.host.0);
                        assert!(
                            !gave_up || settled.outcome != HostOutcome::Succeeded,
                            "host {} was given up",
                            settled.host.0
                        );
                    }
                    _ => {}
                }
            }
            if scheduler.is_finished() {
                assert_eq!(self.settled.len(), self.plan.hosts.len());
                return true;
            }
        }
        panic!("the run hangs: {:#?}", self.facts);
    }

    /// How it ends, told at once: a controller that dies between the two is one that dies before.
    fn end(&mut self, h: HostIndex, at: StepIndex, undo: bool, roll: &mut dyn FnMut() -> usize) -> Input {
        let outcome = match roll() % 10 {
            0 => FAILED,
            1 => unknown(),
            2 => StepOutcome::Detached { reason: "away".into() },
            _ => StepOutcome::Succeeded,
        };
        let (host, step) = self.place(h, at);
        // What is detached runs on; of what is unknown, only a look tells that nothing runs.
        let ended = !matches!(outcome, StepOutcome::Detached { .. });
        self.attempts.insert((h.0, at, undo), ended.then(|| outcome.clone()));
        if undo {
            self.facts.push(Fact::UndoFinished { host, step, outcome: outcome.clone(), millis: 0 });
            Input::UndoEnded(h, outcome)
        } else {
            let retrying = false;
            self.facts.push(Fact::StepFinished {
                host,
                step,
                attempt: 1,
                outcome: outcome.clone(),
                retrying,
                millis: 0,
            });
            Input::StepEnded(h, outcome)
        }
    }
}

proptest! {
    #[test]
    fn whatever_a_person_does_nothing_runs_beside_another(plan in any_plan(), dice in prop::collection::vec(any::<u16>(), 0..600)) {
        let mut dice = dice.into_iter();
        let mut roll = move || usize::from(dice.next().unwrap_or(7));
        let mut world = World::new(plan.clone());
        world.control(Scheduler::new(Arc::new(plan.clone())), &mut roll);
        for _ in 0..4 {
            let direction = [Direction::Forward, Direction::Back, Direction::Cancel, Direction::Forward][roll() % 4];
            let mut unwatched = BTreeSet::new();
            for open in world.past().open_steps() {
                // From now on it may be running, whatever was believed.
                if matches!(open.outcome, None | Some(StepOutcome::Unknown { .. })) {
                    world.attempts.insert((open.host.0, open.at, open.kind == StepKind::Undo), None);
                    unwatched.insert(open.host.0);
                }
                let (host, step) = world.place(open.host, open.at);
                if direction == Direction::Forward && open.kind == StepKind::Run && open.outcome.is_some() && roll() % 3 == 0 {
                    world.facts.push(Fact::StepDecided { host, step, decision: Decision::Rerun });
                }
            }
            if direction == Direction::Forward && roll() % 4 == 0 {
                let host = roll() % plan.hosts.len();
                world.given_up.insert(host);
                world.facts.push(Fact::HostGivenUp { host: plan.hosts[host].label.clone(), by: "me".into() });
            }
            let scheduler = Scheduler::resume(&plan, &world.past(), direction);
            world.control(scheduler, &mut roll);
        }
    }
}
