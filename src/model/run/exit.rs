//! What `fleet` tells its caller by a number, and how several troubles become one.

use crate::model::run::event::Signal;
use crate::model::run::outcome::{HostOutcome, StepOutcome};
use crate::model::run::summary::{Failure, HostSummary, StepKind, Summary};

/// Every targeted host succeeded.
pub const SUCCESS: u8 = 0;
/// A bug in fleet.
pub const BUG: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// Inventory, recipe or settings are invalid; nothing was contacted.
pub const INVALID: u8 = 3;
/// The selector matched nothing.
pub const NO_MATCH: u8 = 4;
/// Something is wrong on the controller; nothing was contacted.
pub const ENVIRONMENT: u8 = 5;
/// Refused: not confirmed, not proven, or a step reported a block that the site's file does not accept.
pub const REFUSED: u8 = 6;
/// A step failed on at least one host.
pub const FAILED: u8 = 10;
/// No step failed, but a host could not be reached or trusted.
pub const UNREACHABLE: u8 = 11;
/// Locked by another run.
pub const LOCKED: u8 = 12;
/// The outcome of a step is unknown, or steps are still running.
pub const UNKNOWN: u8 = 13;
/// Interrupted from the keyboard, after cleaning up.
pub const INTERRUPTED: u8 = 130;
/// Ended by a TERM signal, after cleaning up.
pub const TERMINATED: u8 = 143;

/// From the one that wins over all others to the one that loses. A code that is not in the list comes only when nothing was
/// contacted, hence alone; should it come with others nevertheless, it is the weakest trouble.
const PRECEDENCE: [u8; 8] = [BUG, UNKNOWN, TERMINATED, INTERRUPTED, FAILED, REFUSED, LOCKED, UNREACHABLE];

/// The exit code when several apply: 1 > 13 > interrupts > 10 > 6 > 12 > 11.
pub fn worst(codes: impl IntoIterator<Item = u8>) -> u8 {
    let rank = |code: u8| match PRECEDENCE.iter().position(|&other| other == code) {
        Some(position) => position,
        None if code == SUCCESS => PRECEDENCE.len() + 1,
        None => PRECEDENCE.len(),
    };
    codes.into_iter().min_by_key(|&code| rank(code)).unwrap_or(SUCCESS)
}

/// The exit code in words, as a listing of runs shows it.
pub fn describe(code: u8) -> &'static str {
    match code {
        SUCCESS => "succeeded",
        BUG => "bug in fleet",
        USAGE => "usage",
        INVALID => "invalid",
        NO_MATCH => "no match",
        ENVIRONMENT => "environment",
        REFUSED => "refused",
        FAILED => "failed",
        UNREACHABLE => "unreachable",
        LOCKED => "locked",
        UNKNOWN => "unknown",
        INTERRUPTED | TERMINATED => "interrupted",
        _ => "ended",
    }
}

impl Summary {
    /// The exit code that the hosts, their steps and the interrupts make.
    ///
    /// An interrupt counts even when every host succeeded before it took effect: who pressed Ctrl-C does not want
    /// `fleet a deploy && fleet b deploy` to go on. A host that has not settled counts as unknown: never silently green.
    pub fn exit_code(&self) -> u8 {
        let interrupt = match (self.interrupts, self.signal) {
            (0, _) => SUCCESS,
            (_, Some(Signal::Term)) => TERMINATED,
            (_, Some(Signal::Int | Signal::Cancel) | None) => INTERRUPTED,
        };
        let ended = |outcome| self.hosts().any(|host| host.outcome == Some(outcome));
        let refused = self.hosts().any(|host| host.failure.as_ref().is_some_and(is_refused));
        let cause = match (refused, ended(HostOutcome::Locked), ended(HostOutcome::Unreachable)) {
            (true, ..) => REFUSED,
            (false, true, _) => LOCKED,
            (false, false, true) => UNREACHABLE,
            (false, false, false) => FAILED,
        };
        let code = |host| if self.is_undo() { undone_code(host) } else { host_code(host, cause) };
        worst(self.hosts().map(code).chain([interrupt]))
    }
}

fn is_refused(failure: &Failure) -> bool {
    failure.kind == StepKind::Run && matches!(failure.outcome, StepOutcome::Refused { .. })
}

/// `cause`: why hosts were left out or rolled back without a failed step.
fn host_code(host: &HostSummary, cause: u8) -> u8 {
    let steps = worst(host.steps().filter_map(|step| Some(step_code(step.kind, step.outcome.as_ref()?))));
    let own = match host.outcome {
        None | Some(HostOutcome::Unknown | HostOutcome::Detached) => UNKNOWN,
        Some(HostOutcome::Succeeded) => SUCCESS,
        Some(HostOutcome::Unreachable) => UNREACHABLE,
        Some(HostOutcome::Locked) => LOCKED,
        Some(HostOutcome::RolledBack | HostOutcome::Untouched) => cause,
        Some(HostOutcome::Failed | HostOutcome::Held) if host.failure.as_ref().is_some_and(is_refused) => REFUSED,
        // By its policy, because of another one.
        Some(HostOutcome::Held) if host.failure.is_none() && cause == REFUSED => REFUSED,
        Some(HostOutcome::Failed | HostOutcome::Held) => FAILED,
    };
    worst([own, steps])
}

/// Of a run that is undone, only the undos count.
fn undone_code(host: &HostSummary) -> u8 {
    let undos = host.steps().filter(|step| step.kind == StepKind::Undo);
    let undos = worst(undos.filter_map(|step| Some(step_code(step.kind, step.outcome.as_ref()?))));
    let own = match host.outcome {
        None | Some(HostOutcome::Unknown | HostOutcome::Detached) => UNKNOWN,
        Some(HostOutcome::Locked) => LOCKED,
        Some(HostOutcome::Held) => FAILED,
        Some(HostOutcome::Unreachable) if host.given_up => UNREACHABLE,
        // What failed before, or was never reached, has nothing left to take back.
        Some(
            HostOutcome::Succeeded
            | HostOutcome::Untouched
            | HostOutcome::RolledBack
            | HostOutcome::Failed
            | HostOutcome::Unreachable,
        ) => SUCCESS,
    };
    worst([own, undos])
}

/// What the last attempt of a step, or of an undo, means. Cancelled and not started are consequences: their cause counts.
fn step_code(kind: StepKind, outcome: &StepOutcome) -> u8 {
    match outcome {
        StepOutcome::Refused { .. } if kind == StepKind::Run => REFUSED,
        StepOutcome::Failed { .. }
        | StepOutcome::Signaled { .. }
        | StepOutcome::TimedOut { .. }
        | StepOutcome::Unusable { .. }
        // An undo that refuses has not taken its step back.
        | StepOutcome::Refused { .. } => FAILED,
        StepOutcome::Unknown { .. } | StepOutcome::Detached { .. } => UNKNOWN,
        StepOutcome::Succeeded
        | StepOutcome::Skipped { .. }
        | StepOutcome::Cancelled
        | StepOutcome::NotStarted { .. } => SUCCESS,
    }
}
