//! Which run is meant, and what can be done with it.

use crate::model::plan::plan::AD_HOC;
use crate::model::run::outcome::HostOutcome;
use crate::model::text::name::RunId;
use crate::record::history::HistoryError;
use crate::record::known::Known;
use crate::record::store::Store;

/// Runs that are looked at for the one that `last` means.
const LOOKED_AT: usize = 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Attach,
    Cancel,
    Resume,
    Undo,
}

/// The run of that name. `last` is the newest that has anything to do with what is asked, or else the newest of all: a deployment that
/// was kept away by the lock of another run is not what a person means.
pub fn choose(store: &dyn Store, typed: &str, purpose: Purpose) -> Result<RunId, HistoryError> {
    let newest = store.find(typed)?;
    if typed != "last" {
        return Ok(newest);
    }
    let found = store.runs()?.into_iter().rev().take(LOOKED_AT).find(|run| fits(store, run, purpose));
    Ok(found.unwrap_or(newest))
}

/// A run whose record does not read, or that was a single command, fits only those who watch its controller.
fn fits(store: &dyn Store, run: &RunId, purpose: Purpose) -> bool {
    let known = || store.known(run).ok().filter(|known| known.plan.task != AD_HOC);
    match (purpose, store.controller(run).is_some()) {
        (Purpose::Attach, lives) => lives,
        (Purpose::Cancel, true) => true,
        (Purpose::Resume | Purpose::Undo, true) => false,
        (Purpose::Cancel | Purpose::Resume, false) => known().is_some_and(|known| is_open(&known)),
        (Purpose::Undo, false) => known().is_some_and(|known| has_begun(&known)),
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
pub(super) fn has_begun(Known { past, summary, .. }: &Known) -> bool {
    !past.is_empty() || summary.finished.is_none() || summary.hosts().any(|host| host.locked)
}
