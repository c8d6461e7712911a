//! What a store tells of its runs, and why it cannot.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::model::text::name::{RunId, SiteName};

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// There is no run on record.
    #[error("no run is on record in {place}")]
    Empty {
        /// Where the store is.
        place: String,
    },
    /// No run is called like that.
    #[error("no run `{typed}` is on record{}\n  hint: `fleet runs` lists them; `last` is the newest", did_you_mean(nearest.as_deref()))]
    NotFound {
        /// What was asked for.
        typed: String,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// Several runs begin like that.
    #[error("`{typed}` could be {count} runs, among them {first} and {last}\n  hint: type more of it")]
    Ambiguous {
        /// What was asked for.
        typed: String,
        /// How many begin like that.
        count: usize,
        /// The oldest.
        first: RunId,
        /// The newest.
        last: RunId,
    },
    /// The run has no such host.
    #[error("run {run} has no host `{host}`{}", did_you_mean(nearest.as_deref()))]
    NoHost {
        /// The run.
        run: RunId,
        /// What was asked for.
        host: String,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// The host has no log.
    #[error("run {run} did nothing on {host}: there is no log")]
    NoLog {
        /// The run.
        run: RunId,
        /// The host.
        host: String,
    },
    /// The logs hold nothing of such a step.
    #[error("the logs of run {run} hold no step `{step}`{}", did_you_mean(nearest.as_deref()))]
    NoStep {
        /// The run.
        run: RunId,
        /// What was asked for.
        step: String,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// A file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds something else than what fleet writes.
    #[error("{path}:{line}: not written by fleet, or damaged", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What does not read.
        #[source]
        source: serde_json::Error,
    },
    /// A newer fleet wrote it.
    #[error("{path} was written by a newer fleet (format {found}, this one reads up to {known})\n  hint: use that version of fleet for this run", path = path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that this fleet knows.
        known: u32,
    },
    /// Its controller ended before the first event was written.
    #[error(
        "run {run} was not started: fleet ended while its record was being made, and no host was contacted\n  hint: start it again; its record can be deleted"
    )]
    NotStarted {
        /// The run.
        run: RunId,
    },
    /// What was read could not be written out.
    #[error("cannot write the log out")]
    Output(#[source] io::Error),
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default()
}

/// A run, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEntry {
    /// The run.
    pub run: RunId,
    /// When it began.
    pub started: Option<Timestamp>,
    /// Its sites.
    pub sites: Vec<SiteName>,
    /// Its tasks, as typed.
    pub task: String,
    /// How many hosts it targeted.
    pub hosts: usize,
    /// Who started it.
    pub by: String,
    /// How it ended.
    pub result: RunResult,
}

/// How a run ended, as far as its record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunResult {
    /// With that exit code.
    Finished(u8),
    /// It was taken back.
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
