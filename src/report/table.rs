//! The end of a run in words: a table of all hosts, what happened on those that did not succeed, and what to type next.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::cause::{FEW, without_own};
use super::changes_text::changes;
use super::columns::{Cell, columns, headings};
use super::command_text::{command, failed_silently};
use super::findings_text::{accept_unused, counts};
use super::paint::Tone;
use super::reporters::RECORD;
use super::time::{duration, durations};
use super::words::{because, hint_lines, last_lines, lines_in_words, paths, short, sites_and_task, with_commas};
use crate::model::plan::plan::{AD_HOC, Plan};
use crate::model::run::agenda::Agenda;
use crate::model::run::exit;
use crate::model::run::outcome::{HostOutcome, StepOutcome};
use crate::model::run::summary::{Failure, HostSummary, StepKind, Summary};
use crate::model::text::fold::fold_names;
use crate::model::text::name::{HostLabel, VarName};
use crate::model::text::printable::{one_line, printable};

/// Up to so many hosts, each has a row of its own.
const ROWS: usize = 16;
/// Lines that are shown of a failed step.
const LAST_LINES: usize = 10;
/// A `--limit` with more names than this is for a file, not for a person to copy.
const LIMIT_NAMES: usize = 20;

/// The whole end of a run: table, troubles, result, next steps.
pub fn table(plan: &Arc<Plan>, summary: &Summary, color: bool) -> String {
    let agenda = Agenda::of(plan);
    let mut text = hosts_and_result(&agenda, summary, color);
    let hosts: Vec<&HostSummary> = summary.hosts().filter(|host| !host.warnings.is_empty()).collect();
    let cause = |host: &HostSummary, what: &String| without_own(&agenda, &host.host, what);
    for group in alike(&hosts, |host| host.warnings.iter().map(|what| cause(host, what)).collect::<Vec<_>>()) {
        for number in 0..group.first().map_or(0, |host| host.warnings.len()) {
            let what = shared(&group, &agenda, |host| host.warnings.get(number).cloned());
            let told = format!("warning: {}: {}", names(&group), printable(what.as_bytes()));
            _ = writeln!(text, "{}", Tone::Warning.paint(&told, color));
        }
    }
    if !summary.accept_unused.is_empty() {
        _ = writeln!(text, "{}", accept_unused(&summary.accept_unused));
    }
    for (reporter, reason) in &summary.dropped {
        let told = format!("warning: {reporter} got no more events: {}", printable(reason.as_bytes()));
        _ = writeln!(text, "{}", Tone::Warning.paint(&told, color));
    }
    let next = next(summary);
    if !next.is_empty() {
        text.push_str("\nnext:\n");
        for line in columns(&next, false).lines() {
            _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// The same without the next steps.
pub(super) fn hosts_and_result(agenda: &Agenda, summary: &Summary, color: bool) -> String {
    let mut text = host_table(agenda, summary, color);
    let troubles = troubles(agenda, summary, color);
    if !troubles.is_empty() {
        _ = write!(text, "\n{troubles}");
    }
    _ = write!(text, "\n{}", result(summary, color));
    if let Some(counted) = counts(summary) {
        let run = summary.run.as_ref().map(|run| format!(" (fleet show {run} --findings)")).unwrap_or_default();
        _ = writeln!(text, "findings: {counted}{run}");
    }
    text
}

/// A row per host; when there are many, those that ended alike share one.
fn host_table(agenda: &Agenda, summary: &Summary, color: bool) -> String {
    let hosts: Vec<&HostSummary> = summary.hosts().collect();
    let failed = hosts.iter().any(|host| host.failure.is_some());
    // One that nobody watches any more has not failed.
    let open = |failure: &Failure| matches!(failure.outcome, StepOutcome::Detached { .. });
    let open = hosts.iter().any(|host| host.failure.as_ref().is_some_and(open));
    let mut heads = vec!["HOST", "OUTCOME", "TIME"];
    heads.extend(failed.then_some(if open { "STEP" } else { "FAILED STEP" }));
    let mut rows = vec![headings(&heads)];
    let groups = if hosts.len() > ROWS {
        alike(&hosts, |host| (host.outcome, failure(host).map(|failure| without_own(agenda, &host.host, &failure))))
    } else {
        hosts.into_iter().map(|host| vec![host]).collect()
    };
    for group in groups {
        let Some(first) = group.first() else { continue };
        let (tone, word) = ending(first.outcome);
        rows.push(vec![
            Cell::plain(names(&group)),
            Cell::toned(tone, word),
            Cell::plain(durations(group.iter().filter_map(|host| host.duration()))),
            Cell::plain(shared(&group, agenda, failure)),
        ]);
    }
    columns(&rows, color)
}

/// Hosts with the same key, in the order of their first.
fn alike<'a, K: Ord>(hosts: &[&'a HostSummary], key: impl Fn(&'a HostSummary) -> K) -> Vec<Vec<&'a HostSummary>> {
    let mut places: BTreeMap<K, usize> = BTreeMap::new();
    let mut groups: Vec<Vec<&HostSummary>> = Vec::new();
    for host in hosts {
        let place = *places.entry(key(host)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(host),
            None => groups.push(vec![host]),
        }
    }
    groups
}

/// A text about all hosts of a group: without their own addresses and names if the texts differ.
fn shared(group: &[&HostSummary], agenda: &Agenda, said: impl Fn(&HostSummary) -> Option<String>) -> String {
    let Some(first) = group.first() else { return String::new() };
    let text = said(first).unwrap_or_default();
    let same = group.iter().all(|host| said(host).unwrap_or_default() == text);
    if same { text } else { without_own(agenda, &first.host, &text) }
}

fn ending(outcome: Option<HostOutcome>) -> (Tone, &'static str) {
    outcome.map_or((Tone::Bad, "unfinished"), |outcome| (Tone::of(outcome), outcome.describe()))
}

fn failure(host: &HostSummary) -> Option<String> {
    host.failure.as_ref().map(failure_in_words)
}

fn reason(host: &HostSummary) -> Option<String> {
    host.reason.as_ref().map(|reason| one_line(&reason.text))
}

fn names(group: &[&HostSummary]) -> String {
    fold_names(group.iter().map(|host| host.host.as_str()))
}

/// `roll/migrate: exit status 3`.
fn failure_in_words(failure: &Failure) -> String {
    let step = match failure.kind {
        StepKind::Run => failure.step.to_string(),
        StepKind::Undo => format!("undo of {}", failure.step),
    };
    let outcome = printable(failure.outcome.describe().as_bytes());
    let attempts = if failure.attempts > 1 { format!(" in {} attempts", failure.attempts) } else { String::new() };
    format!("{step}: {outcome}{attempts}")
}

/// What happened on the hosts that did not succeed; told once for hosts on which the same happened.
fn troubles(agenda: &Agenda, summary: &Summary, color: bool) -> String {
    let hosts: Vec<&HostSummary> = summary
        .hosts()
        .filter(|host| !matches!(host.outcome, Some(HostOutcome::Succeeded | HostOutcome::Untouched)))
        .collect();
    let mut text = String::new();
    let groups = alike(&hosts, |host| {
        let undone: Vec<_> = host.undone().cloned().collect();
        let not_undone: Vec<_> = host.not_undone().map(|(step, _)| step.clone()).collect();
        let cause = |text: String| without_own(agenda, &host.host, &text);
        let why = (reason(host).map(cause), failure(host).map(cause));
        let hints = host.reason.as_ref().map(|reason| &reason.hints);
        (host.outcome, why, hints, undone, not_undone, host.in_force.clone())
    });
    for group in groups {
        let differ = group.windows(2).any(|two| matches!(two, [a, b] if reason(a) != reason(b)));
        let parts = if differ && group.len() <= FEW { group.chunks(1) } else { group.chunks(group.len()) };
        for part in parts {
            trouble(&mut text, part, agenda, color);
        }
    }
    text
}

fn trouble(text: &mut String, group: &[&HostSummary], agenda: &Agenda, color: bool) {
    let Some(host) = group.first() else { return };
    let (tone, word) = ending(host.outcome);
    let told = because(word, &shared(group, agenda, reason));
    let told = told.strip_prefix(word).unwrap_or_default();
    _ = writeln!(text, "{}: {}{told}", names(group), tone.paint(word, color));
    for hint in host.reason.iter().flat_map(|reason| hint_lines(&reason.hints)) {
        _ = writeln!(text, "  {hint}");
    }
    let is_unknown = |failure: &Failure| matches!(failure.outcome, StepOutcome::Unknown { .. });
    if host.outcome == Some(HostOutcome::Unknown) && host.failure.as_ref().is_some_and(is_unknown) {
        _ = writeln!(text, "  nothing was undone on it since, and its command may still be running there");
    } else if host.outcome == Some(HostOutcome::Detached) {
        _ = writeln!(text, "  what was begun there goes on, or has ended: `fleet resume` finds out");
    }
    if let Some(activity) = &host.activity {
        let doing = if activity.kind == StepKind::Undo { "undoing" } else { "running" };
        _ = writeln!(text, "  was {doing} {} when the record ends", activity.step);
    }
    for failure in host.failure.iter().chain(&host.undo_failure) {
        let lines: Vec<String> = last_lines(&failure.tail, LAST_LINES).collect();
        let whose = if group.len() > 1 { format!(" on {}", host.host) } else { String::new() };
        let what = if failure.kind == StepKind::Undo { "the undo of " } else { "" };
        if failed_silently(&failure.outcome, &failure.tail) {
            if let Some((lines, command)) = command(agenda, &host.host, &failure.step, failure.kind) {
                let count = lines_in_words(lines);
                _ = writeln!(text, "  command of {what}{}{whose}{count}: {command}", failure.step);
            }
        } else if !lines.is_empty() {
            _ = writeln!(text, "  last lines of {what}{}{whose}:", failure.step);
            for line in lines {
                _ = writeln!(text, "    | {line}");
            }
        }
    }
    if host.undone().next().is_some() {
        _ = writeln!(text, "  undone: {}", paths(host.undone()));
        if !host.kept.is_empty() {
            _ = writeln!(text, "  ran, and has no undo: {}", paths(&host.kept));
        }
    }
    for (step, outcome) in host.not_undone() {
        let outcome = outcome.describe();
        let told = format!("  not undone: {step}: {}", printable(outcome.as_bytes()));
        _ = writeln!(text, "{}", Tone::Bad.paint(&told, color));
    }
    if !host.in_force.is_empty() {
        let told = format!("  still in force: {}", printable(host.in_force.join(", ").as_bytes()));
        _ = writeln!(text, "{}", Tone::Bad.paint(&told, color));
    }
}

/// `mysite deploy failed after 21.2 s: 1 held, 2 rolled back (exit code 10)`.
fn result(summary: &Summary, color: bool) -> String {
    let code = summary.told_exit_code.unwrap_or_else(|| summary.exit_code());
    let (word, tone) = match (summary.finished, code) {
        (None, _) => ("is unfinished", Tone::Bad),
        (Some(_), exit::SUCCESS) if summary.is_undo() => ("was undone", Tone::Good),
        (Some(_), exit::FAILED) if summary.is_undo() => ("was not undone on every host", Tone::Bad),
        (Some(_), exit::REFUSED) => ("was refused", Tone::Bad),
        (Some(_), exit::LOCKED) => ("was kept away by another run", Tone::Bad),
        (Some(_), exit::SUCCESS) => ("succeeded", Tone::Good),
        (Some(_), exit::UNKNOWN) => ("ended in doubt", Tone::Bad),
        (Some(_), exit::UNREACHABLE) => ("did not reach every host", Tone::Bad),
        (Some(_), exit::INTERRUPTED | exit::TERMINATED) => ("was interrupted", Tone::Warning),
        (Some(_), _) => ("failed", Tone::Bad),
    };
    let mut counts: BTreeMap<Option<HostOutcome>, usize> = BTreeMap::new();
    for host in summary.hosts() {
        *counts.entry(host.outcome).or_default() += 1;
    }
    let counts = counts.into_iter().map(|(outcome, count)| format!("{count} {}", ending(outcome).1));
    let took = summary.duration().map(|took| format!(" after {}", duration(took))).unwrap_or_default();
    let what = sites_and_task(&summary.sites, &summary.task);
    let mut text = format!("{what} {}{took}: {}", tone.paint(word, color), counts.collect::<Vec<_>>().join(", "));
    if summary.finished.is_some() && code != exit::SUCCESS {
        _ = write!(text, " (exit code {code})");
    }
    text.push('\n');
    text.push_str(&changes(summary));
    if let Some(basis) = &summary.basis {
        _ = writeln!(text, "{}", printable(basis.describe().as_bytes()));
    }
    // What is not on record proves nothing to a later run.
    let on_record = summary.dropped.iter().all(|(reporter, _)| reporter != RECORD);
    if let Some(proven) = summary.proven.as_ref().filter(|_| on_record) {
        let value = |(name, value): (&VarName, &str)| {
            let is_new = proven.new.as_ref().map(|new| if new.contains(name) { " (new here)" } else { " (as before)" });
            format!("{name} = {}{}", printable(value.as_bytes()), is_new.unwrap_or_default())
        };
        _ = writeln!(text, "proven: {}", proven.values().map(value).collect::<Vec<_>>().join(", "));
    }
    text
}

/// What to type next; nothing when all is well.
fn next(summary: &Summary) -> Vec<Vec<Cell>> {
    let Some(run) = &summary.run else { return Vec::new() };
    let done = |host: &HostSummary| match host.outcome {
        Some(HostOutcome::Succeeded) => true,
        Some(HostOutcome::RolledBack | HostOutcome::Untouched) => summary.is_undo(),
        _ => false,
    };
    let left: Vec<&HostSummary> = summary.hosts().filter(|host| !done(host)).collect();
    if left.is_empty() {
        return Vec::new();
    }
    let row = |command: String, why: &str| vec![Cell::plain(command), Cell::plain(why)];
    let mut rows = vec![row(format!("fleet show {run}"), "all that is known about this run")];
    if let Some((host, failure)) = summary.hosts().find_map(|host| Some((host, host.failure.as_ref()?))) {
        let command = format!("fleet logs {run} {} --step {}", host.host, short(failure.step.as_str()));
        rows.push(row(command, "what it printed"));
    }
    let (sites, all) = (with_commas(&summary.sites), summary.hosts().len());
    let attention = |outcomes: &[Option<HostOutcome>]| -> Vec<&HostSummary> {
        left.iter().filter(|host| outcomes.contains(&host.outcome)).copied().collect()
    };
    let look = |hosts: &[&HostSummary]| {
        let limit = limit(if hosts.len() <= LIMIT_NAMES { hosts } else { hosts.get(..1).unwrap_or_default() });
        format!("fleet {sites} run -l {limit} -- COMMAND")
    };
    let unclear = attention(&[Some(HostOutcome::Unknown), None]);
    if !unclear.is_empty() {
        rows.push(row(look(&unclear), &format!("look first: {} is unknown", names(&unclear))));
    }
    // A record that ends in the middle is of a run that still goes on, or whose controller ended.
    let waits = left.iter().any(|host| host.locked || matches!(host.outcome, None | Some(HostOutcome::Detached)));
    if waits && summary.task != AD_HOC {
        if let Some((host, step)) = undecided(&left) {
            let resume = format!("fleet resume {run} --assume-done {host}:{step}");
            rows.push(row(resume, "when you know that the step is done"));
            // Where others went back, or have begun to, it would only be undone.
            if summary.hosts().all(|host| host.undone().next().is_none()) {
                rows.push(row(format!("fleet resume {run} --rerun {host}:{step}"), "or run the step once more"));
            }
        } else {
            rows.push(row(format!("fleet resume {run}"), "go on with it"));
        }
        rows.push(row(format!("fleet undo {run}"), "or take back what it has done"));
    }
    let mut held = attention(&[Some(HostOutcome::Held)]);
    // Those that only wait for the others need nothing.
    held.retain(|host| !waits || host.failure.is_some() || host.undo_failure.is_some());
    if !held.is_empty() {
        rows.push(row(look(&held), &format!("put right what is held: {}", names(&held))));
    }
    // The command of an ad-hoc run is not known here, and is in the shell's history anyway.
    if summary.task != AD_HOC && !waits {
        let mut command = format!("fleet {}", sites_and_task(&summary.sites, &summary.task));
        if left.len() < all && left.len() <= LIMIT_NAMES {
            _ = write!(command, " -l {}", limit(&left));
        }
        rows.push(row(command, "again, when the cause is gone"));
    }
    rows
}

/// A step that a person has to decide about.
fn undecided<'a>(hosts: &[&'a HostSummary]) -> Option<(&'a HostLabel, &'a str)> {
    let unknown = hosts.iter().find(|host| host.outcome == Some(HostOutcome::Unknown))?;
    let failure = unknown.failure.as_ref().filter(|failure| failure.kind == StepKind::Run)?;
    Some((&unknown.host, failure.step.as_str()))
}

/// The hosts as an argument of `--limit`.
fn limit(hosts: &[&HostSummary]) -> String {
    hosts.iter().map(|host| host.host.as_str()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
