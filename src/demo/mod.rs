//! `fleet demo`: the main job on an embedded fleet, driven through the real binary and checked over HTTP.
//!
//! All of it is real but the machines: a git repository with releases, a site in Python with a database in a file, SSH servers of
//! our own on loopback ([`server`]) whose hosts are folders, and `fleet` itself as a user would type it. The demo succeeds only
//! if what it told is what happened.
//!
//! Invariant: nothing is left behind. Whatever way it ends, the processes of the hosts are ended, and its folder is removed
//! unless it was asked for.

mod demo;
mod demo_error;
mod host;
mod process;
mod project;
pub mod server;
mod session;
mod story;
mod stream;
mod visitor;

pub use demo::{DemoOptions, run};
pub use demo_error::DemoError;
