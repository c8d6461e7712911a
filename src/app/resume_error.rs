//! Why a run cannot be gone on with as somebody asked.

use super::planning::PlanningError;
use crate::model::text::name::RunId;
use crate::record::history::HistoryError;
use crate::record::record_error::RecordError;

#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Planning(#[from] PlanningError),
    #[error("run {0} was one command, which ends with its connection: there is nothing to go on with")]
    AdHoc(RunId),
    #[error("run {run} {}: there is nothing to resume", if *.succeeded { "has succeeded" } else { "has ended, and nothing of it is open" })]
    Over { run: RunId, site: String, task: String, succeeded: bool },
    #[error("run {0} has done nothing: there is nothing to undo")]
    NothingToUndo(RunId),
    #[error("run {0} has ended: there is nothing to cancel")]
    NothingToCancel(RunId),
    #[error("recipe or inventory have changed since run {run} was planned: {difference}")]
    Changed { run: RunId, difference: String },
    /// These are open, as `host:step`.
    #[error("no step `{typed}` is open in run {run}; {}", match &open[..] { [] => "none is".to_owned(), open => format!("open are {}", open.join(", ")) })]
    NotOpen { run: RunId, typed: String, open: Vec<String> },
    #[error("`{0}` is decided twice: it is done, or it is run again")]
    DecidedTwice(String),
    #[error("run {run} has no host `{typed}`; its hosts are {}", .hosts.join(", "))]
    NoHost { run: RunId, typed: String, hosts: Vec<String> },
    #[error("{host} is given up, and its step `{step}` is to run again")]
    GivenUpAndRerun { host: String, step: String },
    #[error("{host} cannot be given up: {step} runs once for the whole site, and nobody knows how it ended")]
    OnceInDoubt { run: RunId, host: String, step: String },
    #[error("run {0} has turned back, and what would be run again would only be undone")]
    TurnedBack(RunId),
    #[error("run {0} has ended")]
    Ended(RunId),
    #[error("run {0} has no controller any more")]
    NoController(RunId),
}
