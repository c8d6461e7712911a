//! What `fleet` tells its caller by a number, and how several troubles become one.

use super::event::Signal;
use super::outcome::{HostOutcome, StepOutcome};
use super::summary::{HostSummary, Summary};

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
/// Refused: not confirmed, not proven, data loss not acknowledged.
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
const PRECEDENCE: [u8; 7] = [BUG, UNKNOWN, TERMINATED, INTERRUPTED, FAILED, LOCKED, UNREACHABLE];

/// The one code that is told when several apply: 1 > 13 > interrupts > 10 > 12 > 11.
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
            (_, Some(Signal::Int) | None) => INTERRUPTED,
        };
        let unreachable = self.hosts().any(|host| host.outcome == Some(HostOutcome::Unreachable));
        worst(self.hosts().map(|host| host_code(host, unreachable)).chain([interrupt]))
    }
}

/// `unreachable`: is any host of the run? Then it explains why hosts were left out or rolled back without a failed step.
fn host_code(host: &HostSummary, unreachable: bool) -> u8 {
    let steps = worst(host.steps().filter_map(|step| step.outcome.as_ref()).map(step_code));
    let own = match host.outcome {
        None | Some(HostOutcome::Unknown) => UNKNOWN,
        Some(HostOutcome::Succeeded) => SUCCESS,
        Some(HostOutcome::Unreachable) => UNREACHABLE,
        Some(HostOutcome::RolledBack | HostOutcome::Untouched) if unreachable => UNREACHABLE,
        // Rolled back or untouched without that: something else stopped the rollout.
        Some(HostOutcome::Failed | HostOutcome::Held | HostOutcome::RolledBack | HostOutcome::Untouched) => FAILED,
    };
    worst([own, steps])
}

/// What the last attempt of a step, or of an undo, means. Cancelled and not started are consequences: their cause counts.
fn step_code(outcome: &StepOutcome) -> u8 {
    match outcome {
        StepOutcome::Failed { .. }
        | StepOutcome::Signaled { .. }
        | StepOutcome::TimedOut { .. }
        | StepOutcome::Unusable { .. } => FAILED,
        StepOutcome::Unknown { .. } => UNKNOWN,
        StepOutcome::Succeeded
        | StepOutcome::Skipped { .. }
        | StepOutcome::Cancelled
        | StepOutcome::NotStarted { .. } => SUCCESS,
    }
}
