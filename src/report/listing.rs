//! `fleet runs` and `fleet show`: records in words.

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::columns::{Cell, columns, headings};
use super::paint::Tone;
use super::table::hosts_and_result;
use super::time::date_and_time;
use super::words::with_commas;
use crate::model::plan::plan::{OnFailure, Plan};
use crate::model::run::agenda::Agenda;
use crate::model::run::exit;
use crate::model::run::outcome::StepOutcome;
use crate::model::run::summary::{StepKind, Summary};
use crate::model::text::name::StepPath;
use crate::model::text::printable::printable;
use crate::record::history::{RunEntry, RunResult};

pub fn runs(entries: &[RunEntry], zone: &TimeZone, color: bool) -> String {
    if entries.is_empty() {
        return "no run is on record\n".to_owned();
    }
    let mut rows = vec![headings(&["RUN", "STARTED", "SITE", "TASK", "HOSTS", "BY", "RESULT"])];
    rows.extend(entries.iter().map(|entry| {
        let (tone, result) = match &entry.result {
            RunResult::Finished(exit::SUCCESS) => (Tone::Good, exit::describe(exit::SUCCESS).to_owned()),
            RunResult::Finished(code) => (Tone::Bad, exit::describe(*code).to_owned()),
            RunResult::Undone => (Tone::Good, "undone".to_owned()),
            RunResult::Unfinished => (Tone::Warning, "unfinished".to_owned()),
            RunResult::NotStarted => (Tone::Dim, "not started".to_owned()),
            RunResult::Newer => (Tone::Warning, "written by a newer fleet".to_owned()),
            RunResult::Damaged(why) => (Tone::Bad, format!("damaged: {}", printable(why.as_bytes()))),
        };
        vec![
            Cell::plain(entry.run.as_str()),
            Cell::plain(entry.started.map(|at| date_and_time(at, zone)).unwrap_or_default()),
            Cell::plain(with_commas(&entry.sites)),
            Cell::plain(printable(entry.task.as_bytes())),
            Cell::plain(if entry.hosts == 0 { String::new() } else { entry.hosts.to_string() }),
            Cell::plain(printable(entry.by.as_bytes())),
            Cell::toned(tone, result),
        ]
    }));
    columns(&rows, color)
}

/// A run in full: what it was, how every step went, and the final table.
pub fn show(plan: &Arc<Plan>, summary: &Summary, zone: &TimeZone, color: bool) -> String {
    let mut facts: Vec<(&str, String)> = Vec::new();
    if let Some(run) = &summary.run {
        facts.push(("run", run.to_string()));
    }
    facts.push(("site", with_commas(&plan.sites)));
    facts.push(("task", printable(plan.task.as_bytes())));
    if !summary.by.is_empty() {
        facts.push(("by", printable(summary.by.as_bytes())));
    }
    if let Some(started) = summary.started {
        facts.push(("started", date_and_time(started, zone)));
    }
    let policy = match plan.on_failure {
        OnFailure::Undo => "undo",
        OnFailure::Hold => "hold",
    };
    facts.push(("on failure", format!("{policy}, when more than {} fail", plan.max_failures)));
    if let Some(reason) = &summary.stopped {
        facts.push(("stopped", printable(reason.as_bytes())));
    }
    for (reporter, reason) in &summary.dropped {
        facts.push(("warning", format!("{reporter} got no more events: {}", printable(reason.as_bytes()))));
    }
    let rows: Vec<Vec<Cell>> =
        facts.into_iter().map(|(name, fact)| vec![Cell::toned(Tone::Dim, name), Cell::plain(fact)]).collect();
    let mut text = columns(&rows, color);
    let steps = steps(plan, summary, color);
    _ = write!(text, "\n{steps}\n{}", hosts_and_result(&Agenda::of(plan), summary, color));
    text
}

/// A row per step of the plan: on how many hosts it ended how.
fn steps(plan: &Plan, summary: &Summary, color: bool) -> String {
    let mut rows = vec![headings(&["STEP", "DONE", "SKIPPED", "FAILED", "CANCELLED", "UNDONE"])];
    for step in plan.phases.iter().flat_map(|phase| &phase.steps) {
        let ended = |kind: StepKind, is: fn(&StepOutcome) -> bool| count(summary, &step.path, kind, is);
        let cancelled = ended(StepKind::Run, |outcome| *outcome == StepOutcome::Cancelled);
        let failed = ended(StepKind::Run, |outcome| {
            !outcome.is_success() && !matches!(outcome, StepOutcome::Cancelled | StepOutcome::Detached { .. })
        });
        let done = ended(StepKind::Run, |outcome| *outcome == StepOutcome::Succeeded);
        let skipped = ended(StepKind::Run, |outcome| matches!(outcome, StepOutcome::Skipped { .. }));
        let undone = ended(StepKind::Undo, StepOutcome::is_success);
        if step.is_only_undo() && undone == 0 {
            continue;
        }
        let number = |count: usize| if count == 0 { "-".to_owned() } else { count.to_string() };
        let toned = |tone: Tone, count: usize| Cell::toned(if count == 0 { Tone::Dim } else { tone }, number(count));
        rows.push(vec![
            Cell::plain(step.path.as_str()),
            toned(Tone::Good, done),
            toned(Tone::Plain, skipped),
            toned(Tone::Bad, failed),
            toned(Tone::Warning, cancelled),
            toned(Tone::Warning, undone),
        ]);
    }
    columns(&rows, color)
}

/// On how many hosts a step, or its undo, ended like that.
fn count(summary: &Summary, path: &StepPath, kind: StepKind, is: fn(&StepOutcome) -> bool) -> usize {
    summary
        .hosts()
        .filter(|host| {
            let mut steps = host.steps().filter(|step| step.kind == kind && &step.step == path);
            steps.any(|step| step.outcome.as_ref().is_some_and(is))
        })
        .count()
}
