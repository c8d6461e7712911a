//! The runs on record, as a database: written by one process, read by those that resume, attach, show and follow.
//!
//! [`store`] says what a place for records can do, [`folder`] is the one that there is: a folder of the project. Whoever reads or writes
//! records knows only the traits, so another place, such as one that colleagues share, is another folder here and nothing else.

pub mod folder;
pub mod history;
pub mod known;
pub mod log_line;
pub mod record_error;
pub mod recorded;
pub mod store;
