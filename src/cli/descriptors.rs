//! File descriptors: a connection needs one, a host's log another.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::failure::Failure;
use crate::model::plan::plan::Plan;
use crate::model::text::hint::Hint;

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

pub fn limit() -> usize {
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// How many hosts can be worked on at a time outside of runs: each has two connections, and one to the agent, at most.
pub fn most_hosts() -> usize {
    (limit().saturating_sub(OWN) / 3).max(1)
}

/// Refuses a run that would fail half way, on the hosts that come last.
pub fn suffice_for(plan: &Plan) -> Result<(), Failure> {
    let in_turn = plan.works_in_turn();
    let connected = if in_turn { plan.hosts.len().min(plan.parallel) } else { plan.hosts.len() };
    let needed = OWN + connected + plan.hosts.len().min(LOGS);
    let limit = limit();
    if needed <= limit {
        return Ok(());
    }
    let fewer = if in_turn { "hosts at a time: -P" } else { "hosts: --limit" };
    Err(Failure::environment(format!(
        "a run on {} hosts may need {needed} open files at once, and the limit is {limit}",
        plan.hosts.len()
    ))
    .hint(Hint::Advice(format!("ulimit -n {needed}, or fewer {fewer}"))))
}
