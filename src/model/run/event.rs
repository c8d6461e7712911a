//! What happened, as past-tense facts: owned, serialisable, versioned, and without any display policy.
//!
//! Screen, record, exit code and `fleet show` are folds over the same events ([`crate::model::run::summary::Summary`]).

use base64::prelude::BASE64_STANDARD;
use base64::{DecodeError, Engine as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::model::plan::book::Basis;
use crate::model::run::finding::Finding;
use crate::model::run::outcome::{HostOutcome, StepOutcome};
use crate::model::run::reason::{self, Reason};
use crate::model::text::name::{FindingName, HostLabel, PhaseName, RunId, SiteName, StepPath, VarName};

/// The version of the event format; a reader refuses a higher one, and a fact or a field that it does not know. Versions 1 and 2
/// read as 3: what came with it has a default, and hints in the text of a [`Reason`] are taken out of it.
pub const EVENT_VERSION: u32 = 3;

/// One fact of one run. One event is one line of `--json` and of `events.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub v: u32,
    /// When it happened, by the controller's clock.
    pub at: Timestamp,
    pub run: RunId,
    /// What happened. The fact refuses fields that it does not know: to serde, all that are not of this struct are the fact's.
    #[serde(flatten)]
    pub fact: Fact,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Fact {
    /// The run began. Nothing has been contacted.
    RunStarted {
        sites: Vec<SiteName>,
        /// The tasks, as typed.
        task: String,
        /// All targeted hosts, in the order of the plan.
        hosts: Vec<HostLabel>,
        /// Who started it, as `user@controller`.
        by: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        basis: Option<Basis>,
    },
    /// The run goes on after its controller ended, or was let go of. What the events before say of the end of hosts is taken back.
    RunResumed {
        direction: Direction,
        /// Who resumed it, as `user@controller`.
        by: String,
    },
    /// The operator decided about a step whose outcome is not known, or not good.
    StepDecided {
        host: HostLabel,
        step: StepPath,
        decision: Decision,
    },
    /// The operator gave the host up: the run finishes without it.
    HostGivenUp {
        host: HostLabel,
        /// Who gave it up, as `user@controller`.
        by: String,
    },
    /// A connection to the host is being made.
    HostStarted {
        host: HostLabel,
    },
    /// The host was reached, its key verified, and the login done.
    Connected {
        host: HostLabel,
    },
    /// The site is about to be locked on the host. This line is on disk before the host is asked: a lock that nobody hears of any more is
    /// still the run's to give back.
    LockRequested {
        host: HostLabel,
    },
    LockAcquired {
        host: HostLabel,
    },
    /// The host cannot keep all that fleet promises of a step. Told before the first one starts.
    LessPromised {
        host: HostLabel,
        /// What is not promised, in words.
        what: String,
    },
    LockReleased {
        host: HostLabel,
    },
    PhaseStarted {
        phase: PhaseName,
        batches: usize,
    },
    BatchStarted {
        phase: PhaseName,
        /// Number of the batch, from 1.
        batch: usize,
        hosts: Vec<HostLabel>,
    },
    /// A step's command is about to be sent. This line is on disk before the command is.
    StepStarted {
        host: HostLabel,
        step: StepPath,
        /// Attempt, from 1.
        attempt: u32,
    },
    /// A resumed run asks the host for an attempt of a step, or of an undo, that was about to be sent by an earlier controller.
    StepResumed {
        host: HostLabel,
        step: StepPath,
        /// Attempt, from 1.
        attempt: u32,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        undo: bool,
    },
    /// A guard said that there is nothing to do.
    StepSkipped {
        host: HostLabel,
        step: StepPath,
        /// The guard that said so.
        reason: String,
    },
    /// The host came to a step that is only an undo: nothing ran, and from here on it is undone with the others.
    UndoPlanned {
        host: HostLabel,
        step: StepPath,
    },
    /// A command printed something: whole lines, except where a line is longer than 64 KiB or the command ended inside one.
    Output {
        host: HostLabel,
        /// The step whose `run`, guard or `undo` printed it.
        step: StepPath,
        stream: Stream,
        #[serde(flatten)]
        data: OutputData,
    },
    /// A step, or an undo, has ended, and reported something about itself.
    FindingReported {
        host: HostLabel,
        step: StepPath,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        undo: bool,
        #[serde(flatten)]
        finding: Finding,
    },
    /// An attempt of a step ended.
    StepFinished {
        host: HostLabel,
        step: StepPath,
        /// Attempt, from 1.
        attempt: u32,
        outcome: StepOutcome,
        retrying: bool,
        millis: u64,
    },
    /// A step's standard output became a variable of the host (of all hosts when the step ran `once`).
    Registered {
        host: HostLabel,
        name: VarName,
        /// Its value, without the final newline.
        value: String,
    },
    /// What the run changes on the host (on all hosts when the step that said it ran `once`), in words of the recipe.
    ChangeDescribed {
        host: HostLabel,
        /// One line without secrets.
        text: String,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        shared: bool,
    },
    ConnectionLost {
        host: HostLabel,
        #[serde(flatten)]
        reason: Reason,
        /// A durable step goes on there while fleet tries to reach the host again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        step_goes_on: bool,
    },
    /// The host is connected again, and its running step is watched from the byte at which it was lost.
    Reattached {
        host: HostLabel,
    },
    /// An undo's command is about to be sent. This line is on disk before the command is.
    UndoStarted {
        host: HostLabel,
        step: StepPath,
        /// Attempt, from 1: an undo that failed may be run again by `fleet undo`.
        #[serde(default = "first", skip_serializing_if = "is_first")]
        attempt: u32,
    },
    UndoFinished {
        host: HostLabel,
        step: StepPath,
        outcome: StepOutcome,
        millis: u64,
    },
    /// A host settled. No event of this host comes after it.
    HostFinished {
        host: HostLabel,
        outcome: HostOutcome,
        #[serde(flatten, deserialize_with = "reason::optional")]
        reason: Option<Reason>,
        /// What is still there although the run did not succeed: what the recipe says of it, or the step.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        in_force: Vec<String>,
        /// The steps that ran, may have changed something, and have no undo, although the run did not succeed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kept: Vec<StepPath>,
        /// The run still holds the site's lock there, or may hold it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        locked: bool,
    },
    /// All hosts of a batch are through it.
    BatchFinished {
        phase: PhaseName,
        /// Number of the batch, from 1.
        batch: usize,
    },
    /// The rollout soaks after a batch, and hosts that were rolled are watched.
    WatchStarted {
        phase: PhaseName,
        /// Number of the batch, from 1.
        batch: usize,
        millis: u64,
    },
    /// A watched step failed. After `limit` failures in a row the step has failed, which is the next event.
    WatchFailed {
        host: HostLabel,
        step: StepPath,
        outcome: StepOutcome,
        /// How often in a row.
        failures: u32,
        /// How often is too often.
        limit: u32,
    },
    /// Failures passed the budget, or an interrupt came: nothing new starts, and what was done is being undone or held.
    RolloutStopped {
        reason: String,
    },
    Interrupted {
        /// How often: 1 starts no new step, 2 ends the running ones, 3 lets go.
        level: u8,
        signal: Signal,
    },
    /// The run succeeded, and no step reported a block of these names, which the site's file accepts.
    AcceptUnused {
        names: Vec<FindingName>,
    },
    /// A reporter failed and gets no more events.
    ReporterDropped {
        reporter: String,
        reason: String,
    },
    RunFinished {
        exit_code: u8,
        /// The value proven by this run, for sites that follow this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proven: Option<Proven>,
        /// Its number in the books of the hosts: 1 + the greatest there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sequence: Option<u64>,
        /// What it changed, or was to change.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        changes: Option<Changes>,
        /// What it was to do was to take the run back.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        undone: bool,
    },
}

fn first() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_first(attempt: &u32) -> bool {
    *attempt == 1
}

/// Which way a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// With the next step; or, if the rollout had stopped, with what follows a stop.
    Forward,
    /// Back: what it did is undone.
    Back,
    /// Running steps are ended, then what follows a stop.
    Cancel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// It counts as succeeded.
    AssumeDone,
    /// It runs once more.
    Rerun,
}

impl Decision {
    pub fn describe(self) -> &'static str {
        match self {
            Self::AssumeDone => "assumed to be done",
            Self::Rerun => "is to run again",
        }
    }
}

/// A variable's value that a whole, successful run proved on a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proven {
    /// The variable, for example `revision`.
    pub name: VarName,
    pub value: String,
    /// The others, where the task proves several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub also: BTreeMap<VarName, String>,
    /// The blocks that were accepted on the way, each with the greatest count that a host reported.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub accepted: BTreeMap<FindingName, u64>,
    /// Those that the site had not proven before with the same value. Not known of runs of an older fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Vec<VarName>>,
}

impl Proven {
    pub fn values(&self) -> impl Iterator<Item = (&VarName, &str)> {
        let also = self.also.iter().map(|(name, value)| (name, value.as_str()));
        std::iter::once((&self.name, self.value.as_str())).chain(also)
    }
}

/// What a run changes, in short: for a listing, which reads no more of a record than its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// That of the first host.
    pub first: String,
    /// How many others there are that differ from it and from each other.
    pub others: usize,
}

/// What the operator interrupts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// Ctrl-C.
    Int,
    /// `kill`, a shutdown.
    Term,
    /// `fleet cancel`, from another terminal.
    Cancel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Printed bytes. In JSON they are `text` when they are UTF-8, else `base64`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "OutputText", try_from = "OutputText")]
pub struct OutputData(pub Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OutputText {
    Text(String),
    Base64(String),
}

impl From<OutputData> for OutputText {
    fn from(OutputData(bytes): OutputData) -> Self {
        String::from_utf8(bytes).map_or_else(|error| Self::Base64(BASE64_STANDARD.encode(error.as_bytes())), Self::Text)
    }
}

impl TryFrom<OutputText> for OutputData {
    type Error = DecodeError;

    fn try_from(text: OutputText) -> Result<Self, DecodeError> {
        match text {
            OutputText::Text(text) => Ok(Self(text.into_bytes())),
            OutputText::Base64(text) => BASE64_STANDARD.decode(text).map(Self),
        }
    }
}

impl Fact {
    pub fn host(&self) -> Option<&HostLabel> {
        match self {
            Self::HostStarted { host }
            | Self::StepDecided { host, .. }
            | Self::HostGivenUp { host, .. }
            | Self::StepResumed { host, .. }
            | Self::LockRequested { host }
            | Self::LockAcquired { host }
            | Self::LessPromised { host, .. }
            | Self::LockReleased { host }
            | Self::Reattached { host }
            | Self::Connected { host }
            | Self::StepStarted { host, .. }
            | Self::StepSkipped { host, .. }
            | Self::UndoPlanned { host, .. }
            | Self::Output { host, .. }
            | Self::FindingReported { host, .. }
            | Self::WatchFailed { host, .. }
            | Self::StepFinished { host, .. }
            | Self::Registered { host, .. }
            | Self::ChangeDescribed { host, .. }
            | Self::ConnectionLost { host, .. }
            | Self::UndoStarted { host, .. }
            | Self::UndoFinished { host, .. }
            | Self::HostFinished { host, .. } => Some(host),
            Self::RunStarted { .. }
            | Self::RunResumed { .. }
            | Self::PhaseStarted { .. }
            | Self::BatchStarted { .. }
            | Self::BatchFinished { .. }
            | Self::WatchStarted { .. }
            | Self::RolloutStopped { .. }
            | Self::Interrupted { .. }
            | Self::AcceptUnused { .. }
            | Self::ReporterDropped { .. }
            | Self::RunFinished { .. } => None,
        }
    }
}
