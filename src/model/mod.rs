//! Pure values and decisions: names, inventory, selectors, recipes, templates and quoting, plans, the scheduler, events, outcomes.
//!
//! Nothing here knows tokio, russh, a terminal, a clock, the file system or a source of randomness:
//! what a run does can be decided, and tested, without a network.

pub mod command;
pub mod diagnostic;
pub mod event;
pub mod exit;
pub mod fold;
pub mod host_summary;
pub mod inventory;
pub mod name;
pub mod outcome;
pub mod plan;
pub mod printable;
pub mod recipe;
#[cfg(test)]
pub mod scripted;
pub mod shell;
pub mod summary;
pub mod tail;
pub mod template;
