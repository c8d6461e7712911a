//! The tests that need more than one module: real shells, a real `sshd`, the binary itself, the sources as text.
//!
//! One binary, because each further one would be linked anew on every change. Nothing is skipped silently: where a tool is
//! missing, a test fails and says how to install it. `./tests/run` installs all of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests: what is not as expected ends the test"
)]
mod embedded;
mod keys;
// `cfg(test)` always holds here. It tells clippy that the fixtures are tests too, where `unwrap` and indexing are allowed.
#[cfg(test)]
mod fixtures;
mod layering;
#[cfg(test)]
mod quoting;
#[cfg(test)]
mod support;
fn main() {}
mod git_site;
