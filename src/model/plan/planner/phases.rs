//! Tasks made of tasks, laid out flat.

use std::collections::BTreeSet;

use super::error::PlanError;
use super::request::StepSelection;
use crate::model::config::diagnostic::{Place, nearest};
use crate::model::inventory::inventory::Site;
use crate::model::recipe::recipe::{Body, Recipe, Rolling, Spanned, Step, Surroundings, Task, TaskBody, TaskRef, Text};
use crate::model::text::name::{PhaseName, RoleName, StepPath, TaskName, VarName};

#[derive(Debug, Clone)]
pub struct FlatPhase<'a> {
    pub name: PhaseName,
    pub once: bool,
    pub rolling: &'a Rolling,
    pub on: Option<RoleName>,
    pub when: &'a [(Spanned<VarName>, String)],
    pub steps: Vec<FlatStep<'a>>,
    pub place: &'a Place,
}

/// A step with all the roles that the tasks around it ask for.
#[derive(Debug, Clone)]
pub struct FlatStep<'a> {
    pub path: StepPath,
    pub step: &'a Step,
    /// As whom, where and in which environment it runs.
    pub surroundings: Surroundings,
    roles: Vec<RoleName>,
    /// It, or what it is part of, is optional, and no host of the site has the role.
    left_out: bool,
}

impl FlatStep<'_> {
    /// The texts of the folder and the environment in which it runs, and of the user.
    pub fn around(&self) -> impl Iterator<Item = &Text> {
        self.surroundings.texts()
    }

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

/// A recipe, and the site that it is for.
#[derive(Clone, Copy)]
pub struct Of<'a> {
    pub recipe: &'a Recipe,
    pub site: &'a Site,
}

impl Of<'_> {
    /// Does the site do without something that is optional on that role?
    fn leaves_out(self, on: Option<&RoleName>, optional: bool) -> bool {
        optional && on.is_some_and(|role| !self.site.hosts.iter().any(|host| host.roles.contains(role)))
    }
}

/// Roles in the site's file that look like one that is optional in the recipe and that no host has: a misspelt `db` would deploy without the
/// database.
pub fn misspelt_roles(site: &Site, recipe: &Recipe) -> Vec<String> {
    let of = Of { recipe, site };
    let bodies = || recipe.all_tasks().flat_map(Task::bodies);
    let phases = bodies().filter_map(|(phase, _)| phase).map(|phase| (phase.on.as_ref(), phase.optional));
    let all = phases.chain(recipe.steps().map(|step| (step.on.as_ref(), step.optional)));
    let all: BTreeSet<(Option<&RoleName>, bool)> = all.collect();
    let known = |role: &RoleName| all.iter().any(|(on, _)| *on == Some(role));
    let missing = || all.iter().filter(|(on, optional)| of.leaves_out(*on, *optional)).filter_map(|(on, _)| *on);
    let roles: BTreeSet<&RoleName> =
        site.hosts.iter().flat_map(|host| &host.roles).filter(|role| !known(role)).collect();
    let meant = |role: &&RoleName| {
        let meant = nearest(role.as_str(), missing().map(RoleName::as_str))?;
        Some(format!("no task of recipe `{}` is for the role `{role}`; did you mean `{meant}`?", recipe.name))
    };
    roles.iter().filter_map(meant).collect()
}

/// Where the steps of a body stand in the phase.
#[derive(Clone, Default)]
struct Within {
    /// The phase is made of their task, whose own phases count only by their role then.
    below: bool,
    roles: Vec<RoleName>,
    left_out: bool,
}

/// The phases of all tasks, one after another. Phases of one name get a number, so that paths are unique. So does a step that stands in
/// its phase several times, such as `restart` before and after: a path is an identity.
pub fn flatten<'a>(of: Of<'a>, tasks: &[TaskName]) -> Result<Vec<FlatPhase<'a>>, PlanError> {
    let mut phases = Vec::new();
    for name in tasks {
        add_task(of, find(of.recipe, name.as_str())?, &mut phases)?;
    }
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for phase in &mut phases {
        phase.name = PhaseName::parse(&numbered(phase.name.as_str(), &mut names))?;
        for step in &mut phase.steps {
            step.path = StepPath::parse(&numbered(&format!("{}/{}", phase.name, step.path), &mut paths))?;
        }
    }
    Ok(phases)
}

/// The name, with a number behind it when it is taken.
fn numbered(name: &str, taken: &mut BTreeSet<String>) -> String {
    let mut names = std::iter::once(name.to_owned()).chain((2..).map(|n| format!("{name}-{n}")));
    let free = names.find(|name| !taken.contains(name)).unwrap_or_default();
    taken.insert(free.clone());
    free
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

fn add_task<'a>(of: Of<'a>, task: &'a Task, phases: &mut Vec<FlatPhase<'a>>) -> Result<(), PlanError> {
    match &task.body {
        TaskBody::Plain(Body::Tasks(tasks)) => {
            for inner in tasks {
                add_task(of, named(of.recipe, &inner.value)?, phases)?;
            }
        }
        TaskBody::Plain(body) => {
            let (name, mut steps) = (PhaseName::parse(task.name.as_str())?, Vec::new());
            add_steps(of, (task, body), &Within::default(), &mut steps)?;
            phases.push(FlatPhase {
                name,
                once: false,
                rolling: &Rolling::No,
                on: None,
                when: &[],
                steps,
                place: &task.place,
            });
        }
        TaskBody::Phases(inner) => {
            for phase in inner {
                let (name, mut steps) = (phase.name.clone(), Vec::new());
                let left_out = of.leaves_out(phase.on.as_ref(), phase.optional);
                add_steps(of, (task, &phase.body), &Within { left_out, ..Within::default() }, &mut steps)?;
                let (once, rolling, on) = (phase.once, &phase.rolling, phase.on.clone());
                phases.push(FlatPhase { name, once, rolling, on, when: &phase.when, steps, place: &phase.place });
            }
        }
    }
    Ok(())
}

/// The task that another one names.
fn named<'a>(recipe: &'a Recipe, named: &TaskRef) -> Result<&'a Task, PlanError> {
    recipe.resolve(named).map_or_else(|| find(recipe, named.task.as_str()), Ok)
}

/// The steps of a task's body.
fn add_steps<'a>(
    of: Of<'a>,
    (task, body): (&'a Task, &'a Body),
    within: &Within,
    steps: &mut Vec<FlatStep<'a>>,
) -> Result<(), PlanError> {
    let recipe = of.recipe;
    match body {
        Body::Steps(own) => {
            for step in own {
                // The phase comes before it when it has its number. `close/maintenance-on/maintenance-on` says the same thing twice.
                let path = if within.below && task.name.as_str() != step.name.as_str() {
                    format!("{}/{}", task.name, step.name)
                } else {
                    step.name.to_string()
                };
                let outer = task.surroundings.over(&recipe.surroundings);
                // User and folder are those of the hosts.
                let outer =
                    if step.is_local() { Surroundings { env: outer.env, ..Surroundings::default() } } else { outer };
                let (path, surroundings) = (StepPath::parse(&path)?, step.surroundings.over(&outer));
                let left_out = within.left_out || of.leaves_out(step.on.as_ref(), step.optional);
                steps.push(FlatStep { path, step, surroundings, roles: within.roles.clone(), left_out });
            }
        }
        Body::Tasks(tasks) => {
            for name in tasks {
                let task = named(recipe, &name.value)?;
                for (phase, body) in task.bodies() {
                    let mut within = Within { below: true, ..within.clone() };
                    if let Some(phase) = phase {
                        within.roles.extend(phase.on.clone());
                        within.left_out |= of.leaves_out(phase.on.as_ref(), phase.optional);
                    }
                    add_steps(of, (task, body), &within, steps)?;
                }
            }
        }
    }
    Ok(())
}

/// Leaves out the steps that the command line does not want, and those that the site does without. These may be named all the same: one
/// command for all sites.
pub fn select(flat: &mut Vec<FlatPhase<'_>>, selection: &StepSelection) -> Result<(), PlanError> {
    let is = |step: &FlatStep<'_>, name: &str| step.step.name.as_str() == name || step.path.as_str() == name;
    let typed = selection.start_at.iter().map(|n| ("start-at", n));
    let typed =
        typed.chain(selection.only.iter().map(|n| ("only", n))).chain(selection.skip.iter().map(|n| ("skip", n)));
    for (flag, name) in typed {
        let steps = || flat.iter().flat_map(|phase| &phase.steps);
        if !steps().any(|step| is(step, name)) {
            let names: BTreeSet<&str> = steps().map(|step| step.step.name.as_str()).collect();
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
            !step.left_out && started && wanted && !selection.skip.iter().any(|name| is(step, name))
        });
    }
    flat.retain(|phase| !phase.steps.is_empty());
    Ok(())
}
