//! Failures and warnings about hosts, held back for a moment: the same one on many hosts becomes one line.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::cause::FEW;
use super::paint::Tone;
use super::time::durations;
use crate::model::run::host_summary::{StepKind, elapsed};
use crate::model::text::name::{HostLabel, StepPath};

/// How long a trouble waits for others with the same cause. Hosts that are contacted together usually refuse within a second.
const TOGETHER: Duration = Duration::from_secs(1);

/// What hosts with the same trouble have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cause {
    pub step: Option<(StepPath, StepKind)>,
    /// The text without the host's own address and names.
    pub text: String,
    /// Each on a line below it.
    pub hints: Vec<String>,
}

#[derive(Debug)]
pub struct Trouble {
    pub tone: Tone,
    /// One line, printable.
    pub text: String,
    pub took: Option<Duration>,
    /// The command of a step without output. Only that of the first host is shown.
    pub command: Option<String>,
    /// The last lines of the step, if they were not shown before. Only those of the first host are shown.
    pub lines: Vec<String>,
}

#[derive(Debug)]
pub struct Shared {
    /// When the first host reported it.
    pub at: Timestamp,
    pub cause: Cause,
    /// In order of arrival.
    pub hosts: Vec<(HostLabel, Trouble)>,
}

impl Shared {
    /// One line for all of them.
    pub fn text(&self) -> String {
        let Some((_, first)) = self.hosts.first() else { return String::new() };
        let alike = self.hosts.iter().all(|(_, trouble)| trouble.text == first.text);
        let text = if alike { &first.text } else { &self.cause.text };
        let took = durations(self.hosts.iter().filter_map(|(_, trouble)| trouble.took));
        if took.is_empty() { text.clone() } else { format!("{text} after {took}") }
    }

    /// One entry per line to print: a few hosts that say different things are listed one by one.
    fn parts(self) -> Vec<Self> {
        let differ =
            |(_, a): &(HostLabel, Trouble), (_, b): &(HostLabel, Trouble)| a.text != b.text || a.lines != b.lines;
        if self.hosts.len() > FEW || !self.hosts.windows(2).any(|two| matches!(two, [a, b] if differ(a, b))) {
            return vec![self];
        }
        let Self { at, cause, hosts } = self;
        hosts.into_iter().map(|host| Self { at, cause: cause.clone(), hosts: vec![host] }).collect()
    }
}

/// Troubles that are held back.
#[derive(Debug, Default)]
pub struct Troubles {
    shared: Vec<Shared>,
    /// The last place of each cause in `shared`.
    causes: HashMap<Cause, usize>,
    /// The last place of each host.
    hosts: HashMap<HostLabel, usize>,
}

impl Troubles {
    pub fn add(&mut self, at: Timestamp, host: &HostLabel, cause: Cause, mut trouble: Trouble) {
        let last = self.hosts.get(host).copied();
        // Messages about one host keep their order.
        let place = self.causes.get(&cause).copied().filter(|&place| last.is_none_or(|last| place > last));
        let place = place.unwrap_or(self.shared.len());
        self.hosts.insert(host.clone(), place);
        let Some(shared) = self.shared.get_mut(place) else {
            self.causes.insert(cause.clone(), place);
            self.shared.push(Shared { at, cause, hosts: vec![(host.clone(), trouble)] });
            return;
        };
        if shared.hosts.len() >= FEW {
            // They will not be shown.
            (trouble.command, trouble.lines) = (None, Vec::new());
        }
        shared.hosts.push((host.clone(), trouble));
    }

    /// Has the first waited long enough?
    pub fn are_due(&self, now: Timestamp) -> bool {
        // A clock that was set back must not hold them forever.
        self.shared.first().is_some_and(|first| now < first.at || elapsed(first.at, now) >= TOGETHER)
    }

    /// Removes all of them, in order of arrival.
    pub fn take(&mut self) -> Vec<Shared> {
        std::mem::take(self).shared.into_iter().flat_map(Shared::parts).collect()
    }
}
