//! What a command means, without arguments and terminals: typed results, and errors that say in fields what is in the way.

pub mod books;
pub mod carry_out;
pub mod checking;
pub mod choice;
pub mod consent;
pub mod looking;
pub mod planning;
pub mod resume_error;
pub mod run_id;
pub mod secrets;
pub mod site_state;
pub mod taken;
pub mod unlocking;
