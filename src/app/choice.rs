//! Which run is meant, and what can be done with it.

use crate::model::run::event::Direction;
use crate::model::run::outcome::HostOutcome;
use crate::model::text::name::RunId;
use crate::record::history::HistoryError;
use crate::record::known::Known;
use crate::record::store::Store;

/// Runs that are looked at for the one that `last` means.
const LOOKED_AT: usize = 50;

/// The run of that name. `last` is the newest that has anything to do with what is asked, or else the newest of all: a deployment that
/// was kept away by the lock of another run is not what a person means, nor the `status` after it. Without a direction, it is to be watched.
pub fn choose(store: &dyn Store, typed: &str, direction: Option<Direction>) -> Result<RunId, HistoryError> {
    let newest = store.find(typed)?;
    if typed != "last" {
        return Ok(newest);
    }
    let found = store.runs()?.into_iter().rev().take(LOOKED_AT).find(|run| fits(store, run, direction));
    Ok(found.unwrap_or(newest))
}

/// A run whose record does not read, or that changes nothing by a plan (a single command, a look), fits only those who watch its controller.
fn fits(store: &dyn Store, run: &RunId, direction: Option<Direction>) -> bool {
    let known = || store.known(run).ok().filter(|known| known.plan.locks());
    match (direction, store.controller(run).is_some()) {
        (None, lives) => lives,
        (Some(Direction::Cancel), true) => true,
        (Some(Direction::Forward | Direction::Back), true) => false,
        (Some(Direction::Cancel | Direction::Forward), false) => known().is_some_and(|known| is_open(&known)),
        (Some(Direction::Back), false) => known().is_some_and(|known| has_begun(&known)),
    }
}

/// May steps of a run be running, or does it wait for a decision?
pub(super) fn is_open(Known { past, summary, .. }: &Known) -> bool {
    let open =
        |outcome| matches!(outcome, None | Some(HostOutcome::Detached | HostOutcome::Unknown | HostOutcome::Held));
    let begun = !past.is_empty() || summary.finished.is_none();
    summary.hosts().any(|host| host.locked || (begun && open(host.outcome)))
}

/// Is there anything to undo? One that was cut off may have locked hosts, though it ran nothing on them.
pub(super) fn has_begun(Known { plan, past, summary, .. }: &Known) -> bool {
    plan.locks() && (!past.is_empty() || summary.finished.is_none() || summary.hosts().any(|host| host.locked))
}
