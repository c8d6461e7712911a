//! Recipes: files of tasks and their variables, built in or the user's.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::model::config::diagnostic::{Place, Source};
pub use crate::model::config::setting::Spanned;
use crate::model::inventory::inventory::{Share, Stage};
use crate::model::plan::plan::{Guard, OnFailure, Retry, Watch};
use crate::model::recipe::files::RecipeFile;
use crate::model::recipe::template::Template;
use crate::model::text::name::{NameError, PhaseName, RecipeName, RoleName, StepName, TaskName, VarName};

/// Site verbs to which a recipe may add what it knows, by tasks that only look: `fleet SITE check`, `fleet SITE status`.
pub const LOOKING_TASKS: [&str; 2] = ["check", "status"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    pub name: RecipeName,
    /// Its file; the path of a built-in one is `recipe git-site (built in)`.
    pub source: Arc<Source>,
    /// What it is for, in one line.
    pub doc: String,
    /// The recipe that it inherits from.
    pub extends: Option<Spanned<RecipeName>>,
    /// Itself, the recipe that it extends, that which that one extends, and so on.
    pub lineage: Vec<RecipeName>,
    /// The folder of a site's book on a host ([`crate::model::plan::book`]); in the login user's spool when there is none.
    pub lock: Option<Text>,
    /// How steps run that say nothing else, nor does their task.
    pub surroundings: Surroundings,
    /// What lies in `"$FLEET_FILES"`, by path.
    pub files: Vec<RecipeFile>,
    pub vars: BTreeMap<VarName, RecipeVar>,
    /// Its tasks, in the order of the file; the inherited ones come first.
    pub tasks: Vec<Task>,
    /// Inherited tasks that were replaced, and that a task still names as `RECIPE:TASK`.
    pub replaced: Vec<Task>,
}

/// As whom, where and in which environment a step runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// Another user, through `sudo -n`. Empty, or the login user: no sudo.
    pub as_user: Option<Text>,
    pub cwd: Option<Text>,
    pub env: BTreeMap<String, Text>,
}

impl Surroundings {
    /// What is said here, and where nothing is, what `outer` says.
    #[must_use]
    pub fn over(&self, outer: &Self) -> Self {
        let mut env = outer.env.clone();
        env.extend(self.env.clone());
        Self {
            as_user: self.as_user.clone().or(outer.as_user.clone()),
            cwd: self.cwd.clone().or(outer.cwd.clone()),
            env,
        }
    }

    pub fn texts(&self) -> impl Iterator<Item = &Text> {
        self.as_user.iter().chain(&self.cwd).chain(self.env.values())
    }
}

/// A task as it is named by others: `restart`, or `git-site:restart` for the one that a recipe inherits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRef {
    pub recipe: Option<RecipeName>,
    pub task: TaskName,
}

impl TaskRef {
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match text.split_once(':') {
            Some((recipe, task)) => Ok(Self { recipe: Some(RecipeName::parse(recipe)?), task: TaskName::parse(task)? }),
            None => Ok(Self { recipe: None, task: TaskName::parse(text)? }),
        }
    }
}

impl fmt::Display for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(recipe) = &self.recipe {
            write!(f, "{recipe}:")?;
        }
        self.task.fmt(f)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeVar {
    pub doc: String,
    /// Somebody must set it.
    pub required: bool,
    /// Its value when nobody does. It may hold placeholders of other variables.
    pub default: Option<Template>,
    /// Its value is never written down or shown, and allowed only in the `env` of steps ([`crate::model::text::secret`]).
    pub secret: bool,
    /// Where it is declared.
    pub place: Place,
}

/// A named, ordered procedure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub name: TaskName,
    /// The recipe that it was written in.
    pub recipe: RecipeName,
    /// What it does, in one line.
    pub doc: String,
    /// What follows when failures pass the budget; by default undo, on stage test hold.
    pub on_failure: Option<OnFailure>,
    /// The variables whose values its success proves for sites that follow this one.
    pub proves: Vec<Spanned<VarName>>,
    /// The variable that a step of it registers, and whose value says in words what the task changes on a host.
    pub summary: Option<Spanned<VarName>>,
    /// The task that shows what this one would do, before the question whether to begin. It only looks.
    pub preview: Option<Spanned<TaskName>>,
    /// Only sites of these stages may run it; all, when it is empty.
    pub stages: Vec<Stage>,
    /// How its own steps run that say nothing else.
    pub surroundings: Surroundings,
    pub body: TaskBody,
    /// Where its name stands.
    pub place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskBody {
    /// `[[task.NAME.phase]]`.
    Phases(Vec<Phase>),
    /// Of steps: one phase, on all hosts together. Of tasks: the phases of these, one after another.
    Plain(Body),
}

/// A part of a task with one set of hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    pub name: PhaseName,
    /// Only hosts with this role.
    pub on: Option<RoleName>,
    /// A site none of whose hosts has the role does without it.
    pub optional: bool,
    /// One host for the whole rollout.
    pub once: bool,
    pub rolling: Rolling,
    /// Only hosts on which these variables, registered by earlier steps or not, have these values.
    pub when: Vec<(Spanned<VarName>, String)>,
    pub body: Body,
    /// Where its name stands.
    pub place: Place,
}

/// How many hosts of a phase work together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Rolling {
    /// All.
    #[default]
    No,
    /// Batches of the site's sizes.
    AsSite,
    /// Batches of these sizes.
    Batches(Vec<Share>),
}

/// What a phase, or a task without phases, is made of: exactly one of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// `tasks = ["maintenance-on", "cron-off"]`: in a phase their steps, so they may have no `once` or `rolling` phases there.
    Tasks(Vec<Spanned<TaskRef>>),
    /// `[[…step]]`.
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
    pub undo: Option<Text>,
    pub guard: Option<StepGuard>,
    /// Only hosts with this role.
    pub on: Option<RoleName>,
    /// A site none of whose hosts has the role does without it.
    pub optional: bool,
    pub surroundings: Surroundings,
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
    /// It is repeated while a batch soaks; only of one that is read-only.
    pub watch: Option<Watch>,
    /// What it leaves in force until it is undone or ended, in human words.
    pub in_force: Option<String>,
    /// The steps, of whatever task, whose effect this one takes away again.
    pub ends: Vec<Spanned<StepName>>,
    /// Where its name stands.
    pub place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Run(Text),
    /// A command where fleet runs.
    Local(Text),
    /// A file beside the recipe, sent along as it is; its first line may name an interpreter.
    Script {
        /// Its path, relative to the recipe's folder.
        path: String,
        place: Place,
        /// Its content. Placeholders are not read in it: values come by `env`.
        content: String,
    },
}

impl Action {
    pub fn shell_text(&self) -> Option<&Text> {
        match self {
            Self::Run(text) | Self::Local(text) => Some(text),
            Self::Script { .. } => None,
        }
    }
}

/// A guard, in shell text.
pub type StepGuard = Guard<Text>;

/// Text with placeholders, and where it stands. It names its file: a recipe may be made of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub value: Template,
    pub place: Place,
}

impl Recipe {
    pub fn task(&self, name: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.name.as_str() == name)
    }

    /// All tasks, also replaced ones that are still in use.
    pub fn all_tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter().chain(&self.replaced)
    }

    /// The task that is meant: with a recipe's name the one that this recipe has, which it may inherit itself.
    pub fn resolve(&self, named: &TaskRef) -> Option<&Task> {
        let Some(recipe) = &named.recipe else { return self.task(named.task.as_str()) };
        let age = |name: &RecipeName| self.lineage.iter().position(|of| of == name);
        let least = age(recipe)?;
        let fits = self.all_tasks().filter(|task| task.name == named.task && age(&task.recipe) >= Some(least));
        fits.min_by_key(|task| age(&task.recipe))
    }

    /// These tasks and all that they are made of.
    pub fn reached<'a>(&'a self, tasks: impl IntoIterator<Item = &'a Task>) -> Vec<&'a Task> {
        let mut open: Vec<&Task> = tasks.into_iter().collect();
        open.reverse();
        let mut reached: Vec<&Task> = Vec::new();
        while let Some(task) = open.pop() {
            if reached.iter().all(|other| !std::ptr::eq(*other, task)) {
                reached.push(task);
                open.extend(task.uses().filter_map(|named| self.resolve(&named.value)));
            }
        }
        reached
    }

    /// The variable that says what a task changes: its own, or that of the first task that it is made of and that has one, so that a task
    /// that wraps another one says the same.
    pub fn summary_of<'a>(&'a self, task: &'a Task) -> Option<&'a VarName> {
        self.reached([task]).into_iter().find_map(|task| task.summary.as_ref()).map(|summary| &summary.value)
    }

    /// The tasks that show what these would do; found in the same way.
    pub fn previews_of(&self, tasks: &[&Task]) -> Vec<TaskName> {
        let mut previews: Vec<TaskName> = Vec::new();
        for task in tasks {
            let preview = self.reached([*task]).into_iter().find_map(|task| task.preview.as_ref());
            previews.extend(preview.map(|preview| preview.value.clone()).filter(|name| !previews.contains(name)));
        }
        previews
    }

    /// All steps of all tasks, in the order of the file.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.all_tasks().flat_map(Task::steps)
    }

    /// The texts of the recipe itself: not those of its steps.
    pub fn own_texts(&self) -> impl Iterator<Item = &Text> {
        let of_tasks = self.all_tasks().flat_map(|task| task.surroundings.texts());
        self.lock.iter().chain(self.surroundings.texts()).chain(of_tasks)
    }

    pub fn is_secret(&self, name: &VarName) -> bool {
        self.vars.get(name).is_some_and(|var| var.secret)
    }

    /// Does the recipe declare the variable, or does a step of it use it?
    pub fn uses(&self, name: &VarName) -> bool {
        self.vars.contains_key(name)
            || self.own_texts().flat_map(|text| text.value.names()).any(|n| n == name)
            || self.steps().flat_map(Step::templates).any(|text| text.names().any(|n| n == name))
    }
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

/// Reads the name of a variable that a file may set or register: not one of those that fleet sets itself, which are `fleet.run`,
/// `fleet.site`, `fleet.host`, `fleet.address` and `fleet.stage`.
pub fn settable(name: &str) -> Result<VarName, SettingError> {
    let name = VarName::parse(name)?;
    if name.as_str().starts_with("fleet.") { Err(SettingError::BuiltIn(name)) } else { Ok(name) }
}

impl Step {
    pub fn is_local(&self) -> bool {
        matches!(self.action, Some(Action::Local(_)))
    }

    /// Its texts for the shell, each with its key.
    pub fn shell_texts(&self) -> impl Iterator<Item = (&'static str, &Text)> {
        let key = if self.is_local() { "local" } else { "run" };
        let run = self.action.as_ref().and_then(Action::shell_text).map(|text| (key, text));
        let guard = self.guard.as_ref().map(|guard| match guard {
            Guard::Unless(text) => ("unless", text),
            Guard::OnlyIf(text) => ("only-if", text),
        });
        let undo = self.undo.as_ref().map(|undo| ("undo", undo));
        [run, guard, undo].into_iter().flatten()
    }

    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.shell_texts().map(|(_, text)| text).chain(self.surroundings.texts()).map(|text| &text.value)
    }
}

impl Task {
    /// Does its success prove the value of that variable?
    pub fn proves_value(&self, name: &VarName) -> bool {
        self.proves.iter().any(|proves| proves.value == *name)
    }

    /// What it and its phases are made of, with the phase.
    pub fn bodies(&self) -> impl Iterator<Item = (Option<&Phase>, &Body)> {
        let (phases, plain): (&[Phase], _) = match &self.body {
            TaskBody::Phases(phases) => (phases, None),
            TaskBody::Plain(body) => (&[], Some((None, body))),
        };
        phases.iter().map(|phase| (Some(phase), &phase.body)).chain(plain)
    }

    /// Its own steps: not those of the tasks that it names.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.bodies().flat_map(|(_, body)| match body {
            Body::Steps(steps) => steps.as_slice(),
            Body::Tasks(_) => &[],
        })
    }

    /// The tasks that it names, itself or in its phases.
    pub fn uses(&self) -> impl Iterator<Item = &Spanned<TaskRef>> {
        self.bodies().flat_map(|(_, body)| match body {
            Body::Tasks(tasks) => tasks.as_slice(),
            Body::Steps(_) => &[],
        })
    }
}
