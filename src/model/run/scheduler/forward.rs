//! The way forward: phases, batches, steps, attempts, and hosts that drop out.

use super::{Action, Activity, Done, Mode, Scheduler, StepIndex};
use crate::model::plan::plan::{HostIndex, OnFailure, PlanPhase, PlanStep};
use crate::model::run::cause::Cause;
use crate::model::run::outcome::{HostOutcome, StepOutcome};

impl Scheduler {
    pub(super) fn in_current_batch(&self, host: HostIndex) -> bool {
        self.current_phase().and_then(|p| p.batches.get(self.batch)).is_some_and(|batch| batch.contains(&host))
    }

    pub(super) fn start_phase(&mut self) {
        match self.current_phase() {
            Some(_) => {
                self.batch = 0;
                self.actions.push(Action::PhaseStarted(self.phase));
                self.start_batch();
            }
            // A host that is being asked for its lock must not be left alone with it.
            None if self.resumed && self.pending > 0 => {}
            None => self.finish(),
        }
    }

    pub(super) fn start_batch(&mut self) {
        // After the last batch the next phase begins.
        let Some(batch) = self.current_phase().and_then(|p| p.batches.get(self.batch)).cloned() else {
            self.end_phase();
            self.mode = Mode::Rolling;
            self.start_phase();
            return;
        };
        self.mode = Mode::Rolling;
        self.actions.push(Action::BatchStarted(self.phase, self.batch));
        self.open = 0;
        self.hosts.iter_mut().for_each(|state| state.stuck = false);
        for host in batch {
            let counts = self.counts_in_batch(host);
            let state = self.host(host);
            state.next = 0;
            state.stuck = counts && state.waits;
            if counts {
                if state.activity == Activity::Idle {
                    self.ready.push_back(host);
                }
                self.open += 1;
            }
        }
        if self.open == 0 {
            self.end_batch();
        }
    }

    /// Does the end of the current batch wait for this host of it?
    pub(super) fn counts_in_batch(&self, host: HostIndex) -> bool {
        let Some(state) = self.state(host).filter(|state| !state.missed && self.in_current_batch(host)) else {
            return false;
        };
        (state.dropped.is_none() && !state.settled) || self.undoes_in(host, self.phase)
    }

    /// A host is through the current batch, or dropped out of it.
    pub(super) fn leave_batch(&mut self) {
        self.open = self.open.saturating_sub(1);
        match self.mode {
            Mode::Soaking if self.open == 0 && self.soaked => self.start_batch(),
            Mode::Soaking => {}
            _ if self.open == 0 => self.end_batch(),
            _ => {}
        }
    }

    pub(super) fn end_batch(&mut self) {
        self.actions.push(Action::BatchFinished(self.phase, self.batch));
        self.batch += 1;
        self.soak();
    }

    pub(super) fn run_next(&mut self, host: HostIndex) {
        let from = match self.host(host).activity {
            Activity::Pausing(at, attempt) => return self.start_step(host, at, attempt + 1, false),
            _ => self.host(host).next,
        };
        // What a host was ahead with waits for its phase: it may have to run again.
        let due = self.host(host).again.is_some_and(|again| again.at().phase == self.phase);
        if due && self.go_again(host) {
            return;
        }
        let next = self.steps_left_in(host, self.phase).find(|at| at.step >= from);
        let Some(at) = next else {
            self.settle_if_through(host);
            self.leave_batch();
            return;
        };
        if self.runs(host, at) {
            return self.start_step(host, at, 1, false);
        }
        self.host(host).next = at.step + 1;
        self.note_undo(host, at);
        self.actions.push(Action::PlanUndo(host, at));
        self.run_next(host);
    }

    /// The steps of the phase that the host has and has not brought to a good end before.
    pub(super) fn steps_left_in(&self, host: HostIndex, phase: usize) -> impl Iterator<Item = StepIndex> {
        let steps = self.plan.phases.get(phase).into_iter().flat_map(|planned| planned.steps.iter().enumerate());
        let of_host = steps.filter(move |(_, step)| step.hosts.contains(host));
        let left = of_host.map(move |(step, _)| StepIndex { phase, step });
        left.filter(move |at| self.state(host).is_some_and(|state| !state.finished.contains(at)))
    }

    /// Is the step more than an undo?
    pub(super) fn runs(&self, host: HostIndex, at: StepIndex) -> bool {
        self.plan.step(at).is_some_and(|step| step.runs_on(host))
    }

    /// Remembers that the host came to a step that is only an undo.
    pub(super) fn note_undo(&mut self, host: HostIndex, at: StepIndex) {
        let state = self.host(host);
        state.note(Done { at, succeeded: true, undone: false });
        state.finished.insert(at);
    }

    /// Did anything run on the host that may have changed something there?
    pub(super) fn has_run(&self, host: HostIndex) -> bool {
        self.state(host).is_some_and(|state| state.done.iter().any(|done| self.runs(host, done.at)))
    }

    /// Starts an attempt, or watches one that an earlier controller has announced.
    pub(super) fn start_step(&mut self, host: HostIndex, at: StepIndex, attempt: u32, watched: bool) {
        let state = self.host(host);
        state.next = at.step + 1;
        state.activity = Activity::Running(at, attempt);
        state.watched = watched;
        self.active += 1;
        self.actions.push(if watched { Action::Watch(host, at, attempt) } else { Action::Run(host, at, attempt) });
    }

    pub(super) fn on_step_ended(&mut self, host: HostIndex, outcome: &StepOutcome) {
        let Activity::Running(at, attempt) = self.host(host).activity else { return };
        self.active -= 1;
        self.host(host).activity = Activity::Idle;
        self.note_effect(host, at, outcome);
        if self.is_left_open(host, at, attempt, outcome) {
            return;
        }
        if outcome.is_success() {
            if self.mode == Mode::Rolling {
                self.ready.push_back(host);
            } else if self.is_last_of_phase(host, at) {
                // It was through just then: the stop took nothing away from it.
                self.settle_if_through(host);
            }
            return;
        }
        let retry = self.plan.step(at).and_then(|step| step.retry).filter(|r| attempt <= r.times);
        if let Some(retry) = retry.filter(|_| self.mode == Mode::Rolling && outcome.is_own_failure()) {
            self.host(host).activity = Activity::Pausing(at, attempt);
            self.actions.push(Action::Retry(host, retry.delay));
            return;
        }
        self.on_failed(host, at, outcome);
    }

    /// A step has failed for good, or a watched one too often.
    pub(super) fn on_failed(&mut self, host: HostIndex, at: StepIndex, outcome: &StepOutcome) {
        let path = self.plan.step(at).map(|s| s.path.to_string()).unwrap_or_default();
        let reason = outcome.reason(Cause::Step, &path);
        let stopped = !matches!(self.mode, Mode::Rolling | Mode::Soaking);
        let state = self.host(host);
        state.reason = Some(reason.clone());
        state.fail_in(at.phase);
        match outcome {
            StepOutcome::Unknown { .. } => {
                state.frozen = Some(HostOutcome::Unknown);
                state.doubt = true;
            }
            // The interrupt stopped the rollout already, or that of an earlier controller is heard of now; this host did not fail.
            StepOutcome::Cancelled => {
                state.dropped = None;
                if self.mode == Mode::Rolling {
                    self.stop(reason.text);
                }
                return;
            }
            // The rollout has stopped: what had not begun by then, or was ended in its guard, is no failure.
            StepOutcome::NotStarted { .. } if stopped => {
                state.dropped = None;
                return;
            }
            _ => {}
        }
        self.failures += 1;
        if stopped {
            return;
        }
        // Without it the others would go on as if that phase had been.
        let is_needed = |p: &&PlanPhase| p.once && p.steps.iter().any(|step| step.hosts.contains(host));
        let needed = self.plan.phases.iter().enumerate().skip(at.phase).find(|(_, p)| is_needed(p));
        self.blocked |= self.is_block(at, outcome);
        match needed.map(|(phase, p)| (phase == at.phase, &p.name)) {
            _ if self.failures > self.plan.max_failures => self.stop_over_budget(),
            // The budget is for bad hosts. A block is a reason to stop all of them.
            _ if self.blocked => self.stop(format!("read-only step {path} reported a block")),
            Some((true, _)) => self.stop(format!("{path} failed; it runs once for the whole rollout")),
            Some((false, name)) => self.stop(format!("{path} failed on the host of phase `{name}`, which runs once")),
            None => self.drop_out(host),
        }
    }

    /// Has a read-only step reported a block?
    pub(super) fn is_block(&self, at: StepIndex, outcome: &StepOutcome) -> bool {
        matches!(outcome, StepOutcome::Refused { .. }) && self.plan.step(at).is_some_and(|step| step.read_only)
    }

    fn is_last_of_phase(&self, host: HostIndex, at: StepIndex) -> bool {
        let steps = self.plan.phases.get(at.phase).map(|phase| phase.steps.as_slice()).unwrap_or_default();
        let runs = |step: &PlanStep| step.runs_on(host);
        !steps.iter().skip(at.step + 1).any(runs)
    }

    /// Within the budget: the host alone undoes what it did in this phase and takes no further part.
    pub(super) fn drop_out(&mut self, host: HostIndex) {
        if self.host(host).frozen.is_none() && self.plan.on_failure == OnFailure::Undo {
            self.ready.push_back(host);
        } else {
            // What left nothing to take back has failed, and that is all.
            if self.plan.on_failure == OnFailure::Hold && !self.in_force(host).is_empty() {
                self.host(host).frozen.get_or_insert(HostOutcome::Held);
            }
            self.settle_if_through(host);
            self.leave_batch();
        }
    }

    /// Remembers that the step has, or may have, an effect.
    pub(super) fn note_effect(&mut self, host: HostIndex, at: StepIndex, outcome: &StepOutcome) {
        let sent = match outcome {
            StepOutcome::Skipped { .. } | StepOutcome::NotStarted { .. } => false,
            StepOutcome::Succeeded
            | StepOutcome::Failed { .. }
            | StepOutcome::Signaled { .. }
            | StepOutcome::TimedOut { .. }
            | StepOutcome::Unusable { .. }
            | StepOutcome::Refused { .. }
            | StepOutcome::Cancelled
            | StepOutcome::Unknown { .. }
            | StepOutcome::Detached { .. } => true,
        };
        if sent && !self.plan.step(at).is_some_and(|step| step.read_only) {
            self.host(host).note(Done { at, succeeded: outcome.is_success(), undone: false });
        }
    }

    /// The same for one of which nobody has heard how it ended.
    pub(super) fn note_begun(&mut self, host: HostIndex, at: StepIndex) {
        self.note_effect(host, at, &StepOutcome::Unknown { reason: "".into() });
    }
}
