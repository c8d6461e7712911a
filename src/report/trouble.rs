//! What went wrong on a host, held back for a moment, so that it is told once when the same went wrong on many.

use std::time::Duration;

use jiff::Timestamp;

use super::cause::FEW;
use super::paint::Tone;
use super::time::duration;
use crate::model::host_summary::{StepKind, elapsed};
use crate::model::name::{HostLabel, StepPath};

/// How long a trouble waits for others like it. Hosts that are asked at the same time, and refuse, do so within a second.
const TOGETHER: Duration = Duration::from_secs(1);

/// What went wrong on a host.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// The step that it is about, if it is about one.
    pub step: Option<(StepPath, StepKind)>,
    /// What it means.
    pub tone: Tone,
    /// One line, printable.
    pub text: String,
    /// The same without what is the host's own.
    pub cause: String,
    /// How long the step took.
    pub took: Option<Duration>,
    /// Each on a line below it.
    pub hints: Vec<String>,
    /// The command of a step that said nothing: that of the first host stands for all.
    pub command: Option<String>,
    /// The last lines of the step, where they were not told yet. Those of the first host stand for all.
    pub lines: Vec<String>,
}

/// The same trouble on some hosts.
#[derive(Debug, Clone)]
pub struct Shared {
    /// When it came to the first.
    pub at: Timestamp,
    /// In the order in which it came to them.
    pub hosts: Vec<HostLabel>,
    /// That of the first.
    pub trouble: Trouble,
    /// That of each host.
    texts: Vec<String>,
    longest: Option<Duration>,
}

impl Shared {
    fn are_alike(&self) -> bool {
        self.texts.iter().all(|text| *text == self.trouble.text)
    }

    /// What is said of all of them.
    pub fn text(&self) -> String {
        let text = if self.are_alike() { &self.trouble.text } else { &self.trouble.cause };
        match (self.trouble.took.map(duration), self.longest.map(duration)) {
            (Some(shortest), Some(longest)) if shortest != longest => format!("{text} after {shortest} .. {longest}"),
            (Some(took), _) => format!("{text} after {took}"),
            (None, _) => text.clone(),
        }
    }

    /// What is to be told by itself: the hosts one by one where they are few, and differ.
    pub fn parts(&self) -> Vec<Self> {
        if self.hosts.len() > FEW || self.are_alike() {
            return vec![self.clone()];
        }
        let part = |(host, text): (&HostLabel, &String)| Self {
            hosts: vec![host.clone()],
            texts: vec![text.clone()],
            trouble: Trouble { text: text.clone(), ..self.trouble.clone() },
            ..self.clone()
        };
        self.hosts.iter().zip(&self.texts).map(part).collect()
    }
}

/// Troubles that wait to be told.
#[derive(Debug, Default)]
pub struct Troubles(Vec<Shared>);

impl Troubles {
    /// Takes one more.
    pub fn add(&mut self, at: Timestamp, host: &HostLabel, trouble: Trouble) {
        let same = |known: &Shared| {
            let Trouble { step, cause, hints, .. } = &known.trouble;
            (step, cause, hints) == (&trouble.step, &trouble.cause, &trouble.hints)
        };
        // What was said of a host stays in its order.
        let after = self.0.iter().rposition(|known| known.hosts.contains(host)).map_or(0, |last| last + 1);
        match self.0.iter_mut().skip(after).find(|known| same(known)) {
            Some(known) => {
                known.hosts.push(host.clone());
                known.texts.push(trouble.text);
                known.longest = known.longest.max(trouble.took);
                known.trouble.took = known.trouble.took.min(trouble.took);
            }
            None => {
                let texts = vec![trouble.text.clone()];
                self.0.push(Shared { at, hosts: vec![host.clone()], texts, longest: trouble.took, trouble });
            }
        }
    }

    /// Has the first waited long enough?
    pub fn are_due(&self, now: Timestamp) -> bool {
        // A clock that was set back must not hold them for ever.
        self.0.first().is_some_and(|first| now < first.at || elapsed(first.at, now) >= TOGETHER)
    }

    /// Gives all, in the order in which they came.
    pub fn take(&mut self) -> Vec<Shared> {
        std::mem::take(&mut self.0)
    }
}
