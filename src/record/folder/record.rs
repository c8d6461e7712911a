//! The record of a run: `.fleet/runs/RUN/` with `plan.json`, `events.jsonl` and a log per host.
//!
//! Invariant: what is about to be done is on the disk before it is done. After [`FolderRecord::commit`], the lines that announce
//! commands, and those that a later run depends on, survive a power cut. Only the owner can read any of it.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use super::controller::{MOMENT, controller, note_controller};
use super::host_log::{HostLog, LogLimits, log_name};
use super::{EVENTS_FILE, PLAN_FILE, REQUEST_FILE, blobs, order};
use crate::files;
use crate::model::plan::plan::Plan;
use crate::model::plan::planner::Asked;
use crate::model::run::event::{Event, Fact};
use crate::model::run::outcome::StepOutcome;
use crate::model::text::duration::in_words;
use crate::model::text::name::{HostLabel, RunId};
use crate::model::text::printable::one_line;
use crate::record::record_error::RecordError;
use crate::record::recorded::whole_lines;
use crate::record::store::Record;

/// Logs that are open at the same time: far below the usual limit of 1024 descriptors, which the connections need too.
const OPEN_LOGS: usize = 128;

pub struct FolderRecord {
    folder: PathBuf,
    events: File,
    /// Locked as long as this process is the controller.
    _controller: File,
    logs: BTreeMap<HostLabel, HostLog>,
    limits: LogLimits,
    line: Vec<u8>,
    /// Something was written that must survive a power cut.
    dirty: bool,
    /// An earlier controller began it.
    reopened: bool,
}

impl FolderRecord {
    /// Makes the folder of the run in `runs`, with the plan in it, and with what was asked for.
    pub fn create(runs: &Path, run: &RunId, plan: &Plan, asked: Option<&Asked>) -> Result<Self, RecordError> {
        for host in &plan.hosts {
            log_name(&host.label).ok_or_else(|| RecordError::HostName { host: host.label.to_string() })?;
        }
        refuse_links([runs.parent().unwrap_or(runs), runs])?;
        files::private_dir(runs).map_err(unwritable(runs))?;
        let folder = runs.join(run.as_str());
        // Made under another name: whoever finds the run finds all of it, and its controller.
        let new = runs.join(format!(".{run}.{}.new", std::process::id()));
        DirBuilder::new().mode(0o700).create(&new).map_err(unwritable(&folder))?;
        // The names must be on the disk before their content is relied on.
        let flush = |path: &Path| File::open(path).and_then(|path| path.sync_all()).map_err(unwritable(path));
        let name = |files| {
            flush(&new)?;
            order::append(runs, run).map_err(unwritable(&order::path(runs)))?;
            // A folder takes the place of nothing but an empty one.
            std::fs::rename(&new, &folder).map_err(|source| match source.kind() {
                io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory => {
                    RecordError::Exists { run: run.clone(), path: folder.clone() }
                }
                _ => RecordError::Unwritable { path: folder.clone(), source },
            })?;
            Ok(files)
        };
        // Nothing was started: no trace is better than a run that looks unfinished.
        let gone = |path: &Path| _ = std::fs::remove_dir_all(path);
        let (events, controller) = Self::fill(&new, plan, asked).and_then(name).inspect_err(|_| gone(&new))?;
        flush(runs).inspect_err(|_| gone(&folder))?;
        Ok(Self::new(&folder, events, controller, false))
    }

    fn fill(folder: &Path, plan: &Plan, asked: Option<&Asked>) -> Result<(File, File), RecordError> {
        let plan_path = folder.join(PLAN_FILE);
        let mut bytes = serde_json::to_vec_pretty(plan).map_err(io::Error::from).map_err(unwritable(&plan_path))?;
        bytes.push(b'\n');
        files::create_new(&plan_path, 0o600, &bytes).map_err(unwritable(&plan_path))?;
        blobs::write(folder, &plan.blobs).map_err(unwritable(folder))?;
        if let Some(asked) = asked {
            let path = folder.join(REQUEST_FILE);
            let bytes = serde_json::to_vec_pretty(asked).map_err(io::Error::from).map_err(unwritable(&path))?;
            files::create_new(&path, 0o600, &bytes).map_err(unwritable(&path))?;
        }
        let events_path = folder.join(EVENTS_FILE);
        let events = files::append_new(&events_path).map_err(unwritable(&events_path))?;
        // Nobody else knows of the file yet.
        events.try_lock().map_err(io::Error::from).map_err(unwritable(&events_path))?;
        let controller = note_controller(folder).map_err(unwritable(folder))?;
        Ok((events, controller))
    }

    fn new(folder: &Path, events: File, controller: File, reopened: bool) -> Self {
        Self {
            folder: folder.to_owned(),
            events,
            _controller: controller,
            logs: BTreeMap::new(),
            limits: LogLimits::default(),
            line: Vec::new(),
            dirty: false,
            reopened,
        }
    }

    /// Goes on with the record of a run, which no other process may be writing. A line that a crash has torn is cut off.
    pub fn reopen(runs: &Path, run: &RunId) -> Result<Self, RecordError> {
        let folder = runs.join(run.as_str());
        refuse_links([runs.parent().unwrap_or(runs), runs, &folder])?;
        for entry in folder.read_dir().map_err(unwritable(&folder))? {
            refuse_links([&*entry.map_err(unwritable(&folder))?.path()])?;
        }
        let path = folder.join(EVENTS_FILE);
        let events = files::append(&path).map_err(unwritable(&path))?;
        let mut looks = MOMENT.0;
        while let Err(error) = events.try_lock() {
            match error {
                TryLockError::WouldBlock => match controller(&folder) {
                    // Who only looks whether there is a controller has the lock, too, for a moment.
                    None if looks > 0 => {
                        looks -= 1;
                        sleep(MOMENT.1);
                    }
                    pid => return Err(RecordError::Busy { run: run.clone(), pid }),
                },
                TryLockError::Error(error) => return Err(unwritable(&path)(error)),
            }
        }
        let cut = |events: &File| whole_lines(events).and_then(|whole| events.set_len(whole));
        let controller = cut(&events).and_then(|()| note_controller(&folder)).map_err(unwritable(&path))?;
        Ok(Self::new(&folder, events, controller, true))
    }

    #[cfg(test)]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

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
        // A command begins or ended, or all did; what is said in the middle of one is written at once.
        let (step, text) = match &event.fact {
            Fact::Output { step, stream, data, .. } => return log.output(at, step.as_str(), *stream, &data.0),
            Fact::StepStarted { step, attempt: 0 | 1, .. } => (step.as_str(), "started".to_owned()),
            Fact::StepStarted { step, attempt, .. } => (step.as_str(), format!("started, attempt {attempt}")),
            Fact::StepResumed { step, .. } => return log.say(at, step.as_str(), "taken up again"),
            Fact::UndoStarted { step, .. } => (step.as_str(), "undo started".to_owned()),
            Fact::StepSkipped { step, reason, .. } => (step.as_str(), format!("skipped: {}", one_line(reason))),
            Fact::StepFinished { step, outcome, retrying, millis, .. } => {
                if let StepOutcome::Detached { .. } = outcome {
                    log.let_go();
                }
                let again = if *retrying { ", will be tried again" } else { "" };
                (step.as_str(), format!("{}{again}", ended(outcome, *millis)))
            }
            Fact::UndoFinished { step, outcome, millis, .. } => {
                (step.as_str(), format!("undo {}", ended(outcome, *millis)))
            }
            Fact::StepDecided { step, decision, .. } => (step.as_str(), decision.describe().to_owned()),
            Fact::HostFinished { outcome, reason, .. } => {
                let reason = reason.as_ref().map(|reason| format!(": {}", one_line(&reason.in_one_line())));
                ("-", format!("{}{}", outcome.describe(), reason.unwrap_or_default()))
            }
            Fact::FindingReported { step, finding, .. } => return log.say(at, step.as_str(), &finding.to_string()),
            Fact::WatchFailed { step, outcome, failures, limit, .. } => {
                let outcome = one_line(&outcome.describe());
                return log.say(at, step.as_str(), &format!("watch: {outcome} ({failures} of {limit})"));
            }
            Fact::HostGivenUp { by, .. } => return log.say(at, "-", &format!("given up by {}", one_line(by))),
            Fact::Connected { .. } => return log.say(at, "-", "connected"),
            Fact::Reattached { .. } => return log.say(at, "-", "connected again"),
            Fact::LockAcquired { .. } => return log.say(at, "-", "locked"),
            Fact::LockReleased { .. } => return log.say(at, "-", "lock given back"),
            Fact::LessPromised { what, .. } => return log.say(at, "-", &format!("warning: {}", one_line(what))),
            Fact::ConnectionLost { reason, step_goes_on, .. } => {
                let goes_on = if *step_goes_on { ", the step goes on" } else { "" };
                return log.say(at, "-", &format!("connection lost{goes_on}: {}", one_line(&reason.in_one_line())));
            }
            Fact::HostStarted { .. }
            | Fact::LockRequested { .. }
            | Fact::UndoPlanned { .. }
            | Fact::Registered { .. }
            | Fact::ChangeDescribed { .. }
            | Fact::RunStarted { .. }
            | Fact::RunResumed { .. }
            | Fact::PhaseStarted { .. }
            | Fact::BatchStarted { .. }
            | Fact::BatchFinished { .. }
            | Fact::WatchStarted { .. }
            | Fact::RolloutStopped { .. }
            | Fact::Interrupted { .. }
            | Fact::AcceptUnused { .. }
            | Fact::ReporterDropped { .. }
            | Fact::RunFinished { .. } => return Ok(()),
        };
        log.turn(at, step)?;
        log.say(at, step, &text)?;
        if let Fact::HostFinished { .. } = event.fact {
            log.close();
        }
        Ok(())
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

    /// The error with the folder that it is about.
    fn place(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.folder.display()))
    }
}

impl Record for FolderRecord {
    fn append(&mut self, event: &Event) -> io::Result<()> {
        self.write(event).map_err(|error| self.place(&error))
    }

    fn commit(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.dirty) {
            self.events.sync_data().map_err(|error| self.place(&error))?;
        }
        Ok(())
    }
}

/// A project that somebody else made may lead fleet, by a link, to a folder that it would make private, or to a file that it would write to.
fn refuse_links<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Result<(), RecordError> {
    let link = paths.into_iter().find(|path| path.is_symlink());
    link.map_or(Ok(()), |path| Err(RecordError::Link { path: path.to_owned() }))
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
        | Fact::LockRequested { .. }
        | Fact::LockAcquired { .. }
        | Fact::StepStarted { .. }
        // Then the host may forget what the step has printed and reported.
        | Fact::FindingReported { .. }
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
        | Fact::LessPromised { .. }
        | Fact::ChangeDescribed { .. }
        | Fact::BatchFinished { .. }
        | Fact::WatchStarted { .. }
        | Fact::WatchFailed { .. }
        | Fact::RolloutStopped { .. }
        | Fact::Interrupted { .. }
        | Fact::AcceptUnused { .. }
        | Fact::ReporterDropped { .. } => false,
    }
}

fn ended(outcome: &StepOutcome, millis: u64) -> String {
    let outcome = outcome.hints().iter().fold(outcome.describe(), |line, hint| format!("{line}; hint: {hint}"));
    format!("{} after {}", one_line(&outcome), in_words(Duration::from_millis(millis)))
}

#[cfg(test)]
pub(crate) mod tests;
