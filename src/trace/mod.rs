//! fleet's log: what it did and why, for whoever has to find out why a run went as it did. Two copies: `debug.log` beside the record of
//! each run, and standard error when somebody asks for it (`-v`, `-vv`, `FLEET_LOG`).
//!
//! Everything else only names `tracing`; here is what becomes of it. russh's own log is joined: its connections are tasks of their own, outside
//! of every span, so its lines have the task's number instead of the host, and the line of the host key says which task is whose.
//!
//! Invariant: neither the text of a command nor what it prints is ever logged, only what a login shell says instead; every line is
//! masked ([`hide`]) and made [`printable`](crate::model::text::printable::printable) before it leaves. Logging never fails and never stops a
//! run. russh never tells more than its debug level, whatever the filter: below that it tells what is in packets, as numbers, which nobody
//! could mask; and its agent client does so from its debug level on.
//!
//! The state is a static, as the subscriber of `tracing` is one. Rejected: a writer that is handed down to everybody who knows a secret or
//! opens a record; it would be an argument of half the engine.

mod debug_log;
mod line;
mod log;

pub use log::{DEBUG, Filter, INFO, Log, hide, hide_secret, keep, start, trouble};
