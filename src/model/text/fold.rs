//! Many host names in few words: `web[01-18,20]`, in the form that the inventory and `--limit` read.

use std::collections::{BTreeMap, BTreeSet};

/// Folds names that differ in one number only. Names that fit nothing else stay as they are; groups keep the order in which they
/// first appear.
///
/// The number is the last one before the first dot: `web01.example.org` folds, `db.zone2` does not.
pub fn fold_names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<(Key<'a>, &str)> = names.into_iter().map(split).collect();
    // `10` may belong to `01`, `02`, … or to `9`, `11`, …: only a neighbour with a leading zero tells.
    let leads_with_zero = |digits: &str| digits.len() > 1 && digits.starts_with('0');
    let filled: BTreeSet<Key<'a>> =
        names.iter().filter(|(_, digits)| leads_with_zero(digits)).map(|(key, _)| *key).collect();
    let mut order: Vec<Key<'a>> = Vec::new();
    let mut numbers: BTreeMap<Key<'a>, Vec<u64>> = BTreeMap::new();
    for (key, digits) in names {
        let key = if filled.contains(&key) { key } else { Key { width: 0, ..key } };
        let group = numbers.entry(key).or_insert_with(|| {
            order.push(key);
            Vec::new()
        });
        group.extend(digits.parse::<u64>().ok());
    }
    let mut folded = Vec::with_capacity(order.len());
    for key in order {
        let mut group = numbers.remove(&key).unwrap_or_default();
        group.sort_unstable();
        group.dedup();
        folded.push(key.write(&group));
    }
    folded.join(", ")
}

/// What the names of one group share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    prefix: &'a str,
    suffix: &'a str,
    /// Digits of numbers that are filled up with zeros; 0 for those that are not.
    width: usize,
}

impl Key<'_> {
    fn write(self, numbers: &[u64]) -> String {
        let Self { prefix, suffix, width } = self;
        match numbers {
            [] => prefix.to_owned(),
            [one] => format!("{prefix}{one:0width$}{suffix}"),
            many => format!("{prefix}[{}]{suffix}", ranges(many, width)),
        }
    }
}

/// `1-3,5` of sorted numbers. Two neighbours are listed, three are a range.
fn ranges(numbers: &[u64], width: usize) -> String {
    let parts: Vec<String> = numbers
        .chunk_by(|a, b| b - a == 1)
        .map(|run| match run {
            [first, _, .., last] if run.len() > 2 => format!("{first:0width$}-{last:0width$}"),
            _ => run.iter().map(|n| format!("{n:0width$}")).collect::<Vec<_>>().join(","),
        })
        .collect();
    parts.join(",")
}

/// A name, cut at its number: what is around the number, as if it were filled up, and its digits, which are empty when there is none.
fn split(name: &str) -> (Key<'_>, &str) {
    let label = name.split('.').next().unwrap_or(name);
    let through_number = label.trim_end_matches(|c: char| !c.is_ascii_digit());
    let prefix = through_number.trim_end_matches(|c: char| c.is_ascii_digit());
    let (through_number, suffix) = name.split_at(through_number.len());
    let (prefix, digits) = through_number.split_at(prefix.len());
    match digits.len() {
        1..=18 => (Key { prefix, suffix, width: digits.len() }, digits),
        // A longer number would not fit into 64 bits.
        _ => (Key { prefix: name, suffix: "", width: 0 }, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fold(names: &[&str]) -> String {
        fold_names(names.iter().copied())
    }

    #[test]
    fn numbers_become_ranges() {
        let names: Vec<String> = (1..=18).chain([20]).map(|n| format!("web{n:02}")).collect();
        assert_eq!(fold_names(names.iter().map(String::as_str)), "web[01-18,20]");
        assert_eq!(fold(&["web1", "web2", "web3", "web10"]), "web[1-3,10]");
        assert_eq!(fold(&["web10", "web9", "web11"]), "web[9-11]");
        assert_eq!(fold(&["web1", "web2"]), "web[1,2]");
    }

    #[test]
    fn different_widths_stay_apart() {
        assert_eq!(fold(&["web01", "web02", "web1", "web100"]), "web[01,02], web[1,100]");
    }

    #[test]
    fn what_does_not_fold_stays_as_it_is() {
        assert_eq!(fold(&["db", "web1", "mail"]), "db, web1, mail");
        assert_eq!(fold(&["db.zone1", "db.zone2"]), "db.zone1, db.zone2");
        assert_eq!(fold(&["prod:web1.example.org", "prod:web2.example.org"]), "prod:web[1,2].example.org");
        assert_eq!(fold(&["a99999999999999999999"]), "a99999999999999999999");
        assert_eq!(fold(&[]), "");
    }

    proptest! {
        #[test]
        fn every_name_is_there_once(numbers in proptest::collection::btree_set(0u64..500, 0..60)) {
            let names: Vec<String> = numbers.iter().map(|n| format!("web{n:03}-eu")).collect();
            let folded = fold_names(names.iter().map(String::as_str));
            let inner = folded.trim_start_matches("web").trim_end_matches("-eu").trim_matches(['[', ']']);
            let mut seen = Vec::new();
            for part in inner.split(',').filter(|part| !part.is_empty()) {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                seen.extend(first.parse::<u64>().unwrap()..=last.parse().unwrap());
            }
            prop_assert_eq!(seen, numbers.into_iter().collect::<Vec<_>>());
        }
    }
}
