//! A place where records of runs are kept: what each can do, and what follows from that for all.

use std::io::{self, BufRead};
use std::path::PathBuf;

use super::history::{HistoryError, RunEntry, unreadable};
use super::known::Known;
use super::record_error::RecordError;
use super::recorded::{last_lines, recorded};
use crate::model::config::diagnostic::nearest;
use crate::model::plan::blob::BlobId;
use crate::model::plan::plan::Plan;
use crate::model::plan::planner::Asked;
use crate::model::run::event::Event;
use crate::model::run::host_summary::StepKind;
use crate::model::run::past::PastReader;
use crate::model::run::summary::Summary;
use crate::model::text::name::{HostLabel, RunId, StepPath};

/// A place for records. Whoever has it needs to know nothing of files.
pub trait Store: Send + Sync {
    /// Where it is, for people.
    fn place(&self) -> String;

    /// The file for fleet's own log of a run, on this machine.
    fn debug_log(&self, run: &RunId, plan: &Plan) -> PathBuf;

    /// All runs, in the order in which they were recorded.
    fn runs(&self) -> Result<Vec<RunId>, HistoryError>;

    /// A run as a listing shows it, also one whose record is damaged.
    fn entry(&self, run: RunId) -> RunEntry;

    /// Begins the record of a run, with its plan and with what was asked for. Whoever finds the run finds all of that, and its controller.
    fn create(&self, run: &RunId, plan: &Plan, asked: Option<&Asked>) -> Result<Box<dyn Record>, RecordError>;

    /// Goes on with the record of a run, which no other process may be writing.
    fn reopen(&self, run: &RunId) -> Result<Box<dyn Record>, RecordError>;

    /// The process that works on the run; none when nobody does. Never one that worked on it before.
    fn controller(&self, run: &RunId) -> Option<i32>;

    /// Has it a first event, with which all else begins?
    fn is_started(&self, run: &RunId) -> Result<bool, HistoryError>;

    /// The plan, with those of its blobs that read.
    fn plan(&self, run: &RunId) -> Result<Plan, HistoryError>;

    /// The bytes of a blob. One that is not what its name says would run something else than what was planned.
    fn blob(&self, run: &RunId, id: &BlobId) -> Result<Vec<u8>, HistoryError>;

    /// What was asked for, so that it can be planned again; none for an ad-hoc command. Its version is that of the plan.
    fn request(&self, run: &RunId) -> Result<Option<Asked>, HistoryError>;

    /// Gives every event to `take`, in order.
    fn events(&self, run: &RunId, take: &mut dyn FnMut(Event)) -> Result<(), HistoryError>;

    /// The log of a host; none when nothing was done there.
    fn log(&self, run: &RunId, host: &HostLabel) -> Result<Option<Log>, HistoryError>;

    /// The last lines of it, some screens full; the first may be torn.
    fn end_of_log(&self, run: &RunId, host: &HostLabel) -> Option<Vec<u8>>;

    /// Follows a run that another process carries out. What hosts printed before now is left out.
    fn follow(&self, run: &RunId, plan: &Plan) -> Box<dyn Follow>;

    /// All runs, the newest first. A damaged one is listed as such.
    fn list(&self) -> Result<Vec<RunEntry>, HistoryError> {
        Ok(self.runs()?.into_iter().rev().map(|run| self.entry(run)).collect())
    }

    /// The run of that name, or the only one that begins like that, or the newest: `last`.
    fn find(&self, typed: &str) -> Result<RunId, HistoryError> {
        let ids = self.runs()?;
        let Some(newest) = ids.last() else { return Err(HistoryError::Empty { place: self.place() }) };
        if typed == "last" {
            return Ok(newest.clone());
        }
        if let Some(exact) = ids.iter().find(|id| id.as_str() == typed) {
            return Ok(exact.clone());
        }
        let begins = |id: &&RunId| !typed.is_empty() && id.as_str().starts_with(typed);
        let matching: Vec<&RunId> = ids.iter().filter(begins).collect();
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

    fn refuse_not_started(&self, run: &RunId) -> Result<(), HistoryError> {
        if self.is_started(run)? { Ok(()) } else { Err(HistoryError::NotStarted { run: run.clone() }) }
    }

    /// What a run is resumed with, and the last lines of the steps that failed. The events are read once.
    fn known(&self, run: &RunId) -> Result<Known, HistoryError> {
        self.refuse_not_started(run)?;
        let plan = self.plan(run)?;
        let (mut reader, mut summary) = (PastReader::new(&plan), Summary::default());
        self.events(run, &mut |event| {
            reader.apply(&event);
            summary.apply(&event);
        })?;
        for (host, failure) in summary.failures_mut() {
            // A log that is missing or damaged takes nothing away from what the events say.
            if let Some(end) = self.end_of_log(run, host) {
                failure.tail = last_lines(&end, failure);
            }
        }
        Ok(Known { past: reader.past, summary, plan })
    }

    /// The plan of a run and what is known about it.
    fn shown(&self, typed: &str) -> Result<(Plan, Summary), HistoryError> {
        let run = self.find(typed)?;
        let Known { plan, summary, .. } = self.known(&run)?;
        Ok((plan, summary))
    }

    /// Bytes of a step's standard output and standard error that are in the log of a host.
    fn recorded(
        &self,
        (run, host): (&RunId, &HostLabel),
        step: &StepPath,
        kind: StepKind,
    ) -> Result<(u64, u64), HistoryError> {
        let Some(Log { place, lines }) = self.log(run, host)? else { return Ok((0, 0)) };
        recorded(lines, step, kind).map_err(unreadable(&place))
    }
}

/// The record of a run, as its controller writes it.
///
/// Invariant: what is about to be done is lasting before it is done.
pub trait Record: Send {
    fn append(&mut self, event: &Event) -> io::Result<()>;

    /// Makes lasting what it has taken: what announces commands, and what a later run depends on, survives a power cut.
    fn commit(&mut self) -> io::Result<()>;
}

pub struct Log {
    /// Where it is, for errors.
    pub place: PathBuf,
    pub lines: Box<dyn BufRead>,
}

/// A record that grows.
pub trait Follow: Send {
    /// What has come since the last time, in order.
    fn news(&mut self) -> Result<Vec<Event>, HistoryError>;
}
