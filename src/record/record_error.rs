//! Why a record could not be made, or taken up again.

use std::io;
use std::path::PathBuf;

use crate::model::recipe::shell::quote;
use crate::model::text::hint::{Advise, Hint};
use crate::model::text::name::RunId;

/// Why a record could not be made. Nothing has been contacted.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("there is a run {run} already, in {path}", path = path.display())]
    Exists { run: RunId, path: PathBuf },
    #[error("cannot write the record of the run to {path}", path = path.display())]
    Unwritable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A link stands where fleet writes.
    #[error("{path} is a link, and fleet does not write through links", path = path.display())]
    Link { path: PathBuf },
    /// Another process works on the run.
    #[error("run {run} is still going on here, in process {pid}", pid = pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string()))]
    Busy { run: RunId, pid: Option<i32> },
    /// A host's name does not serve as a file name.
    #[error("host `{host}` cannot have a log of that name")]
    HostName { host: String },
}

impl Advise for RecordError {
    fn hints(&self) -> Vec<Hint> {
        vec![match self {
            Self::Unwritable { .. } => {
                Hint::advice("free some room there, or make it writable: without a record nothing is started")
            }
            Self::Link { path } => Hint::Advice(format!("rm {} removes only the link", quote(&path.to_string_lossy()))),
            Self::Busy { run, .. } => Hint::Advice(format!("fleet attach {run} shows it, fleet cancel {run} ends it")),
            Self::Exists { .. } | Self::HostName { .. } => return Vec::new(),
        }]
    }
}
