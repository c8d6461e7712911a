//! The log of one host: every byte that its steps printed, line by line, in bounded memory and on bounded disk.
//!
//! A line is `2026-11-22T08:45:12.123Z phase/step out| text`: a UTC time, the step, the stream (`out`, `err`, or `fleet` for what
//! fleet itself says) and then the raw bytes. In the log every line has its newline; where the host printed none, at the end of its
//! output or within a very long line, the tag is `out~` or `err~`. So what a step printed can be counted to the byte ([`super::recorded`]). Because every newline of a host is followed by such a prefix, no output can pass for
//! fleet's words or for another step.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::recorded::whole_lines;
use crate::files;
use crate::model::run::event::Stream;
use crate::model::run::host_summary::StepKind;

/// How much of one step's output is kept on disk.
#[derive(Debug, Clone, Copy)]
pub struct LogLimits {
    /// From the beginning, in bytes that the step printed: what stands before each line does not count, or of short lines little would be
    /// kept.
    pub head: u64,
    /// From the end, in bytes of the log: lines are held in memory while the step is beyond `head`.
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
    /// Bytes of the current step that are in the file.
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
            written: 0,
            ring: VecDeque::new(),
            ring_bytes: 0,
            dropped: 0,
        })
    }

    /// Goes on with a log that an earlier controller has begun, or makes it. What a crash has torn off at its end is cut off.
    pub fn reopen(path: &Path, limits: LogLimits) -> io::Result<Self> {
        let file = match files::append(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::create(path, limits),
            opened => opened?,
        };
        file.set_len(whole_lines(&file)?)?;
        let metadata = file.metadata()?;
        Ok(Self {
            path: path.to_owned(),
            limits,
            file: Some(file),
            identity: (metadata.dev(), metadata.ino()),
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
            let mut line = Vec::with_capacity(piece.len() + 64);
            put_line(&mut line, at, step, stream, piece);
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
        for piece in data.split_inclusive(|&b| b == b'\n') {
            put_line(&mut lines, at, step, stream, piece);
        }
        self.written += data.len() as u64;
        self.write(&lines)
    }

    /// Writes what fleet says about a step; `-` when it is about none.
    pub fn say(&mut self, at: Timestamp, step: &str, text: &str) -> io::Result<()> {
        let mut line = prefix(at, step, "fleet");
        line.extend_from_slice(text.as_bytes());
        line.push(b'\n');
        self.write(&line)
    }

    /// A step goes on without fleet: what was held back is forgotten, since whoever watches it next asks for all that is not in the file.
    pub fn let_go(&mut self) {
        self.ring.clear();
        self.ring_bytes = 0;
        self.dropped = 0;
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
        let lines: Vec<u8> = ring.into_iter().flat_map(|held| held.line).collect();
        self.write(&lines)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            closed => {
                let file = files::append(&self.path)?;
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

/// A line of output, with a newline in any case.
fn put_line(lines: &mut Vec<u8>, at: Timestamp, step: &str, stream: Stream, piece: &[u8]) {
    let ended = piece.ends_with(b"\n");
    let tag = match (stream, ended) {
        (_, true) => tag(stream),
        (Stream::Stdout, false) => "out~",
        (Stream::Stderr, false) => "err~",
    };
    lines.extend_from_slice(&prefix(at, step, tag));
    lines.extend_from_slice(piece);
    if !ended {
        lines.push(b'\n');
    }
}

fn prefix(at: Timestamp, step: &str, tag: &str) -> Vec<u8> {
    format!("{at:.3} {step} {tag}| ").into_bytes()
}

/// With which words a log says that a step, or its undo, began.
pub fn began(kind: StepKind) -> &'static [u8] {
    match kind {
        StepKind::Run => b"started",
        StepKind::Undo => b"undo started",
    }
}

/// The beginning of a line of a log, or all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// When.
    pub at: Timestamp,
    /// The step; `-` when it is about none.
    pub step: &'a str,
    /// `out`, `err`, `out~`, `err~` or `fleet`.
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
        [Stream::Stdout, Stream::Stderr].into_iter().find(|stream| tag(*stream) == self.tag.trim_end_matches('~'))
    }

    /// Did the host end the line, and not only the log?
    pub fn is_ended(&self) -> bool {
        !self.tag.ends_with('~')
    }
}

#[cfg(test)]
mod tests;
