//! How a step and a host ended: one closed enum per level.

use std::fmt::Display;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cause::Cause;
use super::reason::Reason;
use crate::model::text::hint::Hint;

/// How one attempt of a step, or of an undo, ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case", deny_unknown_fields)]
pub enum StepOutcome {
    /// The command exited with status 0.
    Succeeded,
    /// A guard said that there is nothing to do.
    Skipped {
        /// The guard that said so, in words.
        reason: String,
    },
    /// The command exited with another status.
    Failed {
        /// Exit status, 1 to 255.
        status: u8,
    },
    /// A signal ended the command.
    Signaled {
        /// Signal name without `SIG`: `KILL`, `TERM`.
        signal: String,
    },
    /// The step ran longer than its limit; its process group was ended.
    TimedOut { limit: TimeLimit, millis: u64 },
    /// The command succeeded, but what it printed cannot become the value of a variable.
    Unusable { reason: String },
    /// It reported a block that the site's file does not accept. Its command has run, whatever its exit status.
    Refused {
        /// The block, in words.
        reason: String,
    },
    /// An interrupt ended it; its process group was ended.
    Cancelled,
    /// The command was never sent: nothing happened on the host.
    NotStarted {
        #[serde(flatten)]
        reason: Reason,
    },
    /// The command was sent and nobody knows how it ended, nor can it be found out.
    Unknown {
        /// What was seen last.
        #[serde(flatten)]
        reason: Reason,
    },
    /// It is running on the host, or has ended there, and nobody listens: `fleet resume` finds out.
    Detached {
        /// What was seen last.
        #[serde(flatten)]
        reason: Reason,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeLimit {
    /// Total running time.
    Timeout,
    /// Time without a byte of output.
    IdleTimeout,
}

impl StepOutcome {
    /// Did the step do what it was for, or find it done?
    pub fn is_success(&self) -> bool {
        match self {
            Self::Succeeded | Self::Skipped { .. } => true,
            Self::Failed { .. }
            | Self::Signaled { .. }
            | Self::TimedOut { .. }
            | Self::Unusable { .. }
            | Self::Refused { .. }
            | Self::Cancelled
            | Self::NotStarted { .. }
            | Self::Unknown { .. }
            | Self::Detached { .. } => false,
        }
    }

    /// Did the command run to a bad end of its own? Only then may another attempt help, and its output say why.
    pub fn is_own_failure(&self) -> bool {
        match self {
            Self::Failed { .. } | Self::Signaled { .. } | Self::TimedOut { .. } => true,
            Self::Succeeded
            | Self::Skipped { .. }
            | Self::Unusable { .. }
            | Self::Refused { .. }
            | Self::Cancelled
            | Self::NotStarted { .. }
            | Self::Unknown { .. }
            | Self::Detached { .. } => false,
        }
    }

    /// Why a host did not succeed whose step ended like this: `in words: exit status 3`.
    pub fn reason(&self, cause: Cause, words: impl Display) -> Reason {
        let (Self::NotStarted { reason } | Self::Unknown { reason } | Self::Detached { reason }) = self else {
            return Reason::new(cause, format!("{words}: {}", self.describe()));
        };
        let Reason { cause: known, hints, .. } = reason.clone();
        Reason { text: format!("{words}: {}", self.describe()), cause: known.or(Some(cause)), hints }
    }

    pub fn hints(&self) -> &[Hint] {
        let (Self::NotStarted { reason } | Self::Unknown { reason } | Self::Detached { reason }) = self else {
            return &[];
        };
        &reason.hints
    }

    /// The outcome in words, for people: `exit status 3`.
    pub fn describe(&self) -> String {
        match self {
            Self::Succeeded => "succeeded".to_owned(),
            Self::Skipped { reason } => format!("skipped: {reason}"),
            Self::Failed { status } => format!("exit status {status}"),
            Self::Signaled { signal } => format!("ended by signal {signal}"),
            Self::TimedOut { limit, millis } => {
                let limit = match limit {
                    TimeLimit::Timeout => "timeout",
                    TimeLimit::IdleTimeout => "idle-timeout",
                };
                format!("ran into its {limit} of {} s", Duration::from_millis(*millis).as_secs_f64())
            }
            Self::Unusable { reason } => reason.clone(),
            Self::Refused { reason } => format!("refused: {reason}"),
            Self::Cancelled => "cancelled".to_owned(),
            Self::NotStarted { reason } => format!("not started: {reason}"),
            Self::Unknown { reason } => format!("outcome unknown: {reason}"),
            Self::Detached { reason } => format!("not watched any more: {reason}"),
        }
    }
}

/// How a host ended. Every host of a run settles exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostOutcome {
    /// All its steps succeeded or had nothing to do.
    Succeeded,
    /// The run stopped before anything was done on it.
    Untouched,
    /// All that the run did on it was undone.
    RolledBack,
    /// A step failed, and what had been done is described by the host's `in-force` list.
    Failed,
    /// It could not be reached, trusted or logged in to; nothing was done on it.
    Unreachable,
    /// Another run works on the site there; nothing was done on it.
    Locked,
    /// Left as it is for a person: an undo failed, or the policy is to hold.
    Held,
    /// The outcome of a step is not known.
    Unknown,
    /// The connection is lost, and what was begun goes on there: `fleet resume` picks it up.
    Detached,
}

impl HostOutcome {
    pub fn describe(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Untouched => "untouched",
            Self::RolledBack => "rolled back",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::Locked => "locked",
            Self::Held => "held",
            Self::Unknown => "unknown",
            Self::Detached => "detached",
        }
    }
}
