//! A run: its scheduler, what happened, and how it ended.

pub mod agenda;
pub mod cause;
pub mod encoded;
pub mod event;
pub mod exit;
pub mod finding;
pub mod host_summary;
pub mod masking;
pub mod outcome;
pub mod past;
pub mod reason;
pub mod scheduler;
#[cfg(test)]
pub mod scripted;
pub mod summary;
