//! The log of one host: every byte that its steps printed, line by line, in bounded memory and on bounded disk.
//!
//! A line is `2026-11-22T08:45:12.123Z phase/step out| text`: a UTC time, the step, the stream (`out`, `err`, or `fleet` for what
//! fleet itself says) and then the raw bytes. Because every newline of a host is followed by such a prefix, no output can pass for
//! fleet's words or for another step.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::model::event::Stream;

/// How much of one step's output is kept on disk.
#[derive(Debug, Clone, Copy)]
pub struct LogLimits {
    /// From the beginning, in bytes.
    pub head: u64,
    /// From the end, in bytes; held in memory while the step is beyond `head`.
    pub tail: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { head: 256 << 20, tail: 1 << 20 }
    }
}

/// The log of one host.
pub struct HostLog {
    path: PathBuf,
    limits: LogLimits,
    /// None while it is closed to save descriptors.
    file: Option<File>,
    /// Device and inode: a file that is opened again must still be the one that was made.
    identity: (u64, u64),
    /// The step and stream whose line is not finished in the file.
    open_line: Option<(String, Stream)>,
    /// Bytes of the current step in the file.
    written: u64,
    /// The last lines of a step beyond the limit.
    ring: VecDeque<HeldBack>,
    ring_bytes: usize,
    dropped: u64,
}

/// A line that is not in the file yet.
struct HeldBack {
    line: Vec<u8>,
    /// How much of it the host printed.
    printed: usize,
}

impl HostLog {
    /// Makes the log. There must not be one yet.
    pub fn create(path: &Path, limits: LogLimits) -> io::Result<Self> {
        // O_EXCL: fails on anything that is there already, a link included.
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        let metadata = file.metadata()?;
        Ok(Self {
            path: path.to_owned(),
            limits,
            file: Some(file),
            identity: (metadata.dev(), metadata.ino()),
            open_line: None,
            written: 0,
            ring: VecDeque::new(),
            ring_bytes: 0,
            dropped: 0,
        })
    }

    /// Is its file open?
    pub fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Closes the file until something is written again.
    pub fn close(&mut self) {
        self.file = None;
    }

    /// Writes what a step printed.
    pub fn output(&mut self, at: Timestamp, step: &str, stream: Stream, data: &[u8]) -> io::Result<()> {
        if self.ring.is_empty() && self.written.saturating_add(data.len() as u64) <= self.limits.head {
            return self.output_to_file(at, step, stream, data);
        }
        for piece in data.split_inclusive(|&b| b == b'\n') {
            let mut line = prefix(at, step, tag(stream));
            line.extend_from_slice(piece.strip_suffix(b"\n").unwrap_or(piece));
            line.push(b'\n');
            self.ring_bytes += line.len();
            self.ring.push_back(HeldBack { line, printed: piece.len() });
            while self.ring_bytes > self.limits.tail {
                let Some(oldest) = self.ring.pop_front() else { break };
                self.ring_bytes -= oldest.line.len();
                self.dropped += oldest.printed as u64;
            }
        }
        // Even when a single line was too long for the ring, the step stays beyond the limit.
        self.written = self.limits.head.saturating_add(1);
        Ok(())
    }

    fn output_to_file(&mut self, at: Timestamp, step: &str, stream: Stream, data: &[u8]) -> io::Result<()> {
        let mut lines = Vec::with_capacity(data.len() + 64);
        let mut continues = self.open_line.as_ref().is_some_and(|(s, st)| s == step && *st == stream);
        if self.open_line.is_some() && !continues {
            lines.push(b'\n');
        }
        for piece in data.split_inclusive(|&b| b == b'\n') {
            if !continues {
                lines.extend_from_slice(&prefix(at, step, tag(stream)));
            }
            lines.extend_from_slice(piece);
            continues = false;
        }
        if !data.is_empty() {
            self.open_line = (!data.ends_with(b"\n")).then(|| (step.to_owned(), stream));
        } else if !continues {
            self.open_line = None;
        }
        self.written += lines.len() as u64;
        self.write(&lines)
    }

    /// Writes what fleet says about a step; `-` when it is about none.
    pub fn say(&mut self, at: Timestamp, step: &str, text: &str) -> io::Result<()> {
        let mut line = self.end_line();
        line.extend_from_slice(&prefix(at, step, "fleet"));
        line.extend_from_slice(text.as_bytes());
        line.push(b'\n');
        self.write(&line)
    }

    /// A command begins or ended: writes what was held back of the one before.
    pub fn turn(&mut self, at: Timestamp, step: &str) -> io::Result<()> {
        let (dropped, ring) = (std::mem::take(&mut self.dropped), std::mem::take(&mut self.ring));
        self.written = 0;
        self.ring_bytes = 0;
        if dropped > 0 {
            let head = self.limits.head;
            self.say(at, step, &format!("{dropped} bytes are left out here: the step printed more than {head} bytes"))?;
        }
        let mut lines = if ring.is_empty() { Vec::new() } else { self.end_line() };
        for held in ring {
            lines.extend_from_slice(&held.line);
        }
        self.write(&lines)
    }

    fn end_line(&mut self) -> Vec<u8> {
        if self.open_line.take().is_some() { vec![b'\n'] } else { Vec::new() }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            closed => {
                let file = OpenOptions::new().append(true).open(&self.path)?;
                let metadata = file.metadata()?;
                if (metadata.dev(), metadata.ino()) != self.identity {
                    return Err(io::Error::other("the log was replaced by another file"));
                }
                closed.insert(file)
            }
        };
        file.write_all(bytes)
    }
}

fn tag(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "out",
        Stream::Stderr => "err",
    }
}

fn prefix(at: Timestamp, step: &str, tag: &str) -> Vec<u8> {
    format!("{at:.3} {step} {tag}| ").into_bytes()
}

/// The beginning of a line of a log, or all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// When.
    pub at: Timestamp,
    /// The step; `-` when it is about none.
    pub step: &'a str,
    /// `out`, `err` or `fleet`.
    pub tag: &'a str,
    /// What was printed, or what fleet says.
    pub text: &'a [u8],
}

impl<'a> LogLine<'a> {
    /// Reads a line as [`HostLog`] writes it, with or without its newline.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let bar = line.windows(2).position(|pair| pair == b"| ")?;
        let mut words = std::str::from_utf8(line.get(..bar)?).ok()?.split(' ');
        let (at, step, tag) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
        let text = line.get(bar + 2..)?;
        words.next().is_none().then_some(Self { at, step, tag, text })
    }

    /// The stream, unless fleet said it.
    pub fn stream(&self) -> Option<Stream> {
        [Stream::Stdout, Stream::Stderr].into_iter().find(|stream| tag(*stream) == self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::scripted::{after, beginning};

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
        2026-11-22T08:45:12.623Z roll/migrate out| two
        2026-11-22T08:45:12.723Z roll/migrate out| ??[1m?bar
        2026-11-22T08:45:12.823Z roll/migrate err| oops
        2026-11-22T08:45:12.823Z roll/migrate err| 
        2026-11-22T08:45:12.923Z roll/migrate err| no newline
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
        let (_folder, mut log) = log(LogLimits { head: 200, tail: 200 });
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
        2026-11-22T08:45:13.123Z a/flood fleet| 98815 bytes are left out here: the step printed more than 200 bytes
        2026-11-22T08:45:12.123Z a/flood out| line 9996
        2026-11-22T08:45:12.123Z a/flood out| line 9997
        2026-11-22T08:45:12.123Z a/flood out| line 9998
        2026-11-22T08:45:12.123Z a/flood out| line 9999
        2026-11-22T08:45:14.123Z a/next out| short
        ");
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
}
