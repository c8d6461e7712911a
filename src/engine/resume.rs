//! What a resumed run begins with: its variables, how much of the output is on record, and what to tell.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Resumed;
use super::dispatcher::Dispatcher;
use super::worker::{Recorded, Task};
use crate::model::durable::StepKey;
use crate::model::event::Fact;
use crate::model::host_summary::StepKind;
use crate::model::past::PastFact;
use crate::model::plan::HostIndex;
use crate::model::scheduler::StepIndex;

impl Dispatcher<'_> {
    /// Tells that the run goes on, and what was decided.
    pub(super) fn tell_resumed(&mut self) {
        let Some(Resumed { direction, decided, .. }) = &self.run.resumed else { return };
        let (direction, decided) = (*direction, decided.clone());
        self.tell(Fact::RunResumed { direction, by: self.run.by.clone() });
        for (step, decision) in decided {
            self.tell(Fact::StepDecided { host: self.label(step.host), step: self.path(step.at), decision });
        }
    }

    /// Sets the variables that steps of the past registered, as they were for each undo.
    pub(super) fn remember(&mut self) {
        let Some(resumed) = self.run.resumed.take() else { return };
        let plan = Arc::clone(&self.run.plan);
        // A value is told between the beginning and the end of its step.
        let mut begun: BTreeMap<HostIndex, (StepIndex, u32)> = BTreeMap::new();
        for (host, fact) in resumed.past.facts() {
            match fact {
                PastFact::Began { at, attempt, kind: StepKind::Run } => {
                    begun.insert(host, (*at, *attempt));
                }
                PastFact::Registered { name, value } => {
                    let once = |(at, _): &(StepIndex, u32)| plan.phases.get(at.phase).is_some_and(|phase| phase.once);
                    let shared = begun.get(&host).is_some_and(once);
                    let hosts = if shared { self.hosts.as_mut_slice() } else { std::slice::from_mut(self.host(host)) };
                    for host in hosts {
                        host.registered.insert(name.clone(), value.clone());
                    }
                }
                PastFact::Ended { at, kind: StepKind::Run, outcome, .. } => {
                    self.keep_for_undo(host, *at);
                    let planned = self.step(*at);
                    let secret = planned.secret_output && planned.register.is_some() && outcome.is_success();
                    if let (true, Some((_, attempt))) = (secret, begun.get(&host)) {
                        self.host(host).secrets.push((*at, *attempt));
                    }
                }
                PastFact::Began { .. }
                | PastFact::Ended { .. }
                | PastFact::Approached
                | PastFact::Locked
                | PastFact::Released
                | PastFact::Unreachable
                | PastFact::Decided { .. } => {}
            }
        }
        for (host, out, err) in resumed.recorded {
            self.host(host).recorded = Recorded { out, err };
        }
        self.past = Some(resumed.past);
    }

    /// The steps whose secret values are not on record. They are on the host, and are read there once more.
    pub(super) fn secrets(&mut self, host: HostIndex) -> Vec<(StepIndex, Task)> {
        let secrets = std::mem::take(&mut self.host(host).secrets);
        let task = |(at, attempt)| {
            let command = self.commands(host, at).ok().map(|commands| self.ready(host, &commands.run))?.ok()?;
            let work = self.work(host, at, StepKey::run(host, at, attempt), command, Vec::new());
            Some((at, self.task(at, work, true)))
        };
        secrets.into_iter().filter_map(task).collect()
    }
}
