//! Why `fleet` ends without success: a message for a person and an exit code.

use std::fmt::Display;

use crate::files::project::ProjectError;
use crate::model::config::diagnostic::Diagnostic;
use crate::model::inventory::selector::SelectorError;
use crate::model::plan::planner::PlanError;
use crate::model::run::exit;
use crate::record::history::HistoryError;

/// An error that ends the command.
#[derive(Debug)]
pub enum Failure {
    /// A message, perhaps with lines `hint: ...`, and the exit code.
    Message(u8, String),
    /// Errors in files, with their places.
    Diagnostics(Vec<Diagnostic>),
    /// All has been said; only the exit code is left.
    Told(u8),
}

impl Failure {
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Message(exit::USAGE, message.into())
    }

    pub fn environment(message: impl Display) -> Self {
        Self::Message(exit::ENVIRONMENT, message.to_string())
    }

    pub fn refused(message: impl Into<String>) -> Self {
        Self::Message(exit::REFUSED, message.into())
    }
}

impl From<ProjectError> for Failure {
    fn from(error: ProjectError) -> Self {
        match error {
            foreign @ (ProjectError::Foreign { .. } | ProjectError::Open { .. }) => Self::refused(foreign.to_string()),
            other => Self::Message(exit::INVALID, with_cause(&other)),
        }
    }
}

impl From<SelectorError> for Failure {
    fn from(error: SelectorError) -> Self {
        match error {
            SelectorError::Broken(errors) => Self::Diagnostics(errors),
            error => Self::Message(exit::NO_MATCH, error.to_string()),
        }
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Diagnostics(diagnostics) | PlanError::Roles(diagnostics) => Self::Diagnostics(diagnostics),
            PlanError::UnknownTask { .. } | PlanError::UnknownStep { .. } => Self::usage(error.to_string()),
            PlanError::Unset(_) | PlanError::Variable(_) | PlanError::Name(_) => {
                Self::Message(exit::INVALID, error.to_string())
            }
            PlanError::Unproven { .. } | PlanError::OtherProven { .. } => Self::refused(error.to_string()),
            PlanError::Empty(_) => Self::Message(exit::NO_MATCH, error.to_string()),
        }
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
        Self::Message(code, with_cause(&error))
    }
}

/// The error and its causes, each said once, before the hints.
pub fn with_cause(error: &dyn std::error::Error) -> String {
    let mut causes = String::new();
    for cause in std::iter::successors(error.source(), |cause| cause.source()) {
        causes.push_str(": ");
        causes.push_str(&cause.to_string());
    }
    let message = error.to_string();
    let (first, rest) = message.split_at(message.find('\n').unwrap_or(message.len()));
    format!("{first}{causes}{rest}")
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
