//! Places in a plan.

use serde::{Deserialize, Serialize};

/// A host's place in [`Plan::hosts`](super::plan::Plan::hosts).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostIndex(pub usize);

/// A step of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepIndex {
    /// In [`Plan::phases`](super::plan::Plan::phases).
    pub phase: usize,
    /// In the phase's steps.
    pub step: usize,
}
