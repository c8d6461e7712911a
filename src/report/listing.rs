//! `fleet runs` and `fleet show`: records in words.

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::changes_text::in_short;
use super::columns::{Cell, columns, headings};
use super::paint::Tone;
use super::table::hosts_and_result;
use super::time::date_and_time;
use super::words::with_commas;
use crate::model::plan::plan::{OnFailure, Plan};
use crate::model::run::agenda::Agenda;
use crate::model::run::exit;
use crate::model::run::outcome::StepOutcome;
use crate::model::run::summary::{StepKind, StepSummary, Summary};
use crate::model::text::printable::one_line;
use crate::record::history::{RunEntry, RunResult};

pub fn runs(entries: &[RunEntry], zone: &TimeZone, color: bool) -> String {
    if entries.is_empty() {
        return "no run is on record\n".to_owned();
    }
    let mut heads = vec!["RUN", "STARTED", "SITE", "TASK", "HOSTS", "BY", "RESULT"];
    heads.extend(entries.iter().any(|entry| entry.changes.is_some()).then_some("CHANGE"));
    let mut rows = vec![headings(&heads)];
    rows.extend(entries.iter().map(|entry| {
        let (tone, result) = match &entry.result {
            RunResult::Finished(exit::SUCCESS) => (Tone::Good, exit::describe(exit::SUCCESS).to_owned()),
            RunResult::Finished(code) => (Tone::Bad, exit::describe(*code).to_owned()),
            RunResult::Undone => (Tone::Good, "undone".to_owned()),
            RunResult::Unfinished => (Tone::Warning, "unfinished".to_owned()),
            RunResult::NotStarted => (Tone::Dim, "not started".to_owned()),
            RunResult::Newer => (Tone::Warning, "written by a newer fleet".to_owned()),
            RunResult::Damaged(why) => (Tone::Bad, format!("damaged: {}", one_line(why))),
        };
        vec![
            Cell::plain(entry.run.as_str()),
            Cell::plain(entry.started.map(|at| date_and_time(at, zone)).unwrap_or_default()),
            Cell::plain(with_commas(&entry.sites)),
            Cell::plain(one_line(&entry.task)),
            Cell::plain(if entry.hosts == 0 { String::new() } else { entry.hosts.to_string() }),
            Cell::plain(one_line(&entry.by)),
            Cell::toned(tone, result),
            Cell::plain(entry.changes.as_ref().map(in_short).unwrap_or_default()),
        ]
    }));
    columns(&rows, color)
}

/// A run in full: what it was, how every step went, and the final table.
pub fn show(plan: &Arc<Plan>, summary: &Summary, zone: &TimeZone, color: bool) -> String {
    let policy = match plan.on_failure {
        OnFailure::Undo => "undo",
        OnFailure::Hold => "hold",
    };
    let fact = |name: &str, fact: String| vec![Cell::toned(Tone::Dim, name), Cell::plain(fact)];
    let mut rows = Vec::new();
    rows.extend(summary.run.as_ref().map(|run| fact("run", run.to_string())));
    rows.push(fact("site", with_commas(&plan.sites)));
    rows.push(fact("task", one_line(&plan.task)));
    rows.extend((!summary.by.is_empty()).then(|| fact("by", one_line(&summary.by))));
    rows.extend(summary.started.map(|started| fact("started", date_and_time(started, zone))));
    rows.push(fact("on failure", format!("{policy}, when more than {} fail", plan.max_failures)));
    rows.extend(summary.stopped.as_ref().map(|reason| fact("stopped", one_line(reason))));
    for (reporter, reason) in &summary.dropped {
        rows.push(fact("warning", format!("{reporter} got no more events: {}", one_line(reason))));
    }
    let mut text = columns(&rows, color);
    let steps = steps(plan, summary, color);
    _ = write!(text, "\n{steps}\n{}", hosts_and_result(&Agenda::of(plan), summary, color));
    text
}

/// A row per step of the plan: on how many hosts it ended how.
fn steps(plan: &Plan, summary: &Summary, color: bool) -> String {
    let mut rows = vec![headings(&["STEP", "DONE", "SKIPPED", "FAILED", "CANCELLED", "UNDONE"])];
    for step in plan.phases.iter().flat_map(|phase| &phase.steps) {
        let ended = |kind: StepKind, is: fn(&StepOutcome) -> bool| {
            let fits = |known: &StepSummary| {
                known.kind == kind && known.step == step.path && known.outcome.as_ref().is_some_and(is)
            };
            summary.hosts().filter(|host| host.steps().any(fits)).count()
        };
        let undone = ended(StepKind::Undo, StepOutcome::is_success);
        if step.is_only_undo() && undone == 0 {
            continue;
        }
        let failed = ended(StepKind::Run, |outcome| {
            !outcome.is_success() && !matches!(outcome, StepOutcome::Cancelled | StepOutcome::Detached { .. })
        });
        let counts = [
            (Tone::Good, ended(StepKind::Run, |outcome| *outcome == StepOutcome::Succeeded)),
            (Tone::Plain, ended(StepKind::Run, |outcome| matches!(outcome, StepOutcome::Skipped { .. }))),
            (Tone::Bad, failed),
            (Tone::Warning, ended(StepKind::Run, |outcome| *outcome == StepOutcome::Cancelled)),
            (Tone::Warning, undone),
        ];
        let cells = counts.map(|(tone, count)| match count {
            0 => Cell::toned(Tone::Dim, "-"),
            _ => Cell::toned(tone, count.to_string()),
        });
        rows.push([Cell::plain(step.path.as_str())].into_iter().chain(cells).collect());
    }
    columns(&rows, color)
}
