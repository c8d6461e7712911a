//! What a run will do: task x targets, every command final but for the values of `register`.
//!
//! A plan is plain data: `--dry-run` prints it, `plan.json` stores it, the scheduler walks it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::plan::blob::{BlobId, Blobs};
use crate::model::plan::book::Basis;
use crate::model::plan::file::PlanFile;
use crate::model::plan::host_list;
use crate::model::plan::host_set;
pub use crate::model::plan::index::{HostIndex, StepIndex};
pub use crate::model::plan::plan_host::PlanHost;
pub use crate::model::plan::step::{Guard, PlanStep, Retry, Watch};
use crate::model::plan::values::Values;
use crate::model::text::name::{FindingName, PhaseName, SiteName, StepPath, TaskName, VarName};

/// The version of `plan.json`; a reader refuses any other, and a field that it does not know: what it leaves out of a plan would be left out of
/// the run that it resumes. Up to version 2 each command stood there once for each host, and up to version 3 a user was a name without placeholders.
pub const PLAN_VERSION: u32 = 4;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Plan {
    pub v: u32,
    /// The sites it works on. A task has one; an ad-hoc command may have many.
    pub sites: Vec<SiteName>,
    /// The tasks as typed, or `run` for an ad-hoc command.
    pub task: String,
    #[serde(with = "host_list")]
    pub hosts: Vec<PlanHost>,
    /// What all hosts have for the placeholders of the steps.
    #[serde(default, skip_serializing_if = "Values::is_empty")]
    pub values: Values,
    /// The secret variables that its steps use. Their values are asked for whenever it is carried out, and are no part of it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<VarName>,
    /// In order; one begins when the one before has settled on all hosts.
    pub phases: Vec<PlanPhase>,
    /// Failed hosts that the whole rollout bears.
    pub max_failures: usize,
    pub on_failure: OnFailure,
    /// How many hosts work at the same time.
    pub parallel: usize,
    /// The variables that a success of this plan proves, when it covers the whole site and the whole task.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "one_or_many")]
    pub proves: Vec<VarName>,
    /// The variable whose value says in words what the run changes on a host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<VarName>,
    /// The tasks that show what it would do, and that run before the question whether to begin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previews: Vec<TaskName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<Basis>,
    /// The blocks that steps may report without being refused, each with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub accept: BTreeMap<FindingName, String>,
    /// The phases that have no host among the targeted ones, and why, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// The files of the recipe, when a step uses them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PlanFile>,
    /// What the operations name by its hash. In a record each is a file.
    #[serde(skip)]
    pub blobs: Blobs,
}

impl Plan {
    /// In what another plan of the same tasks differs from this one, in words; none when it is the same.
    pub fn difference(&self, other: &Self) -> Option<String> {
        // What is said about a run, and before it, is no part of what it does.
        let (summary, previews) = (other.summary.clone(), other.previews.clone());
        if (Self { summary, previews, ..self.clone() }) == *other {
            return None;
        }
        let is_as = |(a, b): &(&PlanHost, &PlanHost)| PlanHost { values: Arc::clone(&b.values), ..(*a).clone() } == **b;
        if let Some((host, _)) = self.hosts.iter().zip(&other.hosts).find(|pair| !is_as(pair)) {
            return Some(format!("host {} is described in another way", host.label));
        }
        let has = |plan: &Self, path: &StepPath| plan.steps().any(|(.., step)| step.path == *path);
        if let Some((.., gone)) = self.steps().find(|(.., step)| !has(other, &step.path)) {
            return Some(format!("step {} is not there any more", gone.path));
        }
        if let Some((.., new)) = other.steps().find(|(.., step)| !has(self, &step.path)) {
            return Some(format!("step {} is new", new.path));
        }
        if self.files != other.files {
            return Some("the recipe's files changed".to_owned());
        }
        let changed = self.steps().zip(other.steps()).find(|((at, _, a), (.., b))| {
            let command = |plan: &Self, host| (plan.run(host, *at), plan.undo(host, *at), plan.guard(host, *at));
            a != b || a.hosts.iter().any(|host| command(self, host) != command(other, host))
        });
        if changed.is_none() && self.accept != other.accept {
            return Some("`[accept]` of the site changed".to_owned());
        }
        Some(changed.map_or_else(
            || "hosts, batches or limits of the rollout are others".to_owned(),
            |((.., step), _)| format!("step {} is another one", step.path),
        ))
    }

    pub fn steps(&self) -> impl Iterator<Item = (StepIndex, &PlanPhase, &PlanStep)> {
        self.phases.iter().enumerate().flat_map(|(phase, of)| {
            of.steps.iter().enumerate().map(move |(step, planned)| (StepIndex { phase, step }, of, planned))
        })
    }

    /// The blobs that it names.
    pub fn blob_ids(&self) -> impl Iterator<Item = &BlobId> {
        self.files.iter().map(|file| &file.blob).chain(self.scripts().map(|(_, id)| id))
    }

    /// The scripts of its steps.
    pub fn scripts(&self) -> impl Iterator<Item = (StepIndex, &BlobId)> {
        self.steps().filter_map(|(at, _, step)| Some((at, step.run.as_ref()?.blob()?)))
    }

    pub fn step(&self, at: StepIndex) -> Option<&PlanStep> {
        self.phases.get(at.phase)?.steps.get(at.step)
    }

    /// Does a run of it keep other runs away from its sites? Not an ad-hoc command, which also puts right what a run has left, and not
    /// what only looks.
    pub fn locks(&self) -> bool {
        self.task != AD_HOC && self.phases.iter().flat_map(|phase| &phase.steps).any(|step| !step.read_only)
    }

    /// Is a host disconnected when the next one takes its place? Nothing starts before so many hosts are connected that the budget of
    /// failures cannot be exceeded by the others; and a host stays connected while something comes later, can be undone, or is to be proven on
    /// all. Only a command runs on one host after the other.
    pub fn works_in_turn(&self) -> bool {
        self.max_failures >= self.hosts.len()
            && self.proves.is_empty()
            && self.phases.len() == 1
            && !self.phases.iter().any(PlanPhase::is_watched)
            && self.steps().all(|(.., step)| step.undo.is_none())
    }
}

/// A list of which one element stands alone, as in the plans of a fleet that knew only one.
mod one_or_many {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use crate::model::text::name::VarName;

    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(VarName),
        Many(Vec<VarName>),
    }

    pub fn serialize<S: Serializer>(names: &[VarName], serializer: S) -> Result<S::Ok, S::Error> {
        match names {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<VarName>, D::Error> {
        Ok(match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(name) => vec![name],
            OneOrMany::Many(names) => names,
        })
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

/// A part of a plan with one set of hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlanPhase {
    pub name: PhaseName,
    /// Runs on one host for the whole rollout. Its registered values are shared by all hosts, and its failure is always beyond the budget.
    pub once: bool,
    /// The hosts, in the batches in which they are rolled: a single batch when the phase is not `rolling`.
    #[serde(with = "host_set::batches")]
    pub batches: Vec<Vec<HostIndex>>,
    pub soak: Duration,
    /// In order, on each host on its own.
    pub steps: Vec<PlanStep>,
}

impl PlanPhase {
    pub fn is_watched(&self) -> bool {
        self.steps.iter().any(|step| step.watch.is_some())
    }

    pub fn is_watched_on(&self, host: HostIndex) -> bool {
        self.steps.iter().any(|step| step.watch.is_some() && step.runs_on(host))
    }

    pub fn has(&self, host: HostIndex) -> bool {
        self.batches.iter().flatten().any(|of| *of == host)
    }

    /// How long the rollout soaks after a batch. The last one soaks only where it is watched, and a watch gets the time that it needs.
    pub fn soak_after(&self, is_last: bool) -> Duration {
        match self.steps.iter().filter_map(|step| step.watch).map(Watch::shortest).max() {
            Some(shortest) => self.soak.max(shortest),
            None if is_last => Duration::ZERO,
            None => self.soak,
        }
    }
}
