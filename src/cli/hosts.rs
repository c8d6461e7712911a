//! `fleet SITE status`, `fleet SITE check`, `fleet SITE unlock`: how things stand on the hosts, in their own words.

use std::fmt::Write as _;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::args::SiteArgs;
use super::context::{self, Context, print, say};
use super::failure::Failure;
use super::{access, ask, trust};
use crate::engine;
use crate::model::command::RemoteCommand;
use crate::model::durable::Scope;
use crate::model::exit;
use crate::model::name::RunId;
use crate::model::plan::PlanHost;
use crate::model::printable::printable;
use crate::model::spool::{self, Evidence, HostReport, LEAST_ROOM};
use crate::report::columns::{Cell, columns, headings};
use crate::report::paint::Tone;
use crate::ssh::{Connect, Session};

/// A host, and what it says of itself, or why it says nothing.
type Answer<'a> = (&'a PlanHost, Result<HostReport, String>);

/// Past runs that are shown of each host.
const RUNS: usize = 3;

/// Lock, running steps and last runs, per host.
pub async fn status(context: &Context<'_>, args: &SiteArgs) -> Result<u8, Failure> {
    let hosts = trust::hosts(context, &args.selector)?;
    let answers = inspect(context, &hosts).await?;
    let mut rows = vec![headings(&["HOST", "LOCK", "STEPS", "LAST RUNS"])];
    for (host, answer) in &answers {
        let label = Cell::plain(host.label.to_string());
        match answer {
            Err(reason) => rows.push(vec![label, Cell::toned(Tone::Bad, first_line(reason))]),
            Ok(report) => {
                let (lock, steps) = report.holder.as_ref().map_or_else(
                    || (Cell::plain("free"), Cell::plain("")),
                    |holder| {
                        let who = format!("run {} since {}", holder.run, holder.since);
                        let tone = if holder.evidence.is_alive() { Tone::Plain } else { Tone::Warning };
                        (Cell::toned(tone, one_line(&who)), Cell::toned(tone, one_line(&holder.evidence.describe())))
                    },
                );
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
    print(&columns(&rows, context::stdout_colour(context.flags)))?;
    Ok(reached(&answers))
}

/// The last runs on the site, the newest first: `20261122-084512-7f3a succeeded 2026-11-22T08:46:00Z by alice@desk: deploy`.
fn runs_of(host: &PlanHost, report: &HostReport) -> Vec<String> {
    let line = |line: &String| {
        let mut words = line.splitn(6, ' ');
        let (run, at, outcome) = (words.next()?, words.next()?, words.next()?);
        let (by, site, task) = (words.next()?, words.next()?, words.next()?);
        (site == host.site.as_str()).then(|| one_line(&format!("{run} {outcome} {at} by {by}: {task}")))
    };
    report.history.iter().rev().filter_map(line).take(RUNS).collect()
}

/// What runs have left on the hosts, and where less is promised than elsewhere.
pub async fn check(context: &Context<'_>, args: &SiteArgs) -> Result<u8, Failure> {
    let hosts = trust::hosts(context, &args.selector)?;
    let answers = inspect(context, &hosts).await?;
    let mut text = String::new();
    let mut troubled = false;
    for (host, answer) in &answers {
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
    let code = reached(&answers);
    Ok(if code == exit::SUCCESS && troubled { exit::FAILED } else { code })
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

/// Takes the site's lock away from a run, after the evidence was seen.
pub async fn unlock(context: &Context<'_>, args: &SiteArgs) -> Result<u8, Failure> {
    let hosts = trust::hosts(context, &args.selector)?;
    let connector: Arc<dyn Connect> = Arc::new(access::for_runs(context, &hosts).await?);
    let width = context.width(hosts.len());
    let asked = hosts.iter().map(|host| inquire(&connector, host, spool::inspect(&host.site)));
    let answers: Vec<Answer<'_>> = stream::iter(asked).buffered(width).collect().await;
    let mut held = Vec::new();
    for (host, answer) in &answers {
        match answer {
            Err(reason) => say(&format!("{}: {}", host.label, one_line(reason))),
            Ok(HostReport { holder: None, .. }) => say(&format!("{}: not locked", host.label)),
            Ok(HostReport { holder: Some(holder), .. }) => {
                let evidence = holder.evidence.describe();
                say(&one_line(&format!(
                    "{}: locked by run {} since {}: {evidence}",
                    host.label, holder.run, holder.since
                )));
                held.push((*host, holder.run.clone(), &holder.evidence));
            }
        }
    }
    let code = reached(&answers);
    if held.is_empty() {
        return Ok(code);
    }
    for hint in hints(&held) {
        say(&hint);
    }
    let count = if held.len() == 1 { "1 host".to_owned() } else { format!("{} hosts", held.len()) };
    ask::confirm(context.flags, &format!("Take the lock away on {count}?"))?;
    let now = Timestamp::now();
    let by = context::operator();
    let unlocks = held.iter().map(|(host, run, _)| {
        let line = format!("{run} {now:.0} unlocked {by} {} unlock", host.site);
        let command = RunId::parse(run).map(|run| spool::unlock(&host.site, &run, &line));
        let connector = &connector;
        async move {
            let answer = match command {
                Ok(command) => inquire_text(connector, host, command).await,
                Err(error) => Err(error.to_string()),
            };
            (*host, run, answer)
        }
    });
    let answers: Vec<_> = stream::iter(unlocks).buffered(width).collect().await;
    let mut all = true;
    for (host, run, answer) in answers {
        match answer {
            Ok(text) if text.lines().any(|line| line == "released") => {
                say(&format!("{}: unlocked; it was locked by run {run}, and the host's history says so", host.label));
            }
            Ok(_) => {
                all = false;
                say(&format!("{}: not unlocked: run {run} does not have the lock any more", host.label));
            }
            Err(reason) => {
                all = false;
                say(&format!("{}: not unlocked: {}", host.label, one_line(&reason)));
            }
        }
    }
    Ok(if all { code } else { exit::worst([code, exit::FAILED]) })
}

/// What may be better than to break a lock.
fn hints(held: &[(&PlanHost, String, &Evidence)]) -> Vec<String> {
    let mut runs: Vec<&String> = held.iter().map(|(_, run, _)| run).collect();
    runs.sort();
    runs.dedup();
    let mut hints = Vec::new();
    for run in runs {
        if held.iter().any(|(_, other, evidence)| other == run && evidence.is_alive()) {
            hints.push(format!("warning: run {run} is alive: another run beside it may spoil both"));
        }
        hints.push(format!(
            "hint: where it was started, `fleet resume {run}` goes on with it, and `fleet undo {run}` takes it back"
        ));
    }
    hints
}

async fn inspect<'a>(context: &Context<'_>, hosts: &'a [PlanHost]) -> Result<Vec<Answer<'a>>, Failure> {
    let connector: Arc<dyn Connect> = Arc::new(access::for_runs(context, hosts).await?);
    let asked = hosts.iter().map(|host| inquire(&connector, host, spool::inspect(&host.site)));
    Ok(stream::iter(asked).buffered(context.width(hosts.len())).collect().await)
}

async fn inquire<'a>(connector: &Arc<dyn Connect>, host: &'a PlanHost, command: RemoteCommand) -> Answer<'a> {
    let never = CancellationToken::new();
    let look = async |session: &mut dyn Session| {
        let mut report = HostReport::parse(&engine::ask(session, &command, &never).await?);
        engine::see_all(session, &mut report, &never).await;
        Ok(report)
    };
    (host, connected(connector, host, look).await)
}

async fn inquire_text(connector: &Arc<dyn Connect>, host: &PlanHost, command: RemoteCommand) -> Result<String, String> {
    let never = CancellationToken::new();
    connected(connector, host, async |session: &mut dyn Session| engine::ask(session, &command, &never).await).await
}

/// Does something over a connection of its own.
async fn connected<T>(
    connector: &Arc<dyn Connect>,
    host: &PlanHost,
    talk: impl AsyncFnOnce(&mut dyn Session) -> Result<T, String>,
) -> Result<T, String> {
    let mut session = connector.connect(host).await.map_err(|error| error.to_string())?;
    let answer = talk(session.as_mut()).await;
    session.close().await;
    answer
}

fn reached(answers: &[Answer<'_>]) -> u8 {
    if answers.iter().all(|(_, answer)| answer.is_ok()) { exit::SUCCESS } else { exit::UNREACHABLE }
}

fn first_line(text: &str) -> String {
    printable(text.lines().next().unwrap_or_default().as_bytes())
}

/// What a host says, on one line and harmless on a terminal.
fn one_line(text: &str) -> String {
    printable(text.replace("\nhint: ", "; hint: ").as_bytes())
}
