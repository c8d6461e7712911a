//! The book of a site on a host: lock, sequence, effects in force, proof, the last runs. `remote/scripts/book.sh` says what lies in it.
//!
//! It lies where a deployment changes something, `[recipe] lock`, so that all who may deploy see it, whatever their login and whatever the
//! site's file is called; else in the login user's spool. Runs, proofs and releases are ordered by the *sequence*, one more than the
//! greatest number in the books that a run has locked, and never by a clock.
//!
//! Rejected: the records of the controller. There is more than one, and a second laptop's know nothing of what the first one proved.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::text::name::{FindingName, RunId, SiteName, StepName, UserName, VarName};

/// Where a site's book is on a host, and who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Book {
    pub site: SiteName,
    /// Its folder; without one it is in the spool.
    pub folder: Option<String>,
    pub login: UserName,
    /// Nobody knows where it is, because the recipe is broken: the one that the last run of this user had is meant.
    pub lost: bool,
}

/// What a step leaves in force until it is undone or ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Effect {
    /// The step's name. A step that `ends` this name takes it away, in this run or in a later one.
    pub name: StepName,
    /// In human words: `closed for visitors`.
    pub words: String,
}

/// What a command changes of the effects in a book.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EffectChange {
    /// In force from its beginning on.
    pub begin: Vec<Effect>,
    /// Not any more when it has succeeded.
    pub strike: Vec<StepName>,
}

impl EffectChange {
    pub fn is_empty(&self) -> bool {
        self.begin.is_empty() && self.strike.is_empty()
    }
}

/// What a success on a site has proven for those that follow it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Proof {
    /// The first of its variables.
    pub name: VarName,
    pub value: String,
    /// The others, where a task proves several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub also: BTreeMap<VarName, String>,
    /// The blocks that were accepted on the way, each with the greatest count that a host reported.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub accepted: BTreeMap<FindingName, u64>,
    pub run: RunId,
    pub sequence: u64,
    /// Who it was, as `user@controller`.
    pub by: String,
    /// How long ago, by the host's own clock, when that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<Duration>,
}

impl Proof {
    pub fn values(&self) -> impl Iterator<Item = (&VarName, &str)> {
        let also = self.also.iter().map(|(name, value)| (name, value.as_str()));
        std::iter::once((&self.name, self.value.as_str())).chain(also)
    }

    pub fn get(&self, name: &VarName) -> Option<&str> {
        self.values().find_map(|(known, value)| (known == name).then_some(value))
    }
}

/// What a run takes from the site that its site follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Basis {
    pub site: SiteName,
    pub name: VarName,
    pub value: String,
    /// What the command line asks for in other words, such as a tag: a step finds out what these mean, and is refused unless that is proven.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub given: BTreeMap<VarName, String>,
    /// What proved it there; none: nothing did, and the operator typed the site's name to have it all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

impl Basis {
    /// In words: `revision 3f2a, proven on mysite-test by run ... of alice@desk`; before it, what was asked for, where that is another text.
    pub fn describe(&self) -> String {
        let Self { site, name, value, given, proof } = self;
        let asked =
            given.iter().fold(String::new(), |all, (name, value)| all + name.as_str() + " " + value + " asked for; ");
        match proof {
            Some(proof @ Proof { run, by, .. }) => {
                // What is taken, and what the run's own values are compared with.
                let others = proof.values().filter(|(other, _)| *other != name);
                let others = others.fold(String::new(), |all, (name, value)| all + ", " + name.as_str() + " " + value);
                format!("{asked}{name} {value}{others}, proven on {site} by run {run} of {by}")
            }
            None => format!("{name} {value}, not proven on {site}"),
        }
    }
}
