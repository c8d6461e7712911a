//! A run is carried out, written down and shown.

use jiff::Timestamp;
use tracing::debug;

use crate::engine::{self, Observer, Run, Unwritten};
use crate::model::plan::book::Basis;
use crate::model::plan::plan::Plan;
use crate::model::run::event::Event;
use crate::model::run::summary::Summary;
use crate::model::text::name::SiteName;
use crate::record::store::Record;
use crate::report::reporter::Reporter;
use crate::report::reporters::{RECORD, Reporters};

/// Carries out a run to its end. The reporters still hold the terminal until they are dropped, which may wait for whoever reads it.
pub async fn carry_out(run: Run, record: Box<dyn Record>, views: Vec<Box<dyn Reporter>>) -> (Summary, Reporters) {
    log_run(&run);
    // The record comes first: what is shown has been written.
    let record: Box<dyn Reporter> = Box::new(record);
    let mut reporters = Reporters::new(std::iter::once(record).chain(views).collect());
    let summary = engine::execute(run, &mut reporters).await;
    (summary, reporters)
}

/// What is carried out, and by whom: without it, nobody who gets the log alone knows what it is about.
fn log_run(Run { plan, id, by, resumed, .. }: &Run) {
    let sites: Vec<&str> = plan.sites.iter().map(SiteName::as_str).collect();
    let (version, pid, resumed) = (env!("CARGO_PKG_VERSION"), std::process::id(), resumed.is_some());
    let (sites, hosts) = (sites.join(","), plan.hosts.len());
    debug!(version, pid, run = %id, by, sites, task = plan.task, hosts, resumed, "fleet");
    let Plan { parallel, max_failures, on_failure, basis, .. } = &**plan;
    debug!(parallel, max_failures, ?on_failure, basis = basis.as_ref().map(Basis::describe), "plan");
}

impl Observer for Reporters {
    fn observe(&mut self, event: &Event, summary: &mut Summary) {
        self.report(event, summary);
    }

    fn commit(&mut self, summary: &mut Summary) -> Result<(), Unwritten> {
        Self::commit(self, summary);
        if self.has(RECORD) { Ok(()) } else { Err(Unwritten) }
    }

    fn tick(&mut self, summary: &mut Summary) {
        Self::tick(self, Timestamp::now(), summary);
    }
}
