//! One host's worker: owns the connection, carries out one order at a time.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, info_span};

use super::contact::{Contact, Reconnecting, Stops};
use super::files::Files;
use super::message::{Ended, Message, Released};
use super::output::{LONGEST_VALUE, Output};
use super::task::{Order, Recorded, Task, Work};
use crate::model::plan::book::EffectChange;
use crate::model::plan::command::{RemoteCommand, signal_of_status};
use crate::model::plan::plan::Guard;
use crate::model::run::cause::Cause;
use crate::model::run::event::Fact;
use crate::model::run::host_summary::StepKind;
use crate::model::run::outcome::{StepOutcome, TimeLimit};
use crate::model::run::reason::Reason;
use crate::model::run::scheduler::Input;
use crate::remote::{Claim, Entry, ExecEnd, Farewell, Remote};

pub struct Worker {
    pub contact: Contact,
    /// The lock that the run takes, when it takes one.
    pub lock: Option<Claim>,
    /// Where local steps begin.
    pub project: PathBuf,
    /// What steps may use of the recipe.
    pub files: Files,
    /// Steps of the past whose values are to be read again.
    pub secrets: Vec<Task>,
}

impl Worker {
    /// Carries out orders until there are no more.
    pub async fn run(mut self, mut orders: mpsc::Receiver<(Order, Stops)>) {
        while let Some((order, stops)) = orders.recv().await {
            // The end of the order before is known.
            self.contact.reconnecting = Reconnecting::default();
            let message = match order {
                Order::Connect => {
                    let failed = self.begin(&stops.stop).await.err();
                    Message::Arrived(failed.unwrap_or(Input::Connected(self.contact.index)))
                }
                Order::Execute(task) => {
                    let undo = (task.attempt.kind == StepKind::Undo).then_some(true);
                    let span = info_span!("step", step = %task.step, attempt = task.attempt.nth, undo);
                    self.execute(&task, &stops).instrument(span).await
                }
                Order::Watch(watched) => {
                    self.watch(watched, &stops).await;
                    Message::Unwatched
                }
                Order::Release(farewell) => Message::Released(self.release(&farewell).await),
            };
            self.contact.tell(message).await;
        }
        self.contact.take_away(&self.files).await;
        if let Some(session) = self.contact.session.take() {
            session.close().await;
        }
    }

    /// Connects, locks, and reads what is on no record. An error is what came of it instead.
    async fn begin(&mut self, stop: &CancellationToken) -> Result<(), Input> {
        let connected = tokio::select! {
            connected = self.contact.connect(self.contact.host.endpoint.connect_retry) => {
                connected.map_err(|error| error.reason(&self.contact.host.site))
            }
            () = stop.cancelled() => Err(Reason::new(Cause::Interrupted, "interrupted")),
        };
        connected.map_err(|reason| Input::ConnectFailed(self.contact.index, reason))?;
        self.contact.happened(|host| Fact::Connected { host }).await;
        if let Some(claim) = &self.lock {
            self.contact.claim(claim, stop).await?;
        }
        for secret in std::mem::take(&mut self.secrets) {
            let Work::Durable(durable) = &secret.work else { continue };
            let mut output = Output::of(&secret, Recorded::default());
            debug!(step = %secret.step, attempt = secret.attempt.nth, "its secret value is on no record, and is read again");
            let (entry, stops) = (output.entry(!secret.only_watch), Stops::default());
            let end = self.contact.follow(durable, entry, (&secret, &stops), &mut output).await;
            if let (ExecEnd::Exited(0), Some(Ok(value))) = (end, output.captured().map(value_of)) {
                self.contact.tell(Message::Secret(secret.attempt.at, value)).await;
            }
        }
        Ok(())
    }

    async fn release(&mut self, farewell: &Farewell) -> Released {
        match &self.lock {
            Some(claim) => self.contact.release(claim, farewell).await,
            None => Released::Free,
        }
    }

    /// Writes into the site's book, if the run has locked it.
    async fn note(&mut self, change: &EffectChange, stops: &Stops) -> Result<(), Reason> {
        match &self.lock {
            Some(claim) if !change.is_empty() => self.contact.note(claim, change, stops).await,
            Some(_) | None => Ok(()),
        }
    }

    async fn execute(&mut self, task: &Task, stops: &Stops) -> Message {
        let started = Instant::now();
        let (work, watch) = (task.work.name(), task.watch.is_some());
        debug!(work, watch, guard = task.guard.is_some(), timeout = ?task.timeout, "step begins");
        let ended = self.watched(task, stops).await;
        let ended = Ended { took: started.elapsed(), ..ended };
        debug!(outcome = ended.outcome.describe(), took = ?ended.took, "step ended");
        Message::Ended(ended)
    }

    /// A step that may run already is not asked for its guard again: its answer may be another one by now.
    async fn watched(&mut self, task: &Task, stops: &Stops) -> Ended {
        let Some(recorded) = task.watch else { return self.guarded(task, stops).await };
        let Work::Durable(step) = &task.work else {
            let reason = "it was sent by a controller that is gone, and is not durable".into();
            return Ended::without_command(StepOutcome::Unknown { reason });
        };
        let mut output = Output::of(task, recorded);
        let entry = output.entry(stops.may_start(task));
        match self.contact.follow(step, entry, (task, stops), &mut output).await {
            ExecEnd::Absent if stops.may_start(task) => self.guarded(task, stops).await,
            end => self.ended(end, (task, stops), output).await,
        }
    }

    pub(super) async fn guarded(&mut self, task: &Task, stops: &Stops) -> Ended {
        let mut task = task.clone();
        if let Err(reason) = self.contact.bring(&mut self.files, &mut task, stops).await {
            return Ended::without_command(StepOutcome::NotStarted { reason });
        }
        let task = &task;
        let (guard, skips_on_success, reason) = match &task.guard {
            None => return self.captured(task, stops).await,
            Some(Guard::Unless(command)) => (command, true, "`unless` says it is done"),
            Some(Guard::OnlyIf(command)) => (command, false, "`only-if` says it is not for now"),
        };
        let (end, mut output) = self.attempt(guard, (task, stops), &|| Output::of_guard(task), true).await;
        self.tell_rest(&mut output).await;
        match end {
            ExecEnd::Exited(status) if (status == 0) == skips_on_success => {
                Ended::without_command(StepOutcome::Skipped { reason: reason.to_owned() })
            }
            ExecEnd::Exited(_) => self.captured(task, stops).await,
            // Its host did not come back. A guard changes nothing, and the step has certainly not begun.
            ExecEnd::Lost(why) | ExecEnd::Unknown(why) => {
                Ended::without_command(StepOutcome::NotStarted { reason: why.after("its guard was lost: ") })
            }
            end @ (ExecEnd::TimedOut
            | ExecEnd::IdleTimedOut
            | ExecEnd::Stopped
            | ExecEnd::NotStarted(_)
            | ExecEnd::Absent
            | ExecEnd::Detached(_)) => {
                let reason = outcome_of(end, task).reason(Cause::Step, "its guard");
                Ended::without_command(StepOutcome::NotStarted { reason })
            }
        }
    }

    async fn captured(&mut self, task: &Task, stops: &Stops) -> Ended {
        let begin = EffectChange { begin: task.effects.begin.clone(), strike: Vec::new() };
        if let Err(reason) = self.note(&begin, stops).await {
            return Ended::without_command(StepOutcome::NotStarted { reason });
        }
        let fresh = || Output::of(task, Recorded::default());
        let (end, output) = match &task.work {
            Work::Plain(command) => self.attempt(command, (task, stops), &fresh, false).await,
            Work::ReadOnly(command) => self.attempt(command, (task, stops), &fresh, true).await,
            Work::Local(command) => {
                let mut output = fresh();
                let command = (command, self.project.as_path());
                (self.contact.run_here(command, (task, stops), &mut output).await, output)
            }
            Work::Durable(step) => {
                let mut output = fresh();
                (self.contact.follow(step, Entry::Start, (task, stops), &mut output).await, output)
            }
        };
        self.ended(end, (task, stops), output).await
    }

    /// Runs a plain command; on a new connection when the old one turns out to be gone before it was sent. One that is cut off in the middle is
    /// lost, unless it changes nothing: then it is run again, with an output of its own.
    ///
    /// Rejected: to leave out what the first attempt printed. The second may print something else, and a line pieced together from both is one
    /// that no command has ever printed.
    async fn attempt(
        &mut self,
        command: &RemoteCommand,
        (task, stops): (&Task, &Stops),
        fresh: &(dyn Fn() -> Output + Sync),
        again: bool,
    ) -> (ExecEnd, Output) {
        let mut output = fresh();
        let mut cut = None;
        loop {
            let since = tokio::time::Instant::now();
            let end = self.contact.exec(Remote::Plain(command), task, &stops.stop, &mut output).await;
            // One that has to run again from its beginning has made no progress, however long it ran.
            if !matches!(end, ExecEnd::Lost(_)) {
                self.contact.lasted(since, false);
            }
            let reason = match end {
                ExecEnd::NotStarted(reason) if !self.contact.is_connected() => reason,
                ExecEnd::Lost(reason) if again && !self.contact.is_connected() => {
                    cut = Some(reason.clone());
                    reason
                }
                ExecEnd::Lost(reason) => {
                    self.contact.lost(reason.clone(), false).await;
                    return (ExecEnd::Lost(reason), output);
                }
                end => return (end, output),
            };
            self.contact.lost(reason, false).await;
            let connected = tokio::select! {
                biased;
                () = stops.stop.cancelled() => None,
                () = stops.no_start.cancelled(), if cut.is_none() => None,
                connected = self.contact.reconnect() => Some(connected),
            };
            let end = match (connected, cut.clone()) {
                (Some(Ok(())), _) => {
                    output = fresh();
                    continue;
                }
                (Some(Err(reason)), Some(cut)) => ExecEnd::Lost(cut.and(reason.after("then "))),
                (Some(Err(reason)), None) => ExecEnd::NotStarted(reason),
                (None, Some(_)) => ExecEnd::Stopped,
                (None, None) => ExecEnd::NotStarted(stops.why_not_started().into()),
            };
            return (end, output);
        }
    }

    /// Tells what is left of the output, and how the step ended.
    async fn ended(&mut self, end: ExecEnd, (task, stops): (&Task, &Stops), mut output: Output) -> Ended {
        // Of a step that goes on, half a line is read again by whoever watches it next.
        if !matches!(end, ExecEnd::Detached(_)) {
            self.tell_rest(&mut output).await;
        }
        let outcome = outcome_of(end, task);
        let strike = EffectChange { begin: Vec::new(), strike: task.effects.strike.clone() };
        if outcome == StepOutcome::Succeeded {
            // What cannot be struck out now stays in the book, and `fleet SITE status` tells it.
            let _ = self.note(&strike, stops).await;
        }
        let report = output.report.take();
        let captured = output.captured().filter(|_| outcome == StepOutcome::Succeeded).map(value_of);
        let (outcome, captured) = match captured {
            None => (outcome, None),
            Some(Ok(value)) => (outcome, Some(value)),
            Some(Err(reason)) => (StepOutcome::Unusable { reason }, None),
        };
        Ended { report, ..Ended { captured, ..Ended::without_command(outcome) } }
    }

    async fn tell_rest(&mut self, output: &mut Output) {
        for (stream, bytes) in output.finish() {
            self.contact.tell(Message::Output(stream, bytes)).await;
        }
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
        // Both only when nobody asked further: a watch that found nothing is followed by a start.
        ExecEnd::Absent => StepOutcome::NotStarted { reason: "it was never started".into() },
        ExecEnd::Lost(reason) | ExecEnd::Unknown(reason) => StepOutcome::Unknown { reason },
        ExecEnd::Detached(reason) => StepOutcome::Detached { reason },
    }
}

/// Output as a value: without its last newlines, as `$(...)` gives it.
fn value_of(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.len() > LONGEST_VALUE {
        return Err(format!("it printed more than {LONGEST_VALUE} bytes, too much for a variable"));
    }
    if bytes.contains(&0) {
        return Err("it printed a NUL byte, which cannot stand in a variable".to_owned());
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| "it printed something that is not UTF-8, which cannot become a variable".to_owned())?;
    Ok(text.trim_end_matches('\n').to_owned())
}
