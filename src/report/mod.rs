//! Consumers of events: the terminal, plain lines, JSON lines; and the records of runs, in words.
//!
//! Nothing here decides anything: all show one fold over the events, [`crate::model::run::summary::Summary`]. A reporter that fails is
//! dropped by [`Reporters`](reporters::Reporters) and never stops a run.

pub mod cause;
pub mod changes_text;
pub mod columns;
pub mod command_text;
pub mod diagnostics;
pub mod findings_text;
pub mod inventory_text;
pub mod json;
pub mod listing;
pub mod logs;
pub mod narrator;
pub mod outlet;
pub mod paint;
pub mod plain;
pub mod plan_summary;
pub mod plan_text;
pub mod printed_text;
pub mod recipe_text;
pub mod reporter;
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
