//! Finds the programs that the tests need, or fails with what to type.

use std::path::{Path, PathBuf};

/// Where fixtures look for programs, and the `PATH` of everything they start.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program's path. A missing one fails the test: a skipped test proves nothing.
pub fn tool(name: &str) -> PathBuf {
    PATH.split(':')
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed\nhint: ./tests/run installs what the tests need"))
}
