//! The hosts of a random run, and one controller after another that carries it out there: what is true on the hosts, what is on record,
//! and what no controller may do. Controllers die between any two lines of the record; what they had sent by then goes on.

use super::dice::Dice;
use super::known::{Attempt, Known, Truth, past_of};
use super::*;
use crate::model::run::event::{Decision, Direction, Fact};
use crate::model::run::host_summary::StepKind;
use crate::model::run::past::Past;

pub struct World {
    pub plan: Arc<Plan>,
    facts: Vec<Fact>,
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
pub struct Controller {
    /// It goes on with what another one began.
    pub resumed: bool,
    pub direction: Option<Direction>,
    waiting: Vec<Input>,
    orders: Vec<(Attempt, bool)>,
    pub busy: BTreeSet<usize>,
    /// Between two attempts.
    pub pausing: BTreeSet<usize>,
    pub asked: BTreeSet<usize>,
    pub settled: BTreeSet<usize>,
    /// Could not take part.
    pub away: BTreeSet<usize>,
    /// Of these it has watched what an earlier one had begun, and nobody knows how that ended.
    pub looked: BTreeSet<usize>,
    pub stopped: bool,
    /// An interrupt was told.
    interrupted: bool,
    pub lowest_undo: Option<usize>,
    /// The undo of a `once` step has failed in that phase.
    pub doubtful: Option<usize>,
    pub undo_failed: BTreeSet<usize>,
    pub dead: bool,
    /// Nothing can be written down any more.
    pub unwritten: bool,
    pub over: bool,
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
        let given_up = self.hosts.iter().any(|known| known.given_up);
        let resumed = direction != Direction::Forward || !past.is_empty() || given_up;
        if !resumed {
            // It begins as any run does.
            let anew = |known: &Known| Known { locked: known.locked, ..Known::default() };
            self.hosts.iter_mut().for_each(|known| *known = anew(known));
        }
        // What nobody could find out, and nobody has decided about since, has failed.
        for open in
            past.open_steps().iter().filter(|open| open.kind == StepKind::Run && open.outcome == Some(unknown()))
        {
            self.hosts[open.host.0].out = true;
        }
        let scheduler = Scheduler::resume(&self.plan, &past, direction);
        self.control(scheduler, Controller { resumed, direction: Some(direction), ..Controller::default() })
    }

    /// What the operator says of open steps, as the command line lets him.
    pub fn decide(&mut self) {
        let mut decided = Vec::new();
        for open in self.past().open_steps() {
            if open.kind == StepKind::Run && self.dice.one_in(3) {
                let decision = if self.dice.one_in(2) { Decision::Rerun } else { Decision::AssumeDone };
                decided.push((open, decision));
            }
        }
        let mut past = self.past();
        decided.iter().for_each(|(open, decision)| past.decide(open.host, open.at, *decision));
        let rerun = decided.iter().any(|(_, decision)| *decision == Decision::Rerun);
        if rerun && Scheduler::resume(&self.plan, &past, Direction::Forward).goes_back() {
            return;
        }
        for (open, decision) in decided {
            let (host, step) = self.place(open.host, open.at);
            self.facts.push(Fact::StepDecided { host, step, decision });
            let (runs, changes) = (self.step(open.at).durable, !self.step(open.at).read_only);
            let known = &mut self.hosts[open.host.0];
            known.out = false;
            match decision {
                Decision::AssumeDone => {
                    known.open = None;
                    known.finished.insert(open.at);
                    known.note(open.at, true, changes);
                }
                Decision::Rerun => {
                    known.rerun.insert(open.at);
                    // Of what is not durable nobody can be asked.
                    known.open.take_if(|_| !runs);
                }
            }
        }
    }

    /// The operator gives a host up. Not while nobody knows how a step ended there on which the whole site depends.
    pub fn give_up(&mut self, host: usize) {
        let once = |open: &crate::model::run::past::OpenStep| self.plan.phases[open.at.phase].once && open.is_unknown();
        if !self.past().open_steps().iter().any(|open| open.host.0 == host && once(open)) {
            self.facts.push(Fact::HostGivenUp { host: self.plan.hosts[host].label.clone(), by: "me".into() });
            self.hosts[host].given_up = true;
            self.hosts[host].out = true;
        }
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

    fn place(&self, host: HostIndex, at: StepIndex) -> (HostLabel, StepPath) {
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
        // A person has said of one whose end is unknown that it shall run again.
        let again = c.looked.remove(&open.host) && matches!(outcome, StepOutcome::Unknown { .. });
        if again {
            known.open = None;
        } else if !outcome.is_success() {
            c.undo_failed.insert(open.host);
            if self.plan.phases[open.at.phase].once {
                c.doubtful = c.doubtful.max(Some(open.at.phase));
            }
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
                known.out |= !c.looked.contains(&h.0);
                return;
            }
            _ => known.open = None,
        }
        if outcome.is_success() {
            known.finished.insert(open.at);
        }
        // What had not begun when the rollout stopped, or was ended by the operator, is no failure.
        known.out |= !outcome.is_success() && !retrying;
    }

    /// What the host makes of an order, and what the controller hears of it.
    fn carry_out(&mut self, attempt: Attempt, watch: bool, back: bool) -> StepOutcome {
        let unknown_outcome = unknown();
        let detached = StepOutcome::Detached { reason: "away".into() };
        let durable = self.step(attempt.at).durable;
        if watch && !durable {
            return unknown_outcome;
        }
        if watch && let Some(truth) = self.attempts.get(&attempt).cloned() {
            if self.dice.trouble_in(12) {
                return detached;
            }
            let lost = truth.lost || self.dice.trouble_in(16);
            let failed = self.dice.trouble_in(4);
            let outcome = truth.outcome.unwrap_or(if failed { FAILED } else { StepOutcome::Succeeded });
            self.attempts.insert(attempt, Truth { outcome: Some(outcome.clone()), lost });
            return if lost { unknown_outcome } else { outcome };
        }
        let not_started = StepOutcome::NotStarted { reason: "lost".into() };
        if watch && back && !attempt.undo {
            return not_started;
        }
        let calm = self.dice.calm;
        let (outcome, heard) = match self.dice.roll() % 24 {
            _ if calm => (Some(StepOutcome::Succeeded), None),
            0 | 1 => (Some(FAILED), None),
            2 => (Some(FAILED), Some(unknown_outcome)),
            3 => (Some(StepOutcome::Succeeded), Some(unknown_outcome)),
            4 if durable => (None, Some(detached)),
            5 if durable => (Some(StepOutcome::Succeeded), Some(detached)),
            6 => return not_started,
            7 if !attempt.undo => return StepOutcome::Skipped { reason: "unless".into() },
            8 => (Some(StepOutcome::Unusable { reason: "binary".into() }), None),
            _ => (Some(StepOutcome::Succeeded), None),
        };
        let lost = matches!(heard, Some(StepOutcome::Unknown { .. }));
        self.attempts.insert(attempt, Truth { outcome: outcome.clone(), lost });
        heard.or(outcome).unwrap()
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
            Action::RolloutStopped(_) => {
                c.stopped = true;
                c.pausing.clear();
            }
            Action::Settle(settlement) => self.settle(settlement, c),
            Action::Interrupted(_) => c.interrupted = true,
            Action::Finish => c.over = true,
            Action::PhaseStarted(_) | Action::BatchStarted(..) | Action::BatchFinished(..) => {}
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

    /// What runs on the host is to end.
    fn end(&mut self, h: HostIndex, c: &mut Controller) {
        let open = self.hosts[h.0].open;
        let ended = self.dice.one_in(2);
        for input in c.waiting.iter_mut().filter(|_| ended) {
            match input {
                Input::Connected(of) if *of == h => *input = Input::ConnectFailed(h, "interrupted".into()),
                Input::StepEnded(of, outcome) if *of == h && *outcome == StepOutcome::Succeeded => {
                    *outcome = StepOutcome::Cancelled;
                    let truth = Truth { outcome: Some(StepOutcome::Cancelled), lost: false };
                    self.attempts.insert(open.unwrap(), truth);
                }
                _ => {}
            }
        }
    }

    fn settle(&mut self, settlement: Settlement, c: &mut Controller) {
        let h = settlement.host;
        let label = self.plan.hosts[h.0].label.clone();
        c.settled.insert(h.0);
        if self.hosts[h.0].locked && !settlement.keeps_lock && c.asked.contains(&h.0) && !self.dice.trouble_in(30) {
            if self.record(Fact::LockReleased { host: label.clone() }, c) {
                self.hosts[h.0].locked = false;
            }
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

impl World {
    /// A step that was done twice on a host, and that nobody wanted to be done twice.
    pub fn ran_twice(&self) -> Option<(usize, StepIndex)> {
        let succeeded = self.attempts.iter().filter(|(_, truth)| truth.outcome == Some(StepOutcome::Succeeded));
        let mut done = BTreeSet::new();
        succeeded.map(|(attempt, _)| (attempt.host, attempt.at)).find(|place| !done.insert(*place))
    }
}
