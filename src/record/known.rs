//! What is known of a run from its record.

use crate::model::plan::plan::Plan;
use crate::model::run::past::Past;
use crate::model::run::summary::Summary;

/// A run on record: its plan, and what its events come to, read in one pass.
#[derive(Debug, Clone)]
pub struct Known {
    pub plan: Plan,
    /// What a resumed run begins with.
    pub past: Past,
    pub summary: Summary,
}
