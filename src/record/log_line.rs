//! A line of the log of a host.
//!
//! A line is `2026-11-22T08:45:12.123Z phase/step out| text`: a UTC time, the step, the stream (`out`, `err`, or `fleet` for what
//! fleet itself says) and then the raw bytes. In the log every line has its newline; where the host printed none, at the end of its
//! output or within a very long line, the tag is `out~` or `err~`. So what a step printed can be counted to the byte ([`super::recorded`]). Because every newline of a host is followed by such a prefix, no output can pass for
//! fleet's words or for another step.

use jiff::Timestamp;

use crate::model::run::event::Stream;
use crate::model::run::host_summary::StepKind;

fn tag(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "out",
        Stream::Stderr => "err",
    }
}

/// A line of output, with a newline in any case.
pub fn put_line(lines: &mut Vec<u8>, at: Timestamp, step: &str, stream: Stream, piece: &[u8]) {
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

pub fn prefix(at: Timestamp, step: &str, tag: &str) -> Vec<u8> {
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
    pub at: Timestamp,
    /// The step; `-` when it is about none.
    pub step: &'a str,
    /// `out`, `err`, `out~`, `err~` or `fleet`.
    pub tag: &'a str,
    /// What was printed, or what fleet says.
    pub text: &'a [u8],
}

impl<'a> LogLine<'a> {
    /// Reads a line as [`put_line`] writes it, with or without its newline.
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
