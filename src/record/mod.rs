//! The runs on disk, as a database: written by one process, read by those that resume, attach, show and follow.

pub mod blobs;
pub mod follow;
pub mod history;
pub mod journal;
pub mod log;
pub mod order;
pub mod record;
pub mod recorded;
