//! Recipes: files of tasks and their variables, built in or the user's.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::model::config::diagnostic::Source;
pub use crate::model::config::setting::Spanned;
use crate::model::plan::plan::{OnFailure, Retry};
use crate::model::recipe::template::Template;
use crate::model::text::name::{NameError, PhaseName, RecipeName, RoleName, StepName, TaskName, UserName, VarName};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    pub name: RecipeName,
    /// Its file; the path of a built-in one is `recipe git-site (built in)`.
    pub source: Arc<Source>,
    /// What it is for, in one line.
    pub doc: String,
    /// The folder of a site's book on a host ([`crate::model::plan::book`]); in the login user's spool when there is none.
    pub lock: Option<Spanned<Template>>,
    pub vars: BTreeMap<VarName, RecipeVar>,
    /// Its tasks, in the order of the file.
    pub tasks: Vec<Task>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeVar {
    /// What it is.
    pub doc: String,
    /// Somebody must set it.
    pub required: bool,
    /// Its value when nobody does. It may hold placeholders of other variables.
    pub default: Option<Template>,
    /// Where it is declared.
    pub span: Range<usize>,
}

/// A named, ordered procedure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub name: TaskName,
    /// What it does, in one line.
    pub doc: String,
    /// What follows when failures pass the budget; by default undo, on stage test hold.
    pub on_failure: Option<OnFailure>,
    /// The variable that its success proves for sites that follow this one.
    pub proves: Option<VarName>,
    pub body: TaskBody,
    /// Where its name stands.
    pub span: Range<usize>,
}

/// What a task is made of: exactly one of the three.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskBody {
    /// `[[task.NAME.phase]]`.
    Phases(Vec<Phase>),
    /// `[[task.NAME.step]]`: one phase, on all hosts together.
    Steps(Vec<Step>),
    /// `tasks = ["a", "b"]`: the phases of other tasks, one after another.
    Tasks(Vec<TaskRef>),
}

/// A task's name, where another one uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRef {
    pub name: TaskName,
    pub span: Range<usize>,
}

/// A part of a task with one set of hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    pub name: PhaseName,
    /// Only hosts with this role.
    pub on: Option<RoleName>,
    /// One host for the whole rollout.
    pub once: bool,
    /// In the site's batches.
    pub rolling: bool,
    pub body: PhaseBody,
    /// Where its name stands.
    pub span: Range<usize>,
}

/// What a phase is made of: exactly one of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PhaseBody {
    /// `tasks = ["maintenance-on", "cron-off"]`: the steps of other tasks, which may have no `once` or `rolling` phases.
    Tasks(Vec<TaskRef>),
    /// `[[task.NAME.phase.step]]`.
    Steps(Vec<Step>),
}

/// One remote command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are what the author of a recipe says of a step")]
pub struct Step {
    pub name: StepName,
    /// What it does; none of a step that is only an `undo`.
    pub action: Option<Action>,
    /// What takes it back. Runs in the same folder, environment and user.
    pub undo: Option<Spanned<Template>>,
    pub guard: Option<StepGuard>,
    /// Only hosts with this role.
    pub on: Option<RoleName>,
    /// Run as this user, through `sudo -n`.
    pub as_user: Option<UserName>,
    pub cwd: Option<Spanned<Template>>,
    pub env: BTreeMap<String, Spanned<Template>>,
    /// Longest running time.
    pub timeout: Option<Duration>,
    /// Longest time without output.
    pub idle_timeout: Option<Duration>,
    /// May run again after a failure without harm.
    pub idempotent: bool,
    /// Further attempts; only with `idempotent`.
    pub retry: Option<Retry>,
    /// The variable that its standard output becomes.
    pub register: Option<VarName>,
    /// It outlives its connection and its controller.
    pub durable: bool,
    /// It changes nothing on the host: a host that ran only such steps is untouched. It has no undo.
    pub read_only: bool,
    /// Its output is neither shown nor recorded.
    pub secret_output: bool,
    /// What it leaves in force until it is undone or ended, in human words.
    pub in_force: Option<String>,
    /// The steps, of whatever task, whose effect this one takes away again.
    pub ends: Vec<StepName>,
    /// Where its name stands.
    pub span: Range<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Shell text.
    Run(Spanned<Template>),
    /// A file beside the recipe, sent along as it is; its first line may name an interpreter.
    Script {
        /// Its path, relative to the recipe's folder.
        path: String,
        /// Where it is named.
        span: Range<usize>,
        /// Its content. Placeholders are not read in it: values come by `env`.
        content: String,
    },
}

/// A guard, in shell text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepGuard {
    /// Exit status 0 skips the step.
    Unless(Spanned<Template>),
    /// Any other exit status skips the step.
    OnlyIf(Spanned<Template>),
}

impl Recipe {
    pub fn task(&self, name: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.name.as_str() == name)
    }

    /// All steps of all tasks, in the order of the file.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.tasks.iter().flat_map(Task::steps)
    }

    /// Does the recipe declare the variable, or does a step of it use it?
    pub fn uses(&self, name: &VarName) -> bool {
        self.vars.contains_key(name)
            || self.lock.iter().flat_map(|lock| lock.value.names()).any(|n| n == name)
            || self.steps().flat_map(Step::templates).any(|text| text.names().any(|n| n == name))
    }
}

/// Is it one of the variables that fleet sets itself: `fleet.run`, `fleet.site`, `fleet.host`, `fleet.address`, `fleet.stage`?
/// No file may set a variable whose name begins with `fleet.`.
pub fn is_built_in(name: &VarName) -> bool {
    name.as_str().starts_with("fleet.")
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    #[error("`{0}`: variables that begin with `fleet.` are set by fleet itself")]
    BuiltIn(VarName),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("`{0}` is not of the form NAME=VALUE")]
    Form(String),
}

/// Reads the name of a variable that a file may set or register.
pub fn settable(name: &str) -> Result<VarName, SettingError> {
    let name = VarName::parse(name)?;
    if is_built_in(&name) { Err(SettingError::BuiltIn(name)) } else { Ok(name) }
}

impl Step {
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let action = match &self.action {
            Some(Action::Run(text)) => Some(text),
            Some(Action::Script { .. }) | None => None,
        };
        let guard = self.guard.as_ref().map(|guard| match guard {
            StepGuard::Unless(text) | StepGuard::OnlyIf(text) => text,
        });
        let others = [action, guard, self.undo.as_ref(), self.cwd.as_ref()];
        others.into_iter().flatten().chain(self.env.values()).map(|text| &text.value)
    }
}

impl Task {
    /// Its own steps: not those of the tasks that it names.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        let (phases, steps): (&[Phase], &[Step]) = match &self.body {
            TaskBody::Phases(phases) => (phases, &[]),
            TaskBody::Steps(steps) => (&[], steps),
            TaskBody::Tasks(_) => (&[], &[]),
        };
        let of_phases = phases.iter().flat_map(|phase| match &phase.body {
            PhaseBody::Steps(steps) => steps.as_slice(),
            PhaseBody::Tasks(_) => &[],
        });
        of_phases.chain(steps)
    }

    /// The tasks that it names, itself or in its phases.
    pub fn uses(&self) -> impl Iterator<Item = &TaskRef> {
        let (phases, tasks): (&[Phase], &[TaskRef]) = match &self.body {
            TaskBody::Phases(phases) => (phases, &[]),
            TaskBody::Tasks(tasks) => (&[], tasks),
            TaskBody::Steps(_) => (&[], &[]),
        };
        let of_phases = phases.iter().flat_map(|phase| match &phase.body {
            PhaseBody::Tasks(tasks) => tasks.as_slice(),
            PhaseBody::Steps(_) => &[],
        });
        of_phases.chain(tasks)
    }
}
