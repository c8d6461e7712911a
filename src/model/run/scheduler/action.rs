//! What the scheduler is told, and what it tells.

use std::time::Duration;

use crate::model::plan::plan::{HostIndex, StepIndex};
use crate::model::run::outcome::{HostOutcome, StepOutcome};
use crate::model::run::reason::Reason;
use crate::model::text::name::StepPath;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    Start,
    /// A host is ready for steps.
    Connected(HostIndex),
    /// A host could not be reached, trusted or logged in to.
    ConnectFailed(HostIndex, Reason),
    /// A host was reached, and can not take part: it is locked by another run, or has no room.
    Refused(HostIndex, HostOutcome, Reason),
    /// The host was asked for the lock of the site, and the connection broke before it answered: the run may have it.
    LockUnknown(HostIndex, Reason),
    /// An attempt of the host's running step ended.
    StepEnded(HostIndex, StepOutcome),
    RetryDue(HostIndex),
    UndoEnded(HostIndex, StepOutcome),
    SoakOver,
    /// The host is not watched any more. With the step that failed too often in a row, and how it ended last.
    WatchEnded(HostIndex, Option<(StepIndex, StepOutcome)>),
    /// The operator pressed Ctrl-C, or asked in another way.
    Interrupt,
    /// Nothing can be written down any more, so nothing new may start: what runs is let go of.
    LetGo,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Connect(HostIndex),
    Run(HostIndex, StepIndex, u32),
    /// Tell that the host came to a step that is only an undo. From here on it counts as done.
    PlanUndo(HostIndex, StepIndex),
    /// Pause, then say [`Input::RetryDue`].
    Retry(HostIndex, Duration),
    /// Watch an attempt of a step that an earlier controller may have started; start it only if it was not.
    Watch(HostIndex, StepIndex, u32),
    Undo(HostIndex, StepIndex, u32),
    /// Watch an attempt of an undo that an earlier controller may have started; start it only if it was not.
    WatchUndo(HostIndex, StepIndex, u32),
    /// End what is running on the host: its connection attempt, its step or its watch.
    End(HostIndex),
    /// Tell that hosts are watched after a batch: phase, batch, both from 0, and for how long.
    WatchStarted(usize, usize, Duration),
    /// Repeat the watched steps of the phase on the host, until one has failed too often or [`Self::EndWatch`] comes, then say
    /// [`Input::WatchEnded`]. A connection that is lost is no failure.
    StartWatch(HostIndex, usize),
    /// Stop watching the host as soon as no watched step has failed last.
    EndWatch(HostIndex),
    /// Pause, then say [`Input::SoakOver`].
    Soak(Duration),
    PhaseStarted(usize),
    /// Tell that a batch began: phase, batch, both from 0.
    BatchStarted(usize, usize),
    BatchFinished(usize, usize),
    /// Tell that nothing new starts, and why.
    RolloutStopped(String),
    /// Tell the level of an interrupt.
    Interrupted(u8),
    Settle(Settlement),
    Finish,
}

/// How a host ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    pub host: HostIndex,
    pub outcome: HostOutcome,
    pub reason: Option<Reason>,
    /// What this run did on it and is still there, unless it succeeded.
    pub in_force: Vec<StepPath>,
    /// What ran and has no undo, unless it succeeded.
    pub kept: Vec<StepPath>,
    /// The run keeps its lock there: something may be running, or a person has to decide before another run may come.
    pub keeps_lock: bool,
}
