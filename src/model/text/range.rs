//! Ranges in names: `web[01-20]` stands for `web01` to `web20`.
//!
//! The number of names is known before the first one is made, so `web[1-999999999]` costs nothing.

use std::iter;

/// Longest name with ranges, in bytes. No name is longer than 255; without a bound, a hundred thousand hosts of a megabyte each fit
/// into a file.
const LONGEST: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("`[{0}]` is not a range such as `[1-20]` or `[01:20]`")]
    Form(String),
    #[error("a name of {0} bytes; none may be longer than {LONGEST}")]
    Long(usize),
    #[error("`{0}` has a bracket without its partner")]
    Bracket(String),
    #[error("range `[{0}]` ends before it starts")]
    Backwards(String),
    /// The first number is padded with zeros to another width than the last.
    #[error("the ends of range `[{0}]` are padded to different widths")]
    Width(String),
    #[error("`{pattern}` stands for {count} names; at most {most} are possible here")]
    Count { pattern: String, count: u128, most: usize },
}

/// A name with ranges, read but not yet unfolded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Range { first: u64, last: u64, width: usize },
}

impl Piece {
    fn count(&self) -> u128 {
        match self {
            Self::Text(_) => 1,
            Self::Range { first, last, .. } => u128::from(last - first) + 1,
        }
    }
}

impl Pattern {
    /// Reads a name in which every bracket must be part of a range.
    pub fn parse(text: &str) -> Result<Self, RangeError> {
        Self::read(text, false)
    }

    /// Reads a glob: brackets that hold no range of numbers, such as `[abc]`, stay as they are.
    pub fn parse_glob(text: &str) -> Result<Self, RangeError> {
        Self::read(text, true)
    }

    fn read(text: &str, glob: bool) -> Result<Self, RangeError> {
        if text.len() > LONGEST {
            return Err(RangeError::Long(text.len()));
        }
        let bracket = || RangeError::Bracket(text.to_owned());
        let between = |piece: &str| {
            if !glob && piece.contains(']') { Err(bracket()) } else { Ok(Piece::Text(piece.to_owned())) }
        };
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('[') {
            let Some((inside, after)) = after.split_once(']') else {
                if glob {
                    break;
                }
                return Err(bracket());
            };
            match read_range(inside) {
                Err(RangeError::Form(_)) if glob => {
                    let (class, _) = rest.split_at(rest.len() - after.len());
                    pieces.push(Piece::Text(class.to_owned()));
                }
                range => {
                    let range = range?;
                    pieces.push(between(before)?);
                    pieces.push(range);
                }
            }
            rest = after;
        }
        pieces.push(between(rest)?);
        Ok(Self { text: text.to_owned(), pieces })
    }

    pub fn has_range(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Range { .. }))
    }

    /// The text between the ranges.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Range { .. } => None,
        })
    }

    pub fn count(&self) -> u128 {
        self.pieces.iter().fold(1, |count: u128, piece| count.saturating_mul(piece.count()))
    }

    /// All names, the last range running fastest; an error instead of more than `most`.
    pub fn names(&self, most: usize) -> Result<Vec<String>, RangeError> {
        let count = self.count();
        if count > most as u128 {
            return Err(RangeError::Count { pattern: self.text.clone(), count, most });
        }
        let mut names = vec![String::new()];
        for piece in &self.pieces {
            names = match piece {
                Piece::Text(text) => names.into_iter().map(|name| name + text).collect(),
                Piece::Range { first, last, width } => names
                    .iter()
                    .flat_map(|name| iter::repeat(name).zip(*first..=*last))
                    .map(|(name, number)| format!("{name}{number:0width$}"))
                    .collect(),
            };
        }
        Ok(names)
    }
}

fn read_range(inside: &str) -> Result<Piece, RangeError> {
    let form = || RangeError::Form(inside.to_owned());
    let (first, last) = inside.split_once(['-', ':']).ok_or_else(form)?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten()
    };
    let (from, to) = number(first).zip(number(last)).ok_or_else(form)?;
    if from > to {
        return Err(RangeError::Backwards(inside.to_owned()));
    }
    let padded = |text: &str| text.len() > 1 && text.starts_with('0');
    let (first_padded, last_padded) = (padded(first), padded(last));
    if first_padded && last.len() < first.len() || last_padded && first.len() != last.len() {
        return Err(RangeError::Width(inside.to_owned()));
    }
    let width = if first_padded || last_padded { first.len() } else { 0 };
    Ok(Piece::Range { first: from, last: to, width })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(text: &str) -> Result<Vec<String>, RangeError> {
        Pattern::parse(text)?.names(1000)
    }

    #[test]
    fn a_range_keeps_its_zeros() {
        assert_eq!(names("web[08-11].x").unwrap(), ["web08.x", "web09.x", "web10.x", "web11.x"]);
        assert_eq!(names("web[9:10]").unwrap(), ["web9", "web10"]);
        assert_eq!(names("web[00-01]").unwrap(), ["web00", "web01"]);
        assert_eq!(names("web[99-100]").unwrap(), ["web99", "web100"]);
        assert_eq!(names("plain").unwrap(), ["plain"]);
    }

    #[test]
    fn several_ranges_multiply() {
        assert_eq!(names("r[1-2]n[1-2]").unwrap(), ["r1n1", "r1n2", "r2n1", "r2n2"]);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        let told = |text: &str| names(text).unwrap_err().to_string();
        assert_eq!(told("web[1-"), "`web[1-` has a bracket without its partner");
        assert_eq!(told("web1]"), "`web1]` has a bracket without its partner");
        assert_eq!(told("web]1[1-2]"), "`web]1[1-2]` has a bracket without its partner");
        assert_eq!(told("web[]"), "`[]` is not a range such as `[1-20]` or `[01:20]`");
        assert_eq!(told("[::1]"), "`[::1]` is not a range such as `[1-20]` or `[01:20]`");
        assert_eq!(told("web[a-c]"), "`[a-c]` is not a range such as `[1-20]` or `[01:20]`");
        assert_eq!(told("web[3-1]"), "range `[3-1]` ends before it starts");
        assert_eq!(told("web[001-20]"), "the ends of range `[001-20]` are padded to different widths");
        assert_eq!(told("web[1-020]"), "the ends of range `[1-020]` are padded to different widths");
    }

    #[test]
    fn a_range_bomb_is_counted_and_not_built() {
        let told = names("web[1-999999999]").unwrap_err().to_string();
        assert_eq!(told, "`web[1-999999999]` stands for 999999999 names; at most 1000 are possible here");
        let bomb = "[0-18446744073709551615]".repeat(9);
        assert_eq!(Pattern::parse(&bomb).unwrap().count(), u128::MAX);
        assert!(names(&bomb).is_err());
    }

    /// The width of a number was handed to a formatter, which panics beyond 65535.
    #[test]
    fn a_bomb_of_zeros_or_text_is_refused_before_it_is_unfolded() {
        let zeros = "0".repeat(70_000);
        assert_eq!(names(&format!("web[{zeros}1-{zeros}9]")), Err(RangeError::Long(140_008)));
        assert_eq!(names(&format!("{}[1-9]", "a".repeat(70_000))), Err(RangeError::Long(70_005)));
        assert!(names(&format!("{}[1-9]", "a".repeat(LONGEST - 5))).is_ok());
    }

    #[test]
    fn a_glob_keeps_its_classes() {
        let pattern = Pattern::parse_glob("[ab]web[1-2]*").unwrap();
        assert_eq!(pattern.names(10).unwrap(), ["[ab]web1*", "[ab]web2*"]);
        assert!(!Pattern::parse_glob("web[0-").unwrap().has_range());
    }

    proptest! {
        #[test]
        fn as_many_names_as_counted(text in r"[a-z]{0,3}(\[[0-9]{1,2}[-:][0-9]{1,2}\][a-z]{0,3}){0,2}") {
            if let Ok(pattern) = Pattern::parse(&text) {
                let names = pattern.names(10_000).unwrap();
                prop_assert_eq!(names.len() as u128, pattern.count());
                let distinct: std::collections::BTreeSet<_> = names.iter().collect();
                prop_assert!(names.iter().all(|name| !name.contains(['[', ']'])));
                // Two unpadded ranges side by side may meet: `[1-11][1-11]` makes 111 twice.
                prop_assert!(distinct.len() == names.len() || text.contains("]["));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = names(&text);
            let _ = Pattern::parse_glob(&text).map(|p| p.names(1000));
        }
    }
}
