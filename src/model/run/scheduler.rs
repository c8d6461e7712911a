//! The scheduler: a pure state machine that walks a plan, `on(Input) -> Vec<Action>`.
//!
//! It decides what runs where and when: phases as barriers, batches and soak, the width, the failure budget, the order of undo,
//! interrupts. It knows no clock and no network; the engine does what the actions say and reports back.
//!
//! Invariants, property-tested in `tests/rules.rs`: every host settles exactly once; nothing starts after the rollout stopped; at most
//! `parallel` hosts work; undo goes backwards over phases and, on each host, over its steps; a `once` step runs at most once.
//!
//! Decisions that could have gone otherwise:
//! * All hosts are connected before the first step, as far as the budget may still be exceeded by hosts that cannot be reached: a
//!   deployment does not begin on half a site. With a budget that bears them all, reachable hosts start at once.
//! * A failing step's own undo runs too: it may have done half of its work.
//! * A step that is only an undo is noted in its turn, and undone like any other. On its own it has no effect: a host with
//!   nothing else is untouched. Rejected: to undo it only where something came later. The undo of another host may be what it is for.
//! * A host that fails within the budget undoes the current phase and takes no further part, but settles only at the end of the
//!   run: if the whole rollout is unwound later, so is what this host did in earlier phases.
//! * A host that fails before its `once` phase stops the rollout, whatever the budget. Rejected: the others go on without that phase.
//! * When the undo of a `once` step fails, nothing before it is undone anywhere: a site whose database is in doubt is not reopened.
//! * A host whose connection is lost for good is no failure, and nothing is undone because of it: its step goes on. The others go as
//!   far as they can without it, and then the run waits, locked, for `fleet resume`. The same holds for a step of a resumed run whose
//!   outcome cannot be found out: the operator is there, and decides. In a run that nobody looks at, an unknown step is a failure.
//! * Before a step or an undo whose outcome is unknown is run again, or undone, it is watched once more: nothing is done beside what may run.
//! * A watched phase soaks after each batch, also after the last one, and its hosts settle only when it is over: until then each of them may
//!   fail. Rejected: to run each repetition as an attempt of its own. Every one would be announced on the disk, and take a step's place in
//!   the width; so the engine repeats, and tells one failure. A resumed run soaks once more after the last batch that was rolled.
//! * What a host has begun of a later phase than that of the others is watched when they come to it: it may have to run again then.
//! * `fleet resume` runs an undo again that failed. Rejected: only `fleet undo` does. Whoever resumes a run that goes back wants it back.
//! * A host that the operator gives up counts as one that could not be reached: its steps stay as they are, the budget decides for the
//!   others. With the effect of a `once` step on it, nothing before that is undone anywhere, as after a failed undo of it.
//! * A resumed run is made anew from what happened on each host, not by feeding the old inputs in again: a record that a crash cut off has
//!   not all of them, and what matters is what is true of each host. Which way it goes follows from that, too: forward, unless there
//!   are more failures than the budget bears, or something was undone already.

mod action;
mod connect;
mod forward;
mod remember;
mod resume;
mod soak;
mod unwind;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub use crate::model::plan::plan::StepIndex;
use crate::model::plan::plan::{HostIndex, Plan, PlanPhase};
use crate::model::run::cause::Cause;
use crate::model::run::outcome::HostOutcome;
use crate::model::run::reason::Reason;
pub use action::{Action, Input, Settlement};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Activity {
    /// Not asked to connect yet, or not able to.
    #[default]
    Away,
    Connecting,
    Idle,
    Running(StepIndex, u32),
    /// Waiting for another attempt.
    Pausing(StepIndex, u32),
    Undoing(StepIndex),
    /// Its watched steps are repeated, while the rollout soaks.
    Watched,
}

/// Something that an earlier controller announced, and did not see the end of; or what a person wants to be done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Watch(StepIndex, u32),
    WatchUndo(StepIndex, u32),
    Rerun(StepIndex, u32),
}

impl Again {
    fn at(self) -> StepIndex {
        let (Self::Watch(at, _) | Self::WatchUndo(at, _) | Self::Rerun(at, _)) = self;
        at
    }
}

/// What follows when nobody knows how the watched step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Then {
    /// A person has to decide.
    #[default]
    Ask,
    /// A person has decided, knowing that: it is undone, or its undo runs again.
    Undo,
    /// The same, and it runs once more.
    Rerun,
}

#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each may be true with any other")]
struct HostState {
    activity: Activity,
    /// The next step of the current phase.
    next: usize,
    /// The steps that were sent, in the order in which they ran.
    done: Vec<Done>,
    /// Takes no further part in the rollout.
    dropped: Option<Dropout>,
    /// The phase of the step that failed last.
    failed_in: Option<usize>,
    /// No undo may run on it.
    frozen: Option<HostOutcome>,
    reason: Option<Reason>,
    settled: bool,
    /// Steps that an earlier controller has brought to a good end.
    finished: BTreeSet<StepIndex>,
    /// What to begin with.
    again: Option<Again>,
    /// The attempt of which an earlier controller could not find out how it ended.
    unknown: Option<Again>,
    /// What follows when that cannot be found out now either.
    then: Then,
    /// The running step was announced by an earlier controller.
    watched: bool,
    /// How often a step was tried by earlier controllers.
    tries: BTreeMap<StepIndex, u32>,
    /// How often the undo of a step was tried.
    undos: BTreeMap<StepIndex, u32>,
    /// The operator has given it up: it is not asked any more.
    given_up: bool,
    /// Neither failed nor through: the rollout waits for it, and in the end for a person.
    waits: bool,
    /// The current batch waits for it, too.
    stuck: bool,
    /// This controller does not reach it, and the rollout does without it.
    missed: bool,
    /// It is locked for the run, or may be.
    locked: bool,
    /// What is there may be anything, or still changes: no other run may come.
    doubt: bool,
}

/// A step that was sent to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Done {
    at: StepIndex,
    /// Else it may have done a part of its work.
    succeeded: bool,
    undone: bool,
}

impl HostState {
    /// Remembers a step that was sent. Another attempt of the same step has the same effect.
    fn note(&mut self, done: Done) {
        match self.done.last_mut().filter(|last| last.at == done.at) {
            Some(last) => *last = done,
            None => self.done.push(done),
        }
    }

    /// A step of the phase has failed.
    fn fail_in(&mut self, phase: usize) {
        self.dropped = Some(Dropout::Failed);
        self.failed_in = Some(phase);
    }

    /// It was unknown how a step had ended, and is not any more.
    fn settle_doubt(&mut self) {
        if self.frozen == Some(HostOutcome::Unknown) {
            self.frozen = None;
            self.doubt = false;
        }
    }
}

/// Why a host takes no further part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dropout {
    Unreachable,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Waiting until connection failures can no longer exceed the budget.
    Gathering,
    /// A batch is running.
    Rolling,
    /// After a batch: between it and the next one, or the end of a watched phase.
    Soaking,
    /// Nothing new starts; what runs comes to its end.
    Draining,
    /// What was done is undone; the phase that is being undone now.
    Unwinding(usize),
    Finished,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each may be true with any other")]
pub struct Scheduler {
    plan: Arc<Plan>,
    hosts: Vec<HostState>,
    mode: Mode,
    phase: usize,
    batch: usize,
    /// Hosts of the current batch, or of the phase that is being undone, that are not through; while the rollout soaks, those that are watched.
    open: usize,
    /// The soak's time is over.
    soaked: bool,
    /// Hosts that can go on with a step or an undo.
    ready: VecDeque<HostIndex>,
    /// Hosts that wait for their connection attempt.
    unconnected: VecDeque<HostIndex>,
    /// Hosts that neither connected nor failed to.
    pending: usize,
    /// Hosts that are connecting, running or undoing.
    active: usize,
    failures: usize,
    /// Why the rollout cannot begin although the budget would bear it.
    missing_once: Option<String>,
    /// A read-only step has reported a block.
    blocked: bool,
    interrupts: u8,
    /// The run ends before it is through, and is to be resumed.
    suspended: bool,
    /// It goes on with what another controller began.
    resumed: bool,
    /// Running steps are ended as soon as they are watched.
    cancelling: bool,
    actions: Vec<Action>,
}

impl Scheduler {
    /// A scheduler at the beginning of the plan.
    pub fn new(plan: Arc<Plan>) -> Self {
        let count = plan.hosts.len();
        Self {
            hosts: vec![HostState::default(); count],
            mode: Mode::Gathering,
            phase: 0,
            batch: 0,
            open: 0,
            soaked: false,
            ready: VecDeque::new(),
            unconnected: (0..count).map(HostIndex).collect(),
            pending: count,
            active: 0,
            failures: 0,
            missing_once: None,
            blocked: false,
            interrupts: 0,
            suspended: false,
            resumed: false,
            cancelling: false,
            actions: Vec::new(),
            plan,
        }
    }

    /// Takes what happened and says what is to be done. An input that does not fit the state is ignored.
    pub fn on(&mut self, input: Input) -> Vec<Action> {
        if self.mode != Mode::Finished {
            match input {
                Input::Start if self.resumed => self.begin_resumed(),
                Input::Start => self.begin_when_safe(),
                Input::Connected(host)
                | Input::ConnectFailed(host, _)
                | Input::Refused(host, ..)
                | Input::LockUnknown(host, _)
                    if self.host(host).activity != Activity::Connecting => {}
                Input::Connected(host) => self.on_connected(host),
                Input::ConnectFailed(host, reason) => self.on_missing(host, Dropout::Unreachable, reason),
                Input::Refused(host, outcome, reason) => self.on_refused(host, outcome, reason),
                Input::LockUnknown(host, reason) => self.on_lock_unknown(host, reason),
                Input::StepEnded(host, outcome) => self.on_step_ended(host, &outcome),
                // The next attempt waits for its place within the width like any other step.
                Input::RetryDue(host) if matches!(self.host(host).activity, Activity::Pausing(..)) => {
                    self.ready.push_back(host);
                }
                Input::UndoEnded(host, outcome) => self.on_undo_ended(host, &outcome),
                Input::SoakOver if self.mode == Mode::Soaking => self.on_soaked(),
                Input::RetryDue(_) | Input::SoakOver => {}
                Input::WatchEnded(host, failed) => self.on_watch_ended(host, failed),
                Input::Interrupt => self.on_interrupt(),
                Input::LetGo => self.let_go(),
            }
            self.pump();
        }
        std::mem::take(&mut self.actions)
    }

    pub fn is_finished(&self) -> bool {
        self.mode == Mode::Finished
    }

    fn host(&mut self, host: HostIndex) -> &mut HostState {
        #[expect(clippy::indexing_slicing, reason = "a HostIndex is made only from this plan's hosts")]
        &mut self.hosts[host.0]
    }

    fn state(&self, host: HostIndex) -> Option<&HostState> {
        self.hosts.get(host.0)
    }

    fn hosts(&self) -> impl Iterator<Item = HostIndex> + use<> {
        (0..self.hosts.len()).map(HostIndex)
    }

    fn current_phase(&self) -> Option<&PlanPhase> {
        self.plan.phases.get(self.phase)
    }

    fn begin_when_safe(&mut self) {
        if self.mode != Mode::Gathering {
            return;
        }
        if self.missing_once.is_none() && self.failures + self.pending <= self.plan.max_failures {
            self.mode = Mode::Rolling;
            self.start_phase();
        } else if self.pending == 0 {
            // Only now, so that all hosts that cannot be reached are told at once.
            let failed = self.hosts.iter().any(|state| state.dropped == Some(Dropout::Failed));
            let trouble = if failed { "cannot take part" } else { "could not be reached" };
            let count = || format!("{} of {} hosts {trouble}", self.failures, self.hosts.len());
            let reason = self.missing_once.take().unwrap_or_else(count);
            self.stop(reason);
        }
    }

    /// Starts what can be started, and turns round when the last running step has ended.
    fn pump(&mut self) {
        self.start_ready();
        let is_watched = self.hosts.iter().any(|state| state.activity == Activity::Watched);
        if self.mode == Mode::Draining && self.active == 0 && !is_watched && self.unconnected.is_empty() {
            self.begin_unwinding();
            self.start_ready();
        }
        self.suspend_if_stuck();
        self.finish_resumed();
    }

    /// Starts what can be started within the width. Steps and undos go before new connections.
    fn start_ready(&mut self) {
        while self.active < self.plan.parallel.max(1) {
            if let Some(host) = self.ready.pop_front() {
                let dropped = self.host(host).dropped.is_some();
                match self.mode {
                    Mode::Unwinding(phase) => self.undo_next(host, phase),
                    Mode::Rolling | Mode::Soaking if dropped => self.undo_next(host, self.phase),
                    Mode::Rolling => self.run_next(host),
                    Mode::Draining => self.watch_again(host),
                    Mode::Gathering | Mode::Soaking | Mode::Finished => {}
                }
            } else if let Some(host) = self.unconnected.pop_front() {
                self.host(host).activity = Activity::Connecting;
                self.active += 1;
                self.actions.push(Action::Connect(host));
            } else {
                break;
            }
        }
    }

    fn on_interrupt(&mut self) {
        self.interrupts = self.interrupts.saturating_add(1);
        self.actions.push(Action::Interrupted(self.interrupts.min(3)));
        match self.interrupts {
            1 => {
                self.end_all(|activity| activity == Activity::Connecting);
                if !matches!(self.mode, Mode::Draining | Mode::Unwinding(_)) {
                    self.stop("interrupted".to_owned());
                }
            }
            // Not the undos: a host whose undo is cut off is left half way.
            2 => self.end_all(|activity| matches!(activity, Activity::Running(..))),
            _ => self.let_go(),
        }
    }

    /// Ends what is going on where it is that.
    fn end_all(&mut self, is_that: impl Fn(Activity) -> bool) {
        let hosts = self.hosts().zip(&self.hosts).filter(|(_, state)| is_that(state.activity));
        self.actions.extend(hosts.map(|(host, _)| Action::End(host)));
    }

    fn stop_over_budget(&mut self) {
        let (failures, budget) = (self.failures, self.plan.max_failures);
        let hosts = if failures == 1 { "host" } else { "hosts" };
        self.stop(format!("{failures} {hosts} failed, {budget} allowed"));
    }

    /// Nothing new starts from here on.
    fn stop(&mut self, reason: String) {
        self.mode = Mode::Draining;
        self.ready.clear();
        // What an earlier controller did on hosts that this one has not come to yet is to be undone, too.
        let unconnected = std::mem::take(&mut self.unconnected).into_iter();
        self.unconnected = unconnected.filter(|host| self.resumed && self.is_needed(*host)).collect();
        for (index, state) in self.hosts.iter_mut().enumerate() {
            if let Activity::Pausing(at, _) = state.activity {
                state.activity = Activity::Idle;
                state.fail_in(at.phase);
                state.reason =
                    Some(Reason::new(Cause::Step, "a step failed, and the run stopped before another attempt"));
            }
            // What would be run again would only be undone; what may be running is brought to its end.
            state.again = state.again.filter(|again| !matches!(again, Again::Rerun(..)));
            if state.activity == Activity::Idle && state.again.is_some() && !state.settled {
                self.ready.push_back(HostIndex(index));
            }
        }
        self.actions.push(Action::RolloutStopped(reason));
        self.end_all(|activity| activity == Activity::Watched);
    }
}
