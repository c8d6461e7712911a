//! `fleet SITE unlock`: takes a lock away after the evidence was seen, or strikes out of the book what was put right by hand.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;
use jiff::Timestamp;

use super::args::SiteArgs;
use super::ask;
use super::context::{self, Context, say};
use super::failure::Failure;
use crate::app::books::{self, Answer, Place};
use crate::model::run::exit;
use crate::model::text::hint::Hint;
use crate::model::text::name::{RunId, StepName};
use crate::model::text::printable::one_line;
use crate::remote::{Connect, Evidence, HostReport, Question};
use crate::report::words::{counted, hint_lines};

struct Held<'a> {
    place: &'a Place,
    run: String,
    evidence: &'a Evidence,
}

/// Takes the site's lock away from a run, after the evidence was seen.
pub async fn unlock(context: &Context<'_>, args: &SiteArgs) -> Result<u8, Failure> {
    let places = super::books::places(context, &args.selector)?;
    let (answers, connector) = super::books::inspect(context, &places).await?;
    if !args.forget.is_empty() {
        return forget(context, &connector, &answers, &args.forget).await;
    }
    let mut held = Vec::new();
    let mut code = books::reached(&answers);
    for (place, report) in answered(&answers) {
        let label = &place.host.label;
        match &report.holder {
            None => say(&format!("{label}: not locked")),
            Some(holder) => {
                let (run, since) = (&holder.run, &holder.since);
                let evidence = holder.evidence.describe();
                say(&one_line(&format!("{label}: locked by run {run} since {since}: {evidence}")));
                match &holder.foreign {
                    Some(path) => {
                        let refused = "holds no run's name; look at it, and remove it by hand";
                        say(&one_line(&format!("{label}: refused: {path} {refused}")));
                        code = exit::worst([code, exit::FAILED]);
                    }
                    None => held.push(Held { place, run: run.clone(), evidence: &holder.evidence }),
                }
            }
        }
    }
    if !held.is_empty() {
        confirm(context, &held)?;
        let (now, by) = (Timestamp::now(), context::operator());
        let changes = held.iter().filter_map(|Held { place, run, .. }| {
            let line = format!("{run} {now:.0} unlocked {by} {} unlock", place.host.site);
            Some(Change {
                place,
                question: Question::unlock(&place.book, &RunId::parse(run).ok()?, &line),
                done: format!("unlocked; it was locked by run {run}"),
                not_done: format!("not unlocked: run {run} does not have the lock any more"),
                failed: "not unlocked",
            })
        });
        code = exit::worst([code, carry_out(context, &connector, changes.collect()).await]);
    }
    Ok(if tell_effects(&answers) { exit::worst([code, exit::UNKNOWN]) } else { code })
}

/// A run that may still work is not unlocked by a `--yes` in a script.
fn confirm(context: &Context<'_>, held: &[Held<'_>]) -> Result<(), Failure> {
    let runs: BTreeSet<&String> = held.iter().map(|held| &held.run).collect();
    let any = |run: &String, is: fn(&Evidence) -> bool| held.iter().any(|held| held.run == *run && is(held.evidence));
    for run in &runs {
        if any(run, Evidence::is_alive) {
            say(&format!("warning: run {run} is alive: another run beside it may spoil both"));
        }
        let (on, back) =
            if any(run, |evidence| evidence.connected) { ("attach", "cancel") } else { ("resume", "undo") };
        let hint = Hint::Advice(format!("where it was started, `fleet {on} {run}` or `fleet {back} {run}`"));
        for line in hint_lines(&[hint]) {
            say(&line);
        }
    }
    let question = format!("Take the lock away on {}?", counted(held.len(), "host"));
    let mut all_over = true;
    for run in runs {
        if any(run, |evidence| !evidence.is_over()) {
            all_over = false;
            ask::insist_on(context.flags, &format!("{question} Type `{run}`, which may still work there:"), run)?;
        }
    }
    if all_over { ask::confirm(context.flags, &question) } else { Ok(()) }
}

/// Strikes out of the books what somebody has put right by hand.
async fn forget(
    context: &Context<'_>,
    connector: &Arc<dyn Connect>,
    answers: &[Answer<'_>],
    typed: &[String],
) -> Result<u8, Failure> {
    let mut code = books::reached(answers);
    let mut struck: Vec<(&Place, Vec<StepName>)> = Vec::new();
    let mut found = vec![false; typed.len()];
    for (place, report) in answered(answers) {
        let mut names = Vec::new();
        for effect in report.effects.iter().map(|effect| &effect.effect) {
            for (typed, found) in typed.iter().zip(&mut found) {
                if effect.name.as_str() == typed || effect.words == *typed {
                    *found = true;
                    names.push(effect.name.clone());
                }
            }
        }
        match &report.holder {
            _ if names.is_empty() => {}
            Some(holder) => {
                let (label, run) = (&place.host.label, &holder.run);
                say(&one_line(&format!("{label}: run {run} works on the site, and what is in force is its own")));
                code = exit::worst([code, exit::LOCKED]);
            }
            None => struck.push((place, names)),
        }
    }
    if let Some((typed, _)) = typed.iter().zip(&found).find(|(_, found)| !**found) {
        let known: Vec<String> = books::in_force(answers).map(|(_, effect)| effect.effect.name.to_string()).collect();
        let known = if known.is_empty() { "nothing is".to_owned() } else { known.join(", ") };
        return Err(Failure::new(exit::NO_MATCH, format!("`{typed}` is not in force there; in force: {known}")));
    }
    for (place, names) in &struck {
        let names: Vec<&str> = names.iter().map(StepName::as_str).collect();
        say(&format!("{}: {}", place.host.label, names.join(", ")));
    }
    if struck.is_empty() {
        return Ok(code);
    }
    ask::confirm(context.flags, "Was that put right by hand, and is it to be forgotten?")?;
    let (now, by) = (Timestamp::now(), context::operator());
    let changes = struck.iter().map(|(place, names)| {
        let all: Vec<&str> = names.iter().map(StepName::as_str).collect();
        let line = format!("- {now:.0} forgotten {by} {} {}", place.host.site, all.join(","));
        Change {
            place,
            question: Question::strike(&place.book, names, &line),
            done: "forgotten".to_owned(),
            not_done: "not forgotten: a run works on the site, or the book cannot be written".to_owned(),
            failed: "not forgotten",
        }
    });
    Ok(exit::worst([code, carry_out(context, connector, changes.collect()).await]))
}

/// What the hosts say that answered; of the others, why they did not is said in between.
fn answered<'a>(answers: &'a [Answer<'a>]) -> impl Iterator<Item = (&'a Place, &'a HostReport)> {
    answers.iter().filter_map(|(place, answer)| match answer {
        Ok(report) => Some((*place, report)),
        Err(reason) => {
            say(&format!("{}: {}", place.host.label, one_line(&reason.in_one_line())));
            None
        }
    })
}

/// A change to the book of a host, with the words for its results.
struct Change<'a> {
    place: &'a Place,
    question: Question,
    done: String,
    not_done: String,
    failed: &'a str,
}

/// Has the hosts do it, and tells on which it was done.
async fn carry_out(context: &Context<'_>, connector: &Arc<dyn Connect>, changes: Vec<Change<'_>>) -> u8 {
    let width = context.width(changes.len());
    let told = changes.into_iter().map(async |Change { place, question, done, not_done, failed }| {
        let answer = books::tell(connector, &place.host, question).await;
        let is_done = answer.as_ref().is_ok_and(|answer| answer.lines().any(|line| line == "released"));
        let told = match answer {
            Ok(_) if is_done => format!("{done}, and the host's history says so"),
            Ok(_) => not_done,
            Err(reason) => format!("{failed}: {}", one_line(&reason.in_one_line())),
        };
        (is_done, format!("{}: {told}", place.host.label))
    });
    let all: Vec<(bool, String)> = stream::iter(told).buffered(width).collect().await;
    for (_, told) in &all {
        say(told);
    }
    if all.iter().all(|(is_done, _)| *is_done) { exit::SUCCESS } else { exit::FAILED }
}

/// Says what the lock does not take with it. Is there anything?
fn tell_effects(answers: &[Answer<'_>]) -> bool {
    let mut any = false;
    for (place, effect) in books::in_force(answers) {
        any = true;
        say(&one_line(&format!("{}: in force: {}", place.host.label, effect.describe())));
    }
    if any {
        let hint = "put it right (a task of the recipe does, or `fleet undo RUN`); what was put right by hand: unlock --forget NAME";
        for line in hint_lines(&[Hint::advice(hint)]) {
            say(&line);
        }
    }
    any
}
