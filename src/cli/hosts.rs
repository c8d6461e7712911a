//! `fleet SITE status`, `fleet SITE check`: how things stand on the hosts, in their own words.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::args::SiteArgs;
use super::context::{self, Context, print, say};
use super::failure::Failure;
use super::{books, run};
use crate::app::books::{Answer, Place, in_force, is_unseen, reached};
use crate::app::looking::{self, Looked, Missing, Needs};
use crate::app::site_state::{self, Finding, PastRun, UseOfLeft};
use crate::model::inventory::inventory::Site;
use crate::model::plan::plan::PlanHost;
use crate::model::run::exit;
use crate::model::text::fold::fold_names;
use crate::model::text::name::TaskName;
use crate::model::text::printable::one_line;
use crate::remote::{Connect, Holder, HostReport, LEAST_ROOM, Left, Scope};
use crate::report::columns::{Cell, columns, headings};
use crate::report::paint::Tone;

/// Past runs that are shown of each host.
const RUNS: usize = 3;

/// Lock, running steps and last runs, per host.
pub async fn status(context: &Context<'_>, args: &SiteArgs) -> Result<u8, Failure> {
    let places = books::places(context, &args.selector)?;
    let (answers, connector) = books::inspect(context, &places).await?;
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
    let own = exit::worst([reached(&answers), state(&answers)]);
    recipes_own(context, args, "status", own, connector).await
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

/// What runs have left on the hosts, where less is promised than elsewhere, and what the recipe's tasks will miss; then the recipe's own check.
pub async fn check(context: &Context<'_>, args: &SiteArgs) -> Result<u8, Failure> {
    let places = books::places(context, &args.selector)?;
    let mut needs = Needs::default();
    let mut troubled = false;
    let (overrides, login) = (context.flags.overrides(), context::login_user()?);
    for (site, _) in context.targets(&args.selector)?.iter().filter(|(site, _)| site.recipe.is_some()) {
        match context.recipe(site) {
            Ok(recipe) => {
                // The same variable is unset for many tasks.
                let mut unknown: BTreeMap<String, Vec<String>> = BTreeMap::new();
                for (task, error) in needs.add(site, recipe, &overrides, &login) {
                    unknown.entry(error).or_default().push(format!("`{task}`"));
                }
                for (error, tasks) in unknown {
                    let (tasks, need) = match tasks.as_slice() {
                        [one] => (format!("task {one}"), "needs"),
                        many => (format!("tasks {}", many.join(", ")), "need"),
                    };
                    say(&format!("note: what {tasks} of `{}` {need} is not known: {error}", site.name));
                }
            }
            // What is wrong with it was said.
            Err(_) => troubled = true,
        }
    }
    let connector = books::way_to(context, &places).await?;
    let looked = looking::look(&connector, &places, &needs, context.width(places.len())).await;
    // Hosts of which the same is said have it said once.
    let mut hosts: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut order = Vec::new();
    for Looked { answer: (Place { host, .. }, report), missing } in &looked {
        let mut findings = site_state::findings(report);
        findings.extend(missing.iter().map(Finding::Missing));
        troubled |= findings.iter().any(Finding::is_trouble);
        let lines = findings.iter().map(in_words).map(|(tone, line)| tone.paint(&one_line(&line), context.color()));
        let lines: Vec<String> = lines.collect();
        let lines = if lines.is_empty() { vec!["nothing to report".to_owned()] } else { lines };
        for line in lines {
            let of = hosts.entry(line.clone()).or_default();
            if of.is_empty() {
                order.push(line);
            }
            of.push(host.label.as_str());
        }
    }
    let line = |line: &String| {
        let names = fold_names(hosts.get(line).into_iter().flatten().copied());
        format!("{names}: {line}\n")
    };
    print(&order.iter().map(line).collect::<String>())?;
    let answers: Vec<Answer<'_>> = looked.into_iter().map(|looked| looked.answer).collect();
    let troubled = if troubled { exit::FAILED } else { exit::SUCCESS };
    let own = exit::worst([reached(&answers), state(&answers), troubled]);
    recipes_own(context, args, "check", own, connector).await
}

/// What the recipe adds to a verb: the task of its name, on the sites whose recipe has it. `own` is what fleet's part came to.
async fn recipes_own(
    context: &Context<'_>,
    args: &SiteArgs,
    task: &str,
    own: u8,
    connector: Arc<dyn Connect>,
) -> Result<u8, Failure> {
    let has = |site: &Site| context.recipe(site).is_ok_and(|recipe| recipe.task(task).is_some());
    let sites: Vec<_> = context.targets(&args.selector)?.into_iter().filter(|(site, _)| has(site)).collect();
    let task = TaskName::parse(task).map_err(Failure::usage)?;
    let mut codes = vec![own];
    // What only looks is no reason not to look at the next site.
    for site in sites {
        let way = OnceCell::new_with(Some(Arc::clone(&connector)));
        codes.push(run::tasks_on(context, vec![site], std::slice::from_ref(&task), (args, way)).await?);
    }
    if own != exit::SUCCESS && codes.len() > 1 {
        say(&format!("exit code {}: what fleet found on the hosts is above", exit::worst(codes.iter().copied())));
    }
    Ok(exit::worst(codes))
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
        Finding::NoPlace(book) => {
            (Tone::Bad, format!("the folder of the site's book, {book}, cannot be made: no run can begin"))
        }
        Finding::Missing(Missing::User { user, reason }) => {
            (Tone::Bad, format!("cannot become {user}: {}", reason.in_one_line()))
        }
        Finding::Missing(Missing::Folder { folder, user, at_once }) => {
            let whose = user.as_ref().map(|user| format!(" as {user}")).unwrap_or_default();
            if *at_once {
                (Tone::Bad, format!("cannot enter {folder}{whose}, the working directory of a task's first step"))
            } else {
                (Tone::Dim, format!("cannot enter {folder}{whose} yet; an earlier step may create it"))
            }
        }
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
