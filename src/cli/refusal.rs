//! What `app` refuses: its exit code, and what to type next.

use super::failure::{Failure, with_cause};
use crate::app::planning::PlanningError;
use crate::app::resume_error::ResumeError;
use crate::model::run::exit;
use crate::model::text::hint::Hint;
use crate::record::record_error::RecordError;

impl From<PlanningError> for Failure {
    fn from(error: PlanningError) -> Self {
        let text = error.to_string();
        match error {
            PlanningError::NoSite(_) => Self::new(exit::NO_MATCH, text),
            PlanningError::NoRecipe { site, file } => {
                let hint = format!("recipe = \"git-site\" in {file}, or: fleet {site} run -- COMMAND");
                Self::new(exit::INVALID, text).hint(Hint::Advice(hint))
            }
            PlanningError::UnknownVariable { meant: Some(meant), .. } => {
                Self::usage(text).hint(Hint::did_you_mean(meant))
            }
            PlanningError::UnknownVariable { site, .. } => {
                Self::usage(text).hint(Hint::Advice(format!("fleet tasks {site} shows its variables")))
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
                Self::new(exit::LOCKED, &error).hint(Hint::Advice(hint))
            }
            error => Self::new(exit::ENVIRONMENT, with_cause(error)),
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
            ResumeError::NotOpen { .. } | ResumeError::NoHost { .. } => return Self::new(exit::NO_MATCH, text),
            ResumeError::DecidedTwice(_) | ResumeError::GivenUpAndRerun { .. } => return Self::usage(text),
            ResumeError::AdHoc(_) | ResumeError::NothingToUndo(_) | ResumeError::NothingToCancel(_) => {
                return Self::refused(text);
            }
            ResumeError::Over { site, task, .. } => (exit::REFUSED, Hint::Command(format!("fleet {site} {task}"))),
            ResumeError::Changed { run, .. } => (
                exit::REFUSED,
                Hint::Advice(format!(
                    "--as-planned goes on with what was planned then; fleet undo {run} takes it back"
                )),
            ),
            ResumeError::OnceInDoubt { run, host, step } => {
                let command = format!("fleet resume {run} --assume-done {host}:{step} --give-up {host}");
                (exit::REFUSED, Hint::Advice(format!("if you know that it is done: {command}")))
            }
            ResumeError::TurnedBack(run) => (exit::REFUSED, Hint::Command(format!("fleet undo {run}"))),
            ResumeError::Ended(run) => (exit::NO_MATCH, Hint::Command(format!("fleet show {run}"))),
            ResumeError::NoController(run) => (exit::UNKNOWN, Hint::Command(format!("fleet resume {run}"))),
        };
        Self::new(code, text).hint(hint)
    }
}
