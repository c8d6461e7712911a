//! `fleet`: deploy to sites over SSH.

pub mod cli;
pub mod demo;
pub mod engine;
pub mod files;
pub mod keys;
pub mod model;
pub mod report;
pub mod ssh;
