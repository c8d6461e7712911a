use super::*;
use crate::model::run::scripted::{after, beginning};
use crate::record::log_line::LogLine;

fn log(limits: LogLimits) -> (tempfile::TempDir, HostLog) {
    let folder = tempfile::tempdir().unwrap();
    let log = HostLog::create(&folder.path().join("web1.log"), limits).unwrap();
    (folder, log)
}

fn text(log: &HostLog) -> String {
    String::from_utf8_lossy(&std::fs::read(&log.path).unwrap()).into_owned()
}

#[test]
fn every_line_has_its_prefix_and_every_byte_stays() {
    let (_folder, mut log) = log(LogLimits::default());
    let step = "roll/migrate";
    log.say(beginning(), step, "started").unwrap();
    log.output(after(0.5), step, Stream::Stdout, b"one\ntw").unwrap();
    log.output(after(0.6), step, Stream::Stdout, b"o\n\xff\x1b[1m\rbar").unwrap();
    log.output(after(0.7), step, Stream::Stderr, b"oops\n\n").unwrap();
    log.close();
    log.output(after(0.8), step, Stream::Stderr, b"no newline").unwrap();
    log.say(after(1.0), step, "exit status 3").unwrap();
    let bytes = std::fs::read(&log.path).unwrap();
    assert!(bytes.windows(9).any(|w| w == b"\xff\x1b[1m\rbar"));
    insta::assert_snapshot!(text(&log).replace(['\u{fffd}', '\x1b', '\r'], "?"), @r"
    2026-11-22T08:45:12.123Z roll/migrate fleet| started
    2026-11-22T08:45:12.623Z roll/migrate out| one
    2026-11-22T08:45:12.623Z roll/migrate out~| tw
    2026-11-22T08:45:12.723Z roll/migrate out| o
    2026-11-22T08:45:12.723Z roll/migrate out~| ??[1m?bar
    2026-11-22T08:45:12.823Z roll/migrate err| oops
    2026-11-22T08:45:12.823Z roll/migrate err| 
    2026-11-22T08:45:12.923Z roll/migrate err~| no newline
    2026-11-22T08:45:13.123Z roll/migrate fleet| exit status 3
    ");
}

#[test]
fn a_line_reads_back_and_output_cannot_forge_one() {
    let forged = b"2026-11-22T08:45:12.123Z a/b fleet| succeeded\n";
    let (_folder, mut log) = log(LogLimits::default());
    log.output(beginning(), "roll/migrate", Stream::Stderr, forged).unwrap();
    let bytes = std::fs::read(&log.path).unwrap();
    let line = LogLine::parse(&bytes).unwrap();
    assert_eq!((line.at, line.step, line.stream()), (beginning(), "roll/migrate", Some(Stream::Stderr)));
    assert_eq!(line.text, forged.strip_suffix(b"\n").unwrap());
    assert_eq!(LogLine::parse(b"a | b | c"), None);
    assert_eq!(LogLine::parse(b""), None);
}

#[test]
fn the_middle_of_a_flood_is_left_out_and_that_is_said() {
    let (_folder, mut log) = log(LogLimits { head: 35, tail: 200 });
    for n in 0..10_000 {
        log.output(beginning(), "a/flood", Stream::Stdout, format!("line {n}\n").as_bytes()).unwrap();
        assert!(log.ring_bytes <= 200);
    }
    log.turn(after(1.0), "a/flood").unwrap();
    log.output(after(2.0), "a/next", Stream::Stdout, b"short\n").unwrap();
    insta::assert_snapshot!(text(&log), @r"
    2026-11-22T08:45:12.123Z a/flood out| line 0
    2026-11-22T08:45:12.123Z a/flood out| line 1
    2026-11-22T08:45:12.123Z a/flood out| line 2
    2026-11-22T08:45:12.123Z a/flood out| line 3
    2026-11-22T08:45:12.123Z a/flood out| line 4
    2026-11-22T08:45:13.123Z a/flood fleet| 98815 bytes are left out here: the step printed more than 35 bytes
    2026-11-22T08:45:12.123Z a/flood out| line 9996
    2026-11-22T08:45:12.123Z a/flood out| line 9997
    2026-11-22T08:45:12.123Z a/flood out| line 9998
    2026-11-22T08:45:12.123Z a/flood out| line 9999
    2026-11-22T08:45:14.123Z a/next out| short
    ");
}

/// Of short lines, what stands before each is longer than the line: a third of the limit was kept.
#[test]
fn the_limit_counts_what_the_step_printed() {
    let (_folder, mut log) = log(LogLimits { head: 200, tail: 200 });
    for _ in 0..100 {
        log.output(beginning(), "a/short", Stream::Stdout, b"x\n").unwrap();
    }
    log.turn(after(1.0), "a/short").unwrap();
    assert_eq!(text(&log).matches("out| x\n").count(), 100);
    assert!(!text(&log).contains("left out"));
    for _ in 0..101 {
        log.output(beginning(), "a/short", Stream::Stdout, b"x\n").unwrap();
    }
    log.output(beginning(), "a/short", Stream::Stdout, &[b'y'; 500]).unwrap();
    log.turn(after(1.0), "a/short").unwrap();
    assert!(text(&log).contains("502 bytes are left out here: the step printed more than 200 bytes"), "{}", text(&log));
}

#[test]
fn one_endless_line_is_bounded_too() {
    let (_folder, mut log) = log(LogLimits { head: 100, tail: 100 });
    for _ in 0..1000 {
        log.output(beginning(), "a/yes", Stream::Stdout, &[b'x'; 64]).unwrap();
    }
    log.turn(after(1.0), "a/yes").unwrap();
    assert!(text(&log).len() < 500, "{}", text(&log));
    assert!(text(&log).contains("bytes are left out here"));
}

#[test]
fn it_does_not_write_to_a_file_that_took_its_place() {
    let (folder, mut log) = log(LogLimits::default());
    log.close();
    let other = folder.path().join("other");
    crate::files::create_new(&other, 0o600, b"precious\n").unwrap();
    std::fs::remove_file(&log.path).unwrap();
    std::os::unix::fs::symlink(&other, &log.path).unwrap();
    assert!(log.output(beginning(), "a/b", Stream::Stdout, b"x\n").is_err());
    assert_eq!(std::fs::read(&other).unwrap(), b"precious\n");
}
