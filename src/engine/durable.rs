//! A worker's durable steps: started once, watched over as many connections as it takes, and left alone when the host cannot be reached.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::debug;

use super::claim::taken;
use super::contact::{Contact, Stops};
use super::output::Output;
use super::task::Task;
use crate::model::run::cause::Cause;
use crate::model::run::reason::Reason;
use crate::remote::{DurableStep, Entry, ExecEnd, NoAnswer, Remote};

/// Before a step that left its channel is asked for again, on the same connection.
const SILENT_PAUSE: Duration = Duration::from_millis(200);
/// How often a step may leave its channel without a word while the connection stands: its leash was killed, or a `cat` of it.
const MOST_SILENT_ENDS: u32 = 5;

impl Contact {
    /// Starts the step, or only looks for one that may have been started ([`ExecEnd::Absent`] if it was not), and watches it to its end.
    pub(super) async fn follow(
        &mut self,
        step: &DurableStep,
        mut entry: Entry,
        (task, stops): (&Task, &Stops),
        output: &mut Output,
    ) -> ExecEnd {
        let step = DurableStep { scope: self.scope, ..step.clone() };
        let only_watch = entry != Entry::Start;
        let mut silent_ends = 0;
        loop {
            let (since, received) = (Instant::now(), output.received());
            let end = match self.unwitnessed(&step, entry).await {
                Some(reason) => ExecEnd::NotStarted(reason),
                None => self.exec(Remote::Durable(&step, entry), task, &stops.stop, output).await,
            };
            let connected = self.is_connected();
            self.lasted(since, output.received() > received);
            let reason = match end {
                // It was lost before it came to the host, or is on its way.
                ExecEnd::Absent if !only_watch && matches!(entry, Entry::Watch { .. }) => {
                    entry = if stops.may_start(task) { Entry::Start } else { output.entry(false) };
                    continue;
                }
                ExecEnd::Lost(reason) => {
                    entry = output.entry(stops.may_start(task));
                    reason
                }
                // What was refused to a watcher says nothing of the step.
                ExecEnd::NotStarted(reason) if !connected || entry != Entry::Start => reason,
                end => return end,
            };
            if connected {
                silent_ends += 1;
                debug!(%reason, silent_ends, "the step left its channel without a word, and is asked for again");
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
                () = stops.stop.cancelled(), if !goes_on => Err(stops.why_not_started().into()),
                () = stops.no_start.cancelled(), if !goes_on => Err(stops.why_not_started().into()),
            };
            if let Err(reason) = again {
                return if goes_on { ExecEnd::Detached(reason) } else { ExecEnd::NotStarted(reason) };
            }
        }
    }

    /// Why a step of another user is not to be started: the login user does not see that the run still has the lock. On a new connection he is
    /// asked again; while there was none, another run may have begun.
    async fn unwitnessed(&mut self, step: &DurableStep, entry: Entry) -> Option<Reason> {
        let question = step.witness.as_ref().filter(|_| entry == Entry::Start)?;
        let answer = match self.ask(question).await {
            Ok(answer) => answer,
            Err(NoAnswer { reason, .. }) => return Some(reason),
        };
        match answer.lines().find(|line| matches!(*line, "held" | "taken")) {
            Some("held") => None,
            Some(_) => Some(taken()),
            None => Some(Reason::new(Cause::LockFailed, "the host does not say whether the run still has the lock")),
        }
    }
}
