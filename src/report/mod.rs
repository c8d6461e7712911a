//! Consumers of events: the terminal, plain lines, JSON lines, the record on disk.

pub mod diagnostics;

use std::io;

use crate::model::event::Event;

/// A consumer of events.
pub trait Reporter: Send {
    /// What it is called in a warning: `terminal`, `json`, `record`.
    fn name(&self) -> &'static str;

    /// Takes an event. An error drops the reporter; it never stops a run.
    fn report(&mut self, event: &Event) -> io::Result<()>;
}
