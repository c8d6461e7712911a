//! Which locks may be taken away, and what may be struck out of the books of a site.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;
use jiff::Timestamp;

use super::books::{self, Answer, Place};
use crate::model::plan::book::Effect;
use crate::model::run::reason::Reason;
use crate::model::text::hint::Hint;
use crate::model::text::name::{RunId, StepName};
use crate::remote::{Connect, Evidence, Holder, HostReport, InForce, Question};

/// A run that has locks which may be taken away once somebody has seen the evidence, and what all their hosts know of it.
pub struct LockedRun<'a> {
    pub run: &'a str,
    evidence: Vec<&'a Evidence>,
}

impl<'a> LockedRun<'a> {
    pub fn all(answers: &'a [Answer<'a>]) -> Vec<Self> {
        let mut runs: BTreeMap<&str, Vec<&Evidence>> = BTreeMap::new();
        let holders = answers.iter().filter_map(|(_, answer)| answer.as_ref().ok()?.holder.as_ref());
        for holder in holders.filter(|holder| holder.foreign.is_none()) {
            runs.entry(&holder.run).or_default().push(&holder.evidence);
        }
        runs.into_iter().map(|(run, evidence)| Self { run, evidence }).collect()
    }

    pub fn is_alive(&self) -> bool {
        self.evidence.iter().any(|evidence| evidence.is_alive())
    }

    pub fn is_over(&self) -> bool {
        self.evidence.iter().all(|evidence| evidence.is_over())
    }

    /// What may be done instead of taking its locks away.
    pub fn hint(&self) -> Hint {
        let connected = self.evidence.iter().any(|evidence| evidence.connected);
        let (on, back) = if connected { ("attach", "cancel") } else { ("resume", "undo") };
        let run = self.run;
        Hint::Advice(format!("where it was started, `fleet {on} {run}` or `fleet {back} {run}`"))
    }
}

fn is_meant(effect: &Effect, typed: &str) -> bool {
    effect.name.as_str() == typed || effect.words == typed
}

/// What of a host's effects somebody has typed, by their names or words. While a run works there, what is in force is its own.
pub fn to_forget<'r>(report: &'r HostReport, typed: &[String]) -> Result<Vec<StepName>, &'r Holder> {
    let mut names = Vec::new();
    for InForce { effect, .. } in &report.effects {
        names.extend(typed.iter().filter(|typed| is_meant(effect, typed)).map(|_| effect.name.clone()));
    }
    match &report.holder {
        Some(holder) if !names.is_empty() => Err(holder),
        _ => Ok(names),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("`{typed}` is not in force there; in force: {}", if .known.is_empty() { "nothing is".to_owned() } else { .known.join(", ") })]
pub struct NotInForce {
    typed: String,
    known: Vec<String>,
}

/// An error when nothing like that is in force on any host.
pub fn refuse_unknown(answers: &[Answer<'_>], typed: &[String]) -> Result<(), NotInForce> {
    let effects = || books::in_force(answers).map(|(_, in_force)| &in_force.effect);
    let unknown = typed.iter().find(|typed| !effects().any(|effect| is_meant(effect, typed)));
    let known = || effects().map(|effect| effect.name.to_string()).collect();
    unknown.map_or(Ok(()), |typed| Err(NotInForce { typed: typed.clone(), known: known() }))
}

/// A change to the book of a host.
pub enum Change {
    Unlock(RunId),
    Forget(Vec<StepName>),
}

impl Change {
    /// None for a lock that fleet has not made: whose it is cannot be told.
    pub fn unlock(holder: &Holder) -> Option<Self> {
        RunId::parse(&holder.run).ok().filter(|_| holder.foreign.is_none()).map(Self::Unlock)
    }
}

/// Has the books changed, with a line in each host's history, and says on which that was done.
pub async fn carry_out(
    connector: &Arc<dyn Connect>,
    changes: &[(&Place, Change)],
    (now, by): (Timestamp, &str),
    width: usize,
) -> Vec<Result<bool, Reason>> {
    let asked = changes.iter().map(async |(Place { host, book }, change)| {
        let question = match change {
            Change::Unlock(run) => {
                Question::unlock(book, run, &format!("{run} {now:.0} unlocked {by} {} unlock", host.site))
            }
            Change::Forget(names) => {
                let all = names.iter().map(StepName::as_str).collect::<Vec<_>>().join(",");
                Question::strike(book, names, &format!("- {now:.0} forgotten {by} {} {all}", host.site))
            }
        };
        books::tell(connector, host, question).await.map(|answer| answer.lines().any(|line| line == "released"))
    });
    stream::iter(asked).buffered(width).collect().await
}
