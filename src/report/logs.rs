//! `fleet logs`: the logs of a run, streamed, in constant memory.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read as _, Write};
use std::path::Path;

use jiff::tz::TimeZone;

use super::time::time_of_day;
use super::words::short;
use crate::model::config::diagnostic::nearest;
use crate::model::text::name::{HostLabel, RunId};
use crate::model::text::printable::{printable, printable_line};
use crate::record::history::{HistoryError, unreadable};
use crate::record::log_line::LogLine;
use crate::record::store::{Log, Store};

/// A longer line is handled in parts of this size.
const PART: u64 = 64 * 1024;

#[derive(Debug, Clone, Copy)]
pub struct LogQuery<'a> {
    /// A run, the beginning of one, or `last`.
    pub run: &'a str,
    pub host: Option<&'a str>,
    /// Only this step: `migrate`, or `roll/migrate`.
    pub step: Option<&'a str>,
}

#[derive(Debug, Clone)]
pub enum LogStyle {
    /// Byte by byte as they are on disk, for a file or a pipe.
    Raw,
    /// For people at a terminal: escaped, and in their time zone.
    Terminal(TimeZone),
}

/// Writes the lines to `out`, host by host in the order of the plan, each with its host when there are several.
pub fn logs(store: &dyn Store, query: LogQuery<'_>, style: &LogStyle, out: &mut dyn Write) -> Result<(), HistoryError> {
    let run = store.find(query.run)?;
    // Logs are read without the events, which may be damaged.
    if let Err(error @ HistoryError::NotStarted { .. }) = store.refuse_not_started(&run) {
        return Err(error);
    }
    let labels: Vec<HostLabel> = store.plan(&run)?.hosts.into_iter().map(|host| host.label).collect();
    let chosen = choose(&labels, query.host, &run)?;
    let width = if chosen.len() > 1 { chosen.iter().map(|host| host.as_str().len()).max() } else { None };
    let mut copy = Copy { step: query.step, style, prefix: String::new(), seen: BTreeSet::new() };
    for host in chosen {
        let Some(Log { place, lines }) = store.log(&run, host)? else {
            // Nothing was done there; that is an answer only when just this host was asked for.
            if query.host.is_none() {
                continue;
            }
            return Err(HistoryError::NoLog { run, host: host.to_string() });
        };
        copy.prefix = width.map(|width| format!("{host:width$} ")).unwrap_or_default();
        copy.all(lines, &place, out)?;
    }
    out.flush().map_err(HistoryError::Output)?;
    match query.step {
        Some(step) if !copy.seen.iter().any(|path| is_meant(path, step)) => {
            let names = copy.seen.iter().flat_map(|path| [path.as_str(), short(path)]);
            let nearest = nearest(step, names).map(str::to_owned);
            Err(HistoryError::NoStep { run, step: step.to_owned(), nearest })
        }
        _ => Ok(()),
    }
}

/// All hosts, or the one that is called like that; its site may be left out when that is clear.
fn choose<'a>(labels: &'a [HostLabel], host: Option<&str>, run: &RunId) -> Result<Vec<&'a HostLabel>, HistoryError> {
    let Some(typed) = host else { return Ok(labels.iter().collect()) };
    if let Some(exact) = labels.iter().find(|label| label.as_str() == typed) {
        return Ok(vec![exact]);
    }
    let own = |label: &&HostLabel| label.as_str().rsplit(':').next() == Some(typed);
    let mut named = labels.iter().filter(own);
    if let (Some(only), None) = (named.next(), named.next()) {
        return Ok(vec![only]);
    }
    let nearest = nearest(typed, labels.iter().map(HostLabel::as_str)).map(str::to_owned);
    Err(HistoryError::NoHost { run: run.clone(), host: typed.to_owned(), nearest })
}

fn is_meant(path: &str, step: &str) -> bool {
    path == step || short(path) == step
}

struct Copy<'a> {
    step: Option<&'a str>,
    style: &'a LogStyle,
    /// What stands before each line of the host.
    prefix: String,
    /// The steps that were there, when one is looked for.
    seen: BTreeSet<String>,
}

impl Copy<'_> {
    fn all(&mut self, mut reader: impl BufRead, path: &Path, out: &mut dyn Write) -> Result<(), HistoryError> {
        let mut part = Vec::new();
        let mut at_start = true;
        let mut wanted = true;
        loop {
            part.clear();
            if (&mut reader).take(PART).read_until(b'\n', &mut part).map_err(unreadable(path))? == 0 {
                break;
            }
            let line = if at_start { LogLine::parse(&part) } else { None };
            if at_start {
                wanted = self.wants(line.as_ref());
            }
            if wanted {
                self.write(&part, line, at_start, out).map_err(HistoryError::Output)?;
            }
            at_start = part.ends_with(b"\n");
        }
        // A log that a crash cut in the middle of a line.
        if !at_start && wanted {
            out.write_all(b"\n").map_err(HistoryError::Output)?;
        }
        Ok(())
    }

    fn wants(&mut self, line: Option<&LogLine<'_>>) -> bool {
        let (Some(wanted), Some(line)) = (self.step, line) else { return self.step.is_none() };
        if !self.seen.contains(line.step) {
            self.seen.insert(line.step.to_owned());
        }
        is_meant(line.step, wanted)
    }

    fn write(&self, part: &[u8], line: Option<LogLine<'_>>, at_start: bool, out: &mut dyn Write) -> io::Result<()> {
        if at_start {
            out.write_all(self.prefix.as_bytes())?;
        }
        let LogStyle::Terminal(zone) = self.style else { return out.write_all(part) };
        let text = match line {
            Some(LogLine { at, step, tag, text }) => {
                let mark = if tag == "fleet" { '>' } else { '|' };
                let (time, step) = (time_of_day(at, zone), printable(short(step).as_bytes()));
                format!("{time} {step} {mark} {}", printable_line(text))
            }
            None => printable_line(part),
        };
        out.write_all(text.as_bytes())?;
        if part.ends_with(b"\n") { out.write_all(b"\n") } else { Ok(()) }
    }
}
