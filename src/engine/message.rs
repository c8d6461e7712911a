//! What a worker tells the dispatcher.

use std::time::Duration;

use crate::model::run::event::{Fact, Stream};
use crate::model::run::outcome::StepOutcome;
use crate::model::run::reason::Reason;
use crate::model::run::scheduler::{Input, StepIndex};

/// What a worker tells.
pub enum Message {
    /// Told as it is.
    Happened(Fact),
    /// The lock was taken; the greatest number of a run there.
    Locked(u64),
    /// The value that a step of the past registered, and that is on record nowhere.
    Secret(StepIndex, String),
    /// What came of connecting and locking: the host is ready for steps, or why it is not.
    Arrived(Input),
    /// What a command printed, masked.
    Output(Stream, Vec<u8>),
    /// A step or an undo ended, with the value that it registers.
    Ended { outcome: StepOutcome, captured: Option<String>, took: Duration },
    /// The lock was given back, or not.
    Released(Released),
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
