//! The files of a recipe in a plan.

use serde::{Deserialize, Serialize};

use crate::model::plan::blob::BlobId;

/// A file that lies in the folder `"$FLEET_FILES"` while a step runs that uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlanFile {
    /// Relative to that folder.
    pub path: String,
    pub blob: BlobId,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}
