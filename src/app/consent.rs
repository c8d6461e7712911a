//! What a run may touch only when somebody has typed its name.

use crate::files::project::Project;
use crate::model::inventory::inventory::Stage;
use crate::model::plan::plan::{AD_HOC, Plan};
use crate::model::text::name::SiteName;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Risk {
    Production,
    /// Its file has errors: it may be production's.
    Unknown,
}

/// The sites of a plan that are asked for by name, and why; none when it only looks.
pub fn risks<'p>(project: &Project, plan: &'p Plan) -> impl Iterator<Item = (&'p SiteName, Risk)> {
    let changes = plan.locks() || plan.task == AD_HOC;
    plan.sites.iter().filter(move |_| changes).filter_map(move |name| {
        // A run on record needs nothing of a site's file but this. A broken one must not be in the way of a rescue.
        if project.inventory.broken.contains_key(name.as_str()) {
            return Some((name, Risk::Unknown));
        }
        let stage = project.inventory.sites.get(name)?.stage.as_ref()?.value;
        (stage == Stage::Production).then_some((name, Risk::Production))
    })
}
