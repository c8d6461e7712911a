//! The time after a batch: hosts that were rolled are watched, and the phase ends.

use std::ops::RangeBounds;

use super::{Action, Activity, HostState, Mode, Scheduler, StepIndex};
use crate::model::plan::plan::{HostIndex, PlanPhase};
use crate::model::run::outcome::StepOutcome;

impl Scheduler {
    /// Soaks after the batch before the current one, where that is wanted.
    pub(super) fn soak(&mut self) {
        let Some(phase) = self.current_phase() else { return self.start_batch() };
        let is_last = self.batch >= phase.batches.len();
        let soak = phase.soak_after(is_last);
        let is_watched = phase.is_watched();
        self.mode = Mode::Soaking;
        self.soaked = false;
        self.open = 0;
        for host in self.hosts() {
            self.start_watch(host);
        }
        // A resumed run may have them to come.
        let nobody = self.open == 0 && (!self.resumed || self.pending == 0);
        if soak.is_zero() || (is_last && nobody) {
            return self.start_batch();
        }
        if is_watched {
            self.actions.push(Action::WatchStarted(self.phase, self.batch.saturating_sub(1), soak));
        }
        self.actions.push(Action::Soak(soak));
    }

    /// Watches a host that was rolled in this phase. False: there is nothing to watch on it, or it takes no part.
    pub(super) fn start_watch(&mut self, host: HostIndex) -> bool {
        let Some(phase) = self.current_phase().filter(|_| !self.soaked) else { return false };
        let rolled = phase.batches.iter().take(self.batch).flatten().any(|of| *of == host);
        // One of a resumed run may be ahead: it was watched before.
        let is_watched = rolled && phase.is_watched_on(host) && !self.has_begun(host, self.phase + 1..);
        let state = self.host(host);
        let is_free = state.activity == Activity::Idle
            && !state.settled
            && state.dropped.is_none()
            && state.frozen.is_none()
            && state.again.is_none();
        if is_watched && is_free {
            state.activity = Activity::Watched;
            self.open += 1;
            self.actions.push(Action::StartWatch(host, self.phase));
        }
        is_watched && is_free
    }

    /// The time is over: what is watched still has the last word.
    pub(super) fn on_soaked(&mut self) {
        self.soaked = true;
        if self.open == 0 {
            return self.start_batch();
        }
        let hosts = self.hosts().zip(&self.hosts).filter(|(_, state)| state.activity == Activity::Watched);
        self.actions.extend(hosts.map(|(host, _)| Action::EndWatch(host)));
    }

    pub(super) fn on_watch_ended(&mut self, host: HostIndex, failed: Option<(StepIndex, StepOutcome)>) {
        if self.host(host).activity != Activity::Watched {
            return;
        }
        self.host(host).activity = Activity::Idle;
        match failed {
            Some((at, outcome)) => self.on_failed(host, at, &outcome),
            None if self.mode == Mode::Soaking => self.leave_batch(),
            None => {}
        }
    }

    /// The current phase is over; the next one has not begun.
    pub(super) fn end_phase(&mut self) {
        let was_watched = self.current_phase().is_some_and(PlanPhase::is_watched);
        (self.phase, self.batch) = (self.phase + 1, 0);
        if was_watched {
            // No batch of the next phase has begun, as when the rollout soaks before it.
            self.mode = Mode::Soaking;
            for host in self.hosts() {
                if self.host(host).activity == Activity::Idle && !self.host(host).settled {
                    self.settle_if_through(host);
                }
            }
        }
    }

    /// Has an earlier controller begun a step of these phases on the host?
    fn has_begun(&self, host: HostIndex, phases: impl RangeBounds<usize>) -> bool {
        let begun =
            |state: &HostState| state.finished.iter().chain(state.tries.keys()).any(|at| phases.contains(&at.phase));
        self.state(host).is_some_and(begun)
    }

    /// Where a resumed run soaks once more: after the batch before its next one, unless that has begun.
    pub(super) fn unsoaked(&self, next: Option<(usize, usize)>) -> Option<(usize, usize)> {
        let (phase, batch) = next.unwrap_or((self.plan.phases.len(), 0));
        let next = self.plan.phases.get(phase).and_then(|planned| planned.batches.get(batch));
        if next.is_some_and(|hosts| hosts.iter().any(|host| self.has_begun(*host, phase..=phase))) {
            return None;
        }
        let before = if batch > 0 { phase } else { phase.checked_sub(1)? };
        let planned = self.plan.phases.get(before).filter(|planned| planned.is_watched())?;
        Some((before, if batch > 0 { batch } else { planned.batches.len() }))
    }
}
