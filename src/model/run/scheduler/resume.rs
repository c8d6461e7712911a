//! A run that another controller began: its state from what happened on each host, and how it goes on. Also how a run comes to a halt
//! that is to be resumed.

use std::sync::Arc;

use super::{Action, Activity, Again, Dropout, HostState, Mode, Scheduler, StepIndex, Then};
use crate::model::plan::plan::{HostIndex, OnFailure, Plan};
use crate::model::run::cause::Cause;
use crate::model::run::event::Direction;
use crate::model::run::host_summary::StepKind;
use crate::model::run::outcome::{HostOutcome, StepOutcome};
use crate::model::run::past::{Past, PastFact};

impl Scheduler {
    /// A scheduler that goes on where another one ended.
    pub fn resume(plan: &Plan, past: &Past, direction: Direction) -> Self {
        if direction == Direction::Forward && past.begins_anew() {
            return Self::new(Arc::new(plan.clone()));
        }
        let mut plan = plan.clone();
        let is_undo = |(_, fact): (_, &PastFact)| matches!(fact, PastFact::Began { kind: StepKind::Undo, .. });
        // By its policy a run that holds undoes nothing: a person had it undone.
        if direction == Direction::Back || past.facts().any(is_undo) {
            plan.on_failure = OnFailure::Undo;
        }
        let mut scheduler = Self::new(Arc::new(plan));
        scheduler.resumed = true;
        scheduler.cancelling = direction == Direction::Cancel;
        for (host, fact) in past.facts() {
            scheduler.remember(host, fact);
        }
        for host in scheduler.hosts() {
            let state = scheduler.host(host);
            if state.given_up {
                continue;
            }
            match (direction, state.unknown) {
                // A person said so, and it is for a person to know that what is not known may be undone.
                (Direction::Back, _) | (_, Some(Again::WatchUndo(..))) => {
                    state.frozen = None;
                    state.doubt = false;
                    state.again = state.unknown.or(state.again);
                    state.then = if state.unknown.is_some() { Then::Undo } else { Then::Ask };
                }
                // It is ended, if any of it runs.
                (Direction::Cancel, Some(_)) => state.again = state.unknown,
                (Direction::Forward | Direction::Cancel, _) => {}
            }
        }
        scheduler.failures = scheduler.hosts.iter().filter(|state| state.dropped.is_some()).count();
        if direction != Direction::Forward || scheduler.turned_back() {
            scheduler.mode = Mode::Draining;
            let reason = scheduler.why_without_those_given_up();
            scheduler.actions.extend(reason.filter(|_| direction == Direction::Forward).map(Action::RolloutStopped));
            // What would be run again would only be undone.
            for state in &mut scheduler.hosts {
                state.again = state.again.filter(|again| !matches!(again, Again::Rerun(..)));
            }
        }
        // The others may need what these have registered.
        let has_once = |host: &HostIndex| {
            scheduler.plan.phases.iter().any(|phase| phase.once && phase.batches.iter().flatten().any(|of| of == host))
        };
        let needed = scheduler.hosts().filter(|host| scheduler.is_needed(*host));
        let (first, rest): (Vec<_>, Vec<_>) = needed.partition(has_once);
        scheduler.unconnected = first.into_iter().chain(rest).collect();
        scheduler.pending = scheduler.unconnected.len();
        scheduler
    }

    /// Which way it goes.
    pub fn goes_back(&self) -> bool {
        self.mode == Mode::Draining
    }

    fn given_up(&self) -> impl Iterator<Item = HostIndex> {
        self.hosts().filter(|host| self.state(*host).is_some_and(|state| state.given_up))
    }

    /// Has the host something to do yet that is done once for the site?
    fn lacks_once(&self, host: HostIndex) -> bool {
        let phases = self.plan.phases.iter().enumerate();
        phases.filter(|(_, planned)| planned.once).any(|(phase, _)| self.has_steps_left_in(host, phase))
    }

    /// Why the run goes back, if that is because of hosts that were given up.
    fn why_without_those_given_up(&self) -> Option<String> {
        self.given_up().next()?;
        if self.given_up().any(|host| self.lacks_once(host)) {
            return Some("the host of a phase that runs once was given up".to_owned());
        }
        let (failures, budget) = (self.failures, self.plan.max_failures);
        (failures > budget).then(|| format!("{failures} failed or were given up, {budget} allowed"))
    }

    /// Was it going back already, or does it have to?
    fn turned_back(&self) -> bool {
        self.blocked
            || self.failures > self.plan.max_failures
            || self.hosts().zip(&self.hosts).any(|(host, state)| match state.dropped {
                None => !state.undos.is_empty(),
                Some(_) => self.lacks_once(host),
            })
    }

    /// Is there anything to do on it, or may there be?
    pub(super) fn is_needed(&self, host: HostIndex) -> bool {
        let Some(state) = self.state(host).filter(|state| !state.given_up) else { return false };
        state.again.is_some()
            || state.locked
            || self.is_undoable(host)
            || (state.dropped.is_none() && !self.goes_back() && self.has_steps_left(host))
    }

    fn has_steps_left(&self, host: HostIndex) -> bool {
        (0..self.plan.phases.len()).any(|phase| self.has_steps_left_in(host, phase))
    }

    fn has_steps_left_in(&self, host: HostIndex, phase: usize) -> bool {
        self.steps_left_in(host, phase).next().is_some()
    }

    /// Takes the run up where it is.
    pub(super) fn begin_resumed(&mut self) {
        if self.mode != Mode::Gathering {
            return;
        }
        self.mode = Mode::Rolling;
        for host in self.hosts().filter(|host| !self.is_needed(*host)).collect::<Vec<_>>() {
            self.settle(host);
        }
        let takes_part = |host: &HostIndex| self.state(*host).is_some_and(|state| state.dropped.is_none());
        let begun = self.plan.phases.iter().enumerate().find_map(|(phase, planned)| {
            let mut batches = planned.batches.iter().enumerate();
            let open = |host: &HostIndex| {
                if takes_part(host) { self.has_steps_left_in(*host, phase) } else { self.undoes_in(*host, phase) }
            };
            batches.find(|(_, batch)| batch.iter().any(open)).map(|(batch, _)| (phase, batch))
        });
        if let Some((phase, batch)) = self.unsoaked(begun) {
            (self.phase, self.batch) = (phase, batch);
            self.actions.push(Action::PhaseStarted(phase));
            return self.soak();
        }
        match begun {
            Some((phase, batch)) => {
                (self.phase, self.batch) = (phase, batch);
                self.actions.push(Action::PhaseStarted(phase));
                self.start_batch();
            }
            // All is done; what is left is to give the locks back.
            None => self.phase = self.plan.phases.len(),
        }
    }

    /// All steps were done before, and all hosts that could be reached are connected.
    pub(super) fn finish_resumed(&mut self) {
        let over = self.phase >= self.plan.phases.len() && self.pending == 0 && self.active == 0;
        if self.resumed && self.mode == Mode::Rolling && over {
            self.finish();
        }
    }

    /// Has it failed in the phase within the budget, and has not undone all that it did there?
    pub(super) fn undoes_in(&self, host: HostIndex, phase: usize) -> bool {
        let failed_here = |state: &HostState| {
            state.dropped == Some(Dropout::Failed) && state.failed_in == Some(phase) && state.frozen.is_none()
        };
        self.plan.on_failure == OnFailure::Undo
            && self.state(host).is_some_and(failed_here)
            && self.undoable(host).any(|at| at.phase == phase)
    }

    /// Begins with what an earlier controller left. False: it left nothing.
    pub(super) fn go_again(&mut self, host: HostIndex) -> bool {
        let Some(again) = self.host(host).again.take() else { return false };
        match again {
            Again::Rerun(at, attempt) => self.start_step(host, at, attempt, false),
            Again::Watch(at, attempt) => {
                self.start_step(host, at, attempt, true);
                if self.cancelling {
                    self.actions.push(Action::End(host));
                }
            }
            Again::WatchUndo(at, attempt) => {
                self.host(host).activity = Activity::Undoing(at);
                self.active += 1;
                self.actions.push(Action::WatchUndo(host, at, attempt));
            }
        }
        true
    }

    /// While nothing new starts: what runs is brought to its end.
    pub(super) fn watch_again(&mut self, host: HostIndex) {
        if self.host(host).again.is_some_and(|again| !matches!(again, Again::Rerun(..))) {
            self.go_again(host);
        }
    }

    /// A step that neither succeeded nor failed: nobody can tell, or not now. The rollout waits for its host.
    pub(super) fn is_left_open(&mut self, host: HostIndex, at: StepIndex, attempt: u32, outcome: &StepOutcome) -> bool {
        let state = self.host(host);
        let (watched, then) = (std::mem::take(&mut state.watched), std::mem::take(&mut state.then));
        let outcome_of_host = match outcome {
            StepOutcome::Detached { .. } => HostOutcome::Detached,
            StepOutcome::Unknown { .. } if watched => {
                let harmless = self.plan.step(at).is_some_and(|step| step.idempotent || step.read_only);
                if self.mode == Mode::Rolling && (harmless || then == Then::Rerun) {
                    self.start_step(host, at, attempt + 1, false);
                    return true;
                }
                // Nothing of it runs any more: its undo may.
                if then == Then::Undo {
                    return true;
                }
                HostOutcome::Unknown
            }
            _ => {
                if watched {
                    state.settle_doubt();
                }
                return false;
            }
        };
        let path = self.plan.step(at).map(|step| step.path.to_string()).unwrap_or_default();
        self.host(host).reason = Some(outcome.reason(Cause::Step, path));
        self.wait_for(host, outcome_of_host);
        true
    }

    /// Nothing more can be done on the host now: the rollout waits for it, or only its lock does.
    pub(super) fn wait_for(&mut self, host: HostIndex, outcome: HostOutcome) {
        let needed = self.is_needed_now(host);
        let counts = self.mode == Mode::Rolling && self.counts_in_batch(host);
        let state = self.host(host);
        state.stuck = needed && counts;
        if needed || state.locked {
            state.frozen = Some(outcome);
            state.waits = needed;
            state.doubt = true;
        }
    }

    fn is_needed_now(&self, host: HostIndex) -> bool {
        let Some(state) = self.state(host) else { return false };
        let left = match state.dropped {
            None => self.has_steps_left(host),
            Some(_) => self.undoes_in(host, self.phase),
        };
        state.again.is_some() || left || (self.goes_back() && (state.locked || self.is_undoable(host)))
    }

    /// Comes to a halt when all that is left of the batch waits for a connection or a person.
    pub(super) fn suspend_if_stuck(&mut self) {
        if self.mode != Mode::Rolling || self.pending > 0 || !self.hosts.iter().any(|state| state.waits) {
            return;
        }
        if self.open == self.hosts.iter().filter(|state| state.stuck && !state.settled).count() {
            self.suspended = true;
            self.finish();
        }
    }
}
