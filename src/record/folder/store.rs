//! The runs in a folder: found, listed, read.
//!
//! Invariant: nothing is guessed. A torn last line is what a crash leaves, and is passed over; anything else that does not read is
//! an error with its file and line ([`super::journal`]).

use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::follow::Follower;
use super::host_log::log_name;
use super::journal::{end_of, first_event, parse, read_events, run_finished, version};
use super::record::FolderRecord;
use super::{EVENTS_FILE, PLAN_FILE, REQUEST_FILE, blobs, controller, order};
use crate::files;
use crate::model::plan::blob::BlobId;
use crate::model::plan::plan::{PLAN_VERSION, Plan};
use crate::model::plan::planner::Asked;
use crate::model::run::event::{Event, Fact};
use crate::model::run::summary::Summary;
use crate::model::text::name::{HostLabel, RunId};
use crate::record::history::{HistoryError, RunEntry, RunResult, unreadable};
use crate::record::record_error::RecordError;
use crate::record::store::{Follow, Log, Record, Store};

#[derive(Debug, Clone)]
pub struct FolderStore {
    runs: PathBuf,
}

impl FolderStore {
    /// The runs in that folder, which need not be there yet.
    pub fn new(runs: &Path) -> Self {
        Self { runs: runs.to_owned() }
    }

    fn folder(&self, run: &RunId) -> PathBuf {
        self.runs.join(run.as_str())
    }

    fn events_of(&self, run: &RunId) -> PathBuf {
        self.folder(run).join(EVENTS_FILE)
    }
}

impl Store for FolderStore {
    fn place(&self) -> String {
        self.runs.display().to_string()
    }

    /// A host called `debug` has its log under that name already.
    fn debug_log(&self, run: &RunId, plan: &Plan) -> PathBuf {
        let is_taken = plan.hosts.iter().any(|host| host.label.as_str() == "debug");
        self.folder(run).join(if is_taken { ".debug.log" } else { "debug.log" })
    }

    fn runs(&self) -> Result<Vec<RunId>, HistoryError> {
        let entries = files::if_there(self.runs.read_dir()).map_err(unreadable(&self.runs))?;
        let mut ids = Vec::new();
        for entry in entries.into_iter().flatten() {
            let entry = entry.map_err(unreadable(&self.runs))?;
            ids.extend(entry.file_name().to_str().and_then(|name| RunId::parse(name).ok()));
        }
        order::sort(&self.runs, &mut ids).map_err(unreadable(&order::path(&self.runs)))?;
        Ok(ids)
    }

    fn entry(&self, run: RunId) -> RunEntry {
        let path = self.events_of(&run);
        let read = || Ok::<_, HistoryError>((first_event(&path)?, run_finished(&path)?));
        let mut changes = None;
        let (first, result) = match read() {
            Ok((first, Some(Fact::RunFinished { exit_code, undone, changes: of_run, .. }))) => {
                changes = of_run;
                (first, if exit_code == 0 && undone { RunResult::Undone } else { RunResult::Finished(exit_code) })
            }
            Ok((Some(first), _)) => {
                // It may be going on: what it says so far stands in the middle of its record.
                let mut summary = Summary::default();
                let all = read_events(&path, &mut |event| summary.apply(&event));
                changes = all.ok().and_then(|()| summary.changes_in_short());
                (Some(first), RunResult::Unfinished)
            }
            Ok((None, _)) => (None, RunResult::NotStarted),
            Err(HistoryError::Newer { .. }) => (None, RunResult::Newer),
            Err(error) => (None, RunResult::Damaged(error.to_string())),
        };
        let started = first.as_ref().map(|event| event.at);
        let (sites, task, hosts, by) = match first.map(|event| event.fact) {
            Some(Fact::RunStarted { sites, task, hosts, by, .. }) => (sites, task, hosts.len(), by),
            _ => (Vec::new(), String::new(), 0, String::new()),
        };
        RunEntry { run, started, sites, task, hosts, by, result, changes }
    }

    fn create(&self, run: &RunId, plan: &Plan, asked: Option<&Asked>) -> Result<Box<dyn Record>, RecordError> {
        Ok(Box::new(FolderRecord::create(&self.runs, run, plan, asked)?))
    }

    fn reopen(&self, run: &RunId) -> Result<Box<dyn Record>, RecordError> {
        Ok(Box::new(FolderRecord::reopen(&self.runs, run)?))
    }

    fn controller(&self, run: &RunId) -> Option<i32> {
        controller::controller(&self.folder(run))
    }

    fn is_started(&self, run: &RunId) -> Result<bool, HistoryError> {
        Ok(first_event(&self.events_of(run))?.is_some())
    }

    fn plan(&self, run: &RunId) -> Result<Plan, HistoryError> {
        let path = self.folder(run).join(PLAN_FILE);
        let bytes = files::read(&path).map_err(unreadable(&path))?;
        let found = version(&bytes, (&path, 1))?;
        if found < PLAN_VERSION {
            return Err(HistoryError::Older { path, found, known: PLAN_VERSION });
        }
        let mut plan: Plan = parse(&bytes, (&path, 1), PLAN_VERSION)?;
        let blobs: Vec<Vec<u8>> = plan.blob_ids().filter_map(|id| self.blob(run, id).ok()).collect();
        for blob in blobs {
            plan.blobs.add(blob);
        }
        Ok(plan)
    }

    fn blob(&self, run: &RunId, id: &BlobId) -> Result<Vec<u8>, HistoryError> {
        blobs::read(&self.folder(run), id)
    }

    fn request(&self, run: &RunId) -> Result<Option<Asked>, HistoryError> {
        let path = self.folder(run).join(REQUEST_FILE);
        let bytes = files::if_there(files::read(&path)).map_err(unreadable(&path))?;
        let read = bytes.map(|bytes| serde_json::from_slice(&bytes)).transpose();
        read.map_err(|source| HistoryError::Damaged { line: source.line(), path, source })
    }

    fn events(&self, run: &RunId, take: &mut dyn FnMut(Event)) -> Result<(), HistoryError> {
        read_events(&self.events_of(run), take)
    }

    fn log(&self, run: &RunId, host: &HostLabel) -> Result<Option<Log>, HistoryError> {
        let Some(name) = log_name(host) else { return Ok(None) };
        let place = self.folder(run).join(name);
        let file = files::if_there(files::open(&place)).map_err(unreadable(&place))?;
        Ok(file.map(|file| Log { place, lines: Box::new(BufReader::with_capacity(1 << 16, file)) }))
    }

    fn end_of_log(&self, run: &RunId, host: &HostLabel) -> Option<Vec<u8>> {
        end_of(&self.folder(run).join(log_name(host)?)).ok()
    }

    fn follow(&self, run: &RunId, plan: &Plan) -> Box<dyn Follow> {
        Box::new(Follower::new(&self.folder(run), run, plan))
    }
}

#[cfg(test)]
mod tests;
