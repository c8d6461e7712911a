//! A number of hosts, or a percentage of them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::config::document::Item;
use crate::model::config::setting::Spanned;

/// A number of hosts, or a percentage of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Share {
    Hosts(usize),
    /// So many in a hundred, 0 to 100.
    Percent(u8),
}

impl Share {
    /// Reads `3` or `25%`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(percent) => percent.trim().parse().ok().filter(|p| *p <= 100).map(Self::Percent),
            None => text.trim().parse().ok().map(Self::Hosts),
        }
    }

    /// How many of `total` hosts that is, rounded down.
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Hosts(n) => n.min(total),
            Self::Percent(p) => total * usize::from(p) / 100,
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hosts(n) => write!(f, "{n}"),
            Self::Percent(p) => write!(f, "{p}%"),
        }
    }
}

/// Reads one.
pub fn share(item: &Item<'_>) -> Option<Spanned<Share>> {
    if item.is_string() {
        return item.parsed(|text| {
            Share::parse(text)
                .ok_or_else(|| format!("`{text}` is neither a number of hosts nor a percentage from 0% to 100%"))
        });
    }
    match item.integer() {
        Some(hosts) => Some(Spanned { value: Share::Hosts(hosts), span: item.span.clone() }),
        None => item.expected_value("a number of hosts, or a percentage such as \"25%\""),
    }
}

/// The sizes of batches, of which none is empty.
pub fn batches(item: &Item<'_>) -> Option<Spanned<Vec<Share>>> {
    let elements = item.array()?;
    if elements.is_empty() {
        item.report(format!("`{}` is empty", item.key));
        return None;
    }
    let shares: Vec<_> = elements.iter().map(batch).collect();
    let value = shares.into_iter().collect::<Option<_>>()?;
    Some(Spanned { value, span: item.span.clone() })
}

fn batch(item: &Item<'_>) -> Option<Share> {
    let share = share(item)?.value;
    if matches!(share, Share::Hosts(0) | Share::Percent(0)) {
        item.report("a batch of no hosts");
        return None;
    }
    Some(share)
}
