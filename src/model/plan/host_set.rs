//! A set of hosts of a plan, written as ranges of their places: `0-7,9`.

use std::fmt::{self, Write as _};
use std::ops::RangeInclusive;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::plan::index::HostIndex;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostSet {
    /// In order; neither touching nor overlapping.
    ranges: Vec<RangeInclusive<usize>>,
}

impl HostSet {
    pub fn contains(&self, host: HostIndex) -> bool {
        let after = self.ranges.partition_point(|range| *range.start() <= host.0);
        after.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|range| range.contains(&host.0))
    }

    pub fn iter(&self) -> impl Iterator<Item = HostIndex> {
        self.ranges.iter().cloned().flatten().map(HostIndex)
    }

    fn parse(text: &str) -> Option<Self> {
        let ranges = text.split(',').filter(|range| !range.is_empty()).map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
            (first <= last).then_some(first..=last)
        });
        let ranges: Vec<_> = ranges.collect::<Option<_>>()?;
        ranges.is_sorted_by(|a, b| *a.end() < *b.start()).then_some(Self { ranges })
    }
}

impl FromIterator<HostIndex> for HostSet {
    fn from_iter<I: IntoIterator<Item = HostIndex>>(hosts: I) -> Self {
        let mut places: Vec<usize> = hosts.into_iter().map(|host| host.0).collect();
        places.sort_unstable();
        let mut ranges: Vec<RangeInclusive<usize>> = Vec::new();
        for place in places {
            match ranges.last_mut() {
                Some(last) if place <= last.end().saturating_add(1) => *last = *last.start()..=place,
                _ => ranges.push(place..=place),
            }
        }
        Self { ranges }
    }
}

impl fmt::Display for HostSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, range) in self.ranges.iter().enumerate() {
            if at > 0 {
                f.write_char(',')?;
            }
            write!(f, "{}", range.start())?;
            if range.end() > range.start() {
                write!(f, "-{}", range.end())?;
            }
        }
        Ok(())
    }
}

impl Serialize for HostSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no set of hosts")))
    }
}

/// Batches, each of which keeps the order of the plan's hosts.
pub mod batches {
    use super::{Deserialize, Deserializer, HostIndex, HostSet, Serializer};

    #[expect(clippy::ptr_arg, reason = "the signature that serde asks for")]
    pub fn serialize<S: Serializer>(batches: &Vec<Vec<HostIndex>>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(batches.iter().map(|batch| batch.iter().copied().collect::<HostSet>()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<HostIndex>>, D::Error> {
        let batches = Vec::<HostSet>::deserialize(deserializer)?;
        Ok(batches.iter().map(|batch| batch.iter().collect()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_of_hosts_reads_back_and_holds_just_them(places in prop::collection::btree_set(0_usize..40, 0..30)) {
            let set: HostSet = places.iter().copied().map(HostIndex).collect();
            prop_assert_eq!(set.iter().map(|host| host.0).collect::<BTreeSet<_>>(), places.clone());
            for place in 0..41 {
                prop_assert_eq!(set.contains(HostIndex(place)), places.contains(&place));
            }
            let text = serde_json::to_string(&set).unwrap();
            prop_assert_eq!(serde_json::from_str::<HostSet>(&text).unwrap(), set);
        }
    }

    #[test]
    fn what_is_no_set_of_hosts_is_refused() {
        for text in ["1-", "a", "3-1", "1,1", "2,1", "0-4,3", "-1", "1 2"] {
            assert!(serde_json::from_str::<HostSet>(&format!("\"{text}\"")).is_err(), "{text}");
        }
        assert_eq!(serde_json::from_str::<HostSet>("\"0-2,5\"").unwrap().iter().count(), 4);
    }
}
