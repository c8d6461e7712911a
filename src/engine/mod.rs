//! Runs a plan: one dispatcher owns the run, one worker per host, one bounded channel of messages from them.
//!
//! The dispatcher asks the [`Scheduler`](crate::model::scheduler::Scheduler) what to do, tells the [`Observer`] first, and only then
//! the worker: what is about to happen is on disk before it happens. Workers own their connection and nothing else.
//!
//! Rejected: shared run state behind a lock. With one owner there is no order of events to argue about, and a worker that panics takes
//! nothing with it.

mod dispatcher;
mod lines;
mod worker;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::model::event::{Event, Signal};
use crate::model::name::RunId;
use crate::model::plan::Plan;
use crate::model::summary::Summary;
use crate::ssh::Connect;

/// Sees every event of a run, in order, before what it announces is done.
pub trait Observer: Send {
    /// Takes events that came together. When it returns, they are written.
    fn observe(&mut self, events: &[Event]);

    /// Comes ten times a second, for displays.
    fn tick(&mut self);
}

/// A run to be carried out.
pub struct Run {
    /// What to do.
    pub plan: Arc<Plan>,
    /// Its name.
    pub id: RunId,
    /// Who started it: `user@controller`.
    pub by: String,
    /// Makes the connections.
    pub connector: Arc<dyn Connect>,
    /// A message each time the operator interrupts. The sender lives as long as the run.
    pub interrupts: mpsc::Receiver<Signal>,
    /// The clock of the events.
    pub now: fn() -> Timestamp,
}

/// Carries out a run to its end, whatever happens to it.
pub async fn execute(run: Run, observer: &mut dyn Observer) -> Summary {
    dispatcher::Dispatcher::new(run, observer).run().await
}
