//! `fleet SITE status`, `fleet SITE check`: how things stand on the hosts, in their own words.

use std::fmt::Write as _;
use std::sync::Arc;

use super::access;
use super::args::SiteArgs;
use super::books::{self, Answer, Place, in_force, is_unseen, one_line, reached};
use super::context::{self, Context, print};
use super::failure::Failure;
use crate::model::plan::plan::PlanHost;
use crate::model::run::exit;
use crate::model::text::printable::printable;
use crate::remote::{Connect, Holder, HostReport, LEAST_ROOM, Scope};
use crate::report::columns::{Cell, columns, headings};
use crate::report::paint::Tone;

/// Past runs that are shown of each host.
const RUNS: usize = 3;

/// Lock, running steps and last runs, per host.
pub async fn status(context: &Context<'_>, args: &SiteArgs) -> Result<u8, Failure> {
    let places = books::places(context, &args.selector)?;
    let answers = inspect(context, &places).await?;
    let mut rows = vec![headings(&["HOST", "LOCK", "STEPS", "LAST RUNS"])];
    for (place, answer) in &answers {
        let host = &place.host;
        let label = Cell::plain(host.label.to_string());
        match answer {
            Err(reason) => rows.push(vec![label, Cell::toned(Tone::Bad, first_line(reason))]),
            Ok(report) => {
                let (lock, steps) = match &report.holder {
                    None if is_unseen(place, report) => (Cell::toned(Tone::Warning, "cannot be seen"), Cell::plain("")),
                    None => (Cell::plain("free"), Cell::toned(Tone::Bad, one_line(&without_lock(report).join("; ")))),
                    Some(Holder { foreign: Some(path), .. }) => {
                        let steps = [format!("{path} holds no run's name")].into_iter().chain(without_lock(report));
                        let steps = one_line(&steps.collect::<Vec<_>>().join("; "));
                        (
                            Cell::toned(Tone::Warning, "run unnamed since an unknown time"),
                            Cell::toned(Tone::Warning, steps),
                        )
                    }
                    Some(holder) => {
                        let who = format!("run {} since {}", holder.run, holder.since);
                        let tone = if holder.evidence.is_alive() { Tone::Plain } else { Tone::Warning };
                        (Cell::toned(tone, one_line(&who)), Cell::toned(tone, one_line(&holder.evidence.describe())))
                    }
                };
                let history: Vec<String> = runs_of(host, report);
                rows.push(vec![label, lock, steps, Cell::plain(history.first().cloned().unwrap_or_default())]);
                rows.extend(
                    history
                        .into_iter()
                        .skip(1)
                        .map(|line| vec![Cell::plain(""), Cell::plain(""), Cell::plain(""), Cell::plain(line)]),
                );
            }
        }
    }
    let mut text = columns(&rows, context::stdout_colour(context.flags));
    for (place, effect) in in_force(&answers) {
        let line = one_line(&format!("in force: {}", effect.describe()));
        let line = Tone::Warning.paint(&line, context::stdout_colour(context.flags));
        let _ = writeln!(text, "{}: {line}", place.host.label);
    }
    print(&text)?;
    Ok(exit::worst([reached(&answers), state(&answers)]))
}

/// The steps of runs that have no lock any more, of this site or of no other: somebody took it from them while they worked.
fn without_lock(report: &HostReport) -> Vec<String> {
    let left = report.left.iter().filter(|left| !report.others.iter().any(|(_, run)| *run == left.run));
    left.filter(|left| !left.evidence.running.is_empty())
        .map(|left| format!("run {} has no lock, and runs {}", left.run, left.evidence.running.join(", ")))
        .collect()
}

/// A site with something in force, and no run that would undo it, is in no state to be left in; nor is one whose lock cannot be seen.
fn state(answers: &[Answer<'_>]) -> u8 {
    let bad = |place: &Place, report: &HostReport| {
        is_unseen(place, report)
            || !without_lock(report).is_empty()
            || (!report.effects.is_empty() && report.holder.is_none())
    };
    let any = answers.iter().any(|(place, answer)| answer.as_ref().is_ok_and(|report| bad(place, report)));
    if any { exit::UNKNOWN } else { exit::SUCCESS }
}

/// The last runs on the site, the newest first: `20261122-084512-7f3a succeeded 2026-11-22T08:46:00Z by alice@desk: deploy`.
fn runs_of(host: &PlanHost, report: &HostReport) -> Vec<String> {
    let line = |line: &String| {
        let mut words = line.splitn(6, ' ');
        let (run, at, outcome) = (words.next()?, words.next()?, words.next()?);
        let (by, site, task) = (words.next()?, words.next()?, words.next()?);
        // Another site's file may name the same folder: its runs are this site's, too.
        let of = if site == host.site.as_str() { String::new() } else { format!(" as {site}") };
        Some(one_line(&format!("{run} {outcome} {at} by {by}{of}: {task}")))
    };
    report.history.iter().rev().filter_map(line).take(RUNS).collect()
}

/// What runs have left on the hosts, and where less is promised than elsewhere.
pub async fn check(context: &Context<'_>, args: &SiteArgs) -> Result<u8, Failure> {
    let places = books::places(context, &args.selector)?;
    let answers = inspect(context, &places).await?;
    let mut text = String::new();
    let mut troubled = false;
    for (Place { host, .. }, answer) in &answers {
        let lines = match answer {
            Err(reason) => vec![(Tone::Bad, format!("cannot be asked: {reason}"))],
            Ok(report) => findings(report),
        };
        troubled |= lines.iter().any(|(tone, _)| *tone == Tone::Bad);
        if lines.is_empty() {
            let _ = writeln!(text, "{}: nothing to report", host.label);
        }
        for (tone, line) in lines {
            let line = tone.paint(&one_line(&line), context::stdout_colour(context.flags));
            let _ = writeln!(text, "{}: {line}", host.label);
        }
    }
    print(&text)?;
    let troubled = if troubled { exit::FAILED } else { exit::SUCCESS };
    Ok(exit::worst([reached(&answers), state(&answers), troubled]))
}

async fn inspect<'a>(context: &Context<'_>, places: &'a [Place]) -> Result<Vec<Answer<'a>>, Failure> {
    let hosts: Vec<PlanHost> = places.iter().map(|place| place.host.clone()).collect();
    let connector: Arc<dyn Connect> = Arc::new(access::for_runs(context, &hosts).await?);
    Ok(books::inspect(context, &connector, places).await)
}

fn first_line(text: &str) -> String {
    printable(text.lines().next().unwrap_or_default().as_bytes())
}

fn findings(report: &HostReport) -> Vec<(Tone, String)> {
    let mut lines = Vec::new();
    if report.fault {
        let text = "no folder for the spool: neither the home folder nor /var/tmp can be written to; no step can run";
        lines.push((Tone::Bad, text.to_owned()));
        return lines;
    }
    if let Some(free) = report.free.filter(|free| *free < LEAST_ROOM) {
        let text = format!("only {} MiB are free in {}; a run needs {}", free >> 10, report.spool, LEAST_ROOM >> 10);
        lines.push((Tone::Bad, text));
    }
    lines.extend(report.limits().into_iter().map(|what| (Tone::Warning, what.to_owned())));
    match report.scope {
        Scope::Session => {}
        Scope::User => {
            lines.push((Tone::Dim, "steps run in scopes of the user's systemd, beyond the logout".to_owned()));
        }
        Scope::System => lines.push((Tone::Dim, "steps run in scopes of systemd, beyond the logout".to_owned())),
    }
    if let Some(exposed) = report.exposed() {
        lines.push((Tone::Bad, format!("the spool is not safe, and no run begins: {exposed}")));
    }
    if report.no_book {
        lines.push((Tone::Bad, format!("the site's book, {}, cannot be read", report.book)));
    }
    for effect in &report.effects {
        lines.push((Tone::Warning, format!("in force: {}", effect.describe())));
    }
    if let Some(holder) = &report.holder {
        let tone = if holder.evidence.is_alive() { Tone::Dim } else { Tone::Warning };
        lines.push((
            tone,
            format!("locked by run {} since {}: {}", holder.run, holder.since, holder.evidence.describe()),
        ));
    }
    for left in &report.left {
        // A site of the same user has its own lock, and its run a folder here.
        if report.others.iter().any(|(_, run)| *run == left.run) {
            continue;
        }
        let what = format!("run {} has left {} KiB in {}/{}", left.run, left.size, report.spool, left.run);
        let text = if left.evidence.is_alive() {
            format!("{what}: {}", left.evidence.describe())
        } else if report.last.as_ref() == Some(&left.run) {
            format!("{what}, to go on some day; it goes when another run comes")
        } else {
            format!("{what}, which is of no use any more: rm -r it")
        };
        lines.push((Tone::Warning, text));
    }
    lines
}
