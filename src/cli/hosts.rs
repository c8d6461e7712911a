//! `fleet SITE status`, `fleet SITE check`: how things stand on the hosts, in their own words.

use std::fmt::Write as _;

use super::args::SiteArgs;
use super::books;
use super::context::{Context, print};
use super::failure::Failure;
use crate::app::books::{Answer, Place, in_force, is_unseen, reached};
use crate::app::site_state::{self, Finding, PastRun, UseOfLeft};
use crate::model::plan::plan::PlanHost;
use crate::model::run::exit;
use crate::model::text::printable::one_line;
use crate::remote::{Holder, HostReport, LEAST_ROOM, Left, Scope};
use crate::report::columns::{Cell, columns, headings};
use crate::report::paint::Tone;

/// Past runs that are shown of each host.
const RUNS: usize = 3;

/// Lock, running steps and last runs, per host.
pub async fn status(context: &Context<'_>, args: &SiteArgs) -> Result<u8, Failure> {
    let places = books::places(context, &args.selector)?;
    let (answers, _) = books::inspect(context, &places).await?;
    let mut rows = vec![headings(&["HOST", "LOCK", "STEPS", "LAST RUNS"])];
    for (place, answer) in &answers {
        let host = &place.host;
        let label = Cell::plain(host.label.to_string());
        match answer {
            Err(reason) => rows.push(vec![label, Cell::toned(Tone::Bad, one_line(&reason.text))]),
            Ok(report) => {
                let (lock, steps) = match &report.holder {
                    None if is_unseen(place, report) => (Cell::toned(Tone::Warning, "cannot be seen"), Cell::plain("")),
                    None => (Cell::plain("free"), Cell::toned(Tone::Bad, one_line(&without_lock(report).join("; ")))),
                    Some(Holder { foreign: Some(path), .. }) => {
                        let steps = [format!("{path} holds no run's name")].into_iter().chain(without_lock(report));
                        let steps = one_line(&steps.collect::<Vec<_>>().join("; "));
                        let who = "run unnamed since an unknown time";
                        (Cell::toned(Tone::Warning, who), Cell::toned(Tone::Warning, steps))
                    }
                    Some(holder) => {
                        let who = format!("run {} since {}", holder.run, holder.since);
                        let tone = if holder.evidence.is_alive() { Tone::Plain } else { Tone::Warning };
                        (Cell::toned(tone, one_line(&who)), Cell::toned(tone, one_line(&holder.evidence.describe())))
                    }
                };
                let mut history = runs_of(host, report).into_iter().map(Cell::plain);
                rows.push(vec![label, lock, steps, history.next().unwrap_or_else(|| Cell::plain(""))]);
                let below = |run| vec![Cell::plain(""), Cell::plain(""), Cell::plain(""), run];
                rows.extend(history.map(below));
            }
        }
    }
    let mut text = columns(&rows, context.color());
    for (place, effect) in in_force(&answers) {
        let line = Tone::Warning.paint(&one_line(&format!("in force: {}", effect.describe())), context.color());
        let _ = writeln!(text, "{}: {line}", place.host.label);
    }
    print(&text)?;
    Ok(exit::worst([reached(&answers), state(&answers)]))
}

/// The steps of runs that have no lock any more.
fn without_lock(report: &HostReport) -> Vec<String> {
    let words = |left: &Left| format!("run {} has no lock, and runs {}", left.run, left.evidence.running.join(", "));
    site_state::without_lock(report).map(words).collect()
}

fn state(answers: &[Answer<'_>]) -> u8 {
    if site_state::is_settled(answers) { exit::SUCCESS } else { exit::UNKNOWN }
}

/// The last runs on the site, the newest first: `20261122-084512-7f3a succeeded 2026-11-22T08:46:00Z by alice@desk: deploy`.
fn runs_of(host: &PlanHost, report: &HostReport) -> Vec<String> {
    let line = |PastRun { run, at, outcome, by, site, task }: PastRun<'_>| {
        let of = if site == host.site.as_str() { String::new() } else { format!(" as {site}") };
        one_line(&format!("{run} {outcome} {at} by {by}{of}: {task}"))
    };
    site_state::past_runs(report).map(line).take(RUNS).collect()
}

/// What runs have left on the hosts, and where less is promised than elsewhere.
pub async fn check(context: &Context<'_>, args: &SiteArgs) -> Result<u8, Failure> {
    let places = books::places(context, &args.selector)?;
    let (answers, _) = books::inspect(context, &places).await?;
    let mut text = String::new();
    let mut troubled = false;
    for (Place { host, .. }, answer) in &answers {
        let findings = site_state::findings(answer);
        troubled |= findings.iter().any(Finding::is_trouble);
        if findings.is_empty() {
            let _ = writeln!(text, "{}: nothing to report", host.label);
        }
        for (tone, line) in findings.iter().map(in_words) {
            let line = tone.paint(&one_line(&line), context.color());
            let _ = writeln!(text, "{}: {line}", host.label);
        }
    }
    print(&text)?;
    let troubled = if troubled { exit::FAILED } else { exit::SUCCESS };
    Ok(exit::worst([reached(&answers), state(&answers), troubled]))
}

fn in_words(finding: &Finding<'_>) -> (Tone, String) {
    match finding {
        Finding::Silent(reason) => (Tone::Bad, format!("cannot be asked: {}", reason.in_one_line())),
        Finding::NoSpool => (
            Tone::Bad,
            "no folder for the spool: neither the home folder nor /var/tmp can be written to; no step can run"
                .to_owned(),
        ),
        Finding::LittleRoom { free, spool } => {
            let text = format!("only {} MiB are free in {spool}; a run needs {}", free >> 10, LEAST_ROOM >> 10);
            (Tone::Bad, text)
        }
        Finding::Limit(what) => (Tone::Warning, (*what).to_owned()),
        Finding::Scope(scope) => {
            let whose = if *scope == Scope::User { "the user's systemd" } else { "systemd" };
            (Tone::Dim, format!("steps run in scopes of {whose}, beyond the logout"))
        }
        Finding::Exposed(exposed) => (Tone::Bad, format!("the spool is not safe, and no run begins: {exposed}")),
        Finding::NoBook(book) => (Tone::Bad, format!("the site's book, {book}, cannot be read")),
        Finding::InForce(effect) => (Tone::Warning, format!("in force: {}", effect.describe())),
        Finding::Locked(Holder { run, since, evidence, .. }) => {
            let tone = if evidence.is_alive() { Tone::Dim } else { Tone::Warning };
            (tone, format!("locked by run {run} since {since}: {}", evidence.describe()))
        }
        Finding::Left { left: Left { run, size, evidence }, spool, use_of_it } => {
            let what = format!("run {run} has left {size} KiB in {spool}/{run}");
            let text = match use_of_it {
                UseOfLeft::Alive => format!("{what}: {}", evidence.describe()),
                UseOfLeft::Resumable => format!("{what}, to go on some day; it goes when another run comes"),
                UseOfLeft::None => format!("{what}, which is of no use any more: rm -r it"),
            };
            (Tone::Warning, text)
        }
    }
}
