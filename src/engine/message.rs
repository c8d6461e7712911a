//! What a worker tells the dispatcher.

use std::time::Duration;

use crate::model::run::event::{Fact, Stream};
use crate::model::run::outcome::StepOutcome;
use crate::model::run::reason::Reason;
use crate::model::run::scheduler::{Input, StepIndex};
use crate::remote::HostProof;

/// What a worker tells.
pub enum Message {
    /// Told as it is.
    Happened(Box<Fact>),
    /// The lock was taken; the greatest number of a run there, and what its book says to be proven.
    Locked(u64, Option<Box<HostProof>>),
    /// The value that a step of the past registered, and that is on record nowhere.
    Secret(StepIndex, String),
    /// What came of connecting and locking: the host is ready for steps, or why it is not.
    Arrived(Input),
    /// What a command printed, masked.
    Output(Stream, Vec<u8>),
    /// A step or an undo ended.
    Ended(Ended),
    /// An attempt of a watched step ended.
    Tried(StepIndex, Ended),
    /// The host is not watched any more.
    Unwatched,
    /// The lock was given back, or not.
    Released(Released),
}

/// How a step or an undo ended.
#[derive(Debug)]
pub struct Ended {
    pub outcome: StepOutcome,
    /// The value that it registers.
    pub captured: Option<String>,
    /// What it reported about itself, neither masked nor read.
    pub report: Option<Vec<u8>>,
    pub took: Duration,
}

impl Ended {
    /// It ended before it began.
    pub fn without_command(outcome: StepOutcome) -> Self {
        Self { outcome, captured: None, report: None, took: Duration::ZERO }
    }
}

/// What became of a lock that was to be given back.
#[derive(Debug)]
pub enum Released {
    /// It was.
    Free,
    /// It was, and what the run has proven could not be written down.
    Unproven,
    /// The run had it no more: somebody has taken it away, and another run may have worked beside this one.
    Taken(Reason),
    /// It was not.
    Kept(Reason),
}
