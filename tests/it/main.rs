//! The integration tests: one binary, as every further one would be linked anew on each change.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests: what is not as expected ends the test"
)]

mod embedded;
mod git_site;
