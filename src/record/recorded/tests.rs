use proptest::prelude::*;

use std::fs::File;
use std::path::Path;

use super::*;
use crate::model::run::scripted::beginning;
use crate::record::folder::host_log::{HostLog, LogLimits};

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

fn reader(path: &Path) -> BufReader<File> {
    BufReader::new(File::open(path).unwrap())
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
        let (out, err) = recorded(reader(&path), &StepPath::parse(STEP).unwrap(), StepKind::Run).unwrap();
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
