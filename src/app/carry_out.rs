//! A run is carried out, written down and shown.

use jiff::Timestamp;

use crate::engine::{self, Observer, Run, Unwritten};
use crate::model::run::event::Event;
use crate::model::run::summary::Summary;
use crate::record::store::Record;
use crate::report::Reporter;
use crate::report::reporters::{RECORD, Reporters};

/// Carries out a run to its end. The reporters still hold the terminal until they are dropped, which may wait for whoever reads it.
pub async fn carry_out(run: Run, record: Box<dyn Record>, views: Vec<Box<dyn Reporter>>) -> (Summary, Reporters) {
    // The record comes first: what is shown has been written.
    let record: Box<dyn Reporter> = Box::new(record);
    let mut reporters = Reporters::new(std::iter::once(record).chain(views).collect());
    let summary = engine::execute(run, &mut reporters).await;
    (summary, reporters)
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
