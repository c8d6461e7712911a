//! What is asked of the planner.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::inventory::inventory::{Share, Site};
use crate::model::inventory::ssh::SshValues;
use crate::model::plan::book::Proof;
use crate::model::recipe::recipe::Recipe;
use crate::model::text::name::{HostName, RunId, SiteName, TaskName, UserName, VarName};

/// What was asked for when a run began: with it, the run can be planned again, and compared with what was planned then.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Asked {
    pub site: SiteName,
    pub hosts: Vec<HostName>,
    /// The tasks, in order.
    pub tasks: Vec<TaskName>,
    pub overrides: Overrides,
    /// The login user when nobody sets one.
    pub login: UserName,
    /// What the followed site had proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// It was to be done although nothing had proven the value that the command line set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unproven: bool,
}

/// What the command line sets, above all files.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Overrides {
    #[serde(flatten)]
    pub ssh: SshValues,
    /// `--set`
    pub vars: BTreeMap<VarName, String>,
    /// `--parallel`; 0 is all.
    pub parallel: Option<usize>,
    pub serial: Option<Vec<Share>>,
    pub max_fail: Option<Share>,
    /// `--timeout`: the limit of steps that have none of their own.
    pub timeout: Option<Duration>,
    pub steps: StepSelection,
}

/// Which of a task's steps are planned. Steps are named as in the recipe, or by their path in the plan.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StepSelection {
    /// `--start-at`: leave out all before it.
    pub start_at: Option<String>,
    pub only: Vec<String>,
    pub skip: Vec<String>,
}

impl StepSelection {
    pub fn is_all(&self) -> bool {
        self.start_at.is_none() && self.only.is_empty() && self.skip.is_empty()
    }
}

/// What is to be planned: see [`Asked`].
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub site: &'a Site,
    pub hosts: &'a [HostName],
    pub recipe: &'a Recipe,
    pub tasks: &'a [TaskName],
    pub overrides: &'a Overrides,
    /// The run that will carry it out; where there is none, `fleet.run` is `RUN`.
    pub run: Option<&'a RunId>,
    pub login: &'a UserName,
    pub proof: Option<&'a Proof>,
    pub unproven: bool,
}

impl<'a> Request<'a> {
    /// Asks about a site and its recipe, and for no run.
    pub fn without_run(
        (site, hosts, recipe): (&'a Site, &'a [HostName], &'a Recipe),
        overrides: &'a Overrides,
        login: &'a UserName,
    ) -> Self {
        Self { site, hosts, recipe, tasks: &[], overrides, run: None, login, proof: None, unproven: false }
    }
}
