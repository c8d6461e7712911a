//! Hosts that are watched while a batch soaks: their steps are repeated, and one failure is reported.
//!
//! The worker keeps the clock, the dispatcher counts. Nothing of it is on the disk before it is sent: it changes nothing.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::contact::Stops;
use super::dispatcher::Dispatcher;
use super::host::{Busy, Watching};
use super::message::{Ended, Message};
use super::task::{Attempt, Order, Task, WatchedStep, Work};
use super::worker::Worker;
use crate::model::plan::book::EffectChange;
use crate::model::plan::plan::{AD_HOC, Guard, HostIndex, StepIndex};
use crate::model::run::event::{Fact, OutputData, Stream};
use crate::model::run::host_summary::{HostSummary, StepKind};
use crate::model::run::outcome::StepOutcome;
use crate::model::run::scheduler::Input;

/// What is kept of the output of an attempt, in bytes.
const MAX_OUTPUT: usize = 64 << 10;

/// Longest time of an attempt, where neither the step nor the command line says, and `every` is shorter.
const ATTEMPT: Duration = Duration::from_secs(3);

impl Watching {
    /// Keeps what an attempt printed, until it is known how it ended.
    pub fn print(&mut self, stream: Stream, mut bytes: Vec<u8>) {
        let kept: usize = self.output.iter().map(|(_, bytes)| bytes.len()).sum();
        bytes.truncate(MAX_OUTPUT.saturating_sub(kept));
        if !bytes.is_empty() {
            self.output.push((stream, bytes));
        }
    }
}

impl Dispatcher<'_> {
    pub(super) fn start_watch(&mut self, host: HostIndex, phase: usize) {
        let steps = self.run.plan.phases.get(phase).map_or(0, |phase| phase.steps.len());
        let watched: Vec<WatchedStep> =
            (0..steps).filter_map(|step| self.watched_step(host, StepIndex { phase, step })).collect();
        self.busy(host, Busy::Watched(Box::default()));
        self.orders.push((host, Order::Watch(watched)));
    }

    fn watched_step(&self, host: HostIndex, at: StepIndex) -> Option<WatchedStep> {
        let plan = &self.run.plan;
        let step = plan.step(at).filter(|step| step.runs_on(host))?;
        let watch = step.watch?;
        let command = self.ready(host, &plan.run(host, at)?).ok()?;
        let guard = match plan.guard(host, at) {
            None => None,
            Some(Guard::Unless(command)) => Some(Guard::Unless(self.ready(host, &command).ok()?)),
            Some(Guard::OnlyIf(command)) => Some(Guard::OnlyIf(self.ready(host, &command).ok()?)),
        };
        let task = Task {
            step: step.path.clone(),
            attempt: Attempt { kind: StepKind::Run, at, nth: 0 },
            guard,
            // Not durable: there is nothing to be found out about it later.
            work: if step.is_local() { Work::Local(command) } else { Work::ReadOnly(command) },
            watch: None,
            only_watch: false,
            timeout: step.timeout.or_else(|| Some(watch.every.max(ATTEMPT))),
            idle_timeout: step.idle_timeout,
            capture: false,
            reports: plan.task != AD_HOC,
            secret: step.secret_output,
            effects: EffectChange::default(),
            masker: self.masker.clone(),
        };
        Some(WatchedStep { task, watch })
    }

    /// Counts the failures in a row. A block is one too many at once: it is no hiccup.
    pub(super) fn on_tried(&mut self, host: HostIndex, at: StepIndex, ended: Ended) {
        // A detached run has reported how its hosts ended.
        if self.scheduler.is_finished() || !matches!(self.host(host).busy, Some(Busy::Watched(_))) {
            return;
        }
        let Ended { outcome, .. } = self.judge(host, Attempt { kind: StepKind::Run, at, nth: 0 }, ended);
        let limit = self.step(at).watch.map_or(1, |watch| watch.failures);
        let Some(Busy::Watched(watching)) = &mut self.host(host).busy else { return };
        let output = std::mem::take(&mut watching.output);
        let refused = matches!(outcome, StepOutcome::Refused { .. });
        if outcome.is_success() {
            watching.failures.remove(&at);
        }
        // The line was lost, or it was ended: nobody knows.
        if watching.failed.is_some() || !(refused || outcome.is_own_failure()) {
            return;
        }
        let count = watching.failures.entry(at).or_default();
        *count += 1;
        let failures = *count;
        let is_over = refused || failures >= limit;
        if is_over {
            watching.failed = Some((at, outcome.clone()));
        }
        let (label, step) = (self.label(host), self.path(at));
        for (stream, bytes) in output {
            self.tell(Fact::Output { host: label.clone(), step: step.clone(), stream, data: OutputData(bytes) });
        }
        self.tell(Fact::WatchFailed { host: label, step, outcome, failures, limit });
        if is_over {
            self.host(host).stop.cancel();
        }
    }

    /// The host is not watched any more. A step that failed too often has failed as any step does.
    pub(super) fn on_unwatched(&mut self, host: HostIndex) {
        let Some(watching) = self.host(host).busy.take_if(|busy| matches!(busy, Busy::Watched(_))) else { return };
        let Busy::Watched(watching) = watching else { return };
        if self.scheduler.is_finished() {
            return;
        }
        if let Some((at, outcome)) = watching.failed.clone() {
            let (label, step) = (self.label(host), self.path(at));
            let known = self.summary.host(label.as_str()).into_iter().flat_map(HostSummary::steps);
            let attempt = known.filter(|known| known.step == step).map(|known| known.attempts).max().unwrap_or(1);
            self.tell(Fact::StepFinished { host: label, step, attempt, outcome, retrying: false, millis: 0 });
        }
        self.inputs.push_back(Input::WatchEnded(host, watching.failed));
    }
}

impl Worker {
    /// Repeats steps until the order is ended; or until there is no more need to, and none of them has failed last.
    pub(super) async fn watch(&mut self, watched: Vec<WatchedStep>, stops: &Stops) {
        let begun = Instant::now();
        let mut watched: Vec<(Instant, bool, WatchedStep)> =
            watched.into_iter().map(|step| (begun + step.watch.every, false, step)).collect();
        loop {
            let doubtful = watched.iter().any(|(_, failing, _)| *failing);
            let Some((due, failing, WatchedStep { task, watch })) = watched.iter_mut().min_by_key(|(due, ..)| *due)
            else {
                return stops.stopped().await;
            };
            tokio::select! {
                biased;
                () = stops.stop.cancelled() => return,
                () = stops.no_start.cancelled(), if !doubtful => return,
                () = sleep_until(*due) => {}
            }
            *due = Instant::now() + watch.every;
            let begun = std::time::Instant::now();
            let ended = self.guarded(task, stops).await;
            *failing = ended.outcome.is_own_failure() && !stops.stop.is_cancelled();
            debug!(step = %task.step, outcome = ended.outcome.describe(), "watched");
            let at = task.attempt.at;
            self.contact.tell(Message::Tried(at, Ended { took: begun.elapsed(), ..ended })).await;
        }
    }
}
