//! What a resumed run begins with: its variables, how much of the output is on record, and what to tell.

use std::collections::BTreeMap;

use tracing::debug;

use super::dispatcher::Dispatcher;
use super::run::Resumed;
use super::task::{Attempt, Recorded, Task};
use crate::model::plan::plan::HostIndex;
use crate::model::run::event::Fact;
use crate::model::run::host_summary::StepKind;
use crate::model::run::outcome::StepOutcome;
use crate::model::run::past::{Past, PastFact};
use crate::model::run::scheduler::StepIndex;

impl Dispatcher<'_> {
    /// Announces that the run continues, and what was decided; restores what an earlier controller knew.
    pub(super) fn resume(&mut self, resumed: Resumed) {
        let Resumed { past, summary, direction, decided, given_up, recorded } = resumed;
        self.summary = summary;
        debug!(?direction, decided = decided.len(), given_up = given_up.len(), "run resumed");
        self.tell(Fact::RunResumed { direction, by: self.run.by.clone() });
        for (step, decision) in decided {
            self.tell(Fact::StepDecided { host: self.label(step.host), step: self.path(step.at), decision });
        }
        for host in given_up {
            self.tell(Fact::HostGivenUp { host: self.label(host), by: self.run.by.clone() });
        }
        self.remember(&past);
        for (host, out, err) in recorded {
            self.host(host).recorded = Recorded { out, err };
        }
        self.past = Some(past);
    }

    /// Sets the variables that steps of the past registered, as they were for each undo.
    fn remember(&mut self, past: &Past) {
        // A value is told between the beginning and the end of its step.
        let mut begun: BTreeMap<HostIndex, Attempt> = BTreeMap::new();
        for (host, fact) in past.facts() {
            match fact {
                PastFact::Began { at, attempt, kind: StepKind::Run } => {
                    begun.insert(host, Attempt { kind: StepKind::Run, at: *at, nth: *attempt });
                }
                PastFact::Registered { name, value } => {
                    if let Some(attempt) = begun.remove(&host) {
                        self.set_variable(host, attempt.at, name, value);
                    }
                }
                PastFact::Ended { at, kind: StepKind::Run, outcome, .. } => {
                    self.keep_for_undo(host, *at);
                    let registers = self.step(*at).register.clone().filter(|_| *outcome == StepOutcome::Succeeded);
                    // It has a value, which is not on record: a secret.
                    if let (Some(name), Some(attempt)) = (registers, begun.remove(&host)) {
                        self.host(host).secrets.push(Attempt { at: *at, ..attempt });
                        if self.is_shared(*at) {
                            self.unread.insert(name, host);
                        }
                    }
                }
                PastFact::UndoPlanned { at } => self.keep_for_undo(host, *at),
                // One that cannot be reached now keeps its lock, and that is told.
                PastFact::LockRequested => self.host(host).locked = true,
                PastFact::Locked => {
                    self.host(host).locked = true;
                    self.host(host).was_locked = true;
                }
                PastFact::Taken | PastFact::Released | PastFact::GivenUp | PastFact::Unreachable => {
                    self.host(host).locked = false;
                }
                PastFact::Began { .. } | PastFact::Ended { .. } | PastFact::Decided { .. } => {}
            }
        }
        for step in past.open_steps().iter().filter(|step| step.is_unknown()) {
            self.host(step.host).in_flight = true;
        }
    }

    /// The steps whose secret values are not on record. They are on the host, and are read there once more.
    pub(super) fn secrets(&mut self, host: HostIndex) -> Vec<Task> {
        let secrets = std::mem::take(&mut self.host(host).secrets);
        let task = |attempt: Attempt| {
            // It is not run: what its command takes may be a secret that was not read yet itself.
            let command = self.run.plan.run(host, attempt.at)?.bind(|_| Some(String::new())).finish().ok()?;
            Some(self.task(host, attempt, command))
        };
        secrets.into_iter().filter_map(task).collect()
    }

    /// Takes a secret value of the past, for the steps to come and for the undos of those that have ended since.
    pub(super) fn restore(&mut self, host: HostIndex, at: StepIndex, value: &str) {
        let Some(name) = self.step(at).register.clone() else { return };
        self.unread.remove(&name);
        self.register_secret(host, at, &name, value);
        let is_its_end = |(of, fact): &(HostIndex, &PastFact)| matches!(fact, PastFact::Ended { at: ended, kind: StepKind::Run, .. } if (*of, *ended) == (host, at));
        let is_another = |fact: &PastFact| matches!(fact, PastFact::Registered { name: other, .. } if *other == name);
        let facts = self.past.iter().flat_map(Past::facts).skip_while(|fact| !is_its_end(fact));
        let since: Vec<(HostIndex, StepIndex)> = facts
            .take_while(|(_, fact)| !is_another(fact))
            .filter_map(|(of, fact)| match fact {
                PastFact::Ended { at, kind: StepKind::Run, .. } | PastFact::UndoPlanned { at } => Some((of, *at)),
                _ => None,
            })
            .filter(|(of, _)| *of == host || self.is_shared(at))
            .filter(|(of, ended)| self.undo_names(*of, *ended).contains(&name))
            .collect();
        for (of, ended) in since {
            self.host(of).kept.entry(ended).or_default().insert(name.clone(), value.to_owned());
        }
    }
}
