//! A worker's durable steps: started once, watched over as many connections as it takes, and left alone when the host cannot be reached.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::output::Output;
use super::worker::{ConnectFailure, Message, Task, Worker};
use crate::model::plan::durable::{DurableStep, Entry};
use crate::ssh::{Backoff, ExecEnd, Remote};

/// Before a step that left its channel is asked for again, on the same connection.
const SILENT_PAUSE: Duration = Duration::from_millis(200);
/// How often a step may leave its channel without a word while the connection stands: its leash was killed, or a `cat` of it.
const MOST_SILENT_ENDS: u32 = 5;

/// How reconnecting has gone. The limit is for the time without a connection, and both it and the pause start anew only with progress, not
/// with each connection: a line that lets every login through and then breaks would be called for ever, several times a second.
#[derive(Default)]
pub struct Reconnecting {
    /// The time without a connection since the last progress.
    spent: Duration,
    /// Attempts since then.
    backoff: Backoff,
}

impl Worker {
    /// Starts the step, and watches it to its end.
    pub(super) async fn start(&mut self, step: &DurableStep, task: &Task, output: &mut Output) -> ExecEnd {
        self.follow(step, Entry::Start, task, output).await
    }

    /// Watches a step that may have been started; [`ExecEnd::Absent`] if it was not.
    pub(super) async fn watch(&mut self, step: &DurableStep, task: &Task, output: &mut Output) -> ExecEnd {
        self.follow(step, output.entry(task.may_start()), task, output).await
    }

    async fn follow(&mut self, step: &DurableStep, mut entry: Entry, task: &Task, output: &mut Output) -> ExecEnd {
        let step = DurableStep { scope: self.scope, ..step.clone() };
        let only_watch = entry != Entry::Start;
        let mut silent_ends = 0;
        loop {
            let (since, received) = (Instant::now(), output.received());
            let end = if self.is_connected() {
                self.exec(Remote::Durable(&step, entry), task, output).await
            } else {
                ExecEnd::NotStarted("the connection broke between two steps".to_owned())
            };
            let connected = self.is_connected();
            self.lasted(since, output.received() > received);
            let reason = match end {
                // It was lost before it came to the host, or is on its way.
                ExecEnd::Absent if !only_watch && matches!(entry, Entry::Watch { .. }) => {
                    entry = if task.may_start() { Entry::Start } else { output.entry(false) };
                    continue;
                }
                ExecEnd::Lost(reason) => {
                    entry = output.entry(task.may_start());
                    reason
                }
                // What was refused to a watcher says nothing of the step.
                ExecEnd::NotStarted(reason) if !connected || entry != Entry::Start => reason,
                end => return end,
            };
            if connected {
                silent_ends += 1;
                debug!(reason, silent_ends, "the step left its channel without a word, and is asked for again");
                if silent_ends > MOST_SILENT_ENDS {
                    return ExecEnd::Detached(reason);
                }
                sleep(SILENT_PAUSE).await;
                continue;
            }
            let goes_on = entry != Entry::Start;
            self.lost(reason, goes_on).await;
            let again = tokio::select! {
                again = self.reconnect() => again,
                // Nothing runs there that would have to be ended.
                () = task.stop.cancelled(), if !goes_on => Err(task.why_not_started().to_owned()),
                () = task.no_start.cancelled(), if !goes_on => Err(task.why_not_started().to_owned()),
            };
            if let Err(reason) = again {
                return if goes_on { ExecEnd::Detached(reason) } else { ExecEnd::NotStarted(reason) };
            }
        }
    }

    /// Makes the connection again, for as long as the host's `reconnect-timeout` allows. What a further attempt cannot change, a host key
    /// that is another one or a login that is refused, ends it at once.
    ///
    /// An interrupt does not end it: the step is on the host, and there is no other way to end it there.
    pub(super) async fn reconnect(&mut self) -> Result<(), String> {
        self.reconnect_within(self.host.reconnect_timeout).await
    }

    /// The same, for another time.
    pub(super) async fn reconnect_within(&mut self, limit: Duration) -> Result<(), String> {
        self.session = None;
        let (begun, spent) = (Instant::now(), self.reconnecting.spent);
        let mut failure = (self.reconnecting.backoff.attempts() > 0).then(|| {
            let times = self.reconnecting.backoff.attempts();
            format!("the connection breaks again and again: {times} attempts since the last sign of the step")
        });
        loop {
            let pause = self.reconnecting.backoff.pause();
            if let Some(failure) = failure.filter(|_| spent + begun.elapsed() + pause >= limit) {
                return Err(failure);
            }
            sleep(pause).await;
            self.reconnecting.backoff.count();
            let attempt = self.reconnecting.backoff.attempts();
            info!(attempt, without_connection = ?(spent + begun.elapsed()), ?limit, "reconnecting");
            match self.connect(&CancellationToken::new(), Duration::ZERO).await {
                Ok(()) => {
                    info!(attempt, "reconnected");
                    self.reconnecting.spent = spent + begun.elapsed();
                    self.tell(Message::Reattached).await;
                    return Ok(());
                }
                Err(ConnectFailure::Failed(error)) if error.is_final() => return Err(error.to_string()),
                Err(error) => {
                    info!(attempt, %error, "not reconnected");
                    failure = Some(error.to_string());
                }
            }
        }
    }

    /// What was run over the connection is through, or the connection is. With progress, reconnecting starts anew. A connection that stands for
    /// as long as the longest pause was worth making, though nothing came over it.
    pub(super) fn lasted(&mut self, since: Instant, progress: bool) {
        if progress || since.elapsed() >= Backoff::MAX_PAUSE {
            self.reconnecting = Reconnecting::default();
        }
    }
}
