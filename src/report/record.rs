//! The record of a run: `.fleet/runs/RUN/` with `plan.json`, `events.jsonl` and a log per host.
//!
//! Invariant: what is about to be done is on the disk before it is done. After [`Reporter::commit`], the lines that announce
//! commands, and those that a later run depends on, survive a power cut. Only the owner can read any of it.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Reporter;
use super::log::{HostLog, LogLimits};
use super::time::duration;
use crate::files;
use crate::model::event::{Event, Fact};
use crate::model::name::{HostLabel, RunId};
use crate::model::outcome::StepOutcome;
use crate::model::plan::Plan;
use crate::model::planner::Asked;
use crate::model::printable::printable;

/// The plan, in the folder of a run.
pub const PLAN_FILE: &str = "plan.json";
/// What was asked for, in the folder of a run of tasks.
pub const REQUEST_FILE: &str = "request.json";
/// The process that writes the record, while one does.
const CONTROLLER_FILE: &str = "controller";
/// The events, one a line, in the folder of a run.
pub const EVENTS_FILE: &str = "events.jsonl";

/// What this reporter is called.
pub const RECORD: &str = "record";

/// Logs that are open at the same time: far below the usual limit of 1024 descriptors, which the connections need too.
const OPEN_LOGS: usize = 128;

/// Why a record could not be made. Nothing has been contacted.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// There is a run of that name.
    #[error("there is a run {run} already, in {path}", path = path.display())]
    Exists {
        /// The run.
        run: RunId,
        /// Its folder.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("cannot write the record of the run to {path}\n  hint: free some room there, or make it writable: without a record nothing is started", path = path.display())]
    Unwritable {
        /// What could not be written.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process works on the run.
    #[error("run {run} is still going on here, in process {pid}", pid = pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string()))]
    Busy {
        /// The run.
        run: RunId,
        /// The process, if it is known.
        pid: Option<i32>,
    },
    /// A host's name does not serve as a file name.
    #[error("host `{host}` cannot have a log of that name")]
    HostName {
        /// The host.
        host: String,
    },
}

/// Writes the record of a run.
pub struct Record {
    folder: PathBuf,
    events: File,
    logs: BTreeMap<HostLabel, HostLog>,
    limits: LogLimits,
    line: Vec<u8>,
    /// Something was written that must survive a power cut.
    dirty: bool,
    /// An earlier controller began it.
    reopened: bool,
}

/// Writes down which process has the lock of the record. The lock goes with the process, however it ends; this file stays.
fn note_controller(folder: &Path) -> io::Result<()> {
    files::replace(&folder.join(CONTROLLER_FILE), 0o600, format!("{}\n", std::process::id()).as_bytes())
}

/// The process that works on the run; none when nobody does.
pub fn controller(runs: &Path, run: &RunId) -> Option<i32> {
    let folder = runs.join(run.as_str());
    let events = File::open(folder.join(EVENTS_FILE)).ok()?;
    match events.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            std::fs::read_to_string(folder.join(CONTROLLER_FILE)).ok()?.trim().parse().ok()
        }
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

impl Record {
    /// Makes the folder of the run in `runs`, with the plan in it, and with what was asked for.
    pub fn create(runs: &Path, run: &RunId, plan: &Plan, asked: Option<&Asked>) -> Result<Self, RecordError> {
        for host in &plan.hosts {
            log_name(&host.label).ok_or_else(|| RecordError::HostName { host: host.label.to_string() })?;
        }
        files::private_dir(runs).map_err(unwritable(runs))?;
        let folder = runs.join(run.as_str());
        DirBuilder::new().mode(0o700).create(&folder).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => RecordError::Exists { run: run.clone(), path: folder.clone() },
            _ => RecordError::Unwritable { path: folder.clone(), source },
        })?;
        Self::fill(runs, &folder, plan, asked).inspect_err(|_| {
            // Nothing was started: no trace is better than a run that looks unfinished.
            _ = std::fs::remove_dir_all(&folder);
        })
    }

    /// Writes the first files into the new folder of the run.
    fn fill(runs: &Path, folder: &Path, plan: &Plan, asked: Option<&Asked>) -> Result<Self, RecordError> {
        let plan_path = folder.join(PLAN_FILE);
        let mut bytes = serde_json::to_vec_pretty(plan).map_err(io::Error::from).map_err(unwritable(&plan_path))?;
        bytes.push(b'\n');
        files::create_new(&plan_path, 0o600, &bytes).map_err(unwritable(&plan_path))?;
        if let Some(asked) = asked {
            let path = folder.join(REQUEST_FILE);
            let bytes = serde_json::to_vec_pretty(asked).map_err(io::Error::from).map_err(unwritable(&path))?;
            files::create_new(&path, 0o600, &bytes).map_err(unwritable(&path))?;
        }
        let events_path = folder.join(EVENTS_FILE);
        // O_EXCL: fails on anything that is there already, a link included.
        let events = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&events_path)
            .map_err(unwritable(&events_path))?;
        // The names must be on the disk before their content is relied on.
        for path in [folder, runs] {
            File::open(path).and_then(|folder| folder.sync_all()).map_err(unwritable(path))?;
        }
        // Nobody else knows of the file yet.
        events.try_lock().map_err(io::Error::from).map_err(unwritable(&events_path))?;
        note_controller(folder).map_err(unwritable(folder))?;
        Ok(Self::new(folder, events, false))
    }

    fn new(folder: &Path, events: File, reopened: bool) -> Self {
        let (folder, limits) = (folder.to_owned(), LogLimits::default());
        Self { folder, events, logs: BTreeMap::new(), limits, line: Vec::new(), dirty: false, reopened }
    }

    /// Goes on with the record of a run, which no other process may be writing. A line that a crash has torn is cut off.
    pub fn reopen(runs: &Path, run: &RunId) -> Result<Self, RecordError> {
        let folder = runs.join(run.as_str());
        let path = folder.join(EVENTS_FILE);
        let mut events = OpenOptions::new().read(true).append(true).open(&path).map_err(unwritable(&path))?;
        match events.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(RecordError::Busy { run: run.clone(), pid: controller(runs, run) });
            }
            Err(TryLockError::Error(error)) => return Err(unwritable(&path)(error)),
        }
        let cut = |events: &mut File| {
            let mut bytes = Vec::new();
            events.read_to_end(&mut bytes)?;
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            events.set_len(whole as u64)?;
            note_controller(&folder)
        };
        cut(&mut events).map_err(unwritable(&path))?;
        Ok(Self::new(&folder, events, true))
    }

    /// The folder of the run.
    #[cfg(test)]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The host's log, open.
    fn log(&mut self, host: &HostLabel) -> io::Result<&mut HostLog> {
        let is_open = self.logs.get(host).is_some_and(HostLog::is_open);
        if !is_open && self.logs.values().filter(|log| log.is_open()).count() >= OPEN_LOGS {
            // Which one hardly matters: few hosts work at the same time, and opening again is cheap.
            self.logs.values_mut().filter(|log| log.is_open()).take(OPEN_LOGS / 2).for_each(HostLog::close);
        }
        if !self.logs.contains_key(host) {
            let name = log_name(host).ok_or(io::ErrorKind::InvalidFilename)?;
            let path = self.folder.join(name);
            let log =
                if self.reopened { HostLog::reopen(&path, self.limits)? } else { HostLog::create(&path, self.limits)? };
            self.logs.insert(host.clone(), log);
        }
        self.logs.get_mut(host).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Writes what the event means for the host's log.
    fn write_log(&mut self, host: &HostLabel, event: &Event) -> io::Result<()> {
        let at = event.at;
        let log = self.log(host)?;
        match &event.fact {
            Fact::Output { step, stream, data, .. } => log.output(at, step.as_str(), *stream, &data.0),
            Fact::StepStarted { step, attempt, .. } => {
                log.turn(at, step.as_str())?;
                match attempt {
                    0 | 1 => log.say(at, step.as_str(), "started"),
                    _ => log.say(at, step.as_str(), &format!("started, attempt {attempt}")),
                }
            }
            Fact::StepResumed { step, .. } => log.say(at, step.as_str(), "taken up again"),
            Fact::UndoStarted { step, .. } => {
                log.turn(at, step.as_str())?;
                log.say(at, step.as_str(), "undo started")
            }
            Fact::StepSkipped { step, reason, .. } => {
                log.turn(at, step.as_str())?;
                log.say(at, step.as_str(), &format!("skipped: {}", printable(reason.as_bytes())))
            }
            Fact::StepFinished { step, outcome, retrying, millis, .. } => {
                if let StepOutcome::Detached { .. } = outcome {
                    log.let_go();
                }
                log.turn(at, step.as_str())?;
                let again = if *retrying { ", will be tried again" } else { "" };
                log.say(at, step.as_str(), &format!("{}{again}", ended(outcome, *millis)))
            }
            Fact::UndoFinished { step, outcome, millis, .. } => {
                log.turn(at, step.as_str())?;
                log.say(at, step.as_str(), &format!("undo {}", ended(outcome, *millis)))
            }
            Fact::HostGivenUp { by, .. } => log.say(at, "-", &format!("given up by {}", printable(by.as_bytes()))),
            Fact::Connected { .. } => log.say(at, "-", "connected"),
            Fact::Reattached { .. } => log.say(at, "-", "connected again"),
            Fact::LockAcquired { .. } => log.say(at, "-", "locked"),
            Fact::LockReleased { .. } => log.say(at, "-", "lock given back"),
            Fact::StepDecided { step, decision, .. } => {
                log.turn(at, step.as_str())?;
                log.say(at, step.as_str(), decision.describe())
            }
            Fact::ConnectionLost { reason, step_goes_on, .. } => {
                let goes_on = if *step_goes_on { ", the step goes on" } else { "" };
                log.say(at, "-", &format!("connection lost{goes_on}: {}", printable(reason.as_bytes())))
            }
            Fact::HostFinished { outcome, reason, .. } => {
                log.turn(at, "-")?;
                let reason = reason.as_deref().map(|reason| format!(": {}", one_line(reason)));
                log.say(at, "-", &format!("{}{}", outcome.describe(), reason.unwrap_or_default()))?;
                log.close();
                Ok(())
            }
            Fact::HostStarted { .. }
            | Fact::UndoPlanned { .. }
            | Fact::Registered { .. }
            | Fact::RunStarted { .. }
            | Fact::RunResumed { .. }
            | Fact::PhaseStarted { .. }
            | Fact::BatchStarted { .. }
            | Fact::BatchFinished { .. }
            | Fact::RolloutStopped { .. }
            | Fact::Interrupted { .. }
            | Fact::ReporterDropped { .. }
            | Fact::RunFinished { .. } => Ok(()),
        }
    }

    fn write(&mut self, event: &Event) -> io::Result<()> {
        if !matches!(event.fact, Fact::Output { .. }) {
            self.line.clear();
            serde_json::to_writer(&mut self.line, event)?;
            self.line.push(b'\n');
            self.events.write_all(&self.line)?;
            self.dirty |= must_last(&event.fact);
        }
        match event.fact.host() {
            Some(host) => self.write_log(host, event),
            None => Ok(()),
        }
    }
}

impl Reporter for Record {
    fn name(&self) -> &'static str {
        RECORD
    }

    fn report(&mut self, event: &Event) -> io::Result<()> {
        self.write(event).map_err(|error| self.place(&error))
    }

    fn commit(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.dirty) {
            self.events.sync_data().map_err(|error| self.place(&error))?;
        }
        Ok(())
    }
}

impl Record {
    /// The error with the folder that it is about.
    fn place(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.folder.display()))
    }
}

fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> RecordError {
    let path = path.to_owned();
    move |source| RecordError::Unwritable { path, source }
}

/// Facts that announce a command, or on which a later run depends.
fn must_last(fact: &Fact) -> bool {
    match fact {
        Fact::RunStarted { .. }
        | Fact::RunResumed { .. }
        | Fact::StepDecided { .. }
        | Fact::HostGivenUp { .. }
        | Fact::StepResumed { .. }
        | Fact::LockAcquired { .. }
        | Fact::StepStarted { .. }
        // Then the host may forget what the step has printed.
        | Fact::StepFinished { .. }
        | Fact::UndoFinished { .. }
        | Fact::Registered { .. }
        | Fact::UndoStarted { .. }
        // Else a resumed run would not undo it.
        | Fact::UndoPlanned { .. }
        | Fact::HostFinished { .. }
        | Fact::RunFinished { .. } => true,
        Fact::HostStarted { .. }
        | Fact::Connected { .. }
        | Fact::PhaseStarted { .. }
        | Fact::BatchStarted { .. }
        | Fact::StepSkipped { .. }
        | Fact::Output { .. }
        | Fact::ConnectionLost { .. }
        | Fact::Reattached { .. }
        | Fact::LockReleased { .. }
        | Fact::BatchFinished { .. }
        | Fact::RolloutStopped { .. }
        | Fact::Interrupted { .. }
        | Fact::ReporterDropped { .. } => false,
    }
}

fn ended(outcome: &StepOutcome, millis: u64) -> String {
    let outcome = outcome.describe();
    format!("{} after {}", one_line(&outcome), duration(std::time::Duration::from_millis(millis)))
}

/// A reason with its hints.
fn one_line(reason: &str) -> String {
    printable(reason.replace("\nhint: ", "; hint: ").as_bytes())
}

/// The name of a host's log. The alphabet of labels has no `/`; it is checked again here, where a mistake would write elsewhere.
pub fn log_name(host: &HostLabel) -> Option<String> {
    let host = host.as_str();
    let fits = !host.starts_with(['.', '-']) && !host.contains(['/', '\0']) && host.len() <= 250;
    fits.then(|| format!("{host}.log"))
}

#[cfg(test)]
#[path = "record_tests.rs"]
pub(crate) mod tests;
