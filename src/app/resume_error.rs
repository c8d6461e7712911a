//! Why a run cannot be gone on with as somebody asked.

use super::planning::PlanningError;
use crate::model::text::name::{HostLabel, RunId};
use crate::record::history::HistoryError;
use crate::record::record_error::RecordError;

#[derive(Debug)]
pub enum ResumeError {
    History(HistoryError),
    Record(RecordError),
    Planning(PlanningError),
    /// It was one command, which ends with its connection.
    AdHoc(RunId),
    Over {
        run: RunId,
        site: String,
        task: String,
        how: Over,
    },
    NothingToUndo(RunId),
    NothingToCancel(RunId),
    /// A recipe or an inventory that has changed since would make another run of it.
    Changed {
        run: RunId,
        what: Change,
    },
    /// No such step is open; these are, as `host:step`.
    NotOpen {
        run: RunId,
        typed: String,
        open: Vec<String>,
    },
    /// It is assumed to be done, and is to run again.
    DecidedTwice(String),
    NoHost {
        run: RunId,
        typed: String,
        hosts: Vec<HostLabel>,
    },
    /// The host is given up, and its step is to run again.
    GivenUpAndRerun {
        host: String,
        step: String,
    },
    /// Nobody knows how a step ended that runs once for the whole site.
    OnceInDoubt {
        run: RunId,
        host: String,
        step: String,
    },
    /// What would be run again would only be undone.
    TurnedBack(RunId),
    /// It has ended, and nobody carries it out.
    Ended(RunId),
    /// It has not ended, and nobody carries it out.
    NoController(RunId),
}

/// How a run ended with which there is nothing to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    Succeeded,
    /// Nothing of it is open.
    Closed,
}

/// What is another thing than when the run was planned.
#[derive(Debug)]
pub enum Change {
    Plan(String),
    /// It cannot be planned any more.
    Unplannable(PlanningError),
}

impl From<HistoryError> for ResumeError {
    fn from(error: HistoryError) -> Self {
        Self::History(error)
    }
}

impl From<RecordError> for ResumeError {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

impl From<PlanningError> for ResumeError {
    fn from(error: PlanningError) -> Self {
        Self::Planning(error)
    }
}
