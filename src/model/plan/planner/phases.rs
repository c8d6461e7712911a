//! Tasks made of tasks, laid out flat.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{PlanError, StepSelection};
use crate::model::config::diagnostic::nearest;
use crate::model::recipe::recipe::{Body, Recipe, Step, Task, TaskBody};
use crate::model::text::name::{PhaseName, RoleName, StepPath, TaskName};

#[derive(Debug, Clone)]
pub struct FlatPhase<'a> {
    pub name: PhaseName,
    pub once: bool,
    pub rolling: bool,
    pub on: Option<RoleName>,
    pub steps: Vec<FlatStep<'a>>,
    pub span: Range<usize>,
}

/// A step with all the roles that the tasks around it ask for.
#[derive(Debug, Clone)]
pub struct FlatStep<'a> {
    pub path: StepPath,
    pub step: &'a Step,
    roles: Vec<RoleName>,
}

impl FlatStep<'_> {
    pub fn is_for(&self, roles: &[RoleName]) -> bool {
        self.roles.iter().chain(&self.step.on).all(|role| roles.contains(role))
    }
}

impl FlatPhase<'_> {
    /// All roles that the phase or one of its steps asks for.
    pub fn roles(&self) -> BTreeSet<&RoleName> {
        self.steps.iter().flat_map(|s| s.roles.iter().chain(&s.step.on)).chain(&self.on).collect()
    }
}

/// The phases of all tasks, one after another. Phases of one name get a number, so that paths are unique.
pub fn flatten<'a>(recipe: &'a Recipe, tasks: &[TaskName]) -> Result<Vec<FlatPhase<'a>>, PlanError> {
    let mut phases = Vec::new();
    for name in tasks {
        add_task(recipe, find(recipe, name.as_str())?, &mut phases)?;
    }
    number_steps(&mut phases)?;
    Ok(phases)
}

/// A step that stands in its phase several times, such as `restart` before and after, gets a number too: a path is an identity.
fn number_steps(phases: &mut [FlatPhase<'_>]) -> Result<(), PlanError> {
    let mut seen = BTreeSet::new();
    for step in phases.iter_mut().flat_map(|phase| &mut phase.steps) {
        let first = step.path.clone();
        let mut n = 2;
        while !seen.insert(step.path.clone()) {
            step.path = StepPath::parse(&format!("{first}-{n}"))?;
            n += 1;
        }
    }
    Ok(())
}

pub fn find<'a>(recipe: &'a Recipe, name: &str) -> Result<&'a Task, PlanError> {
    // Old fingers know the underscores.
    let dashed = name.replace('_', "-");
    recipe.task(name).or_else(|| recipe.task(&dashed)).ok_or_else(|| PlanError::UnknownTask {
        task: name.to_owned(),
        recipe: recipe.name.to_string(),
        nearest: nearest(name, recipe.tasks.iter().map(|task| task.name.as_str())).map(str::to_owned),
        known: recipe.tasks.iter().map(|task| task.name.to_string()).collect(),
    })
}

fn add_task<'a>(recipe: &'a Recipe, task: &'a Task, phases: &mut Vec<FlatPhase<'a>>) -> Result<(), PlanError> {
    match &task.body {
        TaskBody::Plain(Body::Tasks(tasks)) => {
            for inner in tasks {
                add_task(recipe, find(recipe, inner.value.as_str())?, phases)?;
            }
        }
        TaskBody::Plain(body) => {
            let name = unique(task.name.as_str(), phases)?;
            let steps = phase_steps(recipe, body, &name)?;
            phases.push(FlatPhase { name, once: false, rolling: false, on: None, steps, span: task.span.clone() });
        }
        TaskBody::Phases(inner) => {
            for phase in inner {
                let name = unique(phase.name.as_str(), phases)?;
                let steps = phase_steps(recipe, &phase.body, &name)?;
                let (once, rolling, on) = (phase.once, phase.rolling, phase.on.clone());
                phases.push(FlatPhase { name, once, rolling, on, steps, span: phase.span.clone() });
            }
        }
    }
    Ok(())
}

fn unique(name: &str, phases: &[FlatPhase<'_>]) -> Result<PhaseName, PlanError> {
    // One look at all phases for all numbers: a task may name another ten thousand times.
    let taken: BTreeSet<&str> = phases.iter().map(|phase| phase.name.as_str()).collect();
    let numbered = (2..).map(|n| format!("{name}-{n}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    Ok(PhaseName::parse(&names.find(|name| !taken.contains(name.as_str())).unwrap_or_default())?)
}

fn phase_steps<'a>(recipe: &'a Recipe, body: &'a Body, name: &PhaseName) -> Result<Vec<FlatStep<'a>>, PlanError> {
    let mut steps = Vec::new();
    add_steps(recipe, body, (name, None), &[], &mut steps)?;
    Ok(steps)
}

/// The steps below a phase. `place`: the phase, and the task that the body is of. Phases of a task count only by their role.
fn add_steps<'a>(
    recipe: &'a Recipe,
    body: &'a Body,
    place: (&PhaseName, Option<&TaskName>),
    roles: &[RoleName],
    steps: &mut Vec<FlatStep<'a>>,
) -> Result<(), PlanError> {
    match body {
        Body::Steps(own) => {
            for step in own {
                steps.push(flat_step(place, step, roles)?);
            }
        }
        Body::Tasks(tasks) => {
            for name in tasks {
                let task = find(recipe, name.value.as_str())?;
                for (on, body) in task.bodies() {
                    let roles: Vec<RoleName> = roles.iter().chain(on).cloned().collect();
                    add_steps(recipe, body, (place.0, Some(&task.name)), &roles, steps)?;
                }
            }
        }
    }
    Ok(())
}

fn flat_step<'a>(
    (phase, task): (&PhaseName, Option<&TaskName>),
    step: &'a Step,
    roles: &[RoleName],
) -> Result<FlatStep<'a>, PlanError> {
    // `close/maintenance-on/maintenance-on` says the same thing twice.
    let path = match task.filter(|task| task.as_str() != step.name.as_str()) {
        Some(task) => format!("{phase}/{task}/{}", step.name),
        None => format!("{phase}/{}", step.name),
    };
    Ok(FlatStep { path: StepPath::parse(&path)?, step, roles: roles.to_vec() })
}

/// Leaves out the steps that the command line does not want.
pub fn select(flat: &mut Vec<FlatPhase<'_>>, selection: &StepSelection) -> Result<(), PlanError> {
    let known: Vec<(String, String)> =
        flat.iter().flat_map(|p| &p.steps).map(|s| (s.step.name.to_string(), s.path.to_string())).collect();
    let is = |step: &FlatStep<'_>, name: &str| step.step.name.as_str() == name || step.path.as_str() == name;
    let typed = selection.start_at.iter().map(|n| ("start-at", n));
    let typed =
        typed.chain(selection.only.iter().map(|n| ("only", n))).chain(selection.skip.iter().map(|n| ("skip", n)));
    for (flag, name) in typed {
        if !known.iter().any(|(step, path)| step == name || path == name) {
            let names: BTreeSet<&str> = known.iter().map(|(step, _)| step.as_str()).collect();
            return Err(PlanError::UnknownStep {
                flag,
                name: name.clone(),
                nearest: nearest(name, names.iter().copied()).map(str::to_owned),
                known: names.into_iter().map(str::to_owned).collect(),
            });
        }
    }
    let mut started = selection.start_at.is_none();
    for phase in flat.iter_mut() {
        phase.steps.retain(|step| {
            started |= selection.start_at.as_deref().is_some_and(|name| is(step, name));
            let wanted = selection.only.is_empty() || selection.only.iter().any(|name| is(step, name));
            started && wanted && !selection.skip.iter().any(|name| is(step, name))
        });
    }
    flat.retain(|phase| !phase.steps.is_empty());
    Ok(())
}
