//! The contact with a host: its connection, made again when it breaks, and what is told of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, debug, info, info_span};

use super::message::Message;
use super::output::Output;
use super::task::Task;
use crate::model::plan::plan::{HostIndex, PlanHost};
use crate::model::run::cause::Cause;
use crate::model::run::event::Fact;
use crate::model::run::reason::Reason;
use crate::model::text::name::HostLabel;
use crate::remote::{Connect, Exec, ExecEnd, OutputChunk, Remote, Scope, Session};
use crate::ssh::{Backoff, ConnectError};

/// Chunks of output that wait for the dispatcher; with 32 KiB packets half a MiB a host. Filled by the session, emptied here.
pub const CHUNKS: usize = 16;

pub struct Contact {
    pub index: HostIndex,
    pub host: PlanHost,
    /// The host's in the log.
    pub span: Span,
    pub connector: Arc<dyn Connect>,
    pub messages: mpsc::Sender<(HostIndex, Message)>,
    pub session: Option<Box<dyn Session>>,
    /// How a durable step leaves the login session.
    pub scope: Scope,
    pub reconnecting: Reconnecting,
}

/// What ends an order early.
#[derive(Default)]
pub struct Stops {
    /// The order itself.
    pub stop: CancellationToken,
    /// The rollout has stopped: what has not begun is not waited for.
    pub no_start: CancellationToken,
}

impl Stops {
    /// Why a step that has not begun is not waited for any longer.
    pub fn why_not_started(&self) -> &'static str {
        if self.stop.is_cancelled() { "interrupted" } else { "the rollout has stopped" }
    }

    /// Waits until the order is ended, or need not continue.
    pub async fn stopped(&self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.no_start.cancelled() => {}
        }
    }

    /// May the task be started, if it turns out that it was not?
    pub fn may_start(&self, task: &Task) -> bool {
        !task.only_watch && !self.stop.is_cancelled()
    }
}

/// How reconnecting has gone. The limit is for the time without a connection, and both it and the pause start anew only with progress, not
/// with each connection: a line that lets every login through and then breaks would be called for ever, several times a second.
#[derive(Default)]
pub struct Reconnecting {
    /// The time without a connection since the last progress.
    spent: Duration,
    /// Attempts since then.
    backoff: Backoff,
}

impl Contact {
    pub async fn tell(&mut self, message: Message) {
        // The dispatcher is gone only when it let go of the run; then nobody listens, rightly.
        let _ = self.messages.send((self.index, message)).await;
    }

    pub async fn happened(&mut self, fact: impl FnOnce(HostLabel) -> Fact) {
        self.tell(Message::Happened(Box::new(fact(self.host.label.clone())))).await;
    }

    pub async fn connect(&mut self, retry: Duration) -> Result<(), ConnectError> {
        // A connection outlives the step in which it was made, and so what it tells is not told under that step's name.
        let span = info_span!(parent: &self.span, "connection");
        let connecting = Backoff::retry(retry, || self.connector.connect(&self.host.label, &self.host.endpoint));
        self.session = Some(connecting.instrument(span).await?);
        Ok(())
    }

    pub fn is_connected(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_alive())
    }

    pub async fn lost(&mut self, reason: Reason, step_goes_on: bool) {
        info!(%reason, step_goes_on, "connection lost");
        self.happened(|host| Fact::ConnectionLost { host, reason, step_goes_on }).await;
    }

    pub async fn exec(
        &mut self,
        command: Remote<'_>,
        task: &Task,
        stop: &CancellationToken,
        told: &mut Output,
    ) -> ExecEnd {
        let Some(session) = self.session.as_mut().filter(|session| session.is_alive()) else {
            return ExecEnd::NotStarted("the connection broke between two steps".into());
        };
        let (output, mut chunks) = mpsc::channel::<OutputChunk>(CHUNKS);
        // The host keeps to a durable step's limit itself.
        let timeout = if let Remote::Plain(_) = command { task.timeout } else { None };
        // One report at most, which waits here until the command has ended.
        let (findings, mut reports) = mpsc::channel(1);
        let findings = told.reports.then_some(findings);
        let exec = Exec { command, timeout, idle_timeout: task.idle_timeout, stop: stop.clone(), output, findings };
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
        told.report = reports.try_recv().ok();
        debug!(?end, received = told.received(), reported = told.report.as_ref().map(Vec::len), "command ended");
        end
    }

    /// Makes the connection again, for as long as the host's `reconnect-timeout` allows. What a further attempt cannot change, a host key
    /// that is another one or a login that is refused, ends it at once.
    ///
    /// An interrupt does not end it: the step is on the host, and there is no other way to end it there.
    pub async fn reconnect(&mut self) -> Result<(), Reason> {
        self.reconnect_within(self.host.endpoint.reconnect_timeout).await
    }

    /// The same, for another time.
    pub async fn reconnect_within(&mut self, limit: Duration) -> Result<(), Reason> {
        self.session = None;
        let Reconnecting { spent, backoff: Backoff { attempts: times } } = self.reconnecting;
        let begun = Instant::now();
        let mut failure = (times > 0).then(|| {
            let text =
                format!("the connection breaks again and again: {times} attempts since the last sign of the step");
            Reason::new(Cause::Unstable, text)
        });
        loop {
            let pause = self.reconnecting.backoff.pause();
            if let Some(failure) = failure.filter(|_| spent + begun.elapsed() + pause >= limit) {
                info!(?pause, ?limit, "no further attempt to reconnect: the time would be over");
                return Err(failure);
            }
            sleep(pause).await;
            self.reconnecting.backoff.attempts += 1;
            let attempt = self.reconnecting.backoff.attempts;
            info!(attempt, without_connection = ?(spent + begun.elapsed()), ?limit, "reconnecting");
            let connected = self.connect(Duration::ZERO).await;
            match connected.inspect_err(|error| info!(attempt, %error, "not reconnected")) {
                Ok(()) => {
                    info!(attempt, "reconnected");
                    self.reconnecting.spent = spent + begun.elapsed();
                    self.happened(|host| Fact::Reattached { host }).await;
                    return Ok(());
                }
                Err(error) if error.is_final() => return Err(error.reason(&self.host.site)),
                Err(error) => failure = Some(error.reason(&self.host.site)),
            }
        }
    }

    /// What was run over the connection is through, or the connection is. With progress, reconnecting starts anew. A connection that stands for
    /// as long as the longest pause was worth making, though nothing came over it.
    pub fn lasted(&mut self, since: Instant, progress: bool) {
        if progress || since.elapsed() >= Backoff::MAX_PAUSE {
            self.reconnecting = Reconnecting::default();
        }
    }
}
