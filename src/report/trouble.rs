//! Failures and warnings about hosts, held back for a moment: the same one on many hosts becomes one line.

use std::time::Duration;

use jiff::Timestamp;

use super::cause::FEW;
use super::paint::Tone;
use super::time::duration;
use crate::model::host_summary::{StepKind, elapsed};
use crate::model::name::{HostLabel, StepPath};

/// How long a trouble waits for others with the same cause. Hosts that are contacted together usually refuse within a second.
const TOGETHER: Duration = Duration::from_secs(1);

/// What went wrong on a host.
#[derive(Debug)]
pub struct Trouble {
    /// The step concerned, if any.
    pub step: Option<(StepPath, StepKind)>,
    /// What it means.
    pub tone: Tone,
    /// One line, printable.
    pub text: String,
    /// The text without the host's own address and names.
    pub cause: String,
    /// Duration of the step.
    pub took: Option<Duration>,
    /// Each on a line below it.
    pub hints: Vec<String>,
    /// The command of a step without output. Only that of the first host is shown.
    pub command: Option<String>,
    /// The last lines of the step, if they were not shown before. Only those of the first host are shown.
    pub lines: Vec<String>,
}

/// The same trouble on one host or more.
#[derive(Debug)]
pub struct Shared {
    /// When the first host reported it.
    pub at: Timestamp,
    /// In order of arrival.
    pub hosts: Vec<(HostLabel, Trouble)>,
}

impl Shared {
    /// One line for all of them.
    pub fn text(&self) -> String {
        let Some((_, first)) = self.hosts.first() else { return String::new() };
        let alike = self.hosts.iter().all(|(_, trouble)| trouble.text == first.text);
        let text = if alike { &first.text } else { &first.cause };
        let took = || self.hosts.iter().filter_map(|(_, trouble)| trouble.took);
        match (took().min().map(duration), took().max().map(duration)) {
            (Some(shortest), Some(longest)) if shortest != longest => format!("{text} after {shortest} .. {longest}"),
            (Some(took), _) => format!("{text} after {took}"),
            (None, _) => text.clone(),
        }
    }

    /// One entry per line to print: a few hosts that say different things are listed one by one.
    fn parts(self) -> Vec<Self> {
        let said = |(_, trouble): &(HostLabel, Trouble)| (trouble.text.clone(), trouble.lines.clone());
        let differ = self.hosts.windows(2).any(|two| matches!(two, [a, b] if said(a) != said(b)));
        if self.hosts.len() > FEW || !differ {
            return vec![self];
        }
        self.hosts.into_iter().map(|host| Self { at: self.at, hosts: vec![host] }).collect()
    }
}

/// Troubles that are held back.
#[derive(Debug, Default)]
pub struct Troubles(Vec<Shared>);

impl Troubles {
    /// Adds one.
    pub fn add(&mut self, at: Timestamp, host: &HostLabel, trouble: Trouble) {
        let same = |known: &Shared| {
            let first = known.hosts.first().map(|(_, Trouble { step, cause, hints, .. })| (step, cause, hints));
            first == Some((&trouble.step, &trouble.cause, &trouble.hints))
        };
        // Messages about one host keep their order.
        let has_host = |known: &Shared| known.hosts.iter().any(|(known, _)| known == host);
        let after = self.0.iter().rposition(has_host).map_or(0, |last| last + 1);
        match self.0.iter().skip(after).position(same).and_then(|place| self.0.get_mut(after + place)) {
            Some(known) => known.hosts.push((host.clone(), trouble)),
            None => self.0.push(Shared { at, hosts: vec![(host.clone(), trouble)] }),
        }
    }

    /// Has the first waited long enough?
    pub fn are_due(&self, now: Timestamp) -> bool {
        // A clock that was set back must not hold them forever.
        self.0.first().is_some_and(|first| now < first.at || elapsed(first.at, now) >= TOGETHER)
    }

    /// Removes all of them, in order of arrival.
    pub fn take(&mut self) -> Vec<Shared> {
        std::mem::take(&mut self.0).into_iter().flat_map(Shared::parts).collect()
    }
}
