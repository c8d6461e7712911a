//! A run that another process carries out, as its record grows: `fleet attach`.
//!
//! The events are in one file, and what hosts print in the log of each. Events keep their order, and what a step printed
//! comes before its end.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::EVENTS_FILE;
use super::host_log::log_name;
use super::journal::parse;
use crate::files;
use crate::model::plan::plan::Plan;
use crate::model::run::event::{EVENT_VERSION, Event, Fact, OutputData};
use crate::model::text::name::{HostLabel, RunId, StepPath};
use crate::record::history::{HistoryError, unreadable};
use crate::record::log_line::LogLine;
use crate::record::store::Follow;

pub struct Follower {
    run: RunId,
    events: Grown,
    /// Lines of the events so far.
    line: usize,
    logs: BTreeMap<HostLabel, Grown>,
}

impl Follower {
    /// Follows the run from its first event. What hosts printed before now is left out: `fleet logs` has it.
    pub fn new(folder: &Path, run: &RunId, plan: &Plan) -> Self {
        let log = |host: &HostLabel| Some((host.clone(), Grown::at_end(&folder.join(log_name(host)?))));
        Self {
            run: run.clone(),
            events: Grown::new(&folder.join(EVENTS_FILE)),
            line: 0,
            logs: plan.hosts.iter().filter_map(|host| log(&host.label)).collect(),
        }
    }
}

impl Follow for Follower {
    fn news(&mut self) -> Result<Vec<Event>, HistoryError> {
        // The events first: what a host printed before one of them is then in its log already.
        let lines = self.events.lines()?;
        let mut printed = BTreeMap::new();
        for (host, log) in &mut self.logs {
            let lines = log.lines()?;
            let lines = lines.split_inclusive(|byte| *byte == b'\n').filter_map(LogLine::parse);
            let outputs: VecDeque<Event> = lines.filter_map(|line| output(&self.run, host, &line)).collect();
            printed.insert(host.clone(), outputs);
        }
        let mut news = Vec::new();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            self.line += 1;
            let event: Event = parse(line, (&self.events.path, self.line), EVENT_VERSION)?;
            if let Fact::StepFinished { host, step, .. } | Fact::UndoFinished { host, step, .. } = &event.fact
                && let Some(outputs) = printed.get_mut(host)
            {
                let before = |output: &Event| {
                    let of_step = matches!(&output.fact, Fact::Output { step: of, .. } if of == step);
                    // Logs have milliseconds.
                    of_step && output.at.as_millisecond() <= event.at.as_millisecond() + 1
                };
                while outputs.front().is_some_and(before) {
                    news.extend(outputs.pop_front());
                }
            }
            news.push(event);
        }
        news.extend(printed.into_values().flatten());
        Ok(news)
    }
}

fn output(run: &RunId, host: &HostLabel, line: &LogLine<'_>) -> Option<Event> {
    let stream = line.stream()?;
    let newline: &[u8] = if line.is_ended() { b"\n" } else { b"" };
    let data = OutputData([line.text, newline].concat());
    let fact = Fact::Output { host: host.clone(), step: StepPath::parse(line.step).ok()?, stream, data };
    Some(Event { v: EVENT_VERSION, at: line.at, run: run.clone(), fact })
}

struct Grown {
    path: PathBuf,
    read: u64,
}

impl Grown {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), read: 0 }
    }

    fn at_end(path: &Path) -> Self {
        Self { path: path.to_owned(), read: std::fs::metadata(path).map_or(0, |metadata| metadata.len()) }
    }

    /// The lines that are whole by now.
    fn lines(&mut self) -> Result<Vec<u8>, HistoryError> {
        let read = || {
            let mut bytes = Vec::new();
            let mut file = files::open(&self.path)?;
            file.seek(SeekFrom::Start(self.read))?;
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        // A host on which nothing was done has no log.
        let mut bytes = files::if_there(read()).map_err(unreadable(&self.path))?.unwrap_or_default();
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1));
        self.read += bytes.len() as u64;
        Ok(bytes)
    }
}
