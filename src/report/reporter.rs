//! Who is shown the events of a run.

use std::io;

use jiff::Timestamp;

use crate::model::run::event::Event;
use crate::model::run::summary::Summary;

pub trait Reporter: Send {
    /// What it is called in a warning: `terminal`, `json`, `record`.
    fn name(&self) -> &'static str;

    /// Takes an event, and the fold over all so far. An error drops the reporter; it never stops a run.
    fn report(&mut self, event: &Event, summary: &Summary) -> io::Result<()>;

    /// Makes lasting what it has taken. Called after each group of events, before any command that they announce is sent.
    fn commit(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Time has gone by, at least every 100 ms while the run lasts. Only the live view cares.
    fn tick(&mut self, _now: Timestamp, _summary: &Summary) -> io::Result<()> {
        Ok(())
    }
}
