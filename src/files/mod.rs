//! What fleet reads from and writes to the controller's disk.

pub mod project;
