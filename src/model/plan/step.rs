//! A step of a plan: its texts once, whatever the number of hosts.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::plan::book::{Effect, EffectChange};
use crate::model::plan::command::CommandTemplate;
use crate::model::plan::host_set::HostSet;
use crate::model::plan::index::HostIndex;
use crate::model::plan::operation::Operation;
use crate::model::recipe::template::Template;
use crate::model::text::name::{StepPath, VarName};

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_yes(value: &bool) -> bool {
    *value
}

/// One step of a phase. Its placeholders are bound when it is sent: [`super::values`]. What has no word here is said of the recipe's
/// [`Step`](crate::model::recipe::recipe::Step).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "they are what the author of a recipe says of a step")]
pub struct PlanStep {
    pub path: StepPath,
    /// The hosts of its phase that it is for.
    pub hosts: HostSet,
    /// What it does; none of a step that is only an undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Operation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<CommandTemplate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// Only on hosts on which these variables have these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub when: BTreeMap<VarName, String>,
    /// The steps whose effect this one takes away again: `maintenance-off` ends `maintenance-on`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ends: Vec<StepPath>,
    /// What these steps leave in force, also those that are not in this plan: an earlier run may have run them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strikes: Vec<Effect>,
    /// What it leaves in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<VarName>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idempotent: bool,
    /// It outlives its connection ([`crate::remote::step`]).
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub durable: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret_output: bool,
    /// It is repeated on the hosts that were rolled, while a batch soaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
}

impl PlanStep {
    /// A durable step of which nothing else is said.
    pub fn new(path: StepPath, hosts: HostSet) -> Self {
        Self {
            path,
            hosts,
            run: None,
            undo: None,
            guard: None,
            when: BTreeMap::new(),
            ends: Vec::new(),
            strikes: Vec::new(),
            effect: None,
            timeout: None,
            idle_timeout: None,
            retry: None,
            register: None,
            idempotent: false,
            durable: true,
            read_only: false,
            secret_output: false,
            watch: None,
        }
    }

    /// Does it run where fleet runs?
    pub fn is_local(&self) -> bool {
        self.run.as_ref().is_some_and(Operation::is_local)
    }

    pub fn is_only_undo(&self) -> bool {
        self.run.is_none()
    }

    pub fn runs_on(&self, host: HostIndex) -> bool {
        self.run.is_some() && self.hosts.contains(host)
    }

    pub fn has_undo_on(&self, host: HostIndex) -> bool {
        self.undo.is_some() && self.hosts.contains(host)
    }

    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let guard = self.guard.as_ref().map(Guard::command);
        let commands = self.undo.iter().chain(guard).flat_map(CommandTemplate::templates);
        self.run.iter().flat_map(Operation::templates).chain(commands)
    }

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

/// How a step is repeated while a batch soaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Watch {
    /// From the beginning of one attempt to that of the next.
    pub every: Duration,
    /// So many in a row are a failure of the host.
    pub failures: u32,
}

impl Watch {
    /// The shortest soak in which it can find out that a host has failed.
    pub fn shortest(self) -> Duration {
        self.every.saturating_mul(self.failures.saturating_add(1))
    }
}

/// A command that decides whether a step has anything to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guard<C = CommandTemplate> {
    /// Exit status 0 skips the step.
    Unless(C),
    /// Any other exit status skips the step.
    OnlyIf(C),
}

impl<C> Guard<C> {
    pub fn command(&self) -> &C {
        match self {
            Self::Unless(command) | Self::OnlyIf(command) => command,
        }
    }

    /// The same question by another command.
    #[must_use]
    pub fn map<D>(&self, change: impl FnOnce(&C) -> D) -> Guard<D> {
        match self {
            Self::Unless(command) => Guard::Unless(change(command)),
            Self::OnlyIf(command) => Guard::OnlyIf(change(command)),
        }
    }
}
