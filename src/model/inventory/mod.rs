//! Sites and their hosts, and which of them a command line means.

pub mod host_key;
pub mod inventory;
pub mod inventory_file;
pub mod selector;
pub mod share;
pub mod ssh;
pub mod stage;
