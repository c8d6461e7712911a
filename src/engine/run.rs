//! What is carried out, and who watches.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::model::plan::plan::{HostIndex, Plan};
use crate::model::run::event::{Direction, Event, Signal};
use crate::model::run::past::{OpenStep, Past};
use crate::model::run::summary::Summary;
use crate::model::text::name::RunId;
use crate::model::text::secret::Secrets;
use crate::remote::Connect;

/// Sees every event of a run, in order, before what it announces is done. With each comes the one fold over all so far, to which the observer
/// adds what it has to tell itself.
pub trait Observer: Send {
    /// Takes an event.
    fn observe(&mut self, event: &Event, summary: &mut Summary);

    /// Comes after events that belong together. When it returns, they are written; with an error, they cannot be written any more, and
    /// what they announce must not be done.
    fn commit(&mut self, summary: &mut Summary) -> Result<(), Unwritten>;

    /// Comes ten times a second, for displays.
    fn tick(&mut self, summary: &mut Summary);
}

/// The record of the run is at its end: its disk is full, or gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unwritten;

/// What a run was that is resumed.
pub struct Resumed {
    /// What happened so far, and what the operator decided about it.
    pub past: Past,
    /// The fold over what happened so far.
    pub summary: Summary,
    /// In which direction it continues.
    pub direction: Direction,
    /// Decisions to be told, in the past already.
    pub decided: Vec<(OpenStep, crate::model::run::event::Decision)>,
    /// Hosts that the operator gives up, in the past already.
    pub given_up: Vec<HostIndex>,
    /// How much is on record of the output of the step in flight: host, standard output, standard error, in bytes.
    pub recorded: Vec<(HostIndex, u64, u64)>,
}

/// A run to be carried out.
pub struct Run {
    /// What to do.
    pub plan: Arc<Plan>,
    /// Its name.
    pub id: RunId,
    /// Who started it: `user@controller`.
    pub by: String,
    /// The values of the plan's secret variables.
    pub secrets: Secrets,
    /// What it continues from, when an earlier controller began it.
    pub resumed: Option<Resumed>,
    /// The project's folder, in which local steps begin.
    pub project: PathBuf,
    /// Makes the connections.
    pub connector: Arc<dyn Connect>,
    /// A message each time the operator interrupts. The sender lives as long as the run.
    pub interrupts: mpsc::Receiver<Signal>,
    /// The clock of the events.
    pub now: fn() -> Timestamp,
}
