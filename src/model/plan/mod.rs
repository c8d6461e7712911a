//! What a run will do, every command final but for the values that steps register.

pub mod binding;
pub mod blob;
pub mod book;
pub mod command;
pub mod file;
pub mod host_list;
pub mod host_set;
pub mod index;
pub mod operation;
pub mod plan;
pub mod plan_host;
pub mod planner;
pub mod script;
pub mod step;
pub mod values;
