//! The hosts of a random run, and one controller after another that carries it out there: what is true on the hosts, and what is on
//! record. Controllers die between any two lines of the record; what they had sent by then keeps running.

use super::dice::Dice;
use super::known::{Attempt, Known, Truth, past_of};
use super::rules::check_ends;
use super::*;
use crate::model::run::event::{Direction, Fact};
use crate::model::run::host_summary::StepKind;
use crate::model::run::past::Past;

pub struct World {
    pub plan: Arc<Plan>,
    pub facts: Vec<Fact>,
    pub attempts: BTreeMap<Attempt, Truth>,
    pub announced: BTreeMap<(usize, StepIndex, bool), u32>,
    pub hosts: Vec<Known>,
    /// How each host settled last.
    pub settled: BTreeMap<usize, Settlement>,
    /// Something was being undone once.
    pub undone: bool,
    pub dice: Dice,
}

/// What one controller has done.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each may be true with any other")]
pub struct Controller {
    /// It resumes what another one began.
    pub resumed: bool,
    pub direction: Option<Direction>,
    pub waiting: Vec<Input>,
    orders: Vec<(Attempt, bool)>,
    pub busy: BTreeSet<usize>,
    /// Between two attempts.
    pub pausing: BTreeSet<usize>,
    /// Watched while the rollout soaks.
    pub watched: BTreeSet<usize>,
    pub asked: BTreeSet<usize>,
    pub settled: BTreeSet<usize>,
    /// Could not take part.
    pub away: BTreeSet<usize>,
    /// Of these it has watched what an earlier one had begun, and nobody knows how that ended.
    pub looked: BTreeSet<usize>,
    /// Of these an earlier one has told that nobody knows how the last attempt ended.
    pub told: BTreeSet<usize>,
    pub stopped: bool,
    pub lowest_undo: Option<usize>,
    /// The undo of a `once` step has failed in that phase.
    pub doubtful: Option<usize>,
    pub undo_failed: BTreeSet<usize>,
    pub dead: bool,
    /// Nothing can be written down any more.
    pub unwritten: bool,
    pub over: bool,
}

impl Controller {
    /// A watch that has found nothing ends on request.
    pub fn end_watch(&mut self, h: HostIndex) {
        let told = self.waiting.iter().any(|input| matches!(input, Input::WatchEnded(of, _) if *of == h));
        if self.watched.contains(&h.0) && !told {
            self.waiting.push(Input::WatchEnded(h, None));
        }
    }
}

impl World {
    pub fn new(plan: Plan, dice: Dice) -> Self {
        let hosts = vec![Known::default(); plan.hosts.len()];
        let (facts, attempts, announced, settled) = Default::default();
        Self { plan: Arc::new(plan), facts, attempts, announced, hosts, settled, undone: false, dice }
    }

    pub fn past(&self) -> Past {
        past_of(&self.plan, &self.facts)
    }

    /// A new run, to its end or to the death of its controller: did it come to the end?
    pub fn begin(&mut self) -> bool {
        let scheduler = Scheduler::new(Arc::clone(&self.plan));
        self.control(scheduler, Controller::default())
    }

    /// The same for a run that another controller began.
    pub fn resume(&mut self, direction: Direction) -> bool {
        let past = self.past();
        let resumed = direction != Direction::Forward || !past.begins_anew();
        if !resumed {
            // It begins as any run does.
            let anew = |known: &Known| Known { locked: known.locked, ..Known::default() };
            self.hosts.iter_mut().for_each(|known| *known = anew(known));
        }
        let mut told = BTreeSet::new();
        for open in past.open_steps().iter().filter(|open| open.outcome == Some(unknown())) {
            told.insert(open.host.0);
            // A step that nobody could find out about, and nobody has decided about since, has failed.
            if open.kind == StepKind::Run {
                self.hosts[open.host.0].fail_in(open.at.phase);
            }
        }
        let scheduler = Scheduler::resume(&self.plan, &past, direction);
        self.facts.push(Fact::RunResumed { direction, by: "me".into() });
        self.control(scheduler, Controller { resumed, direction: Some(direction), told, ..Controller::default() })
    }

    fn control(&mut self, mut scheduler: Scheduler, mut controller: Controller) -> bool {
        let c = &mut controller;
        self.settled.clear();
        c.stopped = c.resumed && scheduler.goes_back();
        c.waiting.push(Input::Start);
        while !c.waiting.is_empty() {
            let input = self.next(c);
            self.hear(&input, c);
            let actions = scheduler.on(input.clone());
            self.note_end(&input, &actions, c);
            check_ends(&actions, c);
            for action in actions {
                self.check(&action, c);
                self.act(action, c);
            }
            if c.dead {
                return false;
            }
            for (attempt, watch) in std::mem::take(&mut c.orders) {
                let back = scheduler.goes_back();
                let outcome = self.carry_out(attempt, watch, back);
                let host = HostIndex(attempt.host);
                let ended = if attempt.undo { Input::UndoEnded } else { Input::StepEnded };
                c.waiting.push(ended(host, outcome));
            }
            if scheduler.is_finished() {
                assert!(c.over, "it ended without a word");
                assert_eq!(c.settled.len(), self.plan.hosts.len(), "hosts that never settled");
                assert_eq!(scheduler.on(Input::Interrupt), [], "an action after the end");
                return true;
            }
        }
        panic!("the run hangs: {:#?}", self.facts);
    }

    fn next(&mut self, c: &mut Controller) -> Input {
        if !self.dice.patient && self.dice.one_in(40) {
            return Input::Interrupt;
        }
        if !self.dice.patient && !self.dice.calm && self.dice.one_in(300) {
            c.unwritten = true;
            return Input::LetGo;
        }
        c.waiting.swap_remove(self.dice.roll() % c.waiting.len())
    }

    /// Puts a line on record; none of a controller that is dead, or cannot write.
    fn record(&mut self, fact: Fact, c: &mut Controller) -> bool {
        let written = !c.dead && !c.unwritten;
        if written {
            self.facts.push(fact);
            c.dead = !self.dice.immortal && self.dice.one_in(60);
        }
        written
    }

    pub fn place(&self, host: HostIndex, at: StepIndex) -> (HostLabel, StepPath) {
        (self.plan.hosts[host.0].label.clone(), self.step(at).path.clone())
    }

    pub fn step(&self, at: StepIndex) -> &PlanStep {
        &self.plan.phases[at.phase].steps[at.step]
    }

    /// What the engine has on record before the scheduler hears of it.
    fn hear(&mut self, input: &Input, c: &mut Controller) {
        match input {
            Input::Connected(h) => {
                c.busy.remove(&h.0);
                if self.record(Fact::LockAcquired { host: self.plan.hosts[h.0].label.clone() }, c) {
                    self.hosts[h.0].locked = true;
                }
            }
            Input::ConnectFailed(h, _) | Input::Refused(h, ..) | Input::LockUnknown(h, _) => {
                c.busy.remove(&h.0);
                c.away.insert(h.0);
                match input {
                    Input::Refused(_, HostOutcome::Locked, _) => self.hosts[h.0].locked = false,
                    Input::LockUnknown(..) => self.hosts[h.0].locked = true,
                    _ => {}
                }
            }
            Input::StepEnded(h, _) => {
                c.busy.remove(&h.0);
            }
            Input::UndoEnded(h, outcome) => {
                c.busy.remove(&h.0);
                let open = self.hosts[h.0].open.unwrap();
                let (host, step) = self.place(*h, open.at);
                if self.record(Fact::UndoFinished { host, step, outcome: outcome.clone(), millis: 0 }, c) {
                    self.note_undo_end(open, outcome, c);
                }
            }
            Input::RetryDue(h) => {
                c.pausing.remove(&h.0);
            }
            Input::WatchEnded(h, failed) => {
                c.watched.remove(&h.0);
                let Some((at, outcome)) = failed.clone() else { return };
                let (host, step) = self.place(*h, at);
                let fact = Fact::StepFinished { host, step, attempt: 1, outcome, retrying: false, millis: 0 };
                if self.record(fact, c) {
                    self.hosts[h.0].finished.remove(&at);
                    self.hosts[h.0].fail_in(at.phase);
                }
            }
            Input::Start | Input::SoakOver | Input::Interrupt | Input::LetGo => {}
        }
    }

    fn note_undo_end(&mut self, open: Attempt, outcome: &StepOutcome, c: &mut Controller) {
        let known = &mut self.hosts[open.host];
        if outcome.is_success() {
            known.effects.retain(|effect| effect.at != open.at);
        }
        let unknown = matches!(outcome, StepOutcome::Unknown { .. } | StepOutcome::Detached { .. });
        if !unknown {
            known.open = None;
        }
        // A person has been told that nobody knows its end, and has it run again.
        let again = c.told.contains(&open.host) && matches!(outcome, StepOutcome::Unknown { .. });
        if outcome.is_success() || again && c.looked.contains(&open.host) {
            return;
        }
        c.looked.remove(&open.host);
        c.undo_failed.insert(open.host);
        if self.plan.phases[open.at.phase].once {
            c.doubtful = c.doubtful.max(Some(open.at.phase));
        }
    }

    /// How a step ended stands on record before what follows from it.
    fn note_end(&mut self, input: &Input, actions: &[Action], c: &mut Controller) {
        let Input::StepEnded(h, outcome) = input else { return };
        let open = self.hosts[h.0].open.unwrap();
        let (host, step) = self.place(*h, open.at);
        let retrying = actions.iter().any(|action| matches!(action, Action::Retry(of, _) if of == h));
        let fact = match outcome.clone() {
            StepOutcome::Skipped { reason } => Fact::StepSkipped { host, step, reason },
            outcome => Fact::StepFinished { host, step, attempt: open.number, outcome, retrying, millis: 0 },
        };
        if !self.record(fact, c) {
            return;
        }
        if retrying {
            let retry = self.step(open.at).retry.expect("a retry of a step that has none");
            assert!(open.number <= retry.times, "attempt {} of {} and one", open.number, retry.times);
            assert!(outcome.is_own_failure(), "another attempt after {outcome:?}");
        }
        let changes = !self.step(open.at).read_only;
        let known = &mut self.hosts[h.0];
        let sent = !matches!(outcome, StepOutcome::Skipped { .. } | StepOutcome::NotStarted { .. });
        if sent {
            known.note(open.at, outcome.is_success(), changes);
        }
        known.effects.iter_mut().filter(|effect| effect.at == open.at).for_each(|effect| effect.sure |= sent);
        known.effects.retain(|effect| effect.at != open.at || effect.sure);
        match outcome {
            StepOutcome::Detached { .. } => {
                c.looked.remove(&h.0);
                return;
            }
            // Where somebody has looked, it is for him to decide.
            StepOutcome::Unknown { .. } => {
                if !c.looked.contains(&h.0) {
                    known.fail_in(open.at.phase);
                }
                return;
            }
            _ => known.open = None,
        }
        if outcome.is_success() {
            known.finished.insert(open.at);
        }
        // What had not begun when the rollout stopped, or was ended by the operator, is no failure.
        if !outcome.is_success() && !retrying {
            known.fail_in(open.at.phase);
        }
    }

    fn act(&mut self, action: Action, c: &mut Controller) {
        let label = |h: HostIndex| self.plan.hosts[h.0].label.clone();
        match action {
            Action::Connect(h) => {
                c.asked.insert(h.0);
                c.busy.insert(h.0);
                let fact = Fact::LockRequested { host: label(h) };
                if self.record(fact, c) {
                    self.hosts[h.0].locked = true;
                }
                c.waiting.push(match self.dice.roll() % 40 {
                    _ if self.dice.calm => Input::Connected(h),
                    0..=2 => Input::ConnectFailed(h, "away".into()),
                    3 => Input::Refused(h, HostOutcome::Locked, "another run".into()),
                    4 => Input::Refused(h, HostOutcome::Failed, "no room".into()),
                    5 => Input::LockUnknown(h, "lost".into()),
                    _ => Input::Connected(h),
                });
            }
            Action::PlanUndo(h, at) => {
                let (host, step) = self.place(h, at);
                if self.record(Fact::UndoPlanned { host, step }, c) {
                    self.hosts[h.0].note(at, true, true);
                    self.hosts[h.0].finished.insert(at);
                }
            }
            Action::Run(h, at, number) => self.announce(Attempt { host: h.0, at, undo: false, number }, false, c),
            Action::Watch(h, at, number) => self.announce(Attempt { host: h.0, at, undo: false, number }, true, c),
            Action::Undo(h, at, number) => self.announce(Attempt { host: h.0, at, undo: true, number }, false, c),
            Action::WatchUndo(h, at, number) => self.announce(Attempt { host: h.0, at, undo: true, number }, true, c),
            Action::End(h) => self.end(h, c),
            Action::Retry(h, _) => {
                c.pausing.insert(h.0);
                c.waiting.push(Input::RetryDue(h));
            }
            Action::Soak(_) => c.waiting.push(Input::SoakOver),
            Action::StartWatch(h, phase) => {
                c.watched.insert(h.0);
                if self.dice.trouble_in(6) {
                    let step = self.plan.phases[phase].steps.iter().position(|s| s.watch.is_some() && s.runs_on(h));
                    let at = StepIndex { phase, step: step.unwrap() };
                    c.waiting.push(Input::WatchEnded(h, Some((at, FAILED))));
                }
            }
            Action::EndWatch(h) => c.end_watch(h),
            Action::RolloutStopped(_) => {
                c.stopped = true;
                c.pausing.clear();
            }
            Action::Settle(settlement) => self.settle(settlement, c),
            Action::Finish => c.over = true,
            Action::PhaseStarted(_)
            | Action::BatchStarted(..)
            | Action::BatchFinished(..)
            | Action::WatchStarted(..)
            | Action::Interrupted(_) => {}
        }
    }

    fn announce(&mut self, attempt: Attempt, watch: bool, c: &mut Controller) {
        let (h, at) = (HostIndex(attempt.host), attempt.at);
        c.busy.insert(attempt.host);
        if attempt.undo && !watch && c.stopped {
            c.lowest_undo = Some(at.phase);
        }
        if watch {
            c.looked.insert(attempt.host);
        } else {
            c.looked.remove(&attempt.host);
        }
        let (host, step) = self.place(h, at);
        let fact = match (watch, attempt.undo) {
            (true, undo) => Fact::StepResumed { host, step, attempt: attempt.number, undo },
            (false, true) => Fact::UndoStarted { host, step, attempt: attempt.number },
            (false, false) => Fact::StepStarted { host, step, attempt: attempt.number },
        };
        if self.record(fact, c) {
            self.undone |= attempt.undo;
            self.announced.insert((attempt.host, at, attempt.undo), attempt.number);
            let changes = !self.step(at).read_only;
            let known = &mut self.hosts[attempt.host];
            known.open = Some(attempt);
            if !attempt.undo && !watch {
                known.note(at, false, changes);
            }
        }
        c.orders.push((attempt, watch));
    }

    fn settle(&mut self, settlement: Settlement, c: &mut Controller) {
        let h = settlement.host;
        let label = self.plan.hosts[h.0].label.clone();
        c.settled.insert(h.0);
        let released = self.hosts[h.0].locked && !settlement.keeps_lock && c.asked.contains(&h.0);
        if released && !self.dice.trouble_in(30) && self.record(Fact::LockReleased { host: label.clone() }, c) {
            self.hosts[h.0].locked = false;
        }
        let fact = Fact::HostFinished {
            host: label,
            outcome: settlement.outcome,
            reason: None,
            in_force: Vec::new(),
            kept: Vec::new(),
            locked: self.hosts[h.0].locked,
        };
        let written = self.record(fact, c);
        if written && settlement.outcome == HostOutcome::Unreachable {
            self.hosts[h.0].out = true;
        }
        self.settled.insert(h.0, settlement);
    }
}
