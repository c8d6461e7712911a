//! Why a run cannot be gone on with as somebody asked.

use super::planning::PlanningError;
use crate::model::text::hint::{Advise, Hint};
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
    #[error("run {0} has changed nothing: there is nothing to undo")]
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

impl Advise for ResumeError {
    fn hints(&self) -> Vec<Hint> {
        let hint = match self {
            Self::History(error) => return error.hints(),
            Self::Record(error) => return error.hints(),
            Self::Planning(error) => return error.hints(),
            Self::Over { site, task, .. } => Hint::Command(format!("fleet {site} {task}")),
            Self::Changed { run, .. } => {
                Hint::Advice(format!("--as-planned goes on with what was planned then; fleet undo {run} takes it back"))
            }
            Self::OnceInDoubt { run, host, step } => Hint::Advice(format!(
                "if you know that it is done: fleet resume {run} --assume-done {host}:{step} --give-up {host}"
            )),
            Self::TurnedBack(run) => Hint::Command(format!("fleet undo {run}")),
            Self::Ended(run) => Hint::Command(format!("fleet show {run}")),
            Self::NoController(run) => Hint::Command(format!("fleet resume {run}")),
            Self::AdHoc(_)
            | Self::NothingToUndo(_)
            | Self::NothingToCancel(_)
            | Self::NotOpen { .. }
            | Self::DecidedTwice(_)
            | Self::NoHost { .. }
            | Self::GivenUpAndRerun { .. } => return Vec::new(),
        };
        vec![hint]
    }
}
