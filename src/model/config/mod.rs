//! Reading files: TOML documents, what is wrong in them and where, advice for what looks wrong.

pub mod advice;
pub mod diagnostic;
pub mod document;
pub mod file_error;
pub mod graph;
pub mod setting;
