//! The way back: undo in reverse, and how each host settles.

use super::{Action, Activity, Again, Done, Dropout, HostState, Mode, Scheduler, Settlement, StepIndex, Then};
use crate::model::plan::plan::{HostIndex, OnFailure};
use crate::model::run::cause::Cause;
use crate::model::run::outcome::{HostOutcome, StepOutcome};
use crate::model::run::reason::Reason;
use crate::model::text::name::StepPath;

impl Scheduler {
    /// All that ran has ended: go back phase by phase, or hold.
    pub(super) fn begin_unwinding(&mut self) {
        match self.plan.on_failure {
            OnFailure::Undo => self.unwind_phase(self.plan.phases.len()),
            OnFailure::Hold => self.finish(),
        }
    }

    /// Undoes the last phase before `end` that left something to undo.
    fn unwind_phase(&mut self, end: usize) {
        if self.once_is_frozen(end) {
            self.freeze_all();
        }
        for phase in (0..end).rev() {
            let hosts: Vec<HostIndex> = self.hosts().filter(|h| self.has_undo_in(*h, phase)).collect();
            if !hosts.is_empty() {
                self.mode = Mode::Unwinding(phase);
                self.open = hosts.len();
                self.ready.extend(hosts);
                return;
            }
            if self.once_is_frozen(phase) {
                self.freeze_all();
            }
        }
        self.finish();
    }

    /// Does a host that must not be touched, or is not there, hold an effect of a `once` step of a phase from `phase` on, or the doubt
    /// about one?
    fn once_is_frozen(&self, phase: usize) -> bool {
        let once = |at: StepIndex| at.phase >= phase && self.plan.phases.get(at.phase).is_some_and(|p| p.once);
        self.hosts.iter().enumerate().any(|(host, state)| {
            let frozen = state.frozen.is_some();
            let last = state.done.last().map(|done| done.at).filter(|_| frozen);
            let left =
                |d: &Done| !d.undone && once(d.at) && (self.has_undo(HostIndex(host), d.at) || last == Some(d.at));
            (frozen || state.activity == Activity::Away)
                && (state.again.is_some_and(|again| once(again.at())) || state.done.iter().any(left))
        })
    }

    fn freeze_all(&mut self) {
        for host in self.hosts() {
            let undoable = self.is_undoable(host);
            let state = self.host(host);
            if undoable && state.frozen.is_none() && !state.settled {
                state.frozen = Some(HostOutcome::Held);
                state.doubt = true;
                let doubt = Reason::new(Cause::Stopped, "not undone: a step that runs once for the site is in doubt");
                state.reason = Some(doubt.following(state.reason.take()));
            }
        }
    }

    fn has_undo_in(&self, host: HostIndex, phase: usize) -> bool {
        let is_free = |state: &HostState| !state.settled && state.frozen.is_none() && state.activity == Activity::Idle;
        self.state(host).is_some_and(is_free) && self.undoable(host).any(|at| at.phase == phase)
    }

    /// What was done on the host, in that order.
    fn done(&self, host: HostIndex) -> impl DoubleEndedIterator<Item = &Done> {
        self.state(host).into_iter().flat_map(|state| &state.done)
    }

    /// The steps whose undo could still run, in the order in which they ran.
    pub(super) fn undoable(&self, host: HostIndex) -> impl DoubleEndedIterator<Item = StepIndex> {
        let open = self.done(host).filter(|done| !done.undone).map(|done| done.at);
        open.filter(move |at| self.has_undo(host, *at))
    }

    fn has_undo(&self, host: HostIndex, at: StepIndex) -> bool {
        self.plan.step(at).is_some_and(|step| step.has_undo_on(host))
    }

    /// Undoes the host's last step of the phase, or leaves the phase when there is none.
    pub(super) fn undo_next(&mut self, host: HostIndex, phase: usize) {
        if self.go_again(host) {
            return;
        }
        let next = self.undoable(host).rev().find(|at| at.phase >= phase);
        match next {
            Some(at) => {
                let state = self.host(host);
                state.activity = Activity::Undoing(at);
                let attempt = state.undos.entry(at).or_default();
                *attempt += 1;
                let attempt = *attempt;
                self.active += 1;
                self.actions.push(Action::Undo(host, at, attempt));
            }
            None => self.leave_undo(host),
        }
    }

    pub(super) fn on_undo_ended(&mut self, host: HostIndex, outcome: &StepOutcome) {
        let Activity::Undoing(at) = self.host(host).activity else { return };
        self.active -= 1;
        let path = self.plan.step(at).map(|s| s.path.to_string()).unwrap_or_default();
        let state = self.host(host);
        state.activity = Activity::Idle;
        let decided = std::mem::take(&mut state.then) == Then::Undo;
        let runs_again = decided && matches!(outcome, StepOutcome::Unknown { .. });
        if outcome.is_success() || runs_again {
            state.doubt = runs_again;
            for done in state.done.iter_mut().filter(|done| done.at == at) {
                done.undone = !runs_again;
            }
            match self.mode {
                Mode::Rolling | Mode::Soaking | Mode::Unwinding(_) => self.ready.push_back(host),
                Mode::Gathering | Mode::Draining | Mode::Finished => {}
            }
            return;
        }
        let undo = outcome.reason(Cause::Undo, format_args!("undo of {path}"));
        state.reason = Some(undo.following(state.reason.take()));
        state.doubt = true;
        state.frozen = Some(match outcome {
            StepOutcome::Unknown { .. } => HostOutcome::Unknown,
            StepOutcome::Detached { .. } => HostOutcome::Detached,
            _ => HostOutcome::Held,
        });
        match self.mode {
            Mode::Rolling | Mode::Soaking | Mode::Unwinding(_) => self.leave_undo(host),
            Mode::Gathering | Mode::Draining | Mode::Finished => {}
        }
    }

    fn leave_undo(&mut self, host: HostIndex) {
        if let Mode::Unwinding(phase) = self.mode {
            self.open -= 1;
            if self.open == 0 {
                self.unwind_phase(phase);
            }
        } else {
            self.settle_if_through(host);
            self.leave_batch();
        }
    }

    /// Whatever is running goes on without us.
    pub(super) fn let_go(&mut self) {
        self.suspended = true;
        self.end_all(|activity| activity == Activity::Watched);
        for host in self.hosts() {
            let at = match self.host(host).activity {
                Activity::Running(at, _) => {
                    self.note_begun(host, at);
                    at
                }
                Activity::Undoing(at) => at,
                Activity::Away | Activity::Connecting | Activity::Idle | Activity::Pausing(..) | Activity::Watched => {
                    continue;
                }
            };
            let path = self.plan.step(at).map(|s| s.path.to_string()).unwrap_or_default();
            let durable = self.plan.step(at).is_some_and(|step| step.durable);
            let state = self.host(host);
            state.frozen = Some(if durable { HostOutcome::Detached } else { HostOutcome::Unknown });
            state.doubt = true;
            state.reason = Some(Reason::new(Cause::LetGo, format!("let go while {path} was running")));
        }
        self.finish();
    }

    /// Settles every host that has not, and ends the run.
    pub(super) fn finish(&mut self) {
        let stopped = matches!(self.mode, Mode::Draining | Mode::Unwinding(_));
        for host in self.hosts() {
            self.note_unwatched(host);
            // Nothing was undone on a host that holds effects after a stop: it is held, whatever the policy was.
            if stopped && self.host(host).frozen.is_none() && !self.in_force(host).is_empty() {
                let away = self.host(host).activity == Activity::Away;
                let resumed = self.resumed;
                let state = self.host(host);
                state.doubt |= resumed && away;
                state.frozen = Some(HostOutcome::Held);
                let held = "the rollout stopped, and what was done is held";
                state.reason.get_or_insert_with(|| Reason::new(Cause::Stopped, held));
            }
            self.settle_as(host, stopped);
        }
        self.mode = Mode::Finished;
        self.ready.clear();
        self.unconnected.clear();
        self.actions.push(Action::Finish);
    }

    /// Remembers what an earlier controller had begun, and this one has not come to ask for: it may be running.
    fn note_unwatched(&mut self, host: HostIndex) {
        let Some(Again::Watch(at, _) | Again::WatchUndo(at, _)) = self.host(host).again else { return };
        if let Some(Again::Watch(..)) = self.host(host).again {
            self.note_begun(host, at);
        }
        let path = self.plan.step(at).map(|step| step.path.to_string()).unwrap_or_default();
        let state = self.host(host);
        state.doubt = true;
        state.frozen.get_or_insert(HostOutcome::Detached);
        state.reason.get_or_insert_with(|| Reason::new(Cause::LetGo, format!("let go while {path} was running")));
    }

    /// Settles a host early, when nothing lies before it and nothing behind it can be undone.
    pub(super) fn settle_if_through(&mut self, host: HostIndex) {
        let through = self.host(host).dropped.is_some() || !self.comes_later(host);
        if through && !self.is_undoable(host) {
            self.settle(host);
        }
    }

    /// Is there a step whose undo could still run?
    pub(super) fn is_undoable(&self, host: HostIndex) -> bool {
        self.undoable(host).next().is_some()
    }

    fn comes_later(&self, host: HostIndex) -> bool {
        // Until its phase is over, it may fail.
        if self.current_phase().is_some_and(|phase| phase.is_watched() && phase.has(host)) {
            return true;
        }
        // While the rollout soaks, the current batch is the one that has not begun.
        let begun = (self.phase, self.batch + usize::from(self.mode != Mode::Soaking));
        let rest = self.plan.phases.iter().enumerate().skip(self.phase);
        rest.flat_map(|(p, phase)| phase.batches.iter().enumerate().map(move |(b, batch)| (p, b, batch)))
            .any(|(p, b, batch)| (p, b) >= begun && batch.contains(&host))
    }

    pub(super) fn settle(&mut self, host: HostIndex) {
        self.settle_as(host, false);
    }

    fn settle_as(&mut self, host: HostIndex, stopped: bool) {
        let (in_force, kept, has_run) = (self.in_force(host), self.kept(host), self.has_run(host));
        // One that was through before the run came to a halt has succeeded nevertheless.
        let through = !self.comes_later(host) && !self.in_current_batch(host);
        let suspended = self.suspended && !(through && self.host(host).dropped.is_none());
        let state = self.host(host);
        if std::mem::replace(&mut state.settled, true) {
            return;
        }
        let undone = state.done.iter().any(|done| done.undone);
        if suspended && state.frozen.is_none() {
            state.doubt = true;
            if has_run {
                state.frozen = Some(HostOutcome::Held);
                let waits = "the run is not through, and waits to be resumed";
                state.reason.get_or_insert_with(|| Reason::new(Cause::Stopped, waits));
            }
        }
        let stopped = stopped || suspended;
        let outcome = match (state.frozen, state.dropped) {
            (Some(frozen), _) => frozen,
            (None, Some(Dropout::Unreachable)) => HostOutcome::Unreachable,
            (None, Some(Dropout::Failed)) if in_force.is_empty() && undone => HostOutcome::RolledBack,
            (None, Some(Dropout::Failed)) => HostOutcome::Failed,
            (None, None) if !stopped => HostOutcome::Succeeded,
            (None, None) if undone => HostOutcome::RolledBack,
            (None, None) if !has_run => HostOutcome::Untouched,
            (None, None) => {
                let stays = "the run stopped, and what ran here has no undo";
                state.reason.get_or_insert_with(|| Reason::new(Cause::Stopped, stays));
                HostOutcome::Held
            }
        };
        let succeeded = outcome == HostOutcome::Succeeded;
        let settlement = Settlement {
            host,
            outcome,
            reason: state.reason.take().filter(|_| !succeeded),
            in_force: if succeeded { Vec::new() } else { in_force },
            kept: if succeeded { Vec::new() } else { kept },
            keeps_lock: state.doubt,
        };
        self.actions.push(Action::Settle(settlement));
    }

    /// The steps that ran and that nothing takes back.
    fn kept(&self, host: HostIndex) -> Vec<StepPath> {
        let kept = self.done(host).filter(|done| !self.has_undo(host, done.at));
        let kept = kept.filter_map(|done| self.plan.step(done.at));
        kept.map(|step| step.path.clone()).collect()
    }

    /// The steps whose effect is still there: those with an undo that was not run and that no later step took away.
    pub(super) fn in_force(&self, host: HostIndex) -> Vec<StepPath> {
        let mut paths: Vec<StepPath> = Vec::new();
        for done in self.done(host).filter(|done| !done.undone) {
            let Some(step) = self.plan.step(done.at) else { continue };
            // One that failed to end it has perhaps ended nothing.
            if done.succeeded {
                paths.retain(|path| !step.ends.contains(path));
            }
            if step.ends.is_empty() && self.has_undo(host, done.at) && self.runs(host, done.at) {
                paths.push(step.path.clone());
            }
        }
        paths
    }
}
