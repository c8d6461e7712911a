//! What a run has done so far, read from its events: what a resumed run begins with.
//!
//! Nothing is kept of the order between hosts but the order of the events: the scheduler makes its state anew from what happened on each
//! host ([`crate::model::run::scheduler::Scheduler::resume`]), and asks the hosts about what was not finished.

use std::collections::BTreeMap;

use crate::model::plan::plan::{HostIndex, Plan};
use crate::model::run::event::{Decision, Direction, Event, Fact};
use crate::model::run::host_summary::StepKind;
use crate::model::run::outcome::{HostOutcome, StepOutcome};
use crate::model::run::scheduler::StepIndex;
use crate::model::text::name::{HostLabel, StepPath, VarName};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Past {
    facts: Vec<(HostIndex, PastFact)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PastFact {
    /// The host was about to be locked for the run.
    LockRequested,
    /// The host was locked for the run, and has a folder for it.
    Locked,
    /// Its lock was taken away while the run worked there: what became of the site, nobody knows.
    Taken,
    /// The lock was given back, and the folder is gone.
    Released,
    /// It could not be reached when the run began.
    Unreachable,
    /// An attempt of a step, or of an undo, was about to be sent.
    Began {
        at: StepIndex,
        attempt: u32,
        kind: StepKind,
    },
    /// The host came to a step that is only an undo.
    UndoPlanned {
        at: StepIndex,
    },
    Ended {
        at: StepIndex,
        kind: StepKind,
        outcome: StepOutcome,
        retrying: bool,
    },
    GivenUp,
    Decided {
        at: StepIndex,
        decision: Decision,
    },
    Registered {
        name: VarName,
        value: String,
    },
}

/// A step whose last attempt has not succeeded, nor been undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenStep {
    pub host: HostIndex,
    pub at: StepIndex,
    pub kind: StepKind,
    /// How it ended; none when the events end before it did.
    pub outcome: Option<StepOutcome>,
}

impl OpenStep {
    /// Does nobody know how it ended?
    pub fn is_unknown(&self) -> bool {
        matches!(self.outcome, None | Some(StepOutcome::Detached { .. } | StepOutcome::Unknown { .. }))
    }
}

impl Past {
    pub fn of<'a>(plan: &Plan, events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut reader = PastReader::new(plan);
        events.into_iter().for_each(|event| reader.apply(event));
        reader.past
    }

    pub fn facts(&self) -> impl Iterator<Item = (HostIndex, &PastFact)> {
        self.facts.iter().map(|(host, fact)| (*host, fact))
    }

    pub fn of_host(&self, host: HostIndex) -> impl Iterator<Item = &PastFact> {
        self.facts.iter().filter(move |(of, _)| *of == host).map(|(_, fact)| fact)
    }

    pub fn decide(&mut self, host: HostIndex, at: StepIndex, decision: Decision) {
        self.facts.push((host, PastFact::Decided { at, decision }));
    }

    pub fn give_up(&mut self, host: HostIndex) {
        self.facts.push((host, PastFact::GivenUp));
    }

    /// The steps that are in flight, or have ended badly and were not undone: at most one a host.
    pub fn open_steps(&self) -> Vec<OpenStep> {
        let mut open: BTreeMap<HostIndex, OpenStep> = BTreeMap::new();
        for (host, fact) in self.facts() {
            match fact {
                PastFact::Began { at, kind, .. } => {
                    open.insert(host, OpenStep { host, at: *at, kind: *kind, outcome: None });
                }
                PastFact::Ended { at, kind, outcome, .. } if !outcome.is_success() => {
                    open.insert(host, OpenStep { host, at: *at, kind: *kind, outcome: Some(outcome.clone()) });
                }
                PastFact::Ended { .. } | PastFact::Decided { .. } | PastFact::GivenUp => {
                    open.remove(&host);
                }
                PastFact::LockRequested
                | PastFact::Locked
                | PastFact::Taken
                | PastFact::Released
                | PastFact::Unreachable
                | PastFact::UndoPlanned { .. }
                | PastFact::Registered { .. } => {}
            }
        }
        open.into_values().collect()
    }

    /// Does a resumed run start over? Nothing was begun, so all hosts take part again, not only those that were reached.
    pub fn begins_anew(&self) -> bool {
        self.is_empty() && !self.facts.iter().any(|(_, fact)| *fact == PastFact::GivenUp)
    }

    /// Did nothing happen on any host?
    pub fn is_empty(&self) -> bool {
        !self.facts.iter().any(|(_, fact)| matches!(fact, PastFact::Began { .. } | PastFact::UndoPlanned { .. }))
    }
}

/// Reads the events of a run, one by one. What names hosts or steps that the plan does not have is passed over.
pub struct PastReader<'p> {
    hosts: BTreeMap<&'p HostLabel, HostIndex>,
    steps: BTreeMap<&'p StepPath, StepIndex>,
    /// What they come to so far.
    pub past: Past,
}

impl<'p> PastReader<'p> {
    pub fn new(plan: &'p Plan) -> Self {
        let hosts = plan.hosts.iter().enumerate().map(|(index, host)| (&host.label, HostIndex(index))).collect();
        let steps = plan.steps().map(|(at, _, step)| (&step.path, at)).collect();
        Self { hosts, steps, past: Past::default() }
    }

    pub fn apply(&mut self, event: &Event) {
        // All hosts were asked again.
        if matches!(event.fact, Fact::RunResumed { direction: Direction::Forward, .. }) && self.past.begins_anew() {
            self.past.facts.retain(|(_, fact)| *fact != PastFact::Unreachable);
        }
        let Some(host) = event.fact.host().and_then(|host| self.hosts.get(host)).copied() else { return };
        let at = |path: &StepPath| self.steps.get(path).copied();
        self.past.facts.extend(past_fact(&event.fact, at).map(|fact| (host, fact)));
    }
}

fn past_fact(fact: &Fact, at: impl Fn(&StepPath) -> Option<StepIndex>) -> Option<PastFact> {
    Some(match fact {
        Fact::LockAcquired { .. } => PastFact::Locked,
        Fact::StepStarted { step, attempt, .. } | Fact::StepResumed { step, attempt, undo: false, .. } => {
            PastFact::Began { at: at(step)?, attempt: *attempt, kind: StepKind::Run }
        }
        Fact::UndoStarted { step, attempt, .. } | Fact::StepResumed { step, attempt, undo: true, .. } => {
            PastFact::Began { at: at(step)?, attempt: *attempt, kind: StepKind::Undo }
        }
        Fact::StepSkipped { step, reason, .. } => {
            let outcome = StepOutcome::Skipped { reason: reason.clone() };
            PastFact::Ended { at: at(step)?, kind: StepKind::Run, outcome, retrying: false }
        }
        Fact::StepFinished { step, outcome, retrying, .. } => {
            PastFact::Ended { at: at(step)?, kind: StepKind::Run, outcome: outcome.clone(), retrying: *retrying }
        }
        Fact::UndoFinished { step, outcome, .. } => {
            PastFact::Ended { at: at(step)?, kind: StepKind::Undo, outcome: outcome.clone(), retrying: false }
        }
        Fact::UndoPlanned { step, .. } => PastFact::UndoPlanned { at: at(step)? },
        Fact::StepDecided { step, decision, .. } => PastFact::Decided { at: at(step)?, decision: *decision },
        Fact::HostGivenUp { .. } => PastFact::GivenUp,
        Fact::Registered { name, value, .. } => PastFact::Registered { name: name.clone(), value: value.clone() },
        Fact::LockRequested { .. } => PastFact::LockRequested,
        Fact::HostFinished { outcome: HostOutcome::Unreachable, .. } => PastFact::Unreachable,
        // It was never locked, or is not any more.
        Fact::HostFinished { outcome: HostOutcome::Unknown, locked: false, .. } => PastFact::Taken,
        Fact::LockReleased { .. } | Fact::HostFinished { locked: false, .. } => PastFact::Released,
        Fact::HostStarted { .. }
        | Fact::RunStarted { .. }
        | Fact::RunResumed { .. }
        | Fact::Connected { .. }
        | Fact::LessPromised { .. }
        | Fact::PhaseStarted { .. }
        | Fact::BatchStarted { .. }
        | Fact::Output { .. }
        | Fact::FindingReported { .. }
        | Fact::ChangeDescribed { .. }
        | Fact::ConnectionLost { .. }
        | Fact::Reattached { .. }
        | Fact::HostFinished { .. }
        | Fact::BatchFinished { .. }
        | Fact::WatchStarted { .. }
        | Fact::WatchFailed { .. }
        | Fact::RolloutStopped { .. }
        | Fact::Interrupted { .. }
        | Fact::AcceptUnused { .. }
        | Fact::ReporterDropped { .. }
        | Fact::RunFinished { .. } => return None,
    })
}
