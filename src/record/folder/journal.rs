//! `events.jsonl`, read back: the events of a run.
//!
//! Invariant: nothing is guessed, and nothing is passed over but a torn last line, which is what a crash leaves. An event that does not
//! read, or that a newer fleet wrote, could say that the run is not what the others say.

use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::files;
use crate::model::run::event::{EVENT_VERSION, Event, Fact};
use crate::record::history::{HistoryError, unreadable};

/// Of the end of a file, when only its last lines matter.
const END_BYTES: u64 = 256 * 1024;

/// The version of what begins on that line: its field `v`.
pub fn version(bytes: &[u8], place: (&Path, usize)) -> Result<u32, HistoryError> {
    #[derive(serde::Deserialize)]
    struct Version {
        v: u32,
    }
    serde_json::from_slice(bytes).map(|Version { v }| v).map_err(damaged(place))
}

/// Reads what begins on that line. Its version first, because what is newer need not read as one of ours.
pub fn parse<T: DeserializeOwned>(bytes: &[u8], place: (&Path, usize), known: u32) -> Result<T, HistoryError> {
    match version(bytes, place)? {
        found if found > known => Err(HistoryError::Newer { path: place.0.to_owned(), found, known }),
        _ => serde_json::from_slice(bytes).map_err(damaged(place)),
    }
}

fn damaged((path, line): (&Path, usize)) -> impl FnOnce(serde_json::Error) -> HistoryError {
    let path = path.to_owned();
    move |source| HistoryError::Damaged { line: line + source.line().saturating_sub(1), path, source }
}

/// Gives every event of a file to `take`, in order.
pub fn read_events(path: &Path, mut take: impl FnMut(Event)) -> Result<(), HistoryError> {
    let mut reader = BufReader::new(files::open(path).map_err(unreadable(path))?);
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        reader.read_until(b'\n', &mut bytes).map_err(unreadable(path))?;
        if !bytes.ends_with(b"\n") {
            break;
        }
        take(parse(&bytes, (path, line), EVENT_VERSION)?);
    }
    Ok(())
}

/// The first event; none when the run died before it was written.
pub fn first_event(path: &Path) -> Result<Option<Event>, HistoryError> {
    let Some(file) = files::if_there(files::open(path)).map_err(unreadable(path))? else { return Ok(None) };
    let mut bytes = Vec::new();
    BufReader::new(file).read_until(b'\n', &mut bytes).map_err(unreadable(path))?;
    if bytes.ends_with(b"\n") { parse(&bytes, (path, 1), EVENT_VERSION).map(Some) } else { Ok(None) }
}

/// The `run-finished` near the end of a file of events, unless the run was resumed after it.
pub fn run_finished(path: &Path) -> Result<Option<Fact>, HistoryError> {
    let Some(bytes) = files::if_there(end_of(path)).map_err(unreadable(path))? else { return Ok(None) };
    // The first piece may be the rest of a line, and a last line without its end is torn.
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|&b| b == b'\n').filter(|line| line.ends_with(b"\n")).collect();
    if bytes.len() as u64 == END_BYTES && !lines.is_empty() {
        lines.remove(0);
    }
    for line in lines.into_iter().rev() {
        match parse::<Event>(line, (path, 0), EVENT_VERSION).map(|event| event.fact) {
            Ok(fact @ Fact::RunFinished { .. }) => return Ok(Some(fact)),
            Ok(Fact::RunResumed { .. }) => return Ok(None),
            Ok(_) => {}
            Err(error @ HistoryError::Newer { .. }) => return Err(error),
            // From its beginning, for the number of the line.
            Err(error) => return read_events(path, |_| {}).and(Err(error)),
        }
    }
    Ok(None)
}

/// The end of a file, from the beginning of a line or in the middle of one.
pub fn end_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = files::open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(END_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(END_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}
