//! Runs a plan: one dispatcher owns the run, one worker per host, one bounded channel of messages from them.
//!
//! The dispatcher asks the [`Scheduler`](crate::model::run::scheduler::Scheduler) what to do, tells the [`Observer`] first, and only then
//! the worker: what is about to happen is on disk before it happens. Workers own their connection and nothing else.
//!
//! Rejected: shared run state behind a lock. With one owner there is no order of events to argue about, and a worker that panics takes
//! nothing with it.

mod claim;
mod contact;
mod decision;
mod dispatcher;
mod durable;
mod files;
mod findings;
mod host;
mod incoming;
mod lines;
mod local;
mod locks;
mod message;
mod output;
mod resume;
mod run;
mod steps;
mod task;
mod watch;
mod worker;

#[cfg(test)]
mod tests;

use tracing::{Instrument as _, info_span};

use crate::model::run::summary::Summary;
pub use run::{Observer, Resumed, Run, Unwritten};

/// Carries out a run to its end, whatever happens to it.
pub async fn execute(run: Run, observer: &mut dyn Observer) -> Summary {
    let span = info_span!("run", run = %run.id);
    // In a box: it holds the whole run, and would stand in the future of everybody who waits for it.
    Box::pin(dispatcher::Dispatcher::new(run, observer).run().instrument(span)).await
}
