//! Secret values in what hosts print.
//!
//! A second line of defence: a value that must not be seen should not be printed. Masked are whole values that steps registered with
//! `secret-output`, before an event exists. Output is masked a line at a time, so a value that was cut by the network is found too; a
//! value of several lines is found line by line.

/// Stands for a secret.
const MASK: &[u8] = b"***";

/// Shorter lines of a secret would mask half of all words.
const SHORTEST: usize = 4;

/// The values to mask.
#[derive(Debug, Clone, Default)]
pub struct Masker {
    /// The longest first, so that none uncovers the rest of another.
    secrets: Vec<Vec<u8>>,
}

impl Masker {
    /// Is there nothing to mask?
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Adds a value.
    pub fn add(&mut self, value: &str) {
        let lines = value.lines().map(|line| line.trim().as_bytes()).filter(|line| line.len() >= SHORTEST);
        for line in lines {
            if !self.secrets.iter().any(|known| known == line) {
                self.secrets.push(line.to_vec());
            }
        }
        self.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// The bytes with every secret masked.
    pub fn mask(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.secrets.iter().fold(bytes, |bytes, secret| mask_one(bytes, secret))
    }
}

fn mask_one(bytes: Vec<u8>, secret: &[u8]) -> Vec<u8> {
    let find = |from: &[u8]| from.windows(secret.len()).position(|window| window == secret);
    let Some(mut found) = find(&bytes) else { return bytes };
    let mut masked = Vec::with_capacity(bytes.len());
    let mut rest = bytes.as_slice();
    loop {
        let (before, after) = rest.split_at(found);
        masked.extend_from_slice(before);
        masked.extend_from_slice(MASK);
        rest = after.get(secret.len()..).unwrap_or_default();
        match find(rest) {
            Some(next) => found = next,
            None => break,
        }
    }
    masked.extend_from_slice(rest);
    masked
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(secrets: &[&str], text: &str) -> String {
        let mut masker = Masker::default();
        for secret in secrets {
            masker.add(secret);
        }
        String::from_utf8(masker.mask(text.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn every_occurrence_is_masked_and_the_rest_stays() {
        assert_eq!(masked(&["hunter2"], "a hunter2 b hunter2hunter2 c"), "a *** b ****** c");
        assert_eq!(masked(&["hunter2"], "nothing"), "nothing");
    }

    #[test]
    fn of_secrets_within_secrets_nothing_is_left() {
        assert_eq!(masked(&["word", "password"], "password"), "***");
    }

    #[test]
    fn a_value_of_several_lines_is_masked_line_by_line_and_short_ones_are_not() {
        assert_eq!(masked(&["first line\nx\n"], "the first line, x"), "the ***, x");
    }

    proptest! {
        #[test]
        fn no_secret_is_left(secret in "[a-z0-9]{4,12}", parts in prop::collection::vec("[a-z0-9 ]{0,6}", 0..8)) {
            prop_assume!(!"***".contains(&secret));
            let text = parts.join(&secret);
            prop_assert!(!masked(&[&secret], &text).contains(&secret));
        }
    }
}
