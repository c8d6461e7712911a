//! What steps reported about themselves, in words.

use std::fmt::Write as _;

use super::columns::{Cell, columns, headings};
use super::paint::Tone;
use super::words::counted;
use crate::model::run::finding::{Finding, FindingKind};
use crate::model::run::summary::{Reported, StepKind, Summary};
use crate::model::text::name::FindingName;
use crate::model::text::printable::one_line;

pub(super) fn finding_tone(finding: &Finding) -> Tone {
    match finding.kind {
        FindingKind::Notice => Tone::Plain,
        FindingKind::Block if finding.refuses() => Tone::Bad,
        FindingKind::Warning | FindingKind::Block => Tone::Warning,
    }
}

/// `1 block, 2 accepted blocks, 3 warnings`; none when nothing was reported.
pub(super) fn counts(summary: &Summary) -> Option<String> {
    // Asked ten times a second by the live view.
    let [mut blocks, mut accepted, mut warnings, mut notices] = [0; 4];
    for (_, Reported { finding, .. }) in summary.findings() {
        match finding.kind {
            FindingKind::Block if finding.refuses() => blocks += 1,
            FindingKind::Block => accepted += 1,
            FindingKind::Warning => warnings += 1,
            FindingKind::Notice => notices += 1,
        }
    }
    let counts = [(blocks, "block"), (accepted, "accepted block"), (warnings, "warning"), (notices, "notice")];
    let told: Vec<String> =
        counts.into_iter().filter(|(count, _)| *count > 0).map(|(n, what)| counted(n, what)).collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// What the site's file accepts in vain.
pub(super) fn accept_unused(names: &[FindingName]) -> String {
    let names: Vec<&str> = names.iter().map(FindingName::as_str).collect();
    format!("notice: unused [accept] entries: {}", names.join(", "))
}

/// All that the steps of a run reported, host by host.
pub fn findings(summary: &Summary, color: bool) -> String {
    let mut rows = vec![headings(&["HOST", "STEP", "KIND", "NAME", "DETAILS", "TEXT"])];
    for (host, Reported { step, kind, finding }) in summary.findings() {
        let step = if *kind == StepKind::Undo { format!("undo of {step}") } else { step.to_string() };
        let details: Vec<String> =
            finding.details.iter().map(|(key, value)| format!("{key}={}", one_line(value))).collect();
        let mut text = one_line(&finding.text);
        if let Some(reason) = &finding.accepted {
            _ = write!(text, " (accepted: {})", one_line(reason));
        }
        rows.push(vec![
            Cell::plain(host.as_str()),
            Cell::plain(step),
            Cell::toned(finding_tone(finding), finding.kind.describe()),
            Cell::plain(finding.name.as_ref().map_or("-", FindingName::as_str)),
            Cell::plain(details.join(" ")),
            Cell::plain(text),
        ]);
    }
    if rows.len() == 1 { "no step reported anything\n".to_owned() } else { columns(&rows, color) }
}
