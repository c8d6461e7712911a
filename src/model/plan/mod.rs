//! What a run will do, every command final but for the values that steps register.

pub mod book;
pub mod command;
pub mod plan;
pub mod planner;
