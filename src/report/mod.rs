//! Consumers of events: the terminal, plain lines, JSON lines; and the records of runs, in words.
//!
//! Nothing here decides anything: all show one fold over the events, [`crate::model::run::summary::Summary`]. A reporter that fails is
//! dropped by [`Reporters`](reporters::Reporters) and never stops a run.

use std::io;

use jiff::Timestamp;

use crate::model::run::event::Event;
use crate::model::run::summary::Summary;

pub mod cause;
pub mod columns;
pub mod command_text;
pub mod diagnostics;
pub mod inventory_text;
pub mod json;
pub mod listing;
pub mod logs;
pub mod narrator;
pub mod outlet;
pub mod paint;
pub mod plain;
pub mod plan_text;
pub mod reporters;
#[cfg(test)]
#[path = "../../tests/it/support/screen.rs"]
mod screen;
pub mod table;
pub mod terminal;
pub mod time;
pub mod trouble;
pub mod view;
pub mod words;

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
