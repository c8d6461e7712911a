//! What a step reports about itself: lines that it appends to the file named by `FLEET_FINDINGS`, `KIND NAME [key=value ...] -- TEXT`.
//!
//! Invariant: nothing that a step reported is passed over. A line that does not read is a warning, or a block when it begins as one, and
//! a report that was not read whole is a block: what is missing may be one.
//!
//! Rejected: standard output. What a step prints, such as the text of a commit, could forge a finding.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::model::text::name::{FindingName, SiteName};
use crate::model::text::printable::{one_line, printable};

/// Bytes that are read of the report of a step.
pub const MAX_BYTES: usize = 64 << 10;

/// Findings that a step may report.
pub const MAX_FINDINGS: usize = 1000;

/// The beginning of the text of a line that does not read.
const UNREAD: &str = "not of the form KIND NAME [key=value ...] -- TEXT: ";

/// Characters of a finding's text in the reason of a refusal.
const MAX_REASON: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    Notice,
    Warning,
    /// A reason not to continue, unless the site's file accepts it.
    Block,
}

impl FindingKind {
    pub const ALL: [Self; 3] = [Self::Block, Self::Warning, Self::Notice];

    pub fn describe(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Block => "block",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    pub kind: FindingKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<FindingName>,
    /// Its `key=value` pairs. That of `values` is a number: how many it is about.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
    pub text: String,
    /// Of a block: why the site's file accepts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
}

impl Finding {
    /// Does it refuse its step?
    pub fn refuses(&self) -> bool {
        self.kind == FindingKind::Block && self.accepted.is_none()
    }

    /// How many it is about, where it says so.
    pub fn count(&self) -> Option<u64> {
        self.details.get("values")?.parse().ok()
    }

    /// An accepted block is about no more than was accepted where the release was proven: what is more, nobody has looked at. `before` is what
    /// the same report has of each name so far, and this one is added.
    pub fn limit(
        &mut self,
        before: &mut BTreeMap<FindingName, u64>,
        proven: &BTreeMap<FindingName, u64>,
        site: &SiteName,
    ) {
        let (Some(name), Some(count), Some(_)) = (&self.name, self.count(), &self.accepted) else { return };
        let most = proven.get(name).copied().unwrap_or_default();
        let all = before.entry(name.clone()).or_default();
        *all = all.saturating_add(count);
        if *all > most {
            self.accepted = None;
            let _ = write!(self.text, " (accepted on {site}: {most})");
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let (head, text) = line.split_once(" -- ")?;
        let mut words = head.split_ascii_whitespace();
        let word = words.next()?;
        let kind = FindingKind::ALL.into_iter().find(|kind| kind.describe() == word)?;
        let name = match words.next()? {
            "-" => None,
            name => Some(FindingName::parse(name).ok()?),
        };
        let mut details = BTreeMap::new();
        for word in words {
            let (key, value) = word.split_once('=')?;
            let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
            let is_number = key != "values" || value.parse::<u64>().is_ok();
            if !is_key || !is_number || details.insert(key.to_owned(), value.to_owned()).is_some() {
                return None;
            }
        }
        let text = text.trim();
        (!text.is_empty()).then(|| Self { kind, name, details, text: text.to_owned(), accepted: None })
    }

    /// A line that does not read.
    fn unread(line: &[u8]) -> Self {
        let is_block = line.trim_ascii_start().get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"block"));
        let kind = if is_block { FindingKind::Block } else { FindingKind::Warning };
        Self::own(kind, format!("{UNREAD}{}", printable(line)))
    }

    fn is_unread(&self) -> bool {
        self.name.is_none() && self.text.starts_with(UNREAD)
    }

    /// One of fleet's own.
    fn own(kind: FindingKind, text: String) -> Self {
        Self { kind, name: None, details: BTreeMap::new(), text, accepted: None }
    }
}

/// On one line, fit for a terminal: `block pr_person.initials values=3: data would be lost`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, details, text, accepted } = self;
        f.write_str(kind.describe())?;
        if let Some(name) = name {
            write!(f, " {name}")?;
        }
        for (key, value) in details {
            write!(f, " {key}={}", one_line(value))?;
        }
        if let Some(reason) = accepted {
            write!(f, ", accepted ({})", one_line(reason))?;
        }
        write!(f, ": {}", one_line(text))
    }
}

/// Reads what a step has reported, masked; not `is_whole` when it was longer than [`MAX_BYTES`], before it was masked. `accept`: the
/// blocks that may pass, each with the reason.
pub fn read((report, is_whole): (&[u8], bool), accept: &BTreeMap<FindingName, String>) -> Vec<Finding> {
    let block = |text: String| Finding::own(FindingKind::Block, text);
    if report.is_empty() {
        return vec![block("what the step reported could not be read on the host".to_owned())];
    }
    let mut lines = report.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let mut found: Vec<Finding> = lines.by_ref().take(MAX_FINDINGS).map(|line| read_line(line, accept)).collect();
    // On a full disk a line may be cut off, wherever in its first word.
    if let Some(last) = found.last_mut().filter(|last| !report.ends_with(b"\n") && last.is_unread()) {
        last.kind = FindingKind::Block;
    }
    if lines.next().is_some() {
        found.push(block(format!("the step reported more than {MAX_FINDINGS} findings: the others were not read")));
    } else if !is_whole {
        let most = MAX_BYTES >> 10;
        found.push(block(format!("the step reported more than {most} KiB of findings: the rest was not read")));
    }
    found
}

fn read_line(line: &[u8], accept: &BTreeMap<FindingName, String>) -> Finding {
    let read = str::from_utf8(line).ok().and_then(|line| Finding::parse(line.trim()));
    let Some(mut finding) = read else { return Finding::unread(line) };
    if finding.kind == FindingKind::Block {
        finding.accepted = finding.name.as_ref().and_then(|name| accept.get(name)).cloned();
    }
    finding
}

/// Why these findings refuse their step, when they do: `pr_person.initials: data would be lost (and 2 more blocks)`.
pub fn refusal(found: &[Finding]) -> Option<String> {
    let mut blocks = found.iter().filter(|finding| finding.refuses());
    let first = blocks.next()?;
    let name = first.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
    let mut reason = format!("{name}{}", first.text.chars().take(MAX_REASON).collect::<String>());
    if first.text.chars().nth(MAX_REASON).is_some() {
        reason.push('…');
    }
    match blocks.count() {
        0 => {}
        1 => reason.push_str(" (and 1 more block)"),
        // Writing to a String does not fail.
        more => _ = write!(reason, " (and {more} more blocks)"),
    }
    Some(reason)
}

#[cfg(test)]
mod tests;
