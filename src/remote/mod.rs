//! What is said to a host, and understood from it: every script that travels, and the conversation.
//!
//! A connection has one shell for each user (`shells`). It is taught functions, each script once, and then answers questions
//! ([`question`]) and runs durable steps ([`step`]), one after another; a plain command ([`command`]) has a channel, and a shell, of its own.
//! Whatever is run is put between marks with a nonce (`framing`), and `progress` knows how far it has come.
//!
//! Rejected: plain commands and guards in the shell of the conversation. What they leave in the background keeps their standard output, and
//! would speak into the next answer; a durable step prints into files.

mod ask;
mod authorized_keys;
mod book;
pub mod command;
mod connection;
mod conversation;
mod files;
mod framing;
mod host_report;
mod progress;
pub mod question;
mod scripts;
mod session;
mod shells;
pub mod step;

pub use ask::{NoAnswer, collect};
pub use authorized_keys::{append_authorized_keys, read_authorized_keys};
pub use book::{HostProof, InForce};
pub use command::Wire;
pub use files::{Answer as FilesAnswer, HostFiles};
pub use host_report::{Evidence, Holder, HostReport, Left};
pub use question::{Claim, Farewell, LEAST_ROOM, Question, UNNAMED};
pub use session::{Connect, Connecting, Exec, ExecEnd, OutputChunk, Remote, Session};
pub use step::{DurableStep, Entry, LeashOrder, Scope, StepEnd, StepKey};
