//! `fleet SITE unlock`: takes a lock away after the evidence was seen, or strikes out of the book what was put right by hand.

use std::sync::Arc;

use jiff::Timestamp;

use super::args::SiteArgs;
use super::context::{self, Context, say, say_hint};
use super::failure::Failure;
use super::{ask, books};
use crate::app::books::{Answer, Place, in_force, reached};
use crate::app::unlocking::{self, Change, LockedRun, refuse_unknown, to_forget};
use crate::model::run::exit;
use crate::model::text::hint::Hint;
use crate::model::text::name::StepName;
use crate::model::text::printable::one_line;
use crate::remote::{Connect, Holder, HostReport};
use crate::report::words::counted;

/// Takes the site's lock away from a run, after the evidence was seen.
pub async fn unlock(context: &Context<'_>, args: &SiteArgs) -> Result<u8, Failure> {
    let places = books::places(context, &args.selector)?;
    let (answers, connector) = books::inspect(context, &places).await?;
    if !args.forget.is_empty() {
        return forget(context, &connector, &answers, &args.forget).await;
    }
    let mut changes = Vec::new();
    let mut code = reached(&answers);
    for (place, report) in answered(&answers) {
        let label = &place.host.label;
        let Some(holder) = &report.holder else {
            say(&format!("{label}: not locked"));
            continue;
        };
        let Holder { run, since, foreign, evidence, .. } = holder;
        say(&one_line(&format!("{label}: locked by run {run} since {since}: {}", evidence.describe())));
        changes.extend(Change::unlock(holder).map(|change| (place, change)));
        if let Some(path) = foreign {
            let refused = "holds no run's name; look at it, and remove it by hand";
            say(&one_line(&format!("{label}: refused: {path} {refused}")));
            code = exit::worst([code, exit::FAILED]);
        }
    }
    if !changes.is_empty() {
        confirm(context, &LockedRun::all(&answers), changes.len())?;
        code = exit::worst([code, carry_out(context, &connector, &changes).await]);
    }
    Ok(if tell_effects(&answers) { exit::worst([code, exit::UNKNOWN]) } else { code })
}

/// A run that may still work is not unlocked by a `--yes` in a script.
fn confirm(context: &Context<'_>, runs: &[LockedRun<'_>], hosts: usize) -> Result<(), Failure> {
    for locked in runs {
        if locked.is_alive() {
            say(&format!("warning: run {} is alive: another run beside it may spoil both", locked.run));
        }
        say_hint(&locked.hint());
    }
    let question = format!("Take the lock away on {}?", counted(hosts, "host"));
    if runs.iter().all(LockedRun::is_over) {
        return ask::confirm(context.flags, &question);
    }
    for LockedRun { run, .. } in runs.iter().filter(|locked| !locked.is_over()) {
        let question = format!("{question} Type `{run}`, which may still work there:");
        ask::insist_on(context.flags, &question, run)?;
    }
    Ok(())
}

/// Strikes out of the books what somebody has put right by hand.
async fn forget(
    context: &Context<'_>,
    connector: &Arc<dyn Connect>,
    answers: &[Answer<'_>],
    typed: &[String],
) -> Result<u8, Failure> {
    let mut code = reached(answers);
    let mut struck = Vec::new();
    for (place, report) in answered(answers) {
        match to_forget(report, typed) {
            Ok(names) if names.is_empty() => {}
            Ok(names) => struck.push((place, names)),
            Err(Holder { run, .. }) => {
                let label = &place.host.label;
                say(&one_line(&format!("{label}: run {run} works on the site, and what is in force is its own")));
                code = exit::worst([code, exit::LOCKED]);
            }
        }
    }
    refuse_unknown(answers, typed).map_err(|unknown| Failure::new(exit::NO_MATCH, unknown))?;
    for (place, names) in &struck {
        let names: Vec<&str> = names.iter().map(StepName::as_str).collect();
        say(&format!("{}: {}", place.host.label, names.join(", ")));
    }
    if struck.is_empty() {
        return Ok(code);
    }
    ask::confirm(context.flags, "Was that put right by hand, and is it to be forgotten?")?;
    let changes: Vec<_> = struck.into_iter().map(|(place, names)| (place, Change::Forget(names))).collect();
    Ok(exit::worst([code, carry_out(context, connector, &changes).await]))
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

/// Has the hosts do it, and tells on which it was done.
async fn carry_out(context: &Context<'_>, connector: &Arc<dyn Connect>, changes: &[(&Place, Change)]) -> u8 {
    let (now, by) = (Timestamp::now(), context::operator());
    let results = unlocking::carry_out(connector, changes, (now, &by), context.width(changes.len())).await;
    for ((place, change), result) in changes.iter().zip(&results) {
        let (done, not_done) = match change {
            Change::Unlock(run) => (format!("unlocked; it was locked by run {run}"), "not unlocked"),
            Change::Forget(_) => ("forgotten".to_owned(), "not forgotten"),
        };
        let told = match (result, change) {
            (Ok(true), _) => format!("{done}, and the host's history says so"),
            (Ok(false), Change::Unlock(run)) => format!("{not_done}: run {run} does not have the lock any more"),
            (Ok(false), Change::Forget(_)) => {
                format!("{not_done}: a run works on the site, or the book cannot be written")
            }
            (Err(reason), _) => format!("{not_done}: {}", one_line(&reason.in_one_line())),
        };
        say(&format!("{}: {told}", place.host.label));
    }
    if results.iter().all(|result| matches!(result, Ok(true))) { exit::SUCCESS } else { exit::FAILED }
}

/// Says what the lock does not take with it. Is there anything?
fn tell_effects(answers: &[Answer<'_>]) -> bool {
    for (place, effect) in in_force(answers) {
        say(&one_line(&format!("{}: in force: {}", place.host.label, effect.describe())));
    }
    let any = in_force(answers).next().is_some();
    if any {
        say_hint(&Hint::advice(
            "put it right (a task of the recipe does, or `fleet undo RUN`); what was put right by hand: unlock --forget NAME",
        ));
    }
    any
}
