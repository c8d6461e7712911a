//! What is known about a run: a pure fold over its events.
//!
//! Screen, final table, exit code and `fleet show` all read this one value, so they cannot disagree. The fold is total: any
//! events in any order give a summary, because a record may be torn and a run may be still going on.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::plan::book::Basis;
use crate::model::run::event::{Changes, Direction, Event, Fact, Proven, Signal};
pub use crate::model::run::host_summary::{Activity, Failure, HostSummary, Reported, StepKind, StepSummary, elapsed};
use crate::model::run::outcome::HostOutcome;
use crate::model::text::name::{FindingName, HostLabel, PhaseName, RunId, SiteName};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// The run; none before its first event.
    pub run: Option<RunId>,
    pub sites: Vec<SiteName>,
    /// Its tasks, as typed.
    pub task: String,
    pub by: String,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    pub latest: Option<Timestamp>,
    /// The phases that began, in order.
    pub phases: Vec<PhaseSummary>,
    pub stopped: Option<String>,
    /// How far it was interrupted: 0 is not at all.
    pub interrupts: u8,
    /// What it was interrupted with last.
    pub signal: Option<Signal>,
    pub dropped: Vec<(String, String)>,
    /// What the site's file accepts, and no step has reported.
    pub accept_unused: Vec<FindingName>,
    /// The exit code that the run told when it ended.
    pub told_exit_code: Option<u8>,
    /// Which way it was resumed last.
    pub resumed: Option<Direction>,
    pub basis: Option<Basis>,
    pub proven: Option<Proven>,
    /// What it changes on all hosts; those of which something else was said have it themselves.
    change: Option<String>,
    hosts: Vec<HostSummary>,
    places: BTreeMap<HostLabel, usize>,
}

/// How far a phase is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhaseSummary {
    pub name: PhaseName,
    pub batches: usize,
    /// The batch that began last, from 1; 0 before the first.
    pub batch: usize,
    pub hosts: Vec<HostLabel>,
    /// How many batches are through.
    pub finished: usize,
    /// The batch after which hosts were watched last; 0 when none was.
    pub watched: usize,
}

impl Summary {
    pub fn apply(&mut self, event: &Event) {
        self.run.get_or_insert_with(|| event.run.clone());
        self.latest = self.latest.max(Some(event.at));
        match &event.fact {
            Fact::RunStarted { sites, task, hosts, by, basis } => {
                self.basis.clone_from(basis);
                self.sites.clone_from(sites);
                self.task.clone_from(task);
                self.by.clone_from(by);
                self.started = Some(event.at);
                for host in hosts {
                    self.host_mut(host);
                }
            }
            Fact::PhaseStarted { phase, batches } => self.phases.push(PhaseSummary::new(phase, *batches)),
            Fact::BatchStarted { phase, batch, hosts } => {
                let phase = self.phase_mut(phase);
                phase.batch = *batch;
                phase.batches = phase.batches.max(*batch);
                phase.hosts.clone_from(hosts);
            }
            Fact::BatchFinished { phase, batch } => {
                let phase = self.phase_mut(phase);
                phase.finished = phase.finished.max(*batch);
                phase.batches = phase.batches.max(*batch);
            }
            Fact::WatchStarted { phase, batch, .. } => self.phase_mut(phase).watched = *batch,
            Fact::RunResumed { direction, .. } => {
                self.resumed = Some(*direction);
                self.finished = None;
                self.told_exit_code = None;
                self.proven = None;
                self.stopped = None;
                self.interrupts = 0;
                self.signal = None;
                self.dropped.clear();
                self.accept_unused.clear();
                self.hosts.iter_mut().for_each(HostSummary::reopen);
            }
            Fact::RolloutStopped { reason } => {
                self.stopped.get_or_insert_with(|| reason.clone());
            }
            Fact::Interrupted { level, signal } => {
                self.interrupts = self.interrupts.max(*level);
                self.signal = Some(*signal);
            }
            Fact::ChangeDescribed { text, shared: true, .. } => self.change = Some(text.clone()),
            Fact::AcceptUnused { names } => self.accept_unused.clone_from(names),
            Fact::ReporterDropped { reporter, reason } => self.dropped.push((reporter.clone(), reason.clone())),
            Fact::RunFinished { exit_code, proven, .. } => {
                self.finished = Some(event.at);
                self.told_exit_code = Some(*exit_code);
                self.proven.clone_from(proven);
            }
            fact => {
                if let Some(host) = fact.host() {
                    self.host_mut(host).apply(event.at, fact);
                }
            }
        }
    }

    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut summary = Self::default();
        for event in events {
            summary.apply(event);
        }
        summary
    }

    /// All hosts, in the order of the plan.
    pub fn hosts(&self) -> impl ExactSizeIterator<Item = &HostSummary> + Clone {
        self.hosts.iter()
    }

    pub fn host(&self, host: &str) -> Option<&HostSummary> {
        self.places.get(host).and_then(|&place| self.hosts.get(place))
    }

    /// The failed steps, each with its host. Events on disk are without output: the last lines are read from the host's log.
    pub fn failures_mut(&mut self) -> impl Iterator<Item = (&HostLabel, &mut Failure)> {
        self.hosts.iter_mut().flat_map(|host| {
            let label = &host.host;
            host.failure.iter_mut().chain(&mut host.undo_failure).map(move |failure| (label, failure))
        })
    }

    /// How long the run took; until its last event when it is not finished.
    pub fn duration(&self) -> Option<Duration> {
        Some(elapsed(self.started?, self.finished.or(self.latest)?))
    }

    /// Was it told to take everything back? Then that is what makes it a success.
    pub fn is_undo(&self) -> bool {
        self.resumed == Some(Direction::Back)
    }

    /// What steps reported, each with its host.
    pub fn findings(&self) -> impl Iterator<Item = (&HostLabel, &Reported)> {
        self.hosts().flat_map(|host| host.findings.iter().map(move |reported| (&host.host, reported)))
    }

    /// The blocks that the site's file accepted, each with the greatest count that a host reported.
    pub fn accepted(&self) -> BTreeMap<FindingName, u64> {
        let mut accepted = BTreeMap::new();
        for (name, count) in self.hosts().flat_map(HostSummary::accepted) {
            let most: &mut u64 = accepted.entry(name).or_default();
            *most = count.max(*most);
        }
        accepted
    }

    /// What the run changes, or was to change, each with the hosts of which it was said; in the order of the hosts.
    pub fn changes(&self) -> Vec<(&str, Vec<&HostLabel>)> {
        let mut changes: Vec<(&str, Vec<&HostLabel>)> = Vec::new();
        for host in self.hosts() {
            let Some(text) = host.change.as_deref().or(self.change.as_deref()) else { continue };
            match changes.iter_mut().find(|(other, _)| *other == text) {
                Some((_, hosts)) => hosts.push(&host.host),
                None => changes.push((text, vec![&host.host])),
            }
        }
        changes
    }

    pub fn changes_in_short(&self) -> Option<Changes> {
        let changes = self.changes();
        let (first, _) = changes.first()?;
        Some(Changes { first: (*first).to_owned(), others: changes.len() - 1 })
    }

    pub fn count(&self, outcome: HostOutcome) -> usize {
        self.hosts().filter(|host| host.outcome == Some(outcome)).count()
    }

    fn phase_mut(&mut self, name: &PhaseName) -> &mut PhaseSummary {
        let place = self.phases.iter().rposition(|phase| &phase.name == name).unwrap_or(self.phases.len());
        if place == self.phases.len() {
            self.phases.push(PhaseSummary::new(name, 0));
        }
        #[expect(clippy::indexing_slicing, reason = "the place was found, or made, just above")]
        &mut self.phases[place]
    }

    fn host_mut(&mut self, host: &HostLabel) -> &mut HostSummary {
        let place = *self.places.entry(host.clone()).or_insert_with(|| {
            self.hosts.push(HostSummary::new(host));
            self.hosts.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "`places` holds only places of `hosts`, which never shrinks")]
        &mut self.hosts[place]
    }
}

impl PhaseSummary {
    fn new(name: &PhaseName, batches: usize) -> Self {
        Self { name: name.clone(), batches, batch: 0, hosts: Vec::new(), finished: 0, watched: 0 }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::any_events;
