//! Secret values in what hosts print.
//!
//! A second line of defence: a value that must not be seen should not be printed. Masked are whole values that steps registered with
//! `secret-output`, and those of secret variables in all their [`forms`], before an event exists; a value of several lines is found line by
//! line. Where two of them overlap, both are gone: one mask stands for all bytes that belong to either. A line may end within a secret, as
//! `base64` and `fold` make it, but not within its first four bytes: else half of all lines would wait for the next one.
//!
//! Output comes in pieces, which the network cuts anywhere, and so does fleet within a very long line. [`Masked`] gives the same bytes
//! whatever the cuts are: with [`Masker::reach`] bytes held back, a secret that is whole so far is found, and one that is not is held back.
//! Where a secret is cut after that, the mask is already out, and the rest of the secret is nothing. Rejected: to cut only between secrets.
//! A line of nothing but overlapping ones has no such place.

use std::collections::BTreeSet;
use std::ops::{Bound, Range};

use super::encoded::forms;
use crate::model::text::secret::Secret;

const MASK: &[u8] = b"***";

/// Shorter lines of a secret would mask half of all words.
const SHORTEST: usize = 4;

/// Pairs of bytes that there are.
const PAIRS: usize = 1 << 16;

#[derive(Debug, Clone, Default)]
pub struct Masker {
    /// In order, so that looking for a thousand takes hardly longer than for one: every host of a run may have registered its own.
    secrets: BTreeSet<Vec<u8>>,
    /// The pairs of bytes that they begin with, a bit for each: most places of a text are ruled out by theirs.
    pairs: Vec<u64>,
}

impl Masker {
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    pub fn add(&mut self, value: &str) {
        let lines = value.lines().map(|line| line.trim().as_bytes()).filter(|line| line.len() >= SHORTEST);
        lines.for_each(|line| self.insert(line.to_vec()));
    }

    /// Masks a value in all its forms.
    pub fn add_secret(&mut self, secret: &Secret) {
        for form in forms(secret.expose()) {
            self.insert(form);
        }
    }

    fn insert(&mut self, bytes: Vec<u8>) {
        self.pairs.resize(PAIRS / 64, 0);
        if let Some((word, bit)) = pair(&bytes)
            && let Some(word) = self.pairs.get_mut(word)
        {
            *word |= bit;
        }
        self.secrets.insert(bytes);
    }

    /// Does a secret stand in the text?
    pub fn is_in(&self, text: &str) -> bool {
        !self.places(text.as_bytes()).is_empty()
    }

    /// Bytes at the end of a piece in which a secret may have begun that is not whole yet.
    pub fn reach(&self) -> usize {
        // CR and LF between each two.
        3 * self.secrets.iter().map(|secret| secret.len() - 1).max().unwrap_or_default()
    }

    /// Where the first secret begins of which the text has the beginning and not the end.
    pub fn begun(&self, bytes: &[u8]) -> Option<usize> {
        let from = bytes.len().saturating_sub(self.reach());
        let mut ends = bytes.get(from..)?.windows(SHORTEST).enumerate();
        ends.find_map(|(at, begin)| {
            let rest = bytes.get(from + at..)?;
            self.alike(begin).any(|secret| extent(rest, secret) == Extent::Open).then_some(from + at)
        })
    }

    /// The secrets with this beginning.
    fn alike<'s>(&'s self, begin: &'s [u8]) -> impl Iterator<Item = &'s Vec<u8>> {
        let is_first = pair(begin).is_some_and(|(word, bit)| self.pairs.get(word).is_some_and(|word| word & bit != 0));
        let from = (Bound::Included(begin), Bound::Unbounded);
        let range = is_first.then(|| self.secrets.range::<[u8], _>(from));
        range.into_iter().flatten().take_while(move |secret| secret.starts_with(begin))
    }

    /// Where secrets stand, from left to right; those that overlap are one place, those that touch are not.
    fn places(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut all: Vec<Range<usize>> = Vec::new();
        for (at, begin) in bytes.windows(SHORTEST).enumerate() {
            let rest = bytes.get(at..).unwrap_or_default();
            all.extend(self.alike(begin).filter_map(|secret| match extent(rest, secret) {
                Extent::Whole(length) => Some(at..at + length),
                Extent::Open | Extent::None => None,
            }));
        }
        all.into_iter().fold(Vec::new(), |mut places, place| {
            match places.last_mut() {
                Some(last) if place.start < last.end => last.end = last.end.max(place.end),
                _ => places.push(place),
            }
            places
        })
    }
}

/// The place of the first two bytes among all pairs: a word, and the bit in it.
fn pair(bytes: &[u8]) -> Option<(usize, u64)> {
    let [first, second, ..] = bytes else { return None };
    let place = usize::from(u16::from_be_bytes([*first, *second]));
    Some((place / 64, 1 << (place % 64)))
}

/// How much of a text a secret is with which it begins.
#[derive(Debug, PartialEq, Eq)]
enum Extent {
    /// So many bytes, with the ends of lines in it.
    Whole(usize),
    /// All of it, and there is more of the secret.
    Open,
    None,
}

fn extent(text: &[u8], secret: &[u8]) -> Extent {
    let mut at = 0;
    for (number, byte) in secret.iter().enumerate() {
        if number >= SHORTEST && text.get(at) != Some(byte) {
            at += match text.get(at..) {
                Some([b'\n', ..]) => 1,
                Some([b'\r', b'\n', ..]) => 2,
                _ => 0,
            };
        }
        match text.get(at) {
            None => return Extent::Open,
            Some(found) if found == byte => at += 1,
            Some(_) => return Extent::None,
        }
    }
    Extent::Whole(at)
}

/// What has come of a stream and is not given out yet.
#[derive(Debug, Default)]
pub struct Masked {
    held: Vec<u8>,
    /// So many bytes of it, from the beginning, belong to a secret whose mask is out.
    gone: usize,
}

impl Masked {
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// How much of it can be given out: all, or up to the line in which a secret begins that may continue in the next.
    pub fn settled(&self, masker: &Masker) -> usize {
        let Some(begun) = masker.begun(&self.held) else { return self.held.len() };
        let before = self.held.get(..begun).unwrap_or_default();
        before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
    }

    /// Gives the first bytes, masked. A secret in them must be whole, or end in the bytes that stay.
    pub fn give(&mut self, count: usize, masker: &Masker) -> Vec<u8> {
        if masker.is_empty() && self.gone == 0 && count == self.held.len() {
            return std::mem::take(&mut self.held);
        }
        let mut places = masker.places(&self.held);
        // A place that is out and a secret that begins in it are one.
        let mut out = Vec::new();
        let mut from = 0;
        if self.gone > 0 {
            let end = places.iter().take_while(|place| place.start < self.gone).map(|place| place.end).max();
            from = end.unwrap_or_default().max(self.gone);
            places.retain(|place| place.start >= from);
        }
        for place in places.into_iter().take_while(|place| place.start < count) {
            out.extend_from_slice(self.held.get(from..place.start).unwrap_or_default());
            out.extend_from_slice(MASK);
            from = place.end;
        }
        out.extend_from_slice(self.held.get(from..count).unwrap_or_default());
        self.gone = from.saturating_sub(count);
        self.held.drain(..count.min(self.held.len()));
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masker(secrets: &[impl AsRef<str>]) -> Masker {
        let mut masker = Masker::default();
        for secret in secrets {
            masker.add(secret.as_ref());
        }
        masker
    }

    fn masked(secrets: &[impl AsRef<str>], text: &str) -> String {
        let mut all = Masked::default();
        all.push(text.as_bytes());
        String::from_utf8(all.give(text.len(), &masker(secrets))).unwrap()
    }

    #[test]
    fn every_occurrence_is_masked_and_the_rest_stays() {
        assert_eq!(masked(&["hunter2"], "a hunter2 b hunter2hunter2 c"), "a *** b ****** c");
        assert_eq!(masked(&["hunter2"], "nothing"), "nothing");
        assert_eq!(masked(&["", "abc"], "abc"), "abc");
    }

    #[test]
    fn of_secrets_within_secrets_nothing_is_left() {
        assert_eq!(masked(&["word", "password"], "password"), "***");
        assert_eq!(masked(&["abcdef", "defghi"], "abcdefghi defghi"), "*** ***");
        assert_eq!(masked(&["aaaa"], "aaaaaa"), "***");
    }

    #[test]
    fn a_value_of_several_lines_is_masked_line_by_line_and_short_ones_are_not() {
        assert_eq!(masked(&["first line\nx\n"], "the first line, x"), "the ***, x");
    }

    #[test]
    fn a_secret_may_be_cut_by_the_end_of_a_line_but_for_its_beginning() {
        assert_eq!(masked(&["hunter2-hunter3"], "a hunt\ner2-hunter\r\n3 b"), "a *** b");
        assert_eq!(masked(&["hunter2-hunter3"], "a hunter2-\n\nhunter3 b"), "a hunter2-\n\nhunter3 b");
        assert_eq!(masked(&["hunter2-hunter3"], "a hun\nter2-hunter3 b"), "a hun\nter2-hunter3 b");
    }

    #[test]
    fn a_secret_variable_is_masked_in_all_its_forms() {
        let mut masker = Masker::default();
        masker.add_secret(&Secret::of("it's hunter2".to_owned()));
        let mut all = Masked::default();
        all.push(br"it's hunter2 it'\''s hunter2 it%27s+hunter2 aXQncyBodW50ZXIy");
        assert_eq!(all.give(all.held(), &masker), b"*** *** *** ***");
    }

    /// Which bytes of the text belong to a secret, found in another way than above.
    fn secret_bytes(secrets: &[String], text: &[u8]) -> Vec<bool> {
        let mut is_secret = vec![false; text.len()];
        for secret in secrets {
            for at in 0..text.len() {
                if text[at..].starts_with(secret.as_bytes()) {
                    is_secret[at..at + secret.len()].fill(true);
                }
            }
        }
        is_secret
    }

    proptest! {
        /// The alphabet is so small that secrets overlap, hold one another, and stand at every cut.
        #[test]
        fn no_cut_shows_a_byte_of_a_secret_or_loses_another(
            secrets in prop::collection::vec("[ab]{4,7}", 1..4),
            text in "[abc]{0,60}",
            pieces in prop::collection::vec(1_usize..9, 60),
        ) {
            let masker = masker(&secrets);
            let (mut stream, mut out, mut rest) = (Masked::default(), Vec::new(), text.as_bytes());
            for length in pieces {
                let (piece, after) = rest.split_at(length.min(rest.len()));
                rest = after;
                stream.push(piece);
                let count = stream.held().saturating_sub(masker.reach());
                out.extend(stream.give(count, &masker));
            }
            out.extend(stream.give(stream.held(), &masker));
            prop_assert_eq!(String::from_utf8(out.clone()).unwrap(), masked(&secrets, &text));
            let is_secret = secret_bytes(&secrets, text.as_bytes());
            let open: Vec<u8> = text.bytes().zip(&is_secret).filter(|(_, secret)| !**secret).map(|(byte, _)| byte).collect();
            let shown: Vec<u8> = out.into_iter().filter(|byte| *byte != b'*').collect();
            prop_assert_eq!(shown, open);
        }
    }
}
