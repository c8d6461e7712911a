//! What the log of a host holds of a step: how much of its output, to the byte, so that a resumed run asks the host for the rest; and the
//! last lines.

use std::io::{self, BufRead, BufReader, Read};

use super::log_line::{LogLine, began};
use crate::model::run::event::Stream;
use crate::model::run::host_summary::StepKind;
use crate::model::run::summary::Failure;
use crate::model::text::name::StepPath;
use crate::model::text::tail::Tail;

/// Bytes of a step's output in a log: what its standard output and its standard error have printed, as far as it was written, since
/// the step, or its undo, was started last.
pub fn recorded(log: impl BufRead, step: &StepPath, kind: StepKind) -> io::Result<(u64, u64)> {
    let mut printed = (0, 0);
    each_line(log, |bytes| {
        let Some(line) = LogLine::parse(bytes).filter(|line| line.step == step.as_str()) else { return };
        match line.stream() {
            Some(stream) => {
                let count = if stream == Stream::Stdout { &mut printed.0 } else { &mut printed.1 };
                *count += line.text.len() as u64 + u64::from(line.is_ended());
            }
            None if line.text.starts_with(began(kind)) => printed = (0, 0),
            None => {}
        }
    })?;
    Ok(printed)
}

/// The last lines that the failed step, or its undo, printed.
pub fn last_lines(end: &[u8], failure: &Failure) -> Tail {
    let began = began(failure.kind);
    let mut tail = Tail::default();
    // Where the end of the log begins within the step, its start is not seen.
    let mut within = true;
    for line in end.split_inclusive(|&b| b == b'\n').filter_map(LogLine::parse) {
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
    tail
}

/// How much of a log is whole lines, in bytes: a crash may have torn the last one, and then it counts as not written.
pub fn whole_lines(log: impl Read) -> io::Result<u64> {
    each_line(BufReader::with_capacity(1 << 16, log), |_| {})
}

/// Calls `take` with each whole line, and tells their length.
fn each_line(mut reader: impl BufRead, mut take: impl FnMut(&[u8])) -> io::Result<u64> {
    let (mut length, mut bytes) = (0, Vec::new());
    loop {
        bytes.clear();
        let read = reader.read_until(b'\n', &mut bytes)?;
        if !bytes.ends_with(b"\n") {
            return Ok(length);
        }
        length += read as u64;
        take(&bytes);
    }
}

#[cfg(test)]
mod tests;
