//! Pure values and decisions: names, inventory, selectors, recipes, templates and quoting, plans, the scheduler, events, outcomes.
//!
//! Nothing here knows tokio, russh, a terminal, a clock, the file system or a source of randomness:
//! what a run does can be decided, and tested, without a network.

pub mod config;
pub mod inventory;
pub mod plan;
pub mod recipe;
pub mod run;
pub mod text;
