//! One host's worker: owns the connection, carries out one order at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, info, info_span};

use super::claim::Released;
use super::durable::Reconnecting;
use super::output::{LONGEST_VALUE, Output};
use crate::model::plan::book::EffectChange;
use crate::model::plan::command::{RemoteCommand, signal_of_status};
use crate::model::plan::durable::{DurableStep, Scope};
use crate::model::plan::plan::{HostIndex, PlanHost};
use crate::model::plan::spool::{Claim, Farewell};
use crate::model::run::event::Stream;
use crate::model::run::masking::Masker;
use crate::model::run::outcome::{HostOutcome, StepOutcome, TimeLimit};
use crate::model::run::scheduler::StepIndex;
use crate::model::text::name::StepPath;
use crate::ssh::{Backoff, Connect, ConnectError, Exec, ExecEnd, OutputChunk, Remote, Session};

/// What a worker is told to do.
pub enum Order {
    /// Connect, and lock the site if the run does.
    Connect(CancellationToken),
    /// Run a step or an undo.
    Execute(Box<Task>),
    /// Give the lock back.
    Release(Box<Farewell>),
}

/// What is run.
pub enum Work {
    /// A command that is lost with its connection.
    Plain(RemoteCommand),
    /// The same, but it changes nothing: it does no harm when it is run again.
    ReadOnly(RemoteCommand),
    /// A step that outlives it.
    Durable(Box<DurableStep>),
}

impl Work {
    fn name(&self) -> &'static str {
        match self {
            Self::Plain(_) => "plain",
            Self::ReadOnly(_) => "read-only",
            Self::Durable(_) => "durable",
        }
    }
}

/// A command with its guard and limits.
pub struct Task {
    /// Which step, which attempt, and whether it is its undo: for the log.
    pub step: StepPath,
    pub attempt: u32,
    pub undo: bool,
    pub guard: Option<ReadyGuard>,
    pub work: Work,
    /// An earlier controller may have started it, and so much of its output is on record.
    pub watch: Option<Recorded>,
    /// If it turns out that it was never started, leave it at that.
    pub only_watch: bool,
    pub timeout: Option<Duration>,
    pub idle_timeout: Option<Duration>,
    /// Keep standard output for a variable.
    pub capture: bool,
    /// Tell nobody what it prints.
    pub secret: bool,
    /// What it changes of the effects in the site's book, where its own shell cannot do that.
    pub effects: EffectChange,
    /// What must not be seen of what it prints.
    pub masker: Masker,
    pub stop: CancellationToken,
    /// The rollout has stopped: what has not begun is not waited for.
    pub no_start: CancellationToken,
}

impl Task {
    /// The same with what it changes of the effects in the site's book: the shell of a durable step does that itself, unless it is another
    /// user's, who may not write there.
    pub fn with(mut self, effects: EffectChange) -> Self {
        match &mut self.work {
            Work::Durable(step) if step.command.as_user.is_none() => step.effects = effects,
            Work::Durable(_) | Work::ReadOnly(_) | Work::Plain(_) => self.effects = effects,
        }
        self
    }

    /// Why a step that has not begun is not waited for any longer.
    pub fn why_not_started(&self) -> &'static str {
        if self.stop.is_cancelled() { "interrupted" } else { "the rollout has stopped" }
    }

    /// May it be started, if it turns out that it was not?
    pub fn may_start(&self) -> bool {
        !self.only_watch && !self.stop.is_cancelled()
    }
}

/// Bytes of a step's output that are on record, after masking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recorded {
    pub out: u64,
    pub err: u64,
}

/// A guard whose command is final.
pub enum ReadyGuard {
    Unless(RemoteCommand),
    OnlyIf(RemoteCommand),
}

/// What a worker tells.
pub enum Message {
    Connected,
    /// What the host does not promise.
    Warned(String),
    /// The lock was taken; the greatest number of a run there.
    Locked(u64),
    /// The lock was asked for, and the connection broke before the answer came.
    LockUnknown(String),
    /// The value that a step of the past registered, and that is on record nowhere.
    Secret(StepIndex, String),
    /// It is connected, locked if need be, and ready for steps.
    Ready,
    ConnectFailed(String),
    /// The host is there, and cannot take part.
    Refused(HostOutcome, String),
    ConnectionLost {
        reason: String,
        step_goes_on: bool,
    },
    Reattached,
    Output(Stream, Vec<u8>),
    Ended {
        outcome: StepOutcome,
        captured: Option<String>,
        took: Duration,
    },
    /// The lock was given back, or not.
    Released(Released),
}

/// Chunks of output that wait for the dispatcher; with 32 KiB packets half a MiB a host. Filled by the session, emptied here.
const CHUNKS: usize = 16;

pub struct Worker {
    pub index: HostIndex,
    pub host: PlanHost,
    pub connector: Arc<dyn Connect>,
    pub messages: mpsc::Sender<(HostIndex, Message)>,
    pub session: Option<Box<dyn Session>>,
    /// The lock that the run takes, when it takes one.
    pub lock: Option<Claim>,
    /// Steps of the past whose values are to be read again.
    pub secrets: Vec<(StepIndex, Task)>,
    /// How a durable step leaves the login session.
    pub scope: Scope,
    pub reconnecting: Reconnecting,
}

impl Worker {
    /// Carries out orders until there are no more.
    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        while let Some(order) = orders.recv().await {
            // The end of the order before is known.
            self.reconnecting = Reconnecting::default();
            let message = match order {
                Order::Connect(stop) => self.begin(&stop).await,
                Order::Execute(task) => {
                    let undo = task.undo.then_some(true);
                    let span = info_span!("step", step = %task.step, attempt = task.attempt, undo);
                    self.execute(*task).instrument(span).await
                }
                Order::Release(farewell) => Message::Released(self.release(&farewell).await),
            };
            self.tell(message).await;
        }
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }

    async fn begin(&mut self, stop: &CancellationToken) -> Message {
        if let Err(error) = self.connect(stop, self.host.connect_retry).await {
            return Message::ConnectFailed(error.to_string());
        }
        self.tell(Message::Connected).await;
        if let Err(refusal) = self.claim(stop).await {
            return refusal;
        }
        for (at, secret) in std::mem::take(&mut self.secrets) {
            let Work::Durable(durable) = &secret.work else { continue };
            let mut output = Output::of(&secret, Recorded::default());
            let end = self.watch(durable, &secret, &mut output).await;
            if let (ExecEnd::Exited(0), Some(Ok(value))) = (end, output.captured().map(value_of)) {
                self.tell(Message::Secret(at, value)).await;
            }
        }
        Message::Ready
    }

    pub(super) async fn tell(&mut self, message: Message) {
        // The dispatcher is gone only when it let go of the run; then nobody listens, rightly.
        let _ = self.messages.send((self.index, message)).await;
    }

    pub(super) async fn connect(&mut self, stop: &CancellationToken, retry: Duration) -> Result<(), ConnectFailure> {
        let connected: Result<Box<dyn Session>, ConnectError> = tokio::select! {
            connected = Backoff::retry(retry, || self.connector.connect(&self.host)) => connected,
            () = stop.cancelled() => return Err(ConnectFailure::Interrupted),
        };
        self.session = Some(connected.map_err(ConnectFailure::Failed)?);
        Ok(())
    }

    pub(super) fn is_connected(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_alive())
    }

    async fn execute(&mut self, task: Task) -> Message {
        let started = Instant::now();
        let (work, watch) = (task.work.name(), task.watch.is_some());
        debug!(work, watch, guard = task.guard.is_some(), timeout = ?task.timeout, "step begins");
        let (outcome, captured) = self.watched(&task).await;
        debug!(outcome = outcome.describe(), took = ?started.elapsed(), "step ended");
        Message::Ended { outcome, captured, took: started.elapsed() }
    }

    /// A step that may run already is not asked for its guard again: its answer may be another one by now.
    async fn watched(&mut self, task: &Task) -> (StepOutcome, Option<String>) {
        let (Some(recorded), Work::Durable(step)) = (task.watch, &task.work) else {
            return match task.watch {
                Some(_) => {
                    let reason = "it was sent by a controller that is gone, and is not durable".to_owned();
                    (StepOutcome::Unknown { reason }, None)
                }
                None => self.guarded(task).await,
            };
        };
        let mut output = Output::of(task, recorded);
        match self.watch(step, task, &mut output).await {
            ExecEnd::Absent if task.may_start() => self.guarded(task).await,
            end => self.ended(end, task, output).await,
        }
    }

    async fn guarded(&mut self, task: &Task) -> (StepOutcome, Option<String>) {
        let (guard, skips_on_success, reason) = match &task.guard {
            None => return self.captured(task).await,
            Some(ReadyGuard::Unless(command)) => (command, true, "`unless` says it is done"),
            Some(ReadyGuard::OnlyIf(command)) => (command, false, "`only-if` says it is not for now"),
        };
        let (end, mut output) = self.attempt(guard, task, &|| Output::of_guard(task), true).await;
        self.tell_rest(&mut output).await;
        match end {
            ExecEnd::Exited(status) if (status == 0) == skips_on_success => {
                (StepOutcome::Skipped { reason: reason.to_owned() }, None)
            }
            ExecEnd::Exited(_) => self.captured(task).await,
            // Its host did not come back. A guard changes nothing, and the step has certainly not begun.
            ExecEnd::Lost(why) | ExecEnd::Unknown(why) => {
                (StepOutcome::NotStarted { reason: format!("its guard was lost: {why}") }, None)
            }
            end @ (ExecEnd::TimedOut
            | ExecEnd::IdleTimedOut
            | ExecEnd::Stopped
            | ExecEnd::NotStarted(_)
            | ExecEnd::Absent
            | ExecEnd::Detached(_)) => {
                let reason = format!("its guard: {}", outcome_of(end, task).describe());
                (StepOutcome::NotStarted { reason }, None)
            }
        }
    }

    async fn captured(&mut self, task: &Task) -> (StepOutcome, Option<String>) {
        let begin = EffectChange { begin: task.effects.begin.clone(), strike: Vec::new() };
        if !begin.is_empty()
            && let Err(reason) = self.note(&begin).await
        {
            return (StepOutcome::NotStarted { reason }, None);
        }
        let fresh = || Output::of(task, Recorded::default());
        let (end, output) = match &task.work {
            Work::Plain(command) => self.attempt(command, task, &fresh, false).await,
            Work::ReadOnly(command) => self.attempt(command, task, &fresh, true).await,
            Work::Durable(step) => {
                let mut output = fresh();
                (self.start(step, task, &mut output).await, output)
            }
        };
        self.ended(end, task, output).await
    }

    /// Runs a plain command; on a new connection when the old one turns out to be gone before it was sent. One that is cut off in the middle is
    /// lost, unless it changes nothing: then it is run again, with an output of its own.
    ///
    /// Rejected: to leave out what the first attempt printed. The second may print something else, and a line pieced together from both is one
    /// that no command has ever printed.
    async fn attempt(
        &mut self,
        command: &RemoteCommand,
        task: &Task,
        fresh: &(dyn Fn() -> Output + Sync),
        again: bool,
    ) -> (ExecEnd, Output) {
        let mut output = fresh();
        let mut cut = None;
        loop {
            let since = tokio::time::Instant::now();
            let end = if self.is_connected() {
                self.exec(Remote::Plain(command), task, &mut output).await
            } else {
                ExecEnd::NotStarted("the connection broke between two steps".to_owned())
            };
            self.lasted(since, false);
            let reason = match end {
                ExecEnd::NotStarted(reason) if !self.is_connected() => reason,
                ExecEnd::Lost(reason) if again && !self.is_connected() => {
                    cut = Some(reason.clone());
                    reason
                }
                ExecEnd::Lost(reason) => {
                    self.lost(reason.clone(), false).await;
                    return (ExecEnd::Lost(reason), output);
                }
                end => return (end, output),
            };
            self.lost(reason, false).await;
            let connected = tokio::select! {
                biased;
                () = task.stop.cancelled() => None,
                () = task.no_start.cancelled(), if cut.is_none() => None,
                connected = self.reconnect() => Some(connected),
            };
            let end = match (connected, cut.clone()) {
                (Some(Ok(())), _) => {
                    output = fresh();
                    continue;
                }
                (Some(Err(reason)), Some(cut)) => ExecEnd::Lost(format!("{cut}; then {reason}")),
                (Some(Err(reason)), None) => ExecEnd::NotStarted(reason),
                (None, Some(_)) => ExecEnd::Stopped,
                (None, None) => ExecEnd::NotStarted(task.why_not_started().to_owned()),
            };
            return (end, output);
        }
    }

    pub(super) async fn lost(&mut self, reason: String, step_goes_on: bool) {
        info!(reason, step_goes_on, "connection lost");
        self.tell(Message::ConnectionLost { reason, step_goes_on }).await;
    }

    pub(super) async fn exec(&mut self, command: Remote<'_>, task: &Task, told: &mut Output) -> ExecEnd {
        let Some(session) = self.session.as_mut() else {
            return ExecEnd::NotStarted("no connection".to_owned());
        };
        let (output, mut chunks) = mpsc::channel::<OutputChunk>(CHUNKS);
        // The host keeps to a durable step's limit itself.
        let timeout = if let Remote::Plain(_) = command { task.timeout } else { None };
        let exec = Exec { command, timeout, idle_timeout: task.idle_timeout, stop: task.stop.clone(), output };
        let (index, messages) = (self.index, &self.messages);
        let forward = async {
            while let Some(chunk) = chunks.recv().await {
                if let Some(bytes) = told.take(&chunk) {
                    let _ = messages.send((index, Message::Output(chunk.stream, bytes))).await;
                }
            }
        };
        // The session drops its sender at the end of the command, and with it ends the forwarding.
        let end = tokio::join!(session.exec(exec), forward).0;
        debug!(?end, received = told.received(), "command ended");
        end
    }

    /// Tells what is left of the output, and how the step ended.
    async fn ended(&mut self, end: ExecEnd, task: &Task, mut output: Output) -> (StepOutcome, Option<String>) {
        // Of a step that goes on, half a line is read again by whoever watches it next.
        if !matches!(end, ExecEnd::Detached(_)) {
            self.tell_rest(&mut output).await;
        }
        let outcome = outcome_of(end, task);
        let strike = EffectChange { begin: Vec::new(), strike: task.effects.strike.clone() };
        if outcome == StepOutcome::Succeeded && !strike.is_empty() {
            // What cannot be struck out now stays in the book, and `fleet SITE status` tells it.
            let _ = self.note(&strike).await;
        }
        match output.captured().filter(|_| outcome == StepOutcome::Succeeded).map(value_of) {
            None => (outcome, None),
            Some(Ok(value)) => (outcome, Some(value)),
            Some(Err(reason)) => (StepOutcome::Unusable { reason }, None),
        }
    }

    async fn tell_rest(&mut self, output: &mut Output) {
        for (stream, bytes) in output.finish() {
            self.tell(Message::Output(stream, bytes)).await;
        }
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectFailure {
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    Failed(#[from] ConnectError),
}

fn outcome_of(end: ExecEnd, task: &Task) -> StepOutcome {
    let millis = |limit: Option<Duration>| u64::try_from(limit.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
    match end {
        ExecEnd::Exited(0) => StepOutcome::Succeeded,
        ExecEnd::Exited(status) => match signal_of_status(status) {
            Some(signal) => StepOutcome::Signaled { signal: signal.to_owned() },
            None => StepOutcome::Failed { status },
        },
        ExecEnd::TimedOut => StepOutcome::TimedOut { limit: TimeLimit::Timeout, millis: millis(task.timeout) },
        ExecEnd::IdleTimedOut => {
            StepOutcome::TimedOut { limit: TimeLimit::IdleTimeout, millis: millis(task.idle_timeout) }
        }
        ExecEnd::Stopped => StepOutcome::Cancelled,
        ExecEnd::NotStarted(reason) => StepOutcome::NotStarted { reason },
        // Both only when nobody asked further: a watch that found nothing is followed by a start.
        ExecEnd::Absent => StepOutcome::NotStarted { reason: "it was never started".to_owned() },
        ExecEnd::Lost(reason) | ExecEnd::Unknown(reason) => StepOutcome::Unknown { reason },
        ExecEnd::Detached(reason) => StepOutcome::Detached { reason },
    }
}

/// Output as a value: without its last newlines, as `$(...)` gives it.
fn value_of(mut bytes: Vec<u8>) -> Result<String, String> {
    if bytes.len() > LONGEST_VALUE {
        return Err(format!("it printed more than {LONGEST_VALUE} bytes, too much for a variable"));
    }
    while bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.contains(&0) {
        return Err("it printed a NUL byte, which cannot stand in a variable".to_owned());
    }
    String::from_utf8(bytes)
        .map_err(|_| "it printed something that is not UTF-8, which cannot become a variable".to_owned())
}
