//! The steps of each host in a plan, and how far the host has come.
//!
//! The live view asks about every host ten times a second, so an answer is one pass over the steps at most, and allocates nothing.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::plan::command::CommandTemplate;
use crate::model::plan::plan::{HostIndex, Plan, PlanHost, PlanPhase, PlanStep};
use crate::model::run::host_summary::{HostSummary, StepKind};
use crate::model::run::outcome::StepOutcome;
use crate::model::text::name::{HostLabel, PhaseName, StepPath};

/// A plan, in which hosts are found by their label.
#[derive(Debug, Clone)]
pub struct Agenda {
    plan: Arc<Plan>,
    hosts: HashMap<HostLabel, HostIndex>,
}

/// How far an idle host has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The plan does not have this host, or what it did last.
    Unknown,
    /// Its next step is in this phase.
    Before(&'a PhaseName),
    /// It has finished its steps of one phase, and the next one is in another.
    Between {
        done: &'a PhaseName,
        next: &'a PhaseName,
    },
    Done,
}

impl Agenda {
    pub fn of(plan: &Arc<Plan>) -> Self {
        let label = |(index, host): (usize, &PlanHost)| (host.label.clone(), HostIndex(index));
        Self { plan: Arc::clone(plan), hosts: plan.hosts.iter().enumerate().map(label).collect() }
    }

    pub fn host(&self, host: &HostLabel) -> Option<&PlanHost> {
        self.plan.hosts.get(self.hosts.get(host)?.0)
    }

    /// A step, and what it or its undo does on a host.
    pub fn step(&self, host: &HostLabel, path: &StepPath, kind: StepKind) -> Option<(&PlanStep, CommandTemplate)> {
        let index = *self.hosts.get(host)?;
        let (at, _, step) = self.plan.steps().find(|(.., step)| &step.path == path)?;
        let command = match kind {
            StepKind::Run => self.plan.run(index, at),
            StepKind::Undo => self.plan.undo(index, at),
        };
        Some((step, command?))
    }

    /// The number of a step on a host, from 1, and the number of all its steps. Steps that are only an undo do not count.
    pub fn number(&self, host: &HostLabel, step: &StepPath) -> Option<(usize, usize)> {
        let index = self.hosts.get(host)?;
        let mut steps = self.steps().filter(|(_, step)| step.runs_on(*index));
        let number = steps.by_ref().position(|(_, planned)| &planned.path == step)? + 1;
        Some((number, number + steps.count()))
    }

    pub fn progress(&self, host: &HostSummary) -> Progress<'_> {
        let Some(index) = self.hosts.get(&host.host) else { return Progress::Unknown };
        let mut steps = self.steps();
        // A host begins its steps in the order of the plan.
        let last = host
            .steps()
            .rfind(|step| step.kind == StepKind::Run && step.outcome.as_ref().is_some_and(StepOutcome::is_success));
        let done = last.map(|last| steps.find(|(_, step)| step.path == last.step));
        match (done, steps.find(|(_, step)| step.runs_on(*index))) {
            (Some(None), _) => Progress::Unknown,
            (_, None) => Progress::Done,
            (Some(Some((done, _))), Some((next, _))) if done.name != next.name => {
                Progress::Between { done: &done.name, next: &next.name }
            }
            (_, Some((next, _))) => Progress::Before(&next.name),
        }
    }

    /// Has the host undone all its steps that have an undo?
    pub fn is_undone(&self, host: &HostSummary) -> bool {
        let Some(index) = self.hosts.get(&host.host) else { return false };
        // Undos go backwards: only what the plan has before the last one may be left.
        let Some(last) = host.undone().next_back() else { return false };
        let mut before = self.steps().map(|(_, step)| step).take_while(|step| &step.path != last);
        let mut began = host.steps().filter(|step| step.kind == StepKind::Run);
        let mut ran = |step: &PlanStep| {
            let outcome = began.find(|known| known.step == step.path).and_then(|known| known.outcome.as_ref());
            outcome.is_some_and(|o| !matches!(o, StepOutcome::Skipped { .. } | StepOutcome::NotStarted { .. }))
        };
        !before.any(|step| {
            // A step that is only an undo is undone before the steps above it.
            step.has_undo_on(*index) && (step.is_only_undo() || ran(step))
        })
    }

    fn steps(&self) -> impl Iterator<Item = (&PlanPhase, &PlanStep)> {
        self.plan.steps().map(|(_, phase, step)| (phase, step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run::event::Fact;
    use crate::model::run::scripted::{Script, host, phase, plan, step};
    use crate::model::run::summary::Summary;

    #[test]
    fn a_host_is_undone_when_nothing_is_left_before_its_last_undo() {
        let steps = [
            ("a/only-undo", "", "x"),
            ("a/skipped", "x", "x"),
            ("a/kept", "x", ""),
            ("b/first", "x", "x"),
            ("b/last", "x", "x"),
        ];
        let agenda = Agenda::of(&plan(&["web1"], &steps).into());
        let mut script = Script::default();
        script.start("mysite", "deploy", &["web1"]);
        let skipped =
            Fact::StepSkipped { host: host("web1"), step: step("a/skipped"), reason: "there is nothing to do".into() };
        script.fact(skipped).step("web1", "a/kept").step("web1", "b/first");
        script.begin("web1", "b/last").end("web1", "b/last", StepOutcome::Failed { status: 1 }, 10);
        let undone = |script: &Script| agenda.is_undone(Summary::of(&script.events).host("web1").unwrap());
        assert!(!undone(&script));
        for path in ["b/last", "b/first"] {
            assert!(!undone(script.undo("web1", path, StepOutcome::Succeeded)), "{path}");
        }
        assert!(undone(script.undo("web1", "a/only-undo", StepOutcome::Succeeded)));
        assert!(!undone(script.undo("web1", "a/only-undo", StepOutcome::Failed { status: 1 })));
    }

    #[test]
    fn the_next_step_is_one_that_the_host_has() {
        let mut plan = plan(&["web1", "web2"], &[("a/one", "x", ""), ("b/two", "x", ""), ("c/undo", "", "x")]);
        plan.phases[1].steps[0].hosts = [HostIndex(0)].into_iter().collect();
        let agenda = Agenda::of(&plan.into());
        let mut script = Script::default();
        script.start("mysite", "deploy", &["web1", "web2", "other"]);
        let before = Summary::of(&script.events);
        script.step("web1", "a/one").step("web2", "a/one").step("other", "a/one");
        let after = Summary::of(&script.events);
        let (a, b) = (&phase("a"), &phase("b"));
        for (host, first, then) in [
            ("web1", Progress::Before(a), Progress::Between { done: a, next: b }),
            ("web2", Progress::Before(a), Progress::Done),
            ("other", Progress::Unknown, Progress::Unknown),
        ] {
            assert_eq!(agenda.progress(before.host(host).unwrap()), first, "{host}");
            assert_eq!(agenda.progress(after.host(host).unwrap()), then, "{host}");
        }
    }
}
