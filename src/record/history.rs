//! What a store tells of its runs, and why it cannot.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::model::run::event::Changes;
use crate::model::text::hint::{Advise, Hint};
use crate::model::text::name::{RunId, SiteName};

#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("no run is on record in {place}")]
    Empty { place: String },
    #[error("no run `{typed}` is on record{}", did_you_mean(nearest.as_deref()))]
    NotFound { typed: String, nearest: Option<String> },
    #[error("`{typed}` could be {count} runs, among them {first} and {last}")]
    Ambiguous { typed: String, count: usize, first: RunId, last: RunId },
    #[error("run {run} has no host `{host}`{}", did_you_mean(nearest.as_deref()))]
    NoHost { run: RunId, host: String, nearest: Option<String> },
    #[error("run {run} did nothing on {host}: there is no log")]
    NoLog { run: RunId, host: String },
    #[error("the logs of run {run} hold no step `{step}`{}", did_you_mean(nearest.as_deref()))]
    NoStep { run: RunId, step: String, nearest: Option<String> },
    #[error("cannot read {path}", path = path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file holds something else than what fleet writes.
    #[error("{path}:{line}: not written by fleet, or damaged", path = path.display())]
    Damaged {
        path: PathBuf,
        /// From 1.
        line: usize,
        #[source]
        source: serde_json::Error,
    },
    #[error("{path} was written by a newer fleet (format {found}, this one reads up to {known})", path = path.display())]
    Newer { path: PathBuf, found: u32, known: u32 },
    /// This one cannot go on with it.
    #[error("{path} was written by an older fleet (format {found}, this one reads {known})", path = path.display())]
    Older { path: PathBuf, found: u32, known: u32 },
    #[error("{path} has been altered since the run began: its SHA-256 is not its name", path = path.display())]
    Altered { path: PathBuf },
    /// Its controller ended before the first event was written.
    #[error("run {run} was not started: fleet ended while its record was being made, and no host was contacted")]
    NotStarted { run: RunId },
    #[error("cannot write the log out")]
    Output(#[source] io::Error),
}

impl Advise for HistoryError {
    fn hints(&self) -> Vec<Hint> {
        let hint = match self {
            Self::NotFound { .. } => "`fleet runs` lists them; `last` is the newest",
            Self::Ambiguous { .. } => "type more of it",
            Self::Newer { .. } | Self::Older { .. } => "use that version of fleet for this run",
            Self::Altered { .. } => "fleet does not run it; bring the file back from a backup",
            Self::NotStarted { .. } => "start it again; its record can be deleted",
            Self::Empty { .. }
            | Self::NoHost { .. }
            | Self::NoLog { .. }
            | Self::NoStep { .. }
            | Self::Unreadable { .. }
            | Self::Damaged { .. }
            | Self::Output(_) => return Vec::new(),
        };
        vec![Hint::advice(hint)]
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default()
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEntry {
    pub run: RunId,
    pub started: Option<Timestamp>,
    pub sites: Vec<SiteName>,
    pub task: String,
    pub hosts: usize,
    pub by: String,
    pub result: RunResult,
    /// What it changed, or was to change, so far.
    pub changes: Option<Changes>,
}

/// How a run ended, as far as its record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunResult {
    Finished(u8),
    Undone,
    /// It is still running, or its controller died.
    Unfinished,
    /// No host was contacted: its record is being made, or its controller died over that.
    NotStarted,
    /// A newer fleet wrote the record, and this one cannot tell how it ended.
    Newer,
    /// The record does not read, because of that.
    Damaged(String),
}

/// Why a file of a record could not be read.
pub fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> HistoryError {
    let path = path.to_owned();
    move |source| HistoryError::Unreadable { path, source }
}
