//! The scheduler: a pure state machine that walks a plan, `on(Input) -> Vec<Action>`.
//!
//! It decides what runs where and when: phases as barriers, batches and soak, the width, the failure budget, the order of undo,
//! interrupts. It knows no clock and no network; the engine does what the actions say and reports back.
//!
//! Invariants, property-tested in `tests.rs`: every host settles exactly once; nothing starts after the rollout stopped; at most
//! `parallel` hosts work; undo goes backwards over phases and, on each host, over its steps; a `once` step runs at most once.
//!
//! Decisions that could have gone otherwise:
//! * All hosts are connected before the first step, as far as the budget may still be exceeded by hosts that cannot be reached: a
//!   deployment does not begin on half a site. With a budget that bears them all, reachable hosts start at once.
//! * A failing step's own undo runs too: it may have done half of its work.
//! * A host that fails within the budget undoes the current phase and takes no further part, but settles only at the end of the
//!   run: if the whole rollout is unwound later, so is what this host did in earlier phases.
//! * When the undo of a `once` step fails, nothing before it is undone anywhere: a site whose database is in doubt is not reopened.

mod unwind;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::name::StepPath;
use super::outcome::{HostOutcome, StepOutcome};
use super::plan::{HostIndex, OnFailure, Plan, PlanPhase, PlanStep};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The run begins.
    Start,
    /// A host is ready for steps.
    Connected(HostIndex),
    /// A host could not be reached, trusted or logged in to; the reason in words.
    ConnectFailed(HostIndex, String),
    /// An attempt of the host's running step ended.
    StepEnded(HostIndex, StepOutcome),
    /// The pause before another attempt is over.
    RetryDue(HostIndex),
    /// The host's running undo ended.
    UndoEnded(HostIndex, StepOutcome),
    /// The pause between two batches is over.
    SoakOver,
    /// The operator pressed Ctrl-C, or asked in another way.
    Interrupt,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Connect to the host.
    Connect(HostIndex),
    /// Run the step on the host.
    Run(HostIndex, StepIndex, u32),
    /// Pause, then say [`Input::RetryDue`].
    Retry(HostIndex, Duration),
    /// Undo the step on the host.
    Undo(HostIndex, StepIndex),
    /// End what is running on the host: its connection attempt, step or undo.
    End(HostIndex),
    /// Pause, then say [`Input::SoakOver`].
    Soak(Duration),
    /// Tell that a phase began.
    PhaseStarted(usize),
    /// Tell that a batch began: phase, batch, both from 0.
    BatchStarted(usize, usize),
    /// Tell that a batch is through.
    BatchFinished(usize, usize),
    /// Tell that nothing new starts, and why.
    RolloutStopped(String),
    /// Tell the level of an interrupt.
    Interrupted(u8),
    /// The host is done with.
    Settle(Settlement),
    /// The run is over.
    Finish,
}

/// How a host ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The host.
    pub host: HostIndex,
    /// How it ended.
    pub outcome: HostOutcome,
    /// Why it did not succeed.
    pub reason: Option<String>,
    /// What this run did on it and is still there, unless it succeeded.
    pub in_force: Vec<StepPath>,
}

/// A step's place: phase, and step within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepIndex {
    /// Index of the phase.
    pub phase: usize,
    /// Index of the step in the phase.
    pub step: usize,
}

/// What a host is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    /// Not asked to connect yet, or not able to.
    Away,
    Connecting,
    Idle,
    Running(StepIndex, u32),
    /// Waiting for another attempt.
    Pausing(StepIndex, u32),
    Undoing(StepIndex),
}

#[derive(Debug, Clone)]
struct HostState {
    activity: Activity,
    /// The next step of the current phase.
    next: usize,
    /// The steps that were sent, in the order in which they ran.
    done: Vec<Done>,
    /// Takes no further part in the rollout.
    dropped: Option<Drop>,
    /// No undo may run on it.
    frozen: Option<HostOutcome>,
    reason: Option<String>,
    settled: bool,
}

/// A step that was sent to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Done {
    at: StepIndex,
    undone: bool,
}

/// Why a host takes no further part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drop {
    Unreachable,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Waiting until connection failures can no longer exceed the budget.
    Gathering,
    /// A batch is running.
    Rolling,
    /// Between two batches.
    Soaking,
    /// Nothing new starts; what runs comes to its end.
    Draining,
    /// What was done is undone; the phase that is being undone now.
    Unwinding(usize),
    Finished,
}

/// Walks a plan. See the module's documentation.
#[derive(Debug)]
pub struct Scheduler {
    plan: Arc<Plan>,
    hosts: Vec<HostState>,
    mode: Mode,
    phase: usize,
    batch: usize,
    /// Hosts of the current batch, or of the phase that is being undone, that are not through.
    open: usize,
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
    interrupts: u8,
    actions: Vec<Action>,
}

impl Scheduler {
    /// A scheduler at the beginning of the plan.
    pub fn new(plan: Arc<Plan>) -> Self {
        let host = HostState {
            activity: Activity::Away,
            next: 0,
            done: Vec::new(),
            dropped: None,
            frozen: None,
            reason: None,
            settled: false,
        };
        let count = plan.hosts.len();
        Self {
            hosts: vec![host; count],
            mode: Mode::Gathering,
            phase: 0,
            batch: 0,
            open: 0,
            ready: VecDeque::new(),
            unconnected: (0..count).map(HostIndex).collect(),
            pending: count,
            active: 0,
            failures: 0,
            missing_once: None,
            interrupts: 0,
            actions: Vec::new(),
            plan,
        }
    }

    /// Takes what happened and says what is to be done. An input that does not fit the state is ignored.
    pub fn on(&mut self, input: Input) -> Vec<Action> {
        if self.mode != Mode::Finished {
            match input {
                Input::Start => self.begin_when_safe(),
                Input::Connected(host) => self.on_connected(host),
                Input::ConnectFailed(host, reason) => self.on_connect_failed(host, reason),
                Input::StepEnded(host, outcome) => self.on_step_ended(host, &outcome),
                Input::RetryDue(host) => self.on_retry_due(host),
                Input::UndoEnded(host, outcome) => self.on_undo_ended(host, &outcome),
                Input::SoakOver if self.mode == Mode::Soaking => self.start_batch(),
                Input::SoakOver => {}
                Input::Interrupt => self.on_interrupt(),
            }
            self.pump();
        }
        std::mem::take(&mut self.actions)
    }

    /// Is the run over?
    pub fn is_finished(&self) -> bool {
        self.mode == Mode::Finished
    }

    fn host(&mut self, host: HostIndex) -> &mut HostState {
        #[expect(clippy::indexing_slicing, reason = "a HostIndex is made only from this plan's hosts")]
        &mut self.hosts[host.0]
    }

    fn hosts(&self) -> impl Iterator<Item = HostIndex> + use<> {
        (0..self.hosts.len()).map(HostIndex)
    }

    fn current_phase(&self) -> Option<&PlanPhase> {
        self.plan.phases.get(self.phase)
    }

    fn step(&self, at: StepIndex) -> Option<&PlanStep> {
        self.plan.phases.get(at.phase)?.steps.get(at.step)
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
            let count = || format!("{} of {} hosts could not be reached", self.failures, self.hosts.len());
            let reason = self.missing_once.take().unwrap_or_else(count);
            self.stop(reason);
        }
    }

    fn on_connected(&mut self, host: HostIndex) {
        if self.host(host).activity != Activity::Connecting {
            return;
        }
        self.host(host).activity = Activity::Idle;
        self.active -= 1;
        self.pending -= 1;
        match self.mode {
            Mode::Gathering => self.begin_when_safe(),
            Mode::Rolling if self.in_current_batch(host) => self.ready.push_back(host),
            Mode::Rolling | Mode::Soaking => self.settle_if_through(host),
            Mode::Draining | Mode::Unwinding(_) | Mode::Finished => {}
        }
    }

    fn on_connect_failed(&mut self, host: HostIndex, reason: String) {
        if self.host(host).activity != Activity::Connecting {
            return;
        }
        self.active -= 1;
        self.pending -= 1;
        let interrupted = self.interrupts > 0;
        let state = self.host(host);
        state.activity = Activity::Away;
        state.reason = Some(reason);
        if !interrupted {
            state.dropped = Some(Drop::Unreachable);
            self.failures += 1;
            self.settle(host);
        }
        let needed = self.plan.phases.iter().find(|p| p.once && p.batches.iter().flatten().any(|h| *h == host));
        let needed = needed.map(|p| format!("the host of phase `{}`, which runs once, could not be reached", p.name));
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

    fn in_current_batch(&self, host: HostIndex) -> bool {
        self.current_phase().and_then(|p| p.batches.get(self.batch)).is_some_and(|batch| batch.contains(&host))
    }

    fn start_phase(&mut self) {
        match self.current_phase() {
            Some(_) => {
                self.batch = 0;
                self.actions.push(Action::PhaseStarted(self.phase));
                self.start_batch();
            }
            None => self.finish(),
        }
    }

    fn start_batch(&mut self) {
        self.mode = Mode::Rolling;
        let Some(batch) = self.current_phase().and_then(|p| p.batches.get(self.batch)).cloned() else {
            self.phase += 1;
            self.start_phase();
            return;
        };
        self.actions.push(Action::BatchStarted(self.phase, self.batch));
        self.open = 0;
        for host in batch {
            let state = self.host(host);
            state.next = 0;
            if state.dropped.is_none() && !state.settled {
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

    /// A host is through the current batch, or dropped out of it.
    fn leave_batch(&mut self) {
        self.open -= 1;
        if self.open == 0 {
            self.end_batch();
        }
    }

    fn end_batch(&mut self) {
        self.actions.push(Action::BatchFinished(self.phase, self.batch));
        self.batch += 1;
        let more = self.current_phase().filter(|p| self.batch < p.batches.len()).map(|p| p.soak);
        match more {
            Some(soak) if !soak.is_zero() => {
                self.mode = Mode::Soaking;
                self.actions.push(Action::Soak(soak));
            }
            Some(_) => self.start_batch(),
            None => {
                self.phase += 1;
                self.start_phase();
            }
        }
    }

    /// Starts what can be started, and turns round when the last running step has ended.
    fn pump(&mut self) {
        self.start_ready();
        if self.mode == Mode::Draining && self.active == 0 {
            self.begin_unwinding();
            self.start_ready();
        }
    }

    /// Starts what can be started within the width. Steps and undos go before new connections.
    fn start_ready(&mut self) {
        while self.active < self.plan.parallel.max(1) {
            if let Some(host) = self.ready.pop_front() {
                match self.mode {
                    Mode::Unwinding(phase) => self.undo_next(host, phase),
                    Mode::Rolling => match self.host(host).dropped {
                        Some(_) => self.undo_next(host, self.phase),
                        None => self.run_next(host),
                    },
                    Mode::Gathering | Mode::Soaking | Mode::Draining | Mode::Finished => {}
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

    fn run_next(&mut self, host: HostIndex) {
        let from = self.host(host).next;
        let found = self.current_phase().and_then(|phase| {
            let steps = phase.steps.iter().enumerate().skip(from);
            steps.filter(|(_, step)| step.commands.contains_key(&host)).map(|(i, _)| i).next()
        });
        let Some(step) = found else {
            self.settle_if_through(host);
            self.leave_batch();
            return;
        };
        let at = StepIndex { phase: self.phase, step };
        self.start_step(host, at, 1);
    }

    fn start_step(&mut self, host: HostIndex, at: StepIndex, attempt: u32) {
        let state = self.host(host);
        state.next = at.step + 1;
        state.activity = Activity::Running(at, attempt);
        self.active += 1;
        self.actions.push(Action::Run(host, at, attempt));
    }

    fn on_step_ended(&mut self, host: HostIndex, outcome: &StepOutcome) {
        let Activity::Running(at, attempt) = self.host(host).activity else { return };
        self.active -= 1;
        self.host(host).activity = Activity::Idle;
        self.note_effect(host, at, outcome);
        if outcome.is_success() {
            if self.mode == Mode::Rolling {
                self.ready.push_back(host);
            }
            return;
        }
        let retry = self.step(at).and_then(|step| step.retry).filter(|r| attempt <= r.times);
        if let Some(retry) = retry.filter(|_| self.mode == Mode::Rolling && is_worth_retrying(outcome)) {
            self.host(host).activity = Activity::Pausing(at, attempt);
            self.actions.push(Action::Retry(host, retry.delay));
            return;
        }
        let path = self.step(at).map(|s| s.path.to_string()).unwrap_or_default();
        let reason = format!("{path}: {}", outcome.describe());
        let state = self.host(host);
        state.reason = Some(reason);
        state.dropped = Some(Drop::Failed);
        match outcome {
            StepOutcome::Unknown { .. } => state.frozen = Some(HostOutcome::Unknown),
            // The interrupt stopped the rollout already; this host did not fail.
            StepOutcome::Cancelled => {
                state.dropped = None;
                return;
            }
            _ => {}
        }
        self.failures += 1;
        let once = self.plan.phases.get(at.phase).is_some_and(|p| p.once);
        if self.mode != Mode::Rolling {
            return;
        }
        if once && self.failures <= self.plan.max_failures {
            self.stop(format!("{path} failed; it runs once for the whole rollout"));
        } else if self.failures > self.plan.max_failures {
            self.stop_over_budget();
        } else {
            self.drop_out(host);
        }
    }

    /// Within the budget: the host alone undoes what it did in this phase and takes no further part.
    fn drop_out(&mut self, host: HostIndex) {
        if self.host(host).frozen.is_none() && self.plan.on_failure == OnFailure::Undo {
            self.ready.push_back(host);
        } else {
            if self.plan.on_failure == OnFailure::Hold {
                self.host(host).frozen.get_or_insert(HostOutcome::Held);
            }
            self.settle_if_through(host);
            self.leave_batch();
        }
    }

    /// Remembers that the step has, or may have, an effect.
    fn note_effect(&mut self, host: HostIndex, at: StepIndex, outcome: &StepOutcome) {
        let sent = match outcome {
            StepOutcome::Skipped { .. } | StepOutcome::NotStarted { .. } => false,
            StepOutcome::Succeeded
            | StepOutcome::Failed { .. }
            | StepOutcome::Signaled { .. }
            | StepOutcome::TimedOut { .. }
            | StepOutcome::Unusable { .. }
            | StepOutcome::Cancelled
            | StepOutcome::Unknown { .. } => true,
        };
        let done = Done { at, undone: false };
        let state = self.host(host);
        // Another attempt of the same step has the same effect.
        if sent && state.done.last() != Some(&done) {
            state.done.push(done);
        }
    }

    fn on_retry_due(&mut self, host: HostIndex) {
        let Activity::Pausing(at, attempt) = self.host(host).activity else { return };
        if self.mode == Mode::Rolling {
            self.start_step(host, at, attempt + 1);
        }
    }

    fn on_interrupt(&mut self) {
        self.interrupts = self.interrupts.saturating_add(1);
        self.actions.push(Action::Interrupted(self.interrupts.min(3)));
        match self.interrupts {
            1 => {
                for host in
                    self.hosts().filter(|h| self.hosts.get(h.0).is_some_and(|s| s.activity == Activity::Connecting))
                {
                    self.actions.push(Action::End(host));
                }
                if !matches!(self.mode, Mode::Draining | Mode::Unwinding(_)) {
                    self.stop("interrupted".to_owned());
                }
            }
            2 => {
                let busy = |s: &HostState| matches!(s.activity, Activity::Running(..) | Activity::Undoing(_));
                for host in self.hosts().filter(|h| self.hosts.get(h.0).is_some_and(busy)) {
                    self.actions.push(Action::End(host));
                }
            }
            _ => self.let_go(),
        }
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
        self.unconnected.clear();
        for state in &mut self.hosts {
            if let Activity::Pausing(..) = state.activity {
                state.activity = Activity::Idle;
                state.dropped = Some(Drop::Failed);
                state.reason = Some("a step failed, and the run stopped before another attempt".to_owned());
            }
        }
        self.actions.push(Action::RolloutStopped(reason));
    }
}

/// May another attempt help? Not when nobody knows what the first one did.
fn is_worth_retrying(outcome: &StepOutcome) -> bool {
    match outcome {
        StepOutcome::Failed { .. } | StepOutcome::Signaled { .. } | StepOutcome::TimedOut { .. } => true,
        StepOutcome::Succeeded
        | StepOutcome::Skipped { .. }
        | StepOutcome::Unusable { .. }
        | StepOutcome::Cancelled
        | StepOutcome::NotStarted { .. }
        | StepOutcome::Unknown { .. } => false,
    }
}
