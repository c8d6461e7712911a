//! The runs that are on record: found, listed, and folded again into the summary that the screen showed.
//!
//! Invariant: nothing is guessed. A torn last line is what a crash leaves, and is passed over; anything else that does not read is
//! an error with its file and line ([`super::journal`]).

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::journal::{end_of, first_event, parse, read_events, run_finished, version};
use super::log::{LogLine, began};
use super::record::{EVENTS_FILE, PLAN_FILE, REQUEST_FILE, log_name};
use super::{blobs, order};
use crate::files;
use crate::model::config::diagnostic::nearest;
use crate::model::plan::plan::{PLAN_VERSION, Plan};
use crate::model::plan::planner::Asked;
use crate::model::run::event::{Event, Fact};
use crate::model::run::summary::{Failure, Summary};
use crate::model::text::name::{RunId, SiteName};
use crate::model::text::tail::Tail;

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// There is no run on record.
    #[error("no run is on record in {runs}", runs = runs.display())]
    Empty {
        /// The folder of the runs.
        runs: PathBuf,
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
    /// An older fleet wrote it, in a way in which this one cannot go on with it.
    #[error("{path} was written by an older fleet (format {found}, this one reads {known})\n  hint: use that version of fleet for this run", path = path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that this fleet reads.
        known: u32,
    },
    /// A blob is not what its name says.
    #[error("{path} has been altered since the run began: its SHA-256 is not its name\n  hint: fleet does not run it; bring the file back from a backup", path = path.display())]
    Altered {
        /// The file.
        path: PathBuf,
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

/// All runs on record, the newest first. A damaged one is listed as such.
pub fn list(runs: &Path) -> Result<Vec<RunEntry>, HistoryError> {
    let mut entries: Vec<RunEntry> = run_ids(runs)?.into_iter().map(|run| entry(runs, run)).collect();
    entries.reverse();
    Ok(entries)
}

/// The run of that name, or the only one that begins like that, or the newest: `last`.
pub fn find(runs: &Path, typed: &str) -> Result<RunId, HistoryError> {
    let ids = run_ids(runs)?;
    let Some(newest) = ids.last() else { return Err(HistoryError::Empty { runs: runs.to_owned() }) };
    if typed == "last" {
        return Ok(newest.clone());
    }
    if let Some(exact) = ids.iter().find(|id| id.as_str() == typed) {
        return Ok(exact.clone());
    }
    let matching: Vec<&RunId> = ids.iter().filter(|id| !typed.is_empty() && id.as_str().starts_with(typed)).collect();
    match matching.as_slice() {
        [one] => Ok((*one).clone()),
        [first, .., last] => Err(HistoryError::Ambiguous {
            typed: typed.to_owned(),
            count: matching.len(),
            first: (*first).clone(),
            last: (*last).clone(),
        }),
        [] => {
            let nearest = nearest(typed, ids.iter().map(RunId::as_str)).map(str::to_owned);
            Err(HistoryError::NotFound { typed: typed.to_owned(), nearest })
        }
    }
}

/// The plan of a run and what is known about it, with the last lines of the steps that failed.
pub fn load(runs: &Path, typed: &str) -> Result<(Plan, Summary), HistoryError> {
    let run = find(runs, typed)?;
    refuse_not_started(runs, &run)?;
    let plan = load_plan(runs, &run)?;
    let folder = runs.join(run.as_str());
    let mut summary = Summary::default();
    read_events(&folder.join(EVENTS_FILE), |event| summary.apply(&event))?;
    let mut tails = Vec::new();
    for host in summary.hosts() {
        let Some(name) = log_name(&host.host) else { continue };
        for failure in host.failure.iter().chain(&host.undo_failure) {
            // A log that is missing or damaged takes nothing away from what the events say.
            if let Ok(tail) = last_lines(&folder.join(&name), failure) {
                tails.push((host.host.clone(), failure.step.clone(), failure.kind, tail));
            }
        }
    }
    for (host, step, kind, tail) in tails {
        summary.restore_tail(host.as_str(), &step, kind, &tail);
    }
    Ok((plan, summary))
}

/// The plan of a run and all its events.
pub fn load_events(runs: &Path, run: &RunId) -> Result<(Plan, Vec<Event>), HistoryError> {
    refuse_not_started(runs, run)?;
    let plan = load_plan(runs, run)?;
    let mut events = Vec::new();
    read_events(&runs.join(run.as_str()).join(EVENTS_FILE), |event| events.push(event))?;
    Ok((plan, events))
}

/// An error when the run has no first event, with which all else begins.
pub fn refuse_not_started(runs: &Path, run: &RunId) -> Result<(), HistoryError> {
    match first_event(&runs.join(run.as_str()).join(EVENTS_FILE))? {
        Some(_) => Ok(()),
        None => Err(HistoryError::NotStarted { run: run.clone() }),
    }
}

/// What was asked for, so that it can be planned again; none for an ad-hoc command. Its version is that of the plan.
pub fn load_request(runs: &Path, run: &RunId) -> Result<Option<Asked>, HistoryError> {
    let path = runs.join(run.as_str()).join(REQUEST_FILE);
    match files::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|source| HistoryError::Damaged {
            line: source.line(),
            path,
            source,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(unreadable(&path)(source)),
    }
}

/// The names of all runs, the oldest first.
fn run_ids(runs: &Path) -> Result<Vec<RunId>, HistoryError> {
    let entries = match runs.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(unreadable(runs)(source)),
    };
    let mut ids = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable(runs))?;
        ids.extend(entry.file_name().to_str().and_then(|name| RunId::parse(name).ok()));
    }
    order::sort(runs, &mut ids).map_err(unreadable(&order::path(runs)))?;
    Ok(ids)
}

fn entry(runs: &Path, run: RunId) -> RunEntry {
    let path = runs.join(run.as_str()).join(EVENTS_FILE);
    let read = || Ok::<_, HistoryError>((first_event(&path)?, run_finished(&path)?));
    let (first, result) = match read() {
        Ok((first, Some(Fact::RunFinished { exit_code: 0, undone: true, .. }))) => (first, RunResult::Undone),
        Ok((first, Some(Fact::RunFinished { exit_code, .. }))) => (first, RunResult::Finished(exit_code)),
        Ok((Some(first), _)) => (Some(first), RunResult::Unfinished),
        Ok((None, _)) => (None, RunResult::NotStarted),
        Err(HistoryError::Newer { .. }) => (None, RunResult::Newer),
        Err(error) => (None, RunResult::Damaged(error.to_string())),
    };
    let started = first.as_ref().map(|event| event.at);
    match first.map(|event| event.fact) {
        Some(Fact::RunStarted { sites, task, hosts, by, .. }) => {
            RunEntry { run, started, sites, task, hosts: hosts.len(), by, result }
        }
        _ => RunEntry { run, started, sites: Vec::new(), task: String::new(), hosts: 0, by: String::new(), result },
    }
}

/// The plan of a run, with its blobs.
pub fn load_plan(runs: &Path, run: &RunId) -> Result<Plan, HistoryError> {
    let folder = runs.join(run.as_str());
    let path = folder.join(PLAN_FILE);
    let bytes = files::read(&path).map_err(unreadable(&path))?;
    let found = version(&bytes, (&path, 1))?;
    if found < PLAN_VERSION {
        return Err(HistoryError::Older { path, found, known: PLAN_VERSION });
    }
    let plan: Plan = parse(&bytes, (&path, 1), PLAN_VERSION)?;
    Ok(Plan { blobs: blobs::read(&folder, &plan)?, ..plan })
}

/// The last lines that the failed step, or its undo, printed.
fn last_lines(path: &Path, failure: &Failure) -> io::Result<Tail> {
    let began = began(failure.kind);
    let mut tail = Tail::default();
    // Where the end of the log begins within the step, its start is not seen.
    let mut within = true;
    for line in end_of(path)?.split_inclusive(|&b| b == b'\n').filter_map(LogLine::parse) {
        if line.step != failure.step.as_str() {
            continue;
        }
        match line.stream() {
            Some(stream) if within => {
                tail.push(stream, line.text);
                if line.is_ended() {
                    tail.push(stream, b"\n");
                }
            }
            Some(_) => {}
            None if line.text.starts_with(began) => {
                tail.clear();
                within = true;
            }
            None => within = false,
        }
    }
    Ok(tail)
}

/// Why a file of a record could not be read.
pub fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> HistoryError {
    let path = path.to_owned();
    move |source| HistoryError::Unreadable { path, source }
}

#[cfg(test)]
mod tests;
