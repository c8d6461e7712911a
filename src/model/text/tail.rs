//! The last lines that something printed, in bounded memory.

use std::collections::VecDeque;

use crate::model::run::event::Stream;

/// Lines kept.
pub const TAIL_LINES: usize = 20;
/// Bytes kept of each line: more than any screen is wide.
pub const LINE_BYTES: usize = 2048;

/// The last lines that a step printed, as raw bytes.
///
/// At most [`TAIL_LINES`] lines of [`LINE_BYTES`] each are held, whatever is pushed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tail {
    lines: VecDeque<TailLine>,
}

/// One line, or the beginning of one whose end has not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailLine {
    /// Where it was printed.
    pub stream: Stream,
    /// The bytes, without the newline.
    pub bytes: Vec<u8>,
    /// Its newline has come.
    pub complete: bool,
}

impl Tail {
    /// Takes printed bytes: whole lines, or parts of some.
    pub fn push(&mut self, stream: Stream, data: &[u8]) {
        // Only the last lines matter: a flood of short ones costs no more than a few.
        let mut pieces: Vec<&[u8]> = data.split_inclusive(|&b| b == b'\n').rev().take(TAIL_LINES + 1).collect();
        while let Some(piece) = pieces.pop() {
            self.push_piece(stream, piece);
        }
    }

    fn push_piece(&mut self, stream: Stream, piece: &[u8]) {
        let (text, complete) = match piece.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (piece, false),
        };
        let open = self.lines.iter_mut().rev().find(|line| line.stream == stream).filter(|line| !line.complete);
        let line = if let Some(line) = open {
            line
        } else {
            if self.lines.len() >= TAIL_LINES {
                self.lines.pop_front();
            }
            self.lines.push_back(TailLine { stream, bytes: Vec::new(), complete: false });
            let Some(line) = self.lines.back_mut() else { return };
            line
        };
        line.complete = complete;
        append(&mut line.bytes, text);
    }

    pub fn clear(&mut self) {
        self.lines.clear();
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &TailLine> + ExactSizeIterator {
        self.lines.iter()
    }

    /// The last line that is not blank.
    pub fn last(&self) -> Option<&TailLine> {
        self.lines.iter().rev().find(|line| line.bytes.iter().any(|b| !b.is_ascii_whitespace()))
    }
}

/// Appends to a line within its bound. What a progress bar has drawn over is dropped first.
fn append(line: &mut Vec<u8>, text: &[u8]) {
    if text.len() <= LINE_BYTES && line.len() + text.len() <= LINE_BYTES {
        line.extend_from_slice(text);
        return;
    }
    let drawn = crate::model::text::printable::last_drawn(text);
    if drawn.len() < text.len() && text.contains(&b'\r') {
        line.clear();
    }
    let room = LINE_BYTES.saturating_sub(line.len());
    line.extend_from_slice(drawn.get(..room.min(drawn.len())).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(tail: &Tail) -> Vec<String> {
        tail.lines().map(|line| String::from_utf8_lossy(&line.bytes).into_owned()).collect()
    }

    #[test]
    fn parts_of_a_line_join_within_their_stream() {
        let mut tail = Tail::default();
        tail.push(Stream::Stdout, b"one\ntw");
        tail.push(Stream::Stderr, b"warning\n");
        tail.push(Stream::Stdout, b"o\nthree");
        assert_eq!(shown(&tail), ["one", "two", "warning", "three"]);
        assert!(!tail.lines().next_back().unwrap().complete);
    }

    #[test]
    fn only_the_last_lines_stay() {
        let mut tail = Tail::default();
        let flood: Vec<u8> = (0..100_000).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        tail.push(Stream::Stdout, &flood);
        assert_eq!(tail.lines().len(), TAIL_LINES);
        assert_eq!(shown(&tail).last().unwrap(), "99999");
        tail.push(Stream::Stdout, b"\n  \n");
        assert_eq!(tail.last().unwrap().bytes, b"99999");
    }

    #[test]
    fn a_long_progress_line_ends_with_what_was_drawn_last() {
        let mut tail = Tail::default();
        let mut drawn = vec![b'='; 3 * LINE_BYTES];
        drawn.extend_from_slice(b"\r100 %\n");
        tail.push(Stream::Stdout, &drawn);
        assert_eq!(shown(&tail), ["100 %"]);
    }

    proptest! {
        #[test]
        fn memory_is_bounded(chunks: Vec<(bool, Vec<u8>)>) {
            let mut tail = Tail::default();
            for (error, chunk) in chunks {
                tail.push(if error { Stream::Stderr } else { Stream::Stdout }, &chunk);
                prop_assert!(tail.lines().len() <= TAIL_LINES);
                prop_assert!(tail.lines().all(|line| line.bytes.len() <= LINE_BYTES));
            }
        }
    }
}
