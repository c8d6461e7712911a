//! The book of a site on a host: lock, sequence, effects in force, proof, the last runs. `durable/book.sh` says what lies in it.
//!
//! It lies where a deployment changes something, `[recipe] lock`, so that all who may deploy see it, whatever their login and whatever the
//! site's file is called; else in the login user's spool. Runs, proofs and releases are ordered by the *sequence*, one more than the
//! greatest number in the books that a run has locked, and never by a clock.
//!
//! Rejected: the records of the controller. There is more than one, and a second laptop's know nothing of what the first one proved.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::recipe::shell::quote;
use crate::model::text::name::{RunId, SiteName, StepName, UserName, VarName};

/// Where a site's book is on a host, and who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Book {
    /// The site.
    pub site: SiteName,
    /// Its folder; without one it is in the spool.
    pub folder: Option<String>,
    /// The login user.
    pub login: UserName,
    /// Nobody knows where it is, because the recipe is broken: the one that the last run of this user had is meant.
    pub lost: bool,
}

impl Book {
    /// What the scripts are told of it: names and values.
    pub fn assignments(&self) -> [(&'static str, &str); 4] {
        [
            ("site", self.site.as_str()),
            ("lock", self.folder.as_deref().unwrap_or_default()),
            ("login", self.login.as_str()),
            ("lost", if self.lost { "yes" } else { "" }),
        ]
    }
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
    /// Nothing?
    pub fn is_empty(&self) -> bool {
        self.begin.is_empty() && self.strike.is_empty()
    }

    /// What the scripts are told of it.
    pub fn assignments(&self) -> [(&'static str, String); 2] {
        let words = self.begin.iter().flat_map(|effect| [quote(effect.name.as_str()), quote(&effect.words)]);
        let names: Vec<&str> = self.strike.iter().map(StepName::as_str).collect();
        [("effects", words.collect::<Vec<_>>().join(" ")), ("strike", names.join(" "))]
    }
}

/// An effect that is in a book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// The step that left it, and the words.
    pub effect: Effect,
    /// The run whose step it was.
    pub run: String,
}

impl InForce {
    /// Reads `NAME RUN WORDS`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(3, ' ');
        let name = StepName::parse(words.next()?).ok()?;
        let run = words.next().unwrap_or_default().to_owned();
        let said = words.next().filter(|words| !words.is_empty()).unwrap_or(name.as_str()).to_owned();
        Some(Self { effect: Effect { words: said, name }, run })
    }

    /// In words: `closed for visitors (maintenance-on, run 20261122-084512-7f3a19c4)`.
    pub fn describe(&self) -> String {
        let Self { effect: Effect { name, words }, run } = self;
        format!("{words} ({name}, run {run})")
    }
}

/// What a success on a site has proven for those that follow it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Proof {
    /// The variable.
    pub name: VarName,
    /// Its value.
    pub value: String,
    /// The run that proved it.
    pub run: RunId,
    /// The number of that run.
    pub sequence: u64,
    /// Who it was, as `user@controller`.
    pub by: String,
    /// How long ago, by the host's own clock, when that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<Duration>,
}

/// What a run takes from the site that its site follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Basis {
    /// The site that is followed.
    pub site: SiteName,
    /// The variable.
    pub name: VarName,
    /// Its value.
    pub value: String,
    /// What proved it there; none: nothing did, and the operator typed the site's name to have it all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

impl Basis {
    /// In words: `revision 3f2a proven on mysite-test by run ... of alice@desk`.
    pub fn describe(&self) -> String {
        let Self { site, name, value, proof } = self;
        match proof {
            Some(Proof { run, by, .. }) => format!("{name} {value}, proven on {site} by run {run} of {by}"),
            None => format!("{name} {value}, not proven on {site}"),
        }
    }
}

/// What a host's book says of a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostProof {
    /// It was proven.
    Proven(Proof),
    /// A run had proven something, and was taken up again since.
    Withdrawn(RunId),
}

impl HostProof {
    /// Reads `NOW SEQUENCE RUN VARIABLE THEN BY`, times in seconds of the host's clock.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let now: Option<u64> = words.next()?.parse().ok();
        let sequence = words.next()?.parse().ok()?;
        let run = RunId::parse(words.next()?).ok()?;
        let name = words.next()?;
        if name == "-" {
            return Some(Self::Withdrawn(run));
        }
        let then: Option<u64> = words.next().and_then(|then| then.parse().ok());
        let age = now.zip(then).and_then(|(now, then)| now.checked_sub(then)).map(Duration::from_secs);
        let by = words.collect::<Vec<_>>().join(" ");
        let name = VarName::parse(name).ok()?;
        Some(Self::Proven(Proof { name, value: String::new(), run, sequence, by, age }))
    }
}

/// The proof that counts, of all that the hosts of a site say: that of the greatest number. One that any host knows to be withdrawn does not
/// count, and neither does an older one: the site was left since with something else than it proved.
pub fn newest(proofs: impl IntoIterator<Item = HostProof>) -> Option<Proof> {
    let (mut found, mut withdrawn): (Vec<Proof>, BTreeSet<RunId>) = (Vec::new(), BTreeSet::new());
    for proof in proofs {
        match proof {
            HostProof::Proven(proof) => found.push(proof),
            HostProof::Withdrawn(run) => drop(withdrawn.insert(run)),
        }
    }
    found.into_iter().max_by_key(|proof| proof.sequence).filter(|proof| !withdrawn.contains(&proof.run))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proven(line: &str) -> HostProof {
        HostProof::parse(line).unwrap()
    }

    #[test]
    fn the_greatest_number_counts_whatever_the_clocks_say() {
        let ahead = proven("100 3 20991231-000000-00000000 revision 90 ann@desk");
        let later = proven("100 4 20260101-000000-00000000 revision 95 bob@desk");
        let newest = newest([later, ahead]).unwrap();
        assert_eq!((newest.sequence, newest.by.as_str(), newest.age), (4, "bob@desk", Some(Duration::from_secs(5))));
    }

    #[test]
    fn what_one_host_knows_to_be_withdrawn_does_not_count() {
        let away = proven("100 4 20260101-000000-00000000 revision 95 bob@desk");
        let withdrawn = proven("100 4 20260101-000000-00000000 -");
        assert_eq!(newest([away, withdrawn]), None);
    }

    #[test]
    fn a_clock_that_went_back_gives_no_age() {
        let HostProof::Proven(proof) = proven("50 1 20260101-000000-00000000 revision 90 ann@desk") else { panic!() };
        assert_eq!(proof.age, None);
    }
}
