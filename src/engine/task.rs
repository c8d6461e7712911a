//! What a worker is told to do: plain data.

use std::sync::Arc;
use std::time::Duration;

use crate::model::plan::book::EffectChange;
use crate::model::plan::command::RemoteCommand;
use crate::model::plan::plan::{Guard, HostIndex, StepIndex, Watch};
use crate::model::run::host_summary::StepKind;
use crate::model::run::masking::Masker;
use crate::model::text::name::StepPath;
use crate::remote::{DurableStep, Farewell, StepKey};

/// What a worker is told to do.
#[derive(Debug, Clone)]
pub enum Order {
    /// Connect, and lock the site if the run does.
    Connect,
    /// Run a step or an undo.
    Execute(Box<Task>),
    /// Repeat these steps until one has failed too often, or there is no more need to.
    Watch(Vec<WatchedStep>),
    /// Give the lock back.
    Release(Box<Farewell>),
}

/// An attempt of a step, or of its undo.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    pub kind: StepKind,
    pub at: StepIndex,
    /// From 1; 0 is one of a watch.
    pub nth: u32,
}

impl Attempt {
    pub fn key(self, host: HostIndex) -> StepKey {
        match self.kind {
            StepKind::Run => StepKey::run(host, self.at, self.nth),
            StepKind::Undo => StepKey::undo(host, self.at, self.nth),
        }
    }
}

/// What is run.
#[derive(Debug, Clone)]
pub enum Work {
    /// A command that is lost with its connection.
    Plain(RemoteCommand),
    /// The same, but it changes nothing: it does no harm when it is run again.
    ReadOnly(RemoteCommand),
    /// A command where fleet runs.
    Local(RemoteCommand),
    /// A step that outlives it.
    Durable(Box<DurableStep>),
}

impl Work {
    /// Its kind in the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Plain(_) => "plain",
            Self::ReadOnly(_) => "read-only",
            Self::Local(_) => "local",
            Self::Durable(_) => "durable",
        }
    }
}

/// A command with its guard and limits.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each may be true with any other")]
pub struct Task {
    /// What it is in the log.
    pub step: StepPath,
    pub attempt: Attempt,
    pub guard: Option<Guard<RemoteCommand>>,
    pub work: Work,
    /// An earlier controller may have started it, and so much of its output is on record.
    pub watch: Option<Recorded>,
    /// If it turns out that it was never started, leave it at that.
    pub only_watch: bool,
    pub timeout: Option<Duration>,
    pub idle_timeout: Option<Duration>,
    /// Keep standard output for a variable.
    pub capture: bool,
    /// It may report findings.
    pub reports: bool,
    /// Tell nobody what it prints.
    pub secret: bool,
    /// What it changes of the effects in the site's book, where its own shell cannot do that.
    pub effects: EffectChange,
    /// What must not be seen of what it prints.
    pub masker: Arc<Masker>,
}

impl Task {
    /// The same with what it changes of the effects in the site's book: the shell of a durable step does that itself, unless it is another
    /// user's, who may not write there.
    pub fn with(mut self, effects: EffectChange) -> Self {
        match &mut self.work {
            Work::Durable(step) if step.command.as_user.is_none() => step.effects = effects,
            Work::Durable(_) | Work::ReadOnly(_) | Work::Plain(_) | Work::Local(_) => self.effects = effects,
        }
        self
    }
}

/// A step that is repeated while a batch soaks.
#[derive(Debug, Clone)]
pub struct WatchedStep {
    pub task: Task,
    pub watch: Watch,
}

/// Bytes of a step's output that are on record, after masking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recorded {
    pub out: u64,
    pub err: u64,
}
