//! The log of one host: every byte that its steps printed, line by line, in bounded memory and on bounded disk.
//!
//! Its lines: [`crate::record::log_line`].

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::files;
use crate::model::run::event::Stream;
use crate::model::text::name::HostLabel;
use crate::record::log_line::{prefix, put_line};
use crate::record::recorded::whole_lines;

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
        Self::new(path, limits, files::append_new(path)?)
    }

    /// Goes on with a log that an earlier controller has begun, or makes it. What a crash has torn off at its end is cut off.
    pub fn reopen(path: &Path, limits: LogLimits) -> io::Result<Self> {
        let Some(file) = files::if_there(files::append(path))? else { return Self::create(path, limits) };
        file.set_len(whole_lines(&file)?)?;
        Self::new(path, limits, file)
    }

    fn new(path: &Path, limits: LogLimits, file: File) -> io::Result<Self> {
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

    pub fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Closes the file until something is written again.
    pub fn close(&mut self) {
        self.file = None;
    }

    pub fn output(&mut self, at: Timestamp, step: &str, stream: Stream, data: &[u8]) -> io::Result<()> {
        let pieces = data.split_inclusive(|&b| b == b'\n');
        if self.ring.is_empty() && self.written.saturating_add(data.len() as u64) <= self.limits.head {
            let mut lines = Vec::with_capacity(data.len() + 64);
            pieces.for_each(|piece| put_line(&mut lines, at, step, stream, piece));
            self.written += data.len() as u64;
            return self.write(&lines);
        }
        for piece in pieces {
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

/// The name of a host's log. The alphabet of labels has no `/`; it is checked again here, where a mistake would write elsewhere.
pub fn log_name(host: &HostLabel) -> Option<String> {
    let host = host.as_str();
    let fits = !host.starts_with(['.', '-']) && !host.contains(['/', '\0']) && host.len() <= 250;
    fits.then(|| format!("{host}.log"))
}

#[cfg(test)]
mod tests;
