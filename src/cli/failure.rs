//! Why `fleet` ends without success: a message for a person and an exit code.

use std::fmt::Display;

use crate::app::planning::PlanningError;
use crate::app::resume_error::ResumeError;
use crate::app::secrets::SecretError;
use crate::files::project::ProjectError;
use crate::model::config::diagnostic::Diagnostic;
use crate::model::inventory::selector::SelectorError;
use crate::model::plan::planner::PlanError;
use crate::model::run::exit;
use crate::model::text::hint::{Advise, Hint};
use crate::record::history::HistoryError;
use crate::record::record_error::RecordError;
use crate::ssh::key::KeyError;

#[derive(Debug)]
pub enum Failure {
    /// The exit code, a message, and what helps.
    Message(u8, String, Vec<Hint>),
    Diagnostics(Vec<Diagnostic>),
    /// All has been said; only the exit code is left.
    Told(u8),
}

impl Failure {
    pub fn new(code: u8, message: impl Display) -> Self {
        Self::Message(code, message.to_string(), Vec::new())
    }

    pub fn usage(message: impl Display) -> Self {
        Self::new(exit::USAGE, message)
    }

    pub fn environment(message: impl Display) -> Self {
        Self::new(exit::ENVIRONMENT, message)
    }

    /// An error that knows what helps, with its causes.
    pub fn of(code: u8, error: &impl Advise) -> Self {
        Self::Message(code, with_cause(error), error.hints())
    }

    pub fn hint(mut self, hint: Hint) -> Self {
        if let Self::Message(.., hints) = &mut self {
            hints.push(hint);
        }
        self
    }

    pub fn refused(message: impl Display) -> Self {
        Self::new(exit::REFUSED, message)
    }
}

impl From<ProjectError> for Failure {
    fn from(error: ProjectError) -> Self {
        let foreign = matches!(error, ProjectError::Foreign { .. } | ProjectError::Open { .. });
        Self::of(if foreign { exit::REFUSED } else { exit::INVALID }, &error)
    }
}

impl From<SelectorError> for Failure {
    fn from(error: SelectorError) -> Self {
        match error {
            SelectorError::Broken(errors) => Self::Diagnostics(errors),
            error => Self::of(exit::NO_MATCH, &error),
        }
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Diagnostics(diagnostics) | PlanError::Roles(diagnostics) => Self::Diagnostics(diagnostics),
            PlanError::UnknownTask { .. } | PlanError::UnknownStep { .. } | PlanError::SecretGiven(_) => {
                Self::of(exit::USAGE, &error)
            }
            PlanError::Unset { .. } | PlanError::Open(_) | PlanError::Variable(_) | PlanError::Name(_) => {
                Self::of(exit::INVALID, &error)
            }
            PlanError::Unproven { .. }
            | PlanError::PartlyProven { .. }
            | PlanError::OtherProven { .. }
            | PlanError::Stage { .. } => Self::of(exit::REFUSED, &error),
            PlanError::Empty(_) => Self::of(exit::NO_MATCH, &error),
        }
    }
}

impl From<PlanningError> for Failure {
    fn from(error: PlanningError) -> Self {
        let code = match error {
            PlanningError::NoSite(_) => exit::NO_MATCH,
            PlanningError::NoRecipe { .. } => exit::INVALID,
            PlanningError::UnknownVariable { .. } | PlanningError::Together { .. } => exit::USAGE,
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

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        let code = match &error {
            HistoryError::Output(output) if output.kind() == std::io::ErrorKind::BrokenPipe => {
                return Self::Told(exit::SUCCESS);
            }
            HistoryError::Empty { .. }
            | HistoryError::NotFound { .. }
            | HistoryError::Ambiguous { .. }
            | HistoryError::NoHost { .. }
            | HistoryError::NoLog { .. }
            | HistoryError::NoStep { .. }
            | HistoryError::NotStarted { .. } => exit::NO_MATCH,
            _ => exit::ENVIRONMENT,
        };
        Self::of(code, &error)
    }
}

/// The error and its causes, each said once.
fn with_cause(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

impl From<SecretError> for Failure {
    fn from(error: SecretError) -> Self {
        Self::of(exit::ENVIRONMENT, &error)
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::of(exit::ENVIRONMENT, &error)
    }
}

/// Standard output or standard error failed. A reader that went away (`| head`) is no trouble.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::Told(exit::SUCCESS),
            _ => Self::environment(error),
        }
    }
}
