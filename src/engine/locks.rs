//! The locks of a run: what it asks of each host, and how they are given back when the host is done with.

use std::collections::BTreeSet;
use std::time::Duration;

use super::dispatcher::Dispatcher;
use super::host::Busy;
use super::worker::Order;
use crate::model::event::Fact;
use crate::model::name::UserName;
use crate::model::outcome::HostOutcome;
use crate::model::plan::HostIndex;
use crate::model::scheduler::Settlement;
use crate::model::spool::Claim;

/// How long the end of a run waits for hosts to take the lock back.
const RELEASE: Duration = Duration::from_secs(20);

impl Dispatcher<'_> {
    /// What the run locks on the host, when it locks anything.
    pub(super) fn lock(&self, index: HostIndex) -> Option<Claim> {
        if !self.run.plan.locks() {
            return None;
        }
        let site = self.run.plan.hosts.get(index.0)?.site.clone();
        let steps = self.run.plan.phases.iter().flat_map(|phase| &phase.steps).filter(|step| step.durable);
        let users: BTreeSet<&UserName> = steps.filter_map(|step| step.commands.get(&index)?.as_user()).collect();
        let (began, by) = (self.began, word(&self.run.by));
        Some(Claim {
            run: self.run.id.clone(),
            host: index,
            site,
            since: format!("{began:.0} by {by}: {}", self.run.plan.task),
            resumed: self.past.as_ref().is_some_and(|past| past.was_locked(index)),
            whole: self.past.as_ref().is_some_and(|past| !past.is_in_flight(index)),
            users: users.into_iter().cloned().collect(),
        })
    }

    /// The host is done with: it gets its lock back, unless the run keeps it, and is told to have finished.
    pub(super) fn settle(&mut self, settled: Settlement) {
        let index = settled.host;
        let host = self.host(index);
        if !host.locked || settled.keeps_lock || host.orders.is_none() || host.busy.is_some() {
            return self.finish_host(settled);
        }
        let line = self.history_line(index, settled.outcome);
        let keep = settled.outcome == HostOutcome::Held;
        self.host(index).busy = Some(Busy::Releasing(Box::new(settled)));
        self.orders.push((index, Order::Release { line, keep }));
    }

    /// Run, end, outcome, operator, task.
    fn history_line(&self, host: HostIndex, outcome: HostOutcome) -> String {
        let site = self.run.plan.hosts.get(host.0).map(|host| host.site.to_string()).unwrap_or_default();
        let (outcome, now) = (outcome.describe().replace(' ', "-"), (self.run.now)());
        format!("{} {now:.0} {outcome} {} {site} {}", self.run.id, word(&self.run.by), self.run.plan.task)
    }

    fn finish_host(&mut self, settled: Settlement) {
        let locked = self.host(settled.host).locked;
        self.host(settled.host).orders = None;
        self.tell(Fact::HostFinished {
            host: self.label(settled.host),
            outcome: settled.outcome,
            reason: settled.reason,
            in_force: settled.in_force,
            kept: settled.kept,
            locked,
        });
    }

    pub(super) fn on_released(&mut self, index: HostIndex, released: Result<(), String>) {
        let Some(Busy::Releasing(mut settled)) = self.host(index).busy.take() else { return };
        match released {
            Ok(()) => {
                self.host(index).locked = false;
                self.tell(Fact::LockReleased { host: self.label(index) });
            }
            Err(reason) => {
                let before = settled.reason.take().map(|before| format!("{before}; ")).unwrap_or_default();
                settled.reason = Some(format!("{before}its lock could not be given back: {reason}"));
            }
        }
        self.finish_host(*settled);
    }

    /// Locks are given back before the hosts are told to have finished. One that does not answer keeps its lock, and that is told.
    pub(super) async fn wait_for_releases(&mut self) {
        self.flush();
        let deadline = tokio::time::Instant::now() + RELEASE;
        while self.hosts.iter().any(|host| matches!(host.busy, Some(Busy::Releasing(_)))) {
            match tokio::time::timeout_at(deadline, self.messages.recv()).await {
                Ok(Some((host, message))) => self.on_message(host, message),
                Ok(None) | Err(_) => break,
            }
        }
        for index in (0..self.hosts.len()).map(HostIndex) {
            if matches!(self.host(index).busy, Some(Busy::Releasing(_))) {
                self.on_released(index, Err("no answer".to_owned()));
            }
        }
    }
}

/// One word of a line on a host.
fn word(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join("_")
}
