//! The locks of a run: what it asks of each host, and how they are given back when the host is done with.

use std::collections::BTreeSet;
use std::time::Duration;

use super::dispatcher::Dispatcher;
use super::host::{Busy, Host};
use super::message::Released;
use super::task::Order;
use crate::model::plan::book::Proof;
use crate::model::plan::plan::HostIndex;
use crate::model::recipe::files::VARIABLE;
use crate::model::run::cause::Cause;
use crate::model::run::event::{Fact, Proven};
use crate::model::run::outcome::HostOutcome;
use crate::model::run::reason::Reason;
use crate::model::run::scheduler::Settlement;
use crate::model::text::name::{StepPath, UserName};
use crate::remote::{Claim, Farewell};

/// How long the end of a run waits for hosts to take the lock back.
const RELEASE: Duration = Duration::from_secs(20);

impl Dispatcher<'_> {
    /// What the run locks on the host, when it locks anything.
    pub(super) fn lock(&self, index: HostIndex) -> Option<Claim> {
        if !self.run.plan.locks() {
            return None;
        }
        let book = self.run.plan.hosts.get(index.0)?.site_book();
        let steps = self.run.plan.steps().filter(|(.., step)| {
            let uses_files = || step.templates().any(|text| text.mentions(VARIABLE));
            (step.durable || !self.run.plan.files.is_empty() || uses_files()) && step.hosts.contains(index)
        });
        let users: BTreeSet<UserName> = steps.filter_map(|(at, ..)| self.run.plan.user(index, at)).collect();
        let host = self.hosts.get(index.0)?;
        let (began, by) = (self.began, word(&self.run.by));
        Some(Claim {
            run: self.run.id.clone(),
            host: index,
            book,
            since: format!("{began:.0} by {by}: {}", self.run.plan.task),
            resumed: host.was_locked,
            whole: self.past.is_some() && !host.in_flight,
            users: users.into_iter().collect(),
        })
    }

    /// The host is done with: it gets its lock back, unless the run keeps it, and is told to have finished.
    pub(super) fn settle(&mut self, settled: Settlement) {
        let index = settled.host;
        let host = self.host(index);
        if !host.locked || settled.keeps_lock || host.orders.is_none() || host.busy.is_some() {
            return self.finish_host(settled);
        }
        self.host(index).busy = Some(Busy::Releasing(Box::new(settled)));
        // What a run proves is known when all its hosts have succeeded, and goes into their books together with the lock.
        if self.run.plan.proves.is_empty() { self.give_back(index, None) } else { self.deferred.push(index) }
    }

    fn give_back(&mut self, index: HostIndex, proof: Option<Proof>) {
        let Some(Busy::Releasing(settled)) = &self.host(index).busy else { return };
        let (outcome, keep) = (settled.outcome, settled.outcome == HostOutcome::Held);
        let (line, sequence) = (self.history_line(index, outcome), self.sequence());
        self.orders.push((index, Order::Release(Box::new(Farewell { line, keep, sequence, proof }))));
    }

    /// The run's number: it has locked what it worked on, so nobody else has taken one there since.
    pub(super) fn sequence(&self) -> u64 {
        1 + self.hosts.iter().map(|host| host.sequence).max().unwrap_or_default()
    }

    /// Gives back what waited for the end of the run, and tells what the run has proven.
    pub(super) fn give_back_deferred(&mut self) -> Option<Proven> {
        let deferred = std::mem::take(&mut self.deferred);
        let succeeded = |host: &Host| matches!(&host.busy, Some(Busy::Releasing(settled)) if settled.outcome == HostOutcome::Succeeded);
        let whole = !self.summary.is_undo() && self.hosts.iter().all(succeeded);
        let proven = if whole { self.proven() } else { None };
        let proof = proven.as_ref().map(|Proven { name, value, also, accepted, .. }| Proof {
            name: name.clone(),
            value: value.clone(),
            also: also.clone(),
            accepted: accepted.clone(),
            run: self.run.id.clone(),
            sequence: self.sequence(),
            by: word(&self.run.by),
            age: None,
        });
        for index in deferred {
            self.give_back(index, proof.clone());
        }
        proven
    }

    /// Run, end, outcome, operator, task.
    fn history_line(&self, host: HostIndex, outcome: HostOutcome) -> String {
        let site = self.run.plan.hosts.get(host.0).map(|host| host.site.to_string()).unwrap_or_default();
        let (outcome, now) = (outcome.describe().replace(' ', "-"), (self.run.now)());
        format!("{} {now:.0} {outcome} {} {site} {}", self.run.id, word(&self.run.by), self.run.plan.task)
    }

    fn finish_host(&mut self, settled: Settlement) {
        let in_force = settled.in_force.iter().map(|path| self.effect_of(path)).collect();
        let locked = self.host(settled.host).locked;
        self.host(settled.host).orders = None;
        self.tell(Fact::HostFinished {
            host: self.label(settled.host),
            outcome: settled.outcome,
            reason: settled.reason,
            in_force,
            kept: settled.kept,
            locked,
        });
    }

    /// What a step leaves in force, in the words of the recipe.
    fn effect_of(&self, path: &StepPath) -> String {
        let step = self.run.plan.phases.iter().flat_map(|phase| &phase.steps).find(|step| step.path == *path);
        step.and_then(|step| step.effect.as_ref()).map_or_else(|| path.to_string(), |effect| effect.words.clone())
    }

    pub(super) fn on_released(&mut self, index: HostIndex, released: Released) {
        let Some(Busy::Releasing(mut settled)) = self.host(index).busy.take() else { return };
        let free = !matches!(released, Released::Kept(_));
        let reason = match released {
            Released::Free => None,
            Released::Unproven => {
                Some(Reason::new(Cause::NoBook, "what it has proven could not be written into the site's book"))
            }
            // Nobody knows what the other one has made of it since.
            Released::Taken(reason) => {
                settled.outcome = HostOutcome::Unknown;
                Some(reason)
            }
            // Not through: whoever takes the run up again gives it back.
            Released::Kept(reason) => {
                if settled.outcome == HostOutcome::Succeeded {
                    settled.outcome = HostOutcome::Detached;
                }
                Some(reason)
            }
        };
        if let Some(reason) = reason {
            // What is not in the books of all hosts proves nothing.
            self.unproven = true;
            settled.reason = Some(reason.following(settled.reason.take()));
        }
        if free {
            self.host(index).locked = false;
            self.tell(Fact::LockReleased { host: self.label(index) });
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
            let reason = Reason::new(Cause::LockKept, "its lock could not be given back: no answer");
            self.on_released(index, Released::Kept(reason));
        }
    }
}

/// One word of a line on a host.
fn word(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join("_")
}
