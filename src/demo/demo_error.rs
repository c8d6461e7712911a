//! Why the demo did not end well.

use std::io;
use std::path::PathBuf;

use super::server::FleetError;
use crate::model::text::hint::{Advise, Hint};

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("the demo's site needs {tool}, which is not here")]
    Missing { tool: &'static str },
    #[error("cannot write {}", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("git failed in the demo's upstream repository: {reason}")]
    Git { reason: String },
    #[error("the site could not be installed on {host}: {reason}")]
    Install { host: String, reason: String },
    #[error(transparent)]
    Fleet(#[from] FleetError),
    #[error("cannot run {}", .exe.display())]
    Run {
        exe: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("expected {expected}, found {found}")]
    Surprise { expected: String, found: String },
    #[error("cannot write the demo's output")]
    Output(#[source] io::Error),
    /// Ctrl-C, or another signal.
    #[error("interrupted; the demo's hosts are ended")]
    Interrupted { signal: u8 },
}

impl Advise for DemoError {
    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Missing { tool } => {
                vec![Hint::Advice(format!("install it ({tool}, of any recent version) and try again"))]
            }
            Self::Surprise { .. } => vec![Hint::advice("look at it in peace: fleet demo --keep")],
            _ => Vec::new(),
        }
    }
}

impl DemoError {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Missing { .. } | Self::Write { .. } | Self::Output(_) => 5,
            Self::Git { .. } | Self::Install { .. } | Self::Fleet(_) | Self::Run { .. } | Self::Surprise { .. } => 1,
            Self::Interrupted { signal } => 128 + signal,
        }
    }
}
