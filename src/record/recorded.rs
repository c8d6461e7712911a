//! How much of a step's output is in the log of its host, to the byte: with that, a resumed run asks the host for the rest.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use super::log::{LogLine, began};
use crate::files;
use crate::model::run::event::Stream;
use crate::model::run::host_summary::StepKind;
use crate::model::text::name::StepPath;

/// Bytes of a step's output in a log: what its standard output and its standard error have printed, as far as it was written, since
/// the step, or its undo, was started last.
pub fn recorded(path: &Path, step: &StepPath, kind: StepKind) -> io::Result<(u64, u64)> {
    let mut printed = (0, 0);
    let file = match files::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
        opened => opened?,
    };
    each_line(&file, |bytes| {
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

/// How much of a log is whole lines, in bytes: a crash may have torn the last one, and then it counts as not written.
pub fn whole_lines(log: &File) -> io::Result<u64> {
    each_line(log, |_| {})
}

/// Calls `take` with each whole line, and tells their length.
fn each_line(log: &File, mut take: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(1 << 16, log);
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::run::scripted::beginning;
    use crate::record::log::{HostLog, LogLimits};

    const STEP: &str = "roll/migrate";

    /// What the log holds of a stream of the step, byte for byte.
    fn printed(path: &Path, stream: Stream) -> Vec<u8> {
        let bytes = std::fs::read(path).unwrap();
        let mut printed: Vec<u8> = Vec::new();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some(log_line) = LogLine::parse(line) else { continue };
            if log_line.stream() != Some(stream) {
                continue;
            }
            printed.extend_from_slice(log_line.text);
            if log_line.is_ended() {
                printed.push(b'\n');
            }
        }
        printed
    }

    fn piece() -> impl Strategy<Value = (Stream, Vec<u8>)> {
        let stream = prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)];
        let byte = prop_oneof![3 => Just(b'\n'), 7 => any::<u8>()];
        (stream, prop::collection::vec(byte, 0..30))
    }

    fn of(pieces: &[(Stream, Vec<u8>)], stream: Stream) -> Vec<u8> {
        pieces.iter().filter(|(of, _)| *of == stream).flat_map(|(_, bytes)| bytes.clone()).collect()
    }

    proptest! {
        /// Wherever a crash cuts the log off, the rest can be asked for, and then all of it is there once.
        #[test]
        fn a_log_that_was_cut_goes_on_at_the_byte(
            pieces in prop::collection::vec(piece(), 0..12),
            interruptions in prop::collection::vec(any::<bool>(), 12),
            cut in any::<prop::sample::Index>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("web1.log");
            let mut log = HostLog::create(&path, LogLimits::default()).unwrap();
            log.turn(beginning(), STEP).unwrap();
            log.say(beginning(), STEP, "started").unwrap();
            let start = std::fs::metadata(&path).unwrap().len();
            for ((stream, bytes), interrupted) in pieces.iter().zip(&interruptions) {
                log.output(beginning(), STEP, *stream, bytes).unwrap();
                if *interrupted {
                    log.say(beginning(), "-", "connection lost").unwrap();
                }
            }
            drop(log);
            let length = std::fs::metadata(&path).unwrap().len();
            let cut = start + u64::try_from(cut.index(usize::try_from(length - start).unwrap() + 1)).unwrap();
            File::options().write(true).open(&path).unwrap().set_len(cut).unwrap();

            let mut log = HostLog::reopen(&path, LogLimits::default()).unwrap();
            let (out, err) = recorded(&path, &StepPath::parse(STEP).unwrap(), StepKind::Run).unwrap();
            for (stream, from) in [(Stream::Stdout, out), (Stream::Stderr, err)] {
                let all = of(&pieces, stream);
                prop_assert!(all.starts_with(&printed(&path, stream)));
                prop_assert_eq!(printed(&path, stream).len() as u64, from);
            }
            for (stream, from) in [(Stream::Stdout, out), (Stream::Stderr, err)] {
                log.output(beginning(), STEP, stream, &of(&pieces, stream)[usize::try_from(from).unwrap()..]).unwrap();
            }
            for stream in [Stream::Stdout, Stream::Stderr] {
                prop_assert_eq!(printed(&path, stream), of(&pieces, stream));
            }
        }
    }
}
