//! What a run will do: task x targets, every command final but for the values of `register`.
//!
//! A plan is plain data: `--dry-run` prints it, `plan.json` stores it, the scheduler walks it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::plan::book::{Basis, Book, Effect, EffectChange};
use crate::model::plan::command::CommandTemplate;
use crate::model::text::name::{
    Address, HostLabel, HostName, PhaseName, RoleName, SiteName, StepPath, UserName, VarName,
};

/// The version of `plan.json`; a reader refuses a higher one, and a field that it does not know: what it leaves out of a plan would be left out of
/// the run that it resumes. Version 1 reads as 2: what came with it has a default.
pub const PLAN_VERSION: u32 = 2;

/// A host's place in [`Plan::hosts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostIndex(pub usize);

/// What a run will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Plan {
    /// [`PLAN_VERSION`].
    pub v: u32,
    /// The sites it works on. A task has one; an ad-hoc command may have many.
    pub sites: Vec<SiteName>,
    /// The tasks as typed, or `run` for an ad-hoc command.
    pub task: String,
    /// The targeted hosts.
    pub hosts: Vec<PlanHost>,
    /// In order; one begins when the one before has settled on all hosts.
    pub phases: Vec<PlanPhase>,
    /// Failed hosts that the whole rollout bears.
    pub max_failures: usize,
    /// What follows when there are more.
    pub on_failure: OnFailure,
    /// How many hosts work at the same time.
    pub parallel: usize,
    /// The variable that a success of this plan proves, when it covers the whole site and the whole task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proves: Option<VarName>,
    /// What it takes from the site that its site follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<Basis>,
    /// The phases that have no host among the targeted ones, and why, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// How long to retry a first connection when nobody says otherwise: sshd is back from a restart, or has room again, in less.
pub const CONNECT_RETRY: Duration = Duration::from_secs(5);
/// How long a lost connection is tried to be made again when nobody says otherwise.
pub const RECONNECT_TIMEOUT: Duration = Duration::from_secs(600);
/// Between two signs of life when nobody says otherwise.
pub const KEEPALIVE: Duration = Duration::from_secs(15);

fn default_connect_retry() -> Duration {
    CONNECT_RETRY
}

fn default_reconnect_timeout() -> Duration {
    RECONNECT_TIMEOUT
}

fn default_keepalive() -> Duration {
    KEEPALIVE
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_yes(value: &bool) -> bool {
    *value
}

impl Plan {
    /// In what another plan of the same tasks differs from this one, in words; none when it is the same.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self == other {
            return None;
        }
        let host = self.hosts.iter().zip(&other.hosts).find(|(a, b)| a != b);
        if let Some((host, _)) = host {
            return Some(format!("host {} is described in another way", host.label));
        }
        let steps =
            |plan: &Self| -> Vec<PlanStep> { plan.phases.iter().flat_map(|phase| phase.steps.clone()).collect() };
        let (before, now) = (steps(self), steps(other));
        if let Some(gone) = before.iter().find(|step| !now.iter().any(|other| other.path == step.path)) {
            return Some(format!("step {} is not there any more", gone.path));
        }
        if let Some(new) = now.iter().find(|step| !before.iter().any(|other| other.path == step.path)) {
            return Some(format!("step {} is new", new.path));
        }
        let changed = before.iter().zip(&now).find(|(a, b)| a != b);
        Some(changed.map_or_else(
            || "hosts, batches or limits of the rollout are others".to_owned(),
            |(step, _)| format!("step {} is another one", step.path),
        ))
    }

    /// Does a run of it keep other runs away from its sites? Not an ad-hoc command, which also puts right what a run has left, and not
    /// what only looks.
    pub fn locks(&self) -> bool {
        self.task != AD_HOC && self.phases.iter().flat_map(|phase| &phase.steps).any(|step| !step.read_only)
    }
}

/// The task of an ad-hoc command.
pub const AD_HOC: &str = "run";

/// What follows when failures pass the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Undo all that the run did.
    Undo,
    /// Leave things as they are, for a person.
    Hold,
}

/// A targeted host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlanHost {
    /// What the run calls it.
    pub label: HostLabel,
    /// Its site.
    pub site: SiteName,
    /// Its name in the inventory.
    pub name: HostName,
    /// Where it is reached.
    pub address: Address,
    /// TCP port.
    pub port: u16,
    /// Login user.
    pub user: UserName,
    /// Private key file, when the inventory or the command line names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Limit of the TCP connection.
    pub connect_timeout: Duration,
    /// How long to retry a first connection that is refused or closed at once.
    #[serde(default = "default_connect_retry")]
    pub connect_retry: Duration,
    /// How long a lost connection is tried to be made again.
    #[serde(default = "default_reconnect_timeout")]
    pub reconnect_timeout: Duration,
    /// Between two signs of life that are asked of the host; after four without an answer the connection is lost.
    #[serde(default = "default_keepalive")]
    pub keepalive: Duration,
    /// Its roles.
    pub roles: Vec<RoleName>,
    /// The folder of the site's book on it ([`crate::model::plan::book`]), where the recipe names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub book: Option<String>,
}

impl PlanHost {
    /// The book of its site on it.
    pub fn site_book(&self) -> Book {
        Book { site: self.site.clone(), folder: self.book.clone(), login: self.user.clone(), lost: false }
    }
}

/// A part of a plan with one set of hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlanPhase {
    /// Its name.
    pub name: PhaseName,
    /// Runs on one host for the whole rollout. Its registered values are shared by all hosts, and its failure is always beyond the budget.
    pub once: bool,
    /// The hosts, in the batches in which they are rolled: a single batch when the phase is not `rolling`.
    pub batches: Vec<Vec<HostIndex>>,
    /// Pause between two batches.
    pub soak: Duration,
    /// In order, on each host on its own.
    pub steps: Vec<PlanStep>,
}

/// One remote command of a phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "they are what the author of a recipe says of a step")]
pub struct PlanStep {
    /// Its place in the plan.
    pub path: StepPath,
    /// The steps whose effect this one takes away again: `maintenance-off` ends `maintenance-on`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ends: Vec<StepPath>,
    /// What these steps leave in force, also those that are not in this plan: an earlier run may have run them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strikes: Vec<Effect>,
    /// What it leaves in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// Longest running time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Longest time without output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,
    /// Further attempts after a failure. Only for idempotent steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// The variable that its standard output becomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<VarName>,
    /// It may run again without harm.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idempotent: bool,
    /// It outlives its connection ([`crate::remote::step`]).
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub durable: bool,
    /// It changes nothing on the host.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Its output is neither shown nor recorded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret_output: bool,
    /// The commands, for each host that the step is for.
    pub commands: BTreeMap<HostIndex, StepCommands>,
}

impl PlanStep {
    /// What its `run` changes of the effects in the book.
    pub fn changes(&self) -> EffectChange {
        let strike = self.strikes.iter().map(|effect| effect.name.clone()).collect();
        EffectChange { begin: self.effect.iter().cloned().collect(), strike }
    }

    /// What its `undo` changes. What the step had ended is in force again.
    pub fn undo_changes(&self) -> EffectChange {
        let strike = self.effect.iter().map(|effect| effect.name.clone()).collect();
        EffectChange { begin: self.strikes.clone(), strike }
    }
}

/// Further attempts of an idempotent step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Retry {
    /// How many, after the first.
    pub times: u32,
    /// Pause before each.
    pub delay: Duration,
}

/// A step's commands on one host: `run`, `undo`, or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StepCommands {
    /// What it does; none of a step that is only an undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<CommandTemplate>,
    /// What takes it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<CommandTemplate>,
    /// Asked first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
}

impl PlanStep {
    /// Does it nothing until it is undone?
    pub fn is_only_undo(&self) -> bool {
        self.commands.values().any(|commands| commands.run.is_none())
    }

    /// Can it be undone? A recipe gives an undo to all hosts of a step, or to none.
    pub fn has_undo(&self) -> bool {
        self.commands.values().next().is_some_and(|commands| commands.undo.is_some())
    }
}

impl StepCommands {
    /// The user that the step runs as, when that is not the login user.
    pub fn as_user(&self) -> Option<&UserName> {
        self.run.as_ref().or(self.undo.as_ref())?.as_user.as_ref()
    }
}

/// A command that decides whether a step has anything to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guard {
    /// Exit status 0 skips the step.
    Unless(CommandTemplate),
    /// Any other exit status skips the step.
    OnlyIf(CommandTemplate),
}
