//! File descriptors: a connection needs one, a host's log another.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::failure::Failure;
use crate::model::plan::Plan;

/// For the runtime, the terminal, the record, and what a resolver opens for a moment.
const OWN: usize = 48;
/// Logs that the record keeps open at most.
const LOGS: usize = 128;

/// Takes all that the system allows: the usual soft limit of 1024 is there for programs with `select`, and fleet has none.
pub fn raise() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it cannot be raised, [`suffice_for`] tells.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Refuses a run that would fail half way, on the hosts that come last.
pub fn suffice_for(plan: &Plan) -> Result<(), Failure> {
    // A host is done with as it ends when nothing comes later and nothing can be undone; else it stays connected until the last has.
    let mut commands = plan.phases.iter().flat_map(|phase| &phase.steps).flat_map(|step| step.commands.values());
    let in_turn = plan.phases.len() == 1 && commands.all(|commands| commands.undo.is_none());
    let connected = if in_turn { plan.hosts.len().min(plan.parallel) } else { plan.hosts.len() };
    let needed = OWN + connected + plan.hosts.len().min(LOGS);
    let limit =
        getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    if needed <= limit {
        return Ok(());
    }
    Err(Failure::environment(format!(
        "a run on {} hosts may need {needed} open files at once, and the limit is {limit}\n\
         hint: ulimit -n {needed}, or fewer hosts at a time: -P, --limit",
        plan.hosts.len()
    )))
}
