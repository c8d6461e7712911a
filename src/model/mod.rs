//! Pure values and decisions: names, inventory, selectors, recipes, templates and quoting, plans, the scheduler, events, outcomes.
//!
//! Nothing here knows tokio, russh, a terminal, a clock, the file system or a source of randomness:
//! what a run does can be decided, and tested, without a network.

pub mod advice;
pub mod agenda;
pub mod book;
pub mod command;
pub mod diagnostic;
pub mod document;
pub mod durable;
pub mod duration;
pub mod encoding;
pub mod event;
pub mod exit;
pub mod fold;
pub mod graph;
pub mod host_report;
pub mod host_summary;
pub mod inventory;
pub mod inventory_file;
pub mod masking;
pub mod name;
pub mod outcome;
pub mod past;
pub mod plan;
pub mod planner;
pub mod printable;
pub mod range;
pub mod recipe;
pub mod recipe_file;
pub mod scheduler;
pub mod selector;
pub mod shell;
pub mod spool;
pub mod summary;
pub mod tail;
pub mod template;

#[cfg(test)]
pub mod scripted;
