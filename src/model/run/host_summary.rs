//! What is known about one host of a run: its part of the fold that is [`crate::model::run::summary::Summary`].

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::run::cause::Cause;
use crate::model::run::event::{Decision, Fact, Stream};
use crate::model::run::finding::Finding;
use crate::model::run::outcome::{HostOutcome, StepOutcome};
use crate::model::run::reason::Reason;
use crate::model::text::name::{FindingName, HostLabel, StepPath, VarName};
use crate::model::text::tail::Tail;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSummary {
    pub host: HostLabel,
    /// How it ended; none while it is not settled.
    pub outcome: Option<HostOutcome>,
    pub reason: Option<Reason>,
    pub in_force: Vec<String>,
    pub kept: Vec<StepPath>,
    /// When fleet began to connect.
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    /// Is there a connection, as far as is known?
    pub connected: bool,
    pub connections_lost: u32,
    /// The run holds the site's lock there, or may hold it.
    pub locked: bool,
    /// What it does not promise, in words.
    pub warnings: Vec<String>,
    pub given_up: bool,
    pub activity: Option<Activity>,
    /// The step that will be tried again after a pause.
    pub retrying: Option<StepPath>,
    /// What the current step printed, or the last one.
    pub tail: Tail,
    /// The first step, or undo, that did not succeed and was not tried again.
    pub failure: Option<Failure>,
    /// The undo that failed after that.
    pub undo_failure: Option<Failure>,
    pub registered: BTreeMap<VarName, String>,
    /// What the run changes here, in words.
    pub change: Option<String>,
    /// What the last attempts of its steps and undos reported.
    pub findings: Vec<Reported>,
    steps: Vec<StepSummary>,
}

/// A command that was sent and has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    pub step: StepPath,
    pub kind: StepKind,
    /// Attempt, from 1.
    pub attempt: u32,
    pub since: Timestamp,
    /// When it printed something last.
    pub printed: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StepKind {
    Run,
    Undo,
}

/// A step, or the undo of one, on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepSummary {
    pub step: StepPath,
    pub kind: StepKind,
    pub attempts: u32,
    /// When the last attempt began.
    pub started: Timestamp,
    /// How the last attempt ended; none while it runs, or while it will be tried again.
    pub outcome: Option<StepOutcome>,
    pub duration: Duration,
}

/// A finding, and the step or undo that reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    pub step: StepPath,
    pub kind: StepKind,
    pub finding: Finding,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub step: StepPath,
    pub kind: StepKind,
    pub outcome: StepOutcome,
    pub attempts: u32,
    pub tail: Tail,
}

impl HostSummary {
    /// The blocks that were accepted here, each with the greatest count that a step has reported.
    pub fn accepted(&self) -> BTreeMap<FindingName, u64> {
        let mut of_steps: BTreeMap<(&StepPath, &FindingName), u64> = BTreeMap::new();
        for Reported { step, finding, .. } in &self.findings {
            if let (Some(name), Some(count), Some(_)) = (&finding.name, finding.count(), &finding.accepted) {
                let sum = of_steps.entry((step, name)).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        let mut accepted: BTreeMap<FindingName, u64> = BTreeMap::new();
        for ((_, name), count) in of_steps {
            let most = accepted.entry(name.clone()).or_default();
            *most = count.max(*most);
        }
        accepted
    }

    pub(super) fn new(host: &HostLabel) -> Self {
        Self {
            host: host.clone(),
            outcome: None,
            reason: None,
            in_force: Vec::new(),
            kept: Vec::new(),
            started: None,
            finished: None,
            connected: false,
            connections_lost: 0,
            locked: false,
            warnings: Vec::new(),
            given_up: false,
            activity: None,
            retrying: None,
            tail: Tail::default(),
            failure: None,
            undo_failure: None,
            registered: BTreeMap::new(),
            change: None,
            findings: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// Its steps and undos, in the order in which they began.
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = &StepSummary> + Clone {
        self.steps.iter()
    }

    /// The steps that were undone, in that order.
    pub fn undone(&self) -> impl DoubleEndedIterator<Item = &StepPath> {
        self.steps
            .iter()
            .filter(|s| s.kind == StepKind::Undo && s.outcome == Some(StepOutcome::Succeeded))
            .map(|s| &s.step)
    }

    /// The steps whose undo did not succeed, and how it ended.
    pub fn not_undone(&self) -> impl Iterator<Item = (&StepPath, &StepOutcome)> {
        self.steps
            .iter()
            .filter(|s| s.kind == StepKind::Undo)
            .filter_map(|s| Some((&s.step, s.outcome.as_ref().filter(|outcome| !outcome.is_success())?)))
    }

    /// How long it took from the first connection until it settled.
    pub fn duration(&self) -> Option<Duration> {
        Some(elapsed(self.started?, self.finished?))
    }

    pub(super) fn apply(&mut self, at: Timestamp, fact: &Fact) {
        match fact {
            Fact::HostStarted { .. } => {
                self.started.get_or_insert(at);
            }
            Fact::Connected { .. } | Fact::Reattached { .. } => self.connected = true,
            Fact::LockRequested { .. } | Fact::LockAcquired { .. } => self.locked = true,
            Fact::LockReleased { .. } => self.locked = false,
            Fact::LessPromised { what, .. } => self.warnings.push(what.clone()),
            Fact::HostGivenUp { .. } => self.give_up(at),
            Fact::StepDecided { step, decision, .. } => self.decide(at, step, *decision),
            Fact::ConnectionLost { .. } => {
                self.connected = false;
                self.connections_lost = self.connections_lost.saturating_add(1);
            }
            Fact::StepStarted { step, attempt, .. } => self.begin(at, step, StepKind::Run, *attempt),
            Fact::StepResumed { step, attempt, undo, .. } => {
                self.begin(at, step, if *undo { StepKind::Undo } else { StepKind::Run }, *attempt);
            }
            Fact::UndoStarted { step, attempt, .. } => self.begin(at, step, StepKind::Undo, *attempt),
            Fact::Output { stream, data, .. } => self.print(at, *stream, &data.0),
            Fact::FindingReported { step, undo, finding, .. } => {
                let kind = if *undo { StepKind::Undo } else { StepKind::Run };
                self.findings.push(Reported { step: step.clone(), kind, finding: finding.clone() });
            }
            Fact::StepSkipped { step, reason, .. } => {
                let outcome = StepOutcome::Skipped { reason: reason.clone() };
                self.end(at, step, StepKind::Run, Some(&outcome), None);
            }
            Fact::StepFinished { step, outcome, retrying, millis, .. } => {
                let outcome = (!retrying).then_some(outcome);
                self.end(at, step, StepKind::Run, outcome, Some(Duration::from_millis(*millis)));
            }
            Fact::UndoFinished { step, outcome, millis, .. } => {
                self.end(at, step, StepKind::Undo, Some(outcome), Some(Duration::from_millis(*millis)));
            }
            Fact::Registered { name, value, .. } => drop(self.registered.insert(name.clone(), value.clone())),
            Fact::ChangeDescribed { text, .. } => self.change = Some(text.clone()),
            Fact::HostFinished { outcome, reason, in_force, kept, locked, .. } => {
                self.outcome = Some(*outcome);
                self.reason.clone_from(reason);
                self.in_force.clone_from(in_force);
                self.kept.clone_from(kept);
                self.locked = *locked;
                self.finished = Some(at);
                self.connected = false;
                if *outcome == HostOutcome::Succeeded {
                    self.tail.clear();
                }
                if let Some(left) = self.activity.take() {
                    let reason = Reason::new(Cause::LetGo, "the run let go of it while it was running");
                    let outcome = match outcome {
                        HostOutcome::Detached => StepOutcome::Detached { reason },
                        _ => StepOutcome::Unknown { reason },
                    };
                    self.end(at, &left.step, left.kind, Some(&outcome), None);
                }
            }
            // Nothing ran.
            Fact::UndoPlanned { .. }
            // What follows from it is reported as the end of the step.
            | Fact::WatchFailed { .. }
            // Not about a host: `Summary::apply` keeps each of them.
            | Fact::RunStarted { .. }
            | Fact::RunResumed { .. }
            | Fact::PhaseStarted { .. }
            | Fact::BatchStarted { .. }
            | Fact::BatchFinished { .. }
            | Fact::WatchStarted { .. }
            | Fact::RolloutStopped { .. }
            | Fact::Interrupted { .. }
            | Fact::AcceptUnused { .. }
            | Fact::ReporterDropped { .. }
            | Fact::RunFinished { .. } => {}
        }
    }

    /// The run goes on: how it ended before is over, and what it has done stays.
    pub(super) fn reopen(&mut self) {
        self.outcome = None;
        self.reason = None;
        self.in_force.clear();
        self.kept.clear();
        self.warnings.clear();
        self.finished = None;
        self.connected = false;
        self.connections_lost = 0;
        self.activity = None;
        self.retrying = None;
    }

    /// Nobody will find out how its open step ended, and nobody will give its lock back.
    fn give_up(&mut self, at: Timestamp) {
        self.given_up = true;
        self.locked = false;
        let is_open = |step: &&StepSummary| matches!(step.outcome, None | Some(StepOutcome::Detached { .. }));
        if let Some((step, kind)) = self.steps.last().filter(is_open).map(|open| (open.step.clone(), open.kind)) {
            self.failure.take_if(|failure| failure.step == step);
            let reason = Reason::new(Cause::GivenUp, "its host was given up");
            self.end(at, &step, kind, Some(&StepOutcome::Unknown { reason }), None);
        }
    }

    /// A person says how a step ended, or that it is to run again.
    fn decide(&mut self, at: Timestamp, step: &StepPath, decision: Decision) {
        self.failure.take_if(|failure| &failure.step == step);
        if decision == Decision::AssumeDone {
            self.end(at, step, StepKind::Run, Some(&StepOutcome::Succeeded), None);
        }
    }

    fn begin(&mut self, at: Timestamp, step: &StepPath, kind: StepKind, attempt: u32) {
        self.tail.clear();
        self.retrying = None;
        // What an attempt reported that is made again, or watched again, it reports again.
        self.findings.retain(|reported| reported.kind != kind || &reported.step != step);
        self.activity = Some(Activity { step: step.clone(), kind, attempt, since: at, printed: None });
        // A step that begins again (a retry, a resumed run) has not failed yet.
        for failure in [&mut self.failure, &mut self.undo_failure] {
            failure.take_if(|failure| failure.kind == kind && &failure.step == step);
        }
        let record = self.record(at, step, kind);
        record.attempts = record.attempts.max(attempt);
        record.started = at;
        record.outcome = None;
    }

    fn print(&mut self, at: Timestamp, stream: Stream, data: &[u8]) {
        self.tail.push(stream, data);
        if let Some(activity) = &mut self.activity {
            activity.printed = Some(at);
        }
    }

    /// `outcome`: none when the step will be tried again.
    fn end(
        &mut self,
        at: Timestamp,
        step: &StepPath,
        kind: StepKind,
        outcome: Option<&StepOutcome>,
        took: Option<Duration>,
    ) {
        self.activity.take_if(|activity| activity.kind == kind && &activity.step == step);
        let record = self.record(at, step, kind);
        record.outcome = outcome.cloned();
        record.duration = took.unwrap_or_else(|| elapsed(record.started, at));
        let attempts = record.attempts;
        self.retrying = outcome.is_none().then(|| step.clone());
        let Some(outcome) = outcome.filter(|outcome| !outcome.is_success()) else { return };
        let (step, outcome, tail) = (step.clone(), outcome.clone(), self.tail.clone());
        let failure = Failure { step, kind, outcome, attempts, tail };
        // What failed first is the cause, unless it was only cancelled because of another trouble.
        if self.failure.as_ref().is_none_or(|failure| failure.outcome == StepOutcome::Cancelled) {
            self.failure = Some(failure);
        } else if kind == StepKind::Undo {
            self.undo_failure = Some(failure);
        }
    }

    fn record(&mut self, at: Timestamp, step: &StepPath, kind: StepKind) -> &mut StepSummary {
        let known = self.steps.iter().rposition(|record| record.kind == kind && &record.step == step);
        let place = known.unwrap_or(self.steps.len());
        if known.is_none() {
            let (step, duration) = (step.clone(), Duration::ZERO);
            self.steps.push(StepSummary { step, kind, attempts: 0, started: at, outcome: None, duration });
        }
        #[expect(clippy::indexing_slicing, reason = "the place was found, or made, just above")]
        &mut self.steps[place]
    }
}

/// From one moment to another; zero when the clock went backwards.
pub fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
