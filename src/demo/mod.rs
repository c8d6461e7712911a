//! The demo.

mod process;
pub mod server;
mod session;
mod stream;
