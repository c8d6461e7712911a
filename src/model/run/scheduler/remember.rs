//! What happened on a host before, fact by fact: its state in a resumed run.

use super::{Again, Dropout, Scheduler, StepIndex, Then};
use crate::model::plan::plan::HostIndex;
use crate::model::run::cause::Cause;
use crate::model::run::event::Decision;
use crate::model::run::host_summary::StepKind;
use crate::model::run::outcome::{HostOutcome, StepOutcome};
use crate::model::run::past::PastFact;
use crate::model::run::reason::Reason;

impl Scheduler {
    pub(super) fn remember(&mut self, host: HostIndex, fact: &PastFact) {
        if self.host(host).given_up {
            return;
        }
        match fact {
            PastFact::GivenUp => self.give_up(host),
            PastFact::Began { at, attempt, kind } => {
                let state = self.host(host);
                state.unknown = None;
                state.again = Some(match kind {
                    StepKind::Run => {
                        // Only a host that takes part gets a new attempt: what was unknown of the one before is no failure, and what
                        // a person said of that is over.
                        if state.tries.insert(*at, *attempt) != Some(*attempt) {
                            state.dropped = None;
                            state.reason = None;
                            state.then = Then::Ask;
                            state.settle_doubt();
                        }
                        Again::Watch(*at, *attempt)
                    }
                    StepKind::Undo => {
                        // A person has decided about what was unknown.
                        state.settle_doubt();
                        state.undos.insert(*at, *attempt);
                        Again::WatchUndo(*at, *attempt)
                    }
                });
            }
            PastFact::Ended { kind: StepKind::Run, at, outcome, retrying } => {
                self.remember_step(host, *at, outcome, *retrying);
            }
            PastFact::Ended { kind: StepKind::Undo, at, outcome, .. } => self.remember_undo(host, *at, outcome),
            PastFact::UndoPlanned { at } => self.note_undo(host, *at),
            PastFact::Decided { at, decision } => self.remember_decision(host, *at, *decision),
            PastFact::Unreachable => {
                let state = self.host(host);
                state.dropped = Some(Dropout::Unreachable);
                state.locked = false;
            }
            PastFact::LockRequested | PastFact::Locked => self.host(host).locked = true,
            PastFact::Released => self.host(host).locked = false,
            PastFact::Taken => {
                let state = self.host(host);
                state.locked = false;
                state.frozen.get_or_insert(HostOutcome::Unknown);
                let taken = "its lock was taken away while the run worked there";
                state.reason.get_or_insert_with(|| Reason::new(Cause::LockTaken, taken));
            }
            PastFact::Registered { .. } => {}
        }
    }

    fn give_up(&mut self, host: HostIndex) {
        let state = self.host(host);
        let open = state.again.take().or(state.unknown.take());
        let lock = if state.locked { "; its lock is left there" } else { "" };
        let step = match open {
            Some(Again::Watch(at, _) | Again::WatchUndo(at, _)) => self.plan.step(at).map(|step| step.path.to_string()),
            Some(Again::Rerun(..)) | None => None,
        };
        let step = step.map(|path| format!("; nobody knows how {path} stands")).unwrap_or_default();
        if let Some(Again::Watch(at, _)) = open {
            self.note_begun(host, at);
        }
        let state = self.host(host);
        state.given_up = true;
        state.dropped = Some(Dropout::Unreachable);
        state.frozen = Some(HostOutcome::Unreachable);
        state.reason = Some(Reason::new(Cause::GivenUp, format!("given up{step}{lock}")));
    }

    fn remember_step(&mut self, host: HostIndex, at: StepIndex, outcome: &StepOutcome, retrying: bool) {
        let again = self.host(host).again;
        if matches!(outcome, StepOutcome::Detached { .. }) {
            return;
        }
        self.note_effect(host, at, outcome);
        self.blocked |= self.is_block(at, outcome);
        let path = self.plan.step(at).map(|step| step.path.to_string()).unwrap_or_default();
        let state = self.host(host);
        state.again = None;
        state.unknown = again.filter(|_| matches!(outcome, StepOutcome::Unknown { .. }));
        if state.unknown.is_none() {
            state.settle_doubt();
        }
        if outcome.is_success() {
            state.finished.insert(at);
        } else if let (true, Some(Again::Watch(_, attempt))) = (retrying, again) {
            state.again = Some(Again::Rerun(at, attempt + 1));
        } else {
            // One that was watched had succeeded before.
            state.finished.remove(&at);
            state.reason = Some(outcome.reason(Cause::Step, path));
            state.fail_in(at.phase);
            if let StepOutcome::Unknown { .. } = outcome {
                state.frozen = Some(HostOutcome::Unknown);
                state.doubt = true;
            }
        }
    }

    fn remember_undo(&mut self, host: HostIndex, at: StepIndex, outcome: &StepOutcome) {
        let path = self.plan.step(at).map(|step| step.path.to_string()).unwrap_or_default();
        let state = self.host(host);
        let again = state.again;
        match outcome {
            StepOutcome::Detached { .. } => return,
            outcome if outcome.is_success() => {
                for done in state.done.iter_mut().filter(|done| done.at == at) {
                    done.undone = true;
                }
            }
            // It runs again.
            outcome => state.reason = Some(outcome.reason(Cause::Undo, format_args!("undo of {path}"))),
        }
        state.again = None;
        state.unknown = again.filter(|_| matches!(outcome, StepOutcome::Unknown { .. }));
    }

    fn remember_decision(&mut self, host: HostIndex, at: StepIndex, decision: Decision) {
        let durable = self.plan.step(at).is_some_and(|step| step.durable);
        match (decision, self.host(host).again) {
            (Decision::AssumeDone, _) => self.note_effect(host, at, &StepOutcome::Succeeded),
            // Nobody will be asked about it, and it may not come to run again.
            (Decision::Rerun, Some(Again::Watch(..))) if !durable => self.note_begun(host, at),
            (Decision::Rerun, _) => {}
        }
        let state = self.host(host);
        // It may be running.
        let open = state.unknown.take().or(state.again).filter(|again| durable && matches!(again, Again::Watch(..)));
        state.dropped = None;
        state.frozen = None;
        state.reason = None;
        state.doubt = false;
        match (decision, open) {
            (Decision::AssumeDone, _) => {
                state.finished.insert(at);
                state.again = None;
            }
            (Decision::Rerun, Some(_)) => (state.again, state.then) = (open, Then::Rerun),
            (Decision::Rerun, None) => {
                let attempts = state.tries.get(&at).copied().unwrap_or_default();
                state.again = Some(Again::Rerun(at, attempts + 1));
            }
        }
    }
}
