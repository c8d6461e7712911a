//! The command line.

use std::process::ExitCode;

/// Runs `fleet`.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
