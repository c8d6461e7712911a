//! Cuts output into pieces that end with a line.

/// Longer lines are cut.
const LONGEST: usize = 64 * 1024;

/// Holds back the last, unfinished line of a stream.
#[derive(Debug, Default)]
pub struct Lines {
    tail: Vec<u8>,
}

impl Lines {
    /// Takes bytes and gives all that is complete.
    pub fn push(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let complete = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        let (lines, rest) = bytes.split_at(complete);
        let mut whole = Vec::new();
        if !lines.is_empty() {
            whole = std::mem::take(&mut self.tail);
            whole.extend_from_slice(lines);
        }
        self.tail.extend_from_slice(rest);
        if self.tail.len() >= LONGEST {
            whole.append(&mut self.tail);
        }
        (!whole.is_empty()).then_some(whole)
    }

    /// Gives what is left at the end.
    pub fn finish(self) -> Option<Vec<u8>> {
        (!self.tail.is_empty()).then_some(self.tail)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_whole_lines_come_out_before_the_end() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"a"), None);
        assert_eq!(lines.push(b"b\nc\nd").unwrap(), b"ab\nc\n");
        assert_eq!(lines.finish().unwrap(), b"d");
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_or_changed(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..80)) {
            let mut lines = Lines::default();
            let mut out = Vec::new();
            for chunk in &chunks {
                out.extend(lines.push(chunk).unwrap_or_default());
            }
            out.extend(lines.finish().unwrap_or_default());
            prop_assert_eq!(out, chunks.concat());
        }
    }
}
