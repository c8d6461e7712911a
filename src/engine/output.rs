//! What a step prints, on its way to the dispatcher: over all connections that it takes to read it.

use std::sync::Arc;

use super::lines::Lines;
use super::task::{Recorded, Task};
use crate::model::run::event::Stream;
use crate::model::run::masking::Masker;
use crate::remote::{Entry, OutputChunk};

/// The longest value that a step's output may become, in bytes.
pub const LONGEST_VALUE: usize = 64 * 1024;

/// The output of one step, guard or undo. Whole lines come out, masked.
pub struct Output {
    masker: Arc<Masker>,
    /// Tell nobody what it prints.
    secret: bool,
    captured: Option<Vec<u8>>,
    /// It may report findings.
    pub reports: bool,
    /// What the step reported about itself.
    pub report: Option<Vec<u8>>,
    streams: [One; 2],
}

/// One stream of it.
#[derive(Default)]
struct One {
    lines: Lines,
    /// Bytes that came from the host, and with which the next connection begins.
    received: u64,
    /// Bytes, after masking, that are on record already.
    recorded: u64,
}

impl Output {
    /// The output of a step, of which so much is on record.
    pub fn of(task: &Task, recorded: Recorded) -> Self {
        let mut output = Self {
            masker: Arc::clone(&task.masker),
            secret: task.secret,
            captured: task.capture.then(Vec::new),
            reports: task.reports,
            report: None,
            streams: Default::default(),
        };
        for (one, recorded) in output.streams.iter_mut().zip([recorded.out, recorded.err]) {
            // Whoever needs the output from its first byte gets it again; what is on record is not recorded twice.
            if task.capture || task.secret || !task.masker.is_empty() {
                one.recorded = recorded;
            } else {
                one.received = recorded;
            }
        }
        output
    }

    /// The output of a guard.
    pub fn of_guard(task: &Task) -> Self {
        Self {
            masker: Arc::clone(&task.masker),
            secret: task.secret,
            captured: None,
            reports: false,
            report: None,
            streams: Default::default(),
        }
    }

    /// How to ask for the rest of a step, which may be started if it was not.
    pub fn entry(&self, may_start: bool) -> Entry {
        let [out, err] = self.streams.each_ref().map(|one| one.received);
        if may_start { Entry::Watch { out, err } } else { Entry::Forbid { out, err } }
    }

    /// How many bytes have come from the host.
    pub fn received(&self) -> u64 {
        self.streams.iter().map(|one| one.received).sum()
    }

    /// Takes what came, and gives what is to be told.
    pub fn take(&mut self, chunk: &OutputChunk) -> Option<Vec<u8>> {
        if let (Some(captured), Stream::Stdout) = (&mut self.captured, chunk.stream) {
            let room = (LONGEST_VALUE + 1).saturating_sub(captured.len());
            captured.extend(chunk.bytes.iter().take(room));
        }
        let (masker, one) = self.one(chunk.stream);
        one.received += chunk.bytes.len() as u64;
        let lines = one.lines.push(&chunk.bytes, masker);
        self.told(chunk.stream, lines)
    }

    /// What is left at the end: lines without their end.
    pub fn finish(&mut self) -> Vec<(Stream, Vec<u8>)> {
        let streams = [Stream::Stdout, Stream::Stderr].into_iter();
        streams
            .filter_map(|stream| {
                let (masker, one) = self.one(stream);
                let rest = std::mem::take(&mut one.lines).finish(masker);
                Some((stream, self.told(stream, rest)?))
            })
            .collect()
    }

    /// Standard output, where it is to become a variable.
    pub fn captured(self) -> Option<Vec<u8>> {
        self.captured
    }

    fn one(&mut self, stream: Stream) -> (&Masker, &mut One) {
        let [out, err] = &mut self.streams;
        let one = match stream {
            Stream::Stdout => out,
            Stream::Stderr => err,
        };
        (&self.masker, one)
    }

    fn told(&mut self, stream: Stream, bytes: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let mut bytes = bytes.filter(|_| !self.secret)?;
        let (_, one) = self.one(stream);
        let known = usize::try_from(one.recorded).unwrap_or(usize::MAX).min(bytes.len());
        one.recorded -= known as u64;
        bytes.drain(..known);
        (!bytes.is_empty()).then_some(bytes)
    }
}
