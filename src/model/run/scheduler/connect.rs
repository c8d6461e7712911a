//! Hosts that are there, are not, or cannot take part.

use super::{Activity, Dropout, HostState, Mode, Scheduler};
use crate::model::plan::plan::HostIndex;
use crate::model::run::outcome::HostOutcome;
use crate::model::run::reason::Reason;

impl Scheduler {
    pub(super) fn on_connected(&mut self, host: HostIndex) {
        let state = self.host(host);
        state.activity = Activity::Idle;
        state.locked = true;
        self.active -= 1;
        self.pending -= 1;
        match self.mode {
            Mode::Gathering => self.begin_when_safe(),
            Mode::Rolling if self.counts_in_batch(host) => self.ready.push_back(host),
            Mode::Soaking => {
                if !self.start_watch(host) {
                    self.settle_if_through(host);
                }
            }
            Mode::Rolling => self.settle_if_through(host),
            Mode::Draining => self.watch_again(host),
            Mode::Unwinding(_) | Mode::Finished => {}
        }
    }

    /// The attempt to connect to it has ended without it.
    fn set_away(&mut self, host: HostIndex, reason: Reason) -> &mut HostState {
        self.active -= 1;
        self.pending -= 1;
        let state = self.host(host);
        state.activity = Activity::Away;
        state.reason = Some(reason);
        state
    }

    /// The host cannot take part.
    pub(super) fn on_missing(&mut self, host: HostIndex, why: Dropout, reason: Reason) {
        if self.resumed {
            return self.on_away_again(host, reason, HostOutcome::Detached);
        }
        let interrupted = self.interrupts > 0;
        let state = self.set_away(host, reason);
        if !interrupted || state.frozen.is_some() {
            state.dropped = Some(why);
            self.failures += 1;
            self.settle(host);
        }
        let needed = self.plan.phases.iter().find(|p| p.once && p.batches.iter().flatten().any(|h| *h == host));
        let trouble = if why == Dropout::Failed { "cannot take part" } else { "could not be reached" };
        let needed = needed.map(|p| format!("the host of phase `{}`, which runs once, {trouble}", p.name));
        match self.mode {
            Mode::Gathering => {
                self.missing_once = self.missing_once.take().or(needed);
                self.begin_when_safe();
            }
            Mode::Rolling | Mode::Soaking => {
                if let Some(reason) = needed {
                    self.stop(reason);
                } else if self.failures > self.plan.max_failures {
                    self.stop_over_budget();
                } else if self.mode == Mode::Rolling && self.in_current_batch(host) {
                    self.leave_batch();
                }
            }
            Mode::Draining | Mode::Unwinding(_) | Mode::Finished => {}
        }
    }

    /// It may be locked for the run, which only a later controller can find out: nothing else may come there, and the host is not forgotten.
    pub(super) fn on_lock_unknown(&mut self, host: HostIndex, reason: Reason) {
        let resumed = self.resumed;
        let state = self.host(host);
        state.locked = true;
        // A resumed run waits for it like for any other that is away with a lock, which needs it as it was.
        if !resumed {
            state.frozen = Some(HostOutcome::Detached);
            state.doubt = true;
        }
        self.on_missing(host, Dropout::Unreachable, reason);
    }

    /// A resumed run has lost a host for now, or to another run.
    fn on_away_again(&mut self, host: HostIndex, reason: Reason, outcome: HostOutcome) {
        self.set_away(host, reason);
        let counts = self.counts_in_batch(host);
        self.wait_for(host, outcome);
        if !self.host(host).waits {
            self.host(host).missed = true;
            if self.mode == Mode::Rolling && counts {
                self.leave_batch();
            }
        }
    }

    /// The host is there, and cannot take part. One that another run works on stops this one, whatever the budget.
    pub(super) fn on_refused(&mut self, host: HostIndex, outcome: HostOutcome, reason: Reason) {
        if outcome != HostOutcome::Locked {
            return self.on_missing(host, Dropout::Failed, reason);
        }
        if self.resumed {
            let state = self.host(host);
            // Where this run has done nothing, the lock of another one is none of its business.
            state.locked &= state.again.is_some() || !state.done.is_empty();
            return self.on_away_again(host, reason, outcome);
        }
        self.set_away(host, reason).frozen = Some(outcome);
        self.settle(host);
        let label = self.plan.hosts.get(host.0).map(|host| host.label.to_string()).unwrap_or_default();
        let reason = format!("{label} is locked by another run");
        match self.mode {
            Mode::Gathering => {
                self.missing_once.get_or_insert(reason);
                self.begin_when_safe();
            }
            Mode::Rolling | Mode::Soaking => self.stop(reason),
            Mode::Draining | Mode::Unwinding(_) | Mode::Finished => {}
        }
    }
}
