//! What `app` refuses, in words, and with which exit code.

use super::failure::{Failure, with_cause};
use crate::app::planning::PlanningError;
use crate::app::resume_error::{Change, Over, ResumeError};
use crate::model::run::exit;
use crate::record::record_error::RecordError;

impl From<PlanningError> for Failure {
    fn from(error: PlanningError) -> Self {
        match error {
            PlanningError::NoSite(site) => Self::Message(exit::NO_MATCH, format!("there is no site `{site}` any more")),
            PlanningError::NoRecipe { site, file } => Self::Message(
                exit::INVALID,
                format!(
                    "site `{site}` has no recipe, so it has no tasks\nhint: recipe = \"git-site\" in {file}, or: fleet {site} run -- COMMAND"
                ),
            ),
            PlanningError::Broken(errors) => Self::Diagnostics(errors),
            PlanningError::UnknownVariable { name, meant, recipe, site } => {
                let hint = meant.map_or_else(
                    || format!("fleet tasks {site} shows its variables"),
                    |meant| format!("did you mean `{meant}`?"),
                );
                Self::usage(format!(
                    "--set {name}: neither recipe `{recipe}` nor site `{site}` knows such a variable\nhint: {hint}"
                ))
            }
            PlanningError::Plan(error) => error.into(),
        }
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Busy { ref run, .. } => Self::Message(
                exit::LOCKED,
                format!("{error}\nhint: fleet attach {run} shows it, fleet cancel {run} ends it"),
            ),
            error => Self::Message(exit::ENVIRONMENT, with_cause(&error)),
        }
    }
}

impl From<ResumeError> for Failure {
    fn from(error: ResumeError) -> Self {
        match error {
            ResumeError::History(error) => error.into(),
            ResumeError::Record(error) => error.into(),
            ResumeError::Planning(error) => error.into(),
            ResumeError::AdHoc(run) => Self::refused(format!(
                "run {run} was one command, which ends with its connection: there is nothing to go on with"
            )),
            ResumeError::Over { run, site, task, how } => {
                let how = match how {
                    Over::Succeeded => "has succeeded",
                    Over::Closed => "has ended, and nothing of it is open",
                };
                Self::refused(format!("run {run} {how}: there is nothing to resume\nhint: fleet {site} {task}"))
            }
            ResumeError::NothingToUndo(run) => {
                Self::refused(format!("run {run} has done nothing: there is nothing to undo"))
            }
            ResumeError::NothingToCancel(run) => {
                Self::refused(format!("run {run} has ended: there is nothing to cancel"))
            }
            ResumeError::Changed { run, what } => {
                let what = match what {
                    Change::Plan(difference) => difference,
                    Change::Unplannable(error) => Self::from(error).in_short(),
                };
                Self::refused(format!(
                    "recipe or inventory have changed since run {run} was planned: {what}\n\
                     hint: --as-planned goes on with what was planned then; fleet undo {run} takes it back"
                ))
            }
            ResumeError::NotOpen { run, typed, open } => {
                let known =
                    if open.is_empty() { "none is".to_owned() } else { format!("open are {}", open.join(", ")) };
                Self::Message(exit::NO_MATCH, format!("no step `{typed}` is open in run {run}; {known}"))
            }
            ResumeError::DecidedTwice(typed) => {
                Self::usage(format!("`{typed}` is decided twice: it is done, or it is run again"))
            }
            ResumeError::NoHost { run, typed, hosts } => {
                let hosts = hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                Self::Message(exit::NO_MATCH, format!("run {run} has no host `{typed}`; its hosts are {hosts}"))
            }
            ResumeError::GivenUpAndRerun { host, step } => {
                Self::usage(format!("{host} is given up, and its step `{step}` is to run again"))
            }
            ResumeError::OnceInDoubt { run, host, step } => Self::refused(format!(
                "{host} cannot be given up: {step} runs once for the whole site, and nobody knows how it ended\n\
                 hint: if you know that it is done: fleet resume {run} --assume-done {host}:{step} --give-up {host}"
            )),
            ResumeError::TurnedBack(run) => Self::refused(format!(
                "run {run} has turned back, and what would be run again would only be undone\nhint: fleet undo {run}"
            )),
            ResumeError::Ended(run) => {
                Self::Message(exit::NO_MATCH, format!("run {run} has ended\nhint: fleet show {run}"))
            }
            ResumeError::NoController(run) => {
                Self::Message(exit::UNKNOWN, format!("run {run} has no controller any more\nhint: fleet resume {run}"))
            }
        }
    }
}
