//! The exit codes of what `app` refuses.

use super::failure::Failure;
use crate::app::planning::PlanningError;
use crate::app::resume_error::ResumeError;
use crate::model::run::exit;
use crate::record::record_error::RecordError;

impl From<PlanningError> for Failure {
    fn from(error: PlanningError) -> Self {
        let code = match error {
            PlanningError::NoSite(_) => exit::NO_MATCH,
            PlanningError::NoRecipe { .. } => exit::INVALID,
            PlanningError::UnknownVariable { .. } => exit::USAGE,
            PlanningError::Broken(errors) => return Self::Diagnostics(errors),
            PlanningError::Plan(error) => return error.into(),
        };
        Self::of(code, &error)
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        let busy = matches!(error, RecordError::Busy { .. });
        Self::of(if busy { exit::LOCKED } else { exit::ENVIRONMENT }, &error)
    }
}

impl From<ResumeError> for Failure {
    fn from(error: ResumeError) -> Self {
        let code = match error {
            ResumeError::History(error) => return error.into(),
            ResumeError::Record(error) => return error.into(),
            ResumeError::Planning(error) => return error.into(),
            ResumeError::NotOpen { .. } | ResumeError::NoHost { .. } | ResumeError::Ended(_) => exit::NO_MATCH,
            ResumeError::DecidedTwice(_) | ResumeError::GivenUpAndRerun { .. } => exit::USAGE,
            ResumeError::AdHoc(_)
            | ResumeError::NothingToUndo(_)
            | ResumeError::NothingToCancel(_)
            | ResumeError::Over { .. }
            | ResumeError::Changed { .. }
            | ResumeError::OnceInDoubt { .. }
            | ResumeError::TurnedBack(_) => exit::REFUSED,
            ResumeError::NoController(_) => exit::UNKNOWN,
        };
        Self::of(code, &error)
    }
}
