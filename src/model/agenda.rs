//! The steps of each host in a plan, and how far the host has come.

use std::collections::BTreeMap;

use super::host_summary::{HostSummary, StepKind};
use super::name::{HostLabel, PhaseName, StepPath};
use super::outcome::StepOutcome;
use super::plan::Plan;

/// The steps of each host, in the order of the plan.
#[derive(Debug, Clone, Default)]
pub struct Agenda {
    hosts: BTreeMap<HostLabel, Vec<PlannedStep>>,
}

#[derive(Debug, Clone)]
struct PlannedStep {
    phase: PhaseName,
    path: StepPath,
    /// It is not only an undo.
    runs: bool,
    has_undo: bool,
}

/// How far an idle host has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The plan does not have this host.
    Unknown,
    /// Its next step is in this phase.
    Before(&'a PhaseName),
    /// It has finished its steps of one phase, and the next one is in another.
    Between {
        /// The finished phase.
        done: &'a PhaseName,
        /// The next phase.
        next: &'a PhaseName,
    },
    /// It has finished all its steps.
    Done,
}

impl Agenda {
    /// Reads a plan.
    pub fn of(plan: &Plan) -> Self {
        let mut hosts: BTreeMap<HostLabel, Vec<PlannedStep>> =
            plan.hosts.iter().map(|host| (host.label.clone(), Vec::new())).collect();
        for phase in &plan.phases {
            for step in &phase.steps {
                for (index, commands) in &step.commands {
                    let Some(steps) = plan.hosts.get(index.0).and_then(|host| hosts.get_mut(&host.label)) else {
                        continue;
                    };
                    steps.push(PlannedStep {
                        phase: phase.name.clone(),
                        path: step.path.clone(),
                        runs: commands.run.is_some(),
                        has_undo: commands.undo.is_some(),
                    });
                }
            }
        }
        Self { hosts }
    }

    /// The number of a step on a host, from 1, and the number of all its steps. Steps that are only an undo do not count.
    pub fn number(&self, host: &HostLabel, step: &StepPath) -> Option<(usize, usize)> {
        let mut steps = self.hosts.get(host)?.iter().filter(|step| step.runs);
        let number = steps.by_ref().position(|planned| &planned.path == step)? + 1;
        Some((number, number + steps.count()))
    }

    /// How far a host has come.
    pub fn progress(&self, host: &HostSummary) -> Progress<'_> {
        let Some(steps) = self.hosts.get(&host.host) else { return Progress::Unknown };
        let steps: Vec<&PlannedStep> = steps.iter().filter(|step| step.runs).collect();
        let done = |step: &&PlannedStep| outcome(host, step, StepKind::Run).is_some_and(StepOutcome::is_success);
        let last = steps.iter().rposition(done);
        match (last.and_then(|last| steps.get(last)), steps.get(last.map_or(0, |last| last + 1))) {
            (_, None) => Progress::Done,
            (Some(last), Some(next)) if last.phase != next.phase => {
                Progress::Between { done: &last.phase, next: &next.phase }
            }
            (_, Some(next)) => Progress::Before(&next.phase),
        }
    }

    /// Has the host undone all its steps that have an undo?
    pub fn is_undone(&self, host: &HostSummary) -> bool {
        let steps = self.hosts.get(&host.host).map(Vec::as_slice).unwrap_or_default();
        let ran = |step: &PlannedStep| {
            let outcome = outcome(host, step, StepKind::Run);
            outcome.is_some_and(|o| !matches!(o, StepOutcome::Skipped { .. } | StepOutcome::NotStarted { .. }))
        };
        let undone = |step: &PlannedStep| outcome(host, step, StepKind::Undo) == Some(&StepOutcome::Succeeded);
        // A step that is only an undo is undone before the steps above it.
        let above = steps.iter().rposition(ran).map_or(0, |last| last + 1);
        let mut due = steps.iter().take(above).filter(|step| step.has_undo && (!step.runs || ran(step)));
        host.undone().next().is_some() && due.all(undone)
    }
}

/// How a step of the host, or its undo, ended.
fn outcome<'h>(host: &'h HostSummary, step: &PlannedStep, kind: StepKind) -> Option<&'h StepOutcome> {
    host.steps().find(|known| known.kind == kind && known.step == step.path)?.outcome.as_ref()
}
