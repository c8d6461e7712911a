//! What `app` refuses: its exit code, and what to type next.

use super::failure::{Failure, with_cause};
use crate::app::planning::PlanningError;
use crate::app::resume_error::ResumeError;
use crate::model::run::exit;
use crate::record::record_error::RecordError;

impl From<PlanningError> for Failure {
    fn from(error: PlanningError) -> Self {
        let text = error.to_string();
        match error {
            PlanningError::NoSite(_) => Self::Message(exit::NO_MATCH, text),
            PlanningError::NoRecipe { site, file } => {
                let hint = format!("recipe = \"git-site\" in {file}, or: fleet {site} run -- COMMAND");
                Self::Message(exit::INVALID, format!("{text}\nhint: {hint}"))
            }
            PlanningError::UnknownVariable { meant: Some(meant), .. } => {
                Self::usage(format!("{text}\nhint: did you mean `{meant}`?"))
            }
            PlanningError::UnknownVariable { site, .. } => {
                Self::usage(format!("{text}\nhint: fleet tasks {site} shows its variables"))
            }
            PlanningError::Broken(errors) => Self::Diagnostics(errors),
            PlanningError::Plan(error) => error.into(),
        }
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        match &error {
            RecordError::Busy { run, .. } => {
                let hint = format!("fleet attach {run} shows it, fleet cancel {run} ends it");
                Self::Message(exit::LOCKED, format!("{error}\nhint: {hint}"))
            }
            error => Self::Message(exit::ENVIRONMENT, with_cause(error)),
        }
    }
}

impl From<ResumeError> for Failure {
    fn from(error: ResumeError) -> Self {
        let text = error.to_string();
        let (code, hint) = match error {
            ResumeError::History(error) => return error.into(),
            ResumeError::Record(error) => return error.into(),
            ResumeError::Planning(error) => return error.into(),
            ResumeError::NotOpen { .. } | ResumeError::NoHost { .. } => return Self::Message(exit::NO_MATCH, text),
            ResumeError::DecidedTwice(_) | ResumeError::GivenUpAndRerun { .. } => return Self::usage(text),
            ResumeError::AdHoc(_) | ResumeError::NothingToUndo(_) | ResumeError::NothingToCancel(_) => {
                return Self::refused(text);
            }
            ResumeError::Over { site, task, .. } => (exit::REFUSED, format!("fleet {site} {task}")),
            ResumeError::Changed { run, .. } => (
                exit::REFUSED,
                format!("--as-planned goes on with what was planned then; fleet undo {run} takes it back"),
            ),
            ResumeError::OnceInDoubt { run, host, step } => {
                let command = format!("fleet resume {run} --assume-done {host}:{step} --give-up {host}");
                (exit::REFUSED, format!("if you know that it is done: {command}"))
            }
            ResumeError::TurnedBack(run) => (exit::REFUSED, format!("fleet undo {run}")),
            ResumeError::Ended(run) => (exit::NO_MATCH, format!("fleet show {run}")),
            ResumeError::NoController(run) => (exit::UNKNOWN, format!("fleet resume {run}")),
        };
        Self::Message(code, format!("{text}\nhint: {hint}"))
    }
}
