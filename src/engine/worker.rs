//! One host's worker: owns the connection, carries out one order at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::lines::Lines;
use crate::model::command::{RemoteCommand, signal_of_status};
use crate::model::event::Stream;
use crate::model::masking::Masker;
use crate::model::outcome::{StepOutcome, TimeLimit};
use crate::model::plan::{HostIndex, PlanHost};
use crate::ssh::{Connect, ConnectError, Exec, ExecEnd, OutputChunk, Session};

/// What a worker is told to do.
pub enum Order {
    /// Connect.
    Connect(CancellationToken),
    /// Run a step or an undo.
    Execute(Box<Task>),
}

/// A command with its guard and limits.
pub struct Task {
    pub guard: Option<ReadyGuard>,
    pub command: RemoteCommand,
    pub timeout: Option<Duration>,
    pub idle_timeout: Option<Duration>,
    /// Keep standard output for a variable.
    pub capture: bool,
    /// Tell nobody what it prints.
    pub secret: bool,
    /// What must not be seen of what it prints.
    pub masker: Masker,
    pub stop: CancellationToken,
}

/// A guard whose command is final.
pub enum ReadyGuard {
    Unless(RemoteCommand),
    OnlyIf(RemoteCommand),
}

/// What a worker tells.
pub enum Message {
    Connected,
    ConnectFailed(String),
    ConnectionLost(String),
    Output(Stream, Vec<u8>),
    Ended { outcome: StepOutcome, captured: Option<String>, took: Duration },
}

/// The longest value that a step's output may become.
const LONGEST_VALUE: usize = 64 * 1024;

/// Chunks of output that wait for the dispatcher; with 32 KiB packets half a MiB a host. Filled by the session, emptied here.
const CHUNKS: usize = 16;

pub struct Worker {
    pub index: HostIndex,
    pub host: PlanHost,
    pub connector: Arc<dyn Connect>,
    pub messages: mpsc::Sender<(HostIndex, Message)>,
    pub session: Option<Box<dyn Session>>,
}

impl Worker {
    /// Carries out orders until there are no more.
    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        while let Some(order) = orders.recv().await {
            let message = match order {
                Order::Connect(stop) => match self.connect(&stop).await {
                    Ok(()) => Message::Connected,
                    Err(reason) => Message::ConnectFailed(reason),
                },
                Order::Execute(task) => self.execute(*task).await,
            };
            self.tell(message).await;
        }
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }

    async fn tell(&mut self, message: Message) {
        // The dispatcher is gone only when it let go of the run; then nobody listens, rightly.
        let _ = self.messages.send((self.index, message)).await;
    }

    async fn connect(&mut self, stop: &CancellationToken) -> Result<(), String> {
        let connected: Result<Box<dyn Session>, ConnectError> = tokio::select! {
            connected = self.connector.connect(&self.host) => connected,
            () = stop.cancelled() => return Err("interrupted".to_owned()),
        };
        self.session = Some(connected.map_err(|error| error.to_string())?);
        Ok(())
    }

    async fn execute(&mut self, task: Task) -> Message {
        let started = Instant::now();
        let (outcome, captured) = self.guarded(&task).await;
        Message::Ended { outcome, captured, took: started.elapsed() }
    }

    async fn guarded(&mut self, task: &Task) -> (StepOutcome, Option<String>) {
        let (guard, skips_on_success, reason) = match &task.guard {
            None => return self.captured(task).await,
            Some(ReadyGuard::Unless(command)) => (command, true, "`unless` says it is done"),
            Some(ReadyGuard::OnlyIf(command)) => (command, false, "`only-if` says it is not for now"),
        };
        match self.attempt(guard, task, &mut None).await {
            ExecEnd::Exited(status) if (status == 0) == skips_on_success => {
                (StepOutcome::Skipped { reason: reason.to_owned() }, None)
            }
            ExecEnd::Exited(_) => self.captured(task).await,
            // A guard changes nothing: when it is lost, the step has certainly not begun.
            ExecEnd::Lost(why) => (StepOutcome::NotStarted { reason: format!("its guard was lost: {why}") }, None),
            end @ (ExecEnd::TimedOut | ExecEnd::IdleTimedOut | ExecEnd::Stopped | ExecEnd::NotStarted(_)) => {
                let reason = format!("its guard: {}", outcome_of(end, task).describe());
                (StepOutcome::NotStarted { reason }, None)
            }
        }
    }

    async fn captured(&mut self, task: &Task) -> (StepOutcome, Option<String>) {
        let mut capture = task.capture.then(Vec::new);
        let end = self.attempt(&task.command, task, &mut capture).await;
        let outcome = outcome_of(end, task);
        match capture.filter(|_| outcome == StepOutcome::Succeeded).map(value_of) {
            None => (outcome, None),
            Some(Ok(value)) => (outcome, Some(value)),
            Some(Err(reason)) => (StepOutcome::Unusable { reason }, None),
        }
    }

    /// Runs a command; when the connection turns out to be gone before it was sent, once more on a new one.
    async fn attempt(&mut self, command: &RemoteCommand, task: &Task, capture: &mut Option<Vec<u8>>) -> ExecEnd {
        if self.session.as_ref().is_some_and(|session| session.is_alive()) {
            let end = self.exec(command, task, capture).await;
            let dead = self.session.as_ref().is_none_or(|session| !session.is_alive());
            match end {
                ExecEnd::NotStarted(reason) if dead => self.tell(Message::ConnectionLost(reason)).await,
                ExecEnd::Lost(reason) => {
                    self.tell(Message::ConnectionLost(reason.clone())).await;
                    return ExecEnd::Lost(reason);
                }
                end => return end,
            }
        } else {
            self.tell(Message::ConnectionLost("the connection broke between two steps".to_owned())).await;
        }
        match self.connect(&task.stop).await {
            Ok(()) => {
                self.tell(Message::Connected).await;
                self.exec(command, task, capture).await
            }
            Err(reason) => ExecEnd::NotStarted(reason),
        }
    }

    async fn exec(&mut self, command: &RemoteCommand, task: &Task, capture: &mut Option<Vec<u8>>) -> ExecEnd {
        let Some(session) = self.session.as_mut() else {
            return ExecEnd::NotStarted("no connection".to_owned());
        };
        let (output, mut chunks) = mpsc::channel::<OutputChunk>(CHUNKS);
        let exec =
            Exec { command, timeout: task.timeout, idle_timeout: task.idle_timeout, stop: task.stop.clone(), output };
        let (index, messages) = (self.index, &self.messages);
        let forward = async {
            let (mut stdout, mut stderr) = (Lines::default(), Lines::default());
            while let Some(chunk) = chunks.recv().await {
                let lines = match chunk.stream {
                    Stream::Stdout => &mut stdout,
                    Stream::Stderr => &mut stderr,
                };
                if let (Some(capture), Stream::Stdout) = (capture.as_mut(), chunk.stream) {
                    let room = (LONGEST_VALUE + 1).saturating_sub(capture.len());
                    capture.extend(chunk.bytes.iter().take(room));
                }
                if let Some(bytes) = lines.push(&chunk.bytes).filter(|_| !task.secret) {
                    let bytes = task.masker.mask(bytes);
                    let _ = messages.send((index, Message::Output(chunk.stream, bytes))).await;
                }
            }
            for (stream, lines) in [(Stream::Stdout, stdout), (Stream::Stderr, stderr)] {
                if let Some(bytes) = lines.finish().filter(|_| !task.secret) {
                    let bytes = task.masker.mask(bytes);
                    let _ = messages.send((index, Message::Output(stream, bytes))).await;
                }
            }
        };
        // The session drops its sender at the end of the command, and with it ends the forwarding.
        tokio::join!(session.exec(exec), forward).0
    }
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
        ExecEnd::Lost(reason) => StepOutcome::Unknown { reason },
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
