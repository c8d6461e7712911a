//! Cuts output into pieces that end with a line, and masks secrets in them.

use crate::model::run::masking::{Masked, Masker};

/// Longer lines are cut.
const LONGEST: usize = 64 * 1024;

/// Holds back the last, unfinished line of a stream.
#[derive(Debug, Default)]
pub struct Lines {
    tail: Masked,
}

impl Lines {
    /// Takes bytes and gives all that is complete, masked. A line is held back in which a secret begins that may continue in the next one; where a
    /// long line is cut, as much is held back as a secret may have begun in.
    pub fn push(&mut self, bytes: &[u8], masker: &Masker) -> Option<Vec<u8>> {
        let complete = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        let (lines, rest) = bytes.split_at(complete);
        let mut whole = Vec::new();
        if !lines.is_empty() {
            self.tail.push(lines);
            whole = self.tail.give(self.tail.settled(masker), masker);
        }
        self.tail.push(rest);
        if self.tail.held() >= LONGEST + masker.reach() {
            whole.append(&mut self.tail.give(self.tail.held() - masker.reach(), masker));
        }
        (!whole.is_empty()).then_some(whole)
    }

    /// Gives what is left at the end.
    pub fn finish(mut self, masker: &Masker) -> Option<Vec<u8>> {
        let rest = self.tail.give(self.tail.held(), masker);
        (!rest.is_empty()).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_whole_lines_come_out_before_the_end() {
        let (mut lines, masker) = (Lines::default(), Masker::default());
        assert_eq!(lines.push(b"a", &masker), None);
        assert_eq!(lines.push(b"b\nc\nd", &masker).unwrap(), b"ab\nc\n");
        assert_eq!(lines.finish(&masker).unwrap(), b"d");
    }

    /// Two pieces of the secret were shown and recorded, when it stood where a line of 64 KiB is cut.
    #[test]
    fn a_secret_at_the_cut_of_a_long_line_is_masked_at_every_offset() {
        let secret = "hunter2-hunter3-hunter4";
        let mut masker = Masker::default();
        masker.add(secret);
        let around = [LONGEST - 2 * secret.len(), 2 * LONGEST - 2 * secret.len()];
        for offset in around.into_iter().flat_map(|from| from..from + 4 * secret.len()) {
            let line = format!("{}{secret}{}", "x".repeat(offset), "y".repeat(2 * LONGEST));
            let (mut lines, mut out) = (Lines::default(), Vec::new());
            for chunk in line.as_bytes().chunks(32 * 1024 + 7) {
                out.extend(lines.push(chunk, &masker).unwrap_or_default());
            }
            out.extend(lines.finish(&masker).unwrap_or_default());
            assert!(out == line.replace(secret, "***").into_bytes(), "offset {offset}");
        }
    }

    #[test]
    fn a_secret_in_two_lines_is_masked_whatever_the_cuts_are() {
        let mut masker = Masker::default();
        masker.add("hunter2-hunter3-hunter4");
        let text = "a\nhunter\nx hunter2-hun\nter3-hunter4 y\nhunter2-\n";
        for size in 1..=text.len() {
            let (mut lines, mut out) = (Lines::default(), Vec::new());
            for chunk in text.as_bytes().chunks(size) {
                out.extend(lines.push(chunk, &masker).unwrap_or_default());
            }
            // Nobody waits for the end of a secret that does not come.
            assert!(out.ends_with(b"x *** y\n"), "{size}");
            out.extend(lines.finish(&masker).unwrap_or_default());
            assert_eq!(String::from_utf8(out).unwrap(), "a\nhunter\nx *** y\nhunter2-\n", "{size}");
        }
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_or_changed(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..80)) {
            let (mut lines, masker) = (Lines::default(), Masker::default());
            let mut out = Vec::new();
            for chunk in &chunks {
                out.extend(lines.push(chunk, &masker).unwrap_or_default());
            }
            out.extend(lines.finish(&masker).unwrap_or_default());
            prop_assert_eq!(out, chunks.concat());
        }
    }
}
