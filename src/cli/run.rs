//! `fleet SITE TASK...` and `fleet SITE run -- CMD`.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use jiff::{Timestamp, Zoned};

use super::args::SiteArgs;
use super::context::{self, Context, print, say};
use super::failure::{Failure, with_cause};
use super::{access, ask, descriptors, interrupts};
use crate::engine::{self, Observer};
use crate::model::event::Event;
use crate::model::exit;
use crate::model::inventory::{Site, Stage};
use crate::model::name::{HostName, RunId, SiteName, TaskName};
use crate::model::plan::Plan;
use crate::model::planner::{self, Request};
use crate::model::shell::quote;
use crate::report::Reporter;
use crate::report::background::Background;
use crate::report::json::Json;
use crate::report::narrator::{Detail, Telling};
use crate::report::outlet::Outlet;
use crate::report::plain::Plain;
use crate::report::plan_text;
use crate::report::record::Record;
use crate::report::reporters::Reporters;
use crate::report::table;
use crate::report::terminal::Terminal;

/// Runs tasks on each targeted site, one site after another; the first that does not succeed is the last.
pub async fn tasks(context: &Context<'_>, args: &SiteArgs) -> Result<u8, Failure> {
    let targets = context.targets(&args.selector)?;
    let tasks: Vec<TaskName> = args
        .tasks
        .iter()
        .map(|task| TaskName::parse(task))
        .collect::<Result<_, _>>()
        .map_err(|e| Failure::usage(e.to_string()))?;
    let sites = context.sites(&targets);
    refuse_followers(&sites)?;
    let mut plans: VecDeque<(Plan, RunId)> = VecDeque::new();
    for (site, hosts) in sites {
        let mut run = fresh_run_id()?;
        while plans.iter().any(|(_, other)| *other == run) {
            run = fresh_run_id()?;
        }
        plans.push_back((plan_tasks(context, site, hosts, &tasks, &run)?, run));
    }
    if context.flags.dry_run {
        return dry_run(context, plans.iter().map(|(plan, _)| plan));
    }
    for (plan, _) in &plans {
        confirm(context, plan)?;
    }
    for (plan, _) in &plans {
        descriptors::suffice_for(plan)?;
    }
    let hosts: Vec<_> = plans.iter().flat_map(|(plan, _)| plan.hosts.clone()).collect();
    let connector = Arc::new(access::for_runs(context, &hosts).await?);
    while let Some((plan, run)) = plans.pop_front() {
        let code = execute(context, plan, run, Arc::clone(&connector) as _).await?;
        if code != exit::SUCCESS {
            let left: Vec<&str> = plans.iter().flat_map(|(plan, _)| &plan.sites).map(SiteName::as_str).collect();
            if !left.is_empty() {
                say(&format!("not begun, because of that: {}", left.join(", ")));
            }
            return Ok(code);
        }
    }
    Ok(exit::SUCCESS)
}

/// What a site gets from the one that it follows is decided when it is planned, so both cannot be in one command.
fn refuse_followers(sites: &[(&Site, &[HostName])]) -> Result<(), Failure> {
    let follower = sites.iter().find_map(|(site, _)| {
        let followed = &site.follows.as_ref()?.value;
        sites.iter().any(|(other, _)| other.name == *followed).then_some((&site.name, followed))
    });
    match follower {
        None => Ok(()),
        Some((name, source)) => Err(Failure::usage(format!(
            "`{name}` gets what is proven on `{source}`, so they cannot go together\nhint: first `{source}`, then `{name}`"
        ))),
    }
}

fn plan_tasks(
    context: &Context<'_>,
    site: &Site,
    hosts: &[HostName],
    tasks: &[TaskName],
    run: &RunId,
) -> Result<Plan, Failure> {
    let recipe = context.recipe(site)?;
    let overrides = context.flags.overrides();
    let proof = context.proof(site)?;
    let login = context::login_user()?;
    let request =
        Request { site, hosts, recipe, tasks, overrides: &overrides, run, login: &login, proof: proof.as_ref() };
    if let Some((name, meant)) = planner::misspelt(request) {
        let hint = meant.map_or_else(
            || format!("fleet tasks {} shows its variables", site.name),
            |meant| format!("did you mean `{meant}`?"),
        );
        return Err(Failure::usage(format!(
            "--set {name}: neither recipe `{}` nor site `{}` knows such a variable\nhint: {hint}",
            recipe.name, site.name
        )));
    }
    Ok(planner::plan(request)?)
}

/// Runs one command on all targeted hosts.
pub async fn command(context: &Context<'_>, args: &SiteArgs) -> Result<u8, Failure> {
    let command = match args.command.as_slice() {
        [] => {
            return Err(Failure::usage(format!(
                "what is to run?\nhint: fleet {} run -- uptime",
                quote(&args.selector)
            )));
        }
        // One word is shell text, pipes and all; several are words, each quoted.
        [text] => text.clone(),
        words => words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "),
    };
    let targets = context.targets(&args.selector)?;
    let sites = context.sites(&targets);
    let plan = planner::plan_command(&sites, &command, &context.flags.overrides(), &context::login_user()?)
        .map_err(|e| Failure::Message(exit::INVALID, e.to_string()))?;
    if context.flags.dry_run {
        return dry_run(context, [&plan]);
    }
    confirm(context, &plan)?;
    descriptors::suffice_for(&plan)?;
    let connector = Arc::new(access::for_runs(context, &plan.hosts).await?);
    execute(context, plan, fresh_run_id()?, connector).await
}

fn dry_run<'p>(context: &Context<'_>, plans: impl IntoIterator<Item = &'p Plan>) -> Result<u8, Failure> {
    for plan in plans {
        if context.flags.json {
            let json = serde_json::to_string(plan).map_err(|e| Failure::Message(exit::BUG, e.to_string()))?;
            print(&format!("{json}\n"))?;
        } else {
            print(&plan_text::plan(plan, context::stdout_colour(context.flags)))?;
        }
    }
    Ok(exit::SUCCESS)
}

/// Production is asked for by name.
fn confirm(context: &Context<'_>, plan: &Plan) -> Result<(), Failure> {
    for name in &plan.sites {
        let site = context.project.inventory.sites.get(name);
        let stage = site.and_then(|site| site.stage.as_ref()).map(|stage| stage.value);
        if stage == Some(Stage::Production) {
            let hosts = plan.hosts.iter().filter(|host| host.site == *name).count();
            let hosts = if hosts == 1 { "1 host".to_owned() } else { format!("{hosts} hosts") };
            let question = format!("{} on production, {hosts}. Type `{name}` to go on:", plan.task);
            ask::confirm_by_name(context.flags, &question, name.as_str())?;
        }
    }
    Ok(())
}

/// A name that sorts by time: `20261122-084512-7f3a`, in UTC, with the fraction of the second in hex. The second alone would not do:
/// `fleet mysite deploy && fleet show` must show this run and not the one before.
fn fresh_run_id() -> Result<RunId, Failure> {
    let now = Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC);
    let fraction = i64::from(now.subsec_nanosecond()) * 0x10000 / 1_000_000_000;
    let id = format!("{}-{fraction:04x}", now.strftime("%Y%m%d-%H%M%S"));
    RunId::parse(&id).map_err(Failure::environment)
}

struct Reporting(Reporters);

impl Observer for Reporting {
    fn observe(&mut self, events: &[Event]) {
        self.0.report_all(events);
    }

    fn tick(&mut self) {
        self.0.tick(Timestamp::now());
    }
}

fn reporters(context: &Context<'_>, plan: &Plan, run: &RunId) -> Result<Reporting, Failure> {
    let flags = context.flags;
    let record =
        Record::create(&context.runs(), run, plan).map_err(|e| Failure::Message(exit::ENVIRONMENT, with_cause(&e)))?;
    let mut reporters: Vec<Box<dyn Reporter>> = vec![Box::new(record)];
    if flags.json {
        reporters.push(Box::new(Json::new(Outlet::new(io::stdout()).map_err(Failure::environment)?)));
    }
    let live = io::stderr().is_terminal() && !flags.verbose && !flags.quiet;
    let ad_hoc = plan.task == "run";
    let detail = match (flags.quiet, flags.verbose) {
        (true, _) => Detail::Trouble,
        (_, true) => Detail::Verbose,
        // The live view has a line for each host; what an ad-hoc command prints is its result, and scrolls by above it.
        _ if live && !ad_hoc => Detail::Trouble,
        _ => Detail::Normal,
    };
    let telling = Telling { detail, color: context::stderr_colour(flags), zone: context::zone() };
    let outlet = || Outlet::new(io::stderr()).map_err(Failure::environment);
    reporters.push(match (live, ad_hoc) {
        // A view may skip what a terminal that stands still does not show; where output itself is told, nothing may be missing.
        (true, false) => {
            let view = Box::new(Terminal::stderr(io::stderr(), telling));
            Box::new(Background::start(view).map_err(Failure::environment)?)
        }
        (true, true) => Box::new(Terminal::stderr(outlet()?, telling)),
        (false, _) => Box::new(Plain::new(outlet()?, telling)),
    });
    Ok(Reporting(Reporters::new(reporters)))
}

async fn execute(
    context: &Context<'_>,
    plan: Plan,
    id: RunId,
    connector: Arc<dyn crate::ssh::Connect>,
) -> Result<u8, Failure> {
    let mut reporting = reporters(context, &plan, &id)?;
    let (interrupts, listening) = interrupts::listen()?;
    let run =
        engine::Run { plan: Arc::new(plan), id, by: context::operator(), connector, interrupts, now: Timestamp::now };
    let code = engine::execute(run, &mut reporting).await.exit_code();
    drop(listening);
    let (json, color) = (context.flags.json, context::stdout_colour(context.flags));
    let last_words = tokio::task::spawn_blocking(move || {
        // The reporters' own summary also knows which of them were dropped.
        let text = table::table(&reporting.0.finish(), color);
        // The deployment is over: whoever closed standard output does not change how it ended.
        if json {
            say(&text);
        } else {
            let _ = print(&text);
        }
    });
    // Whoever leaves them unread (`| less`, Ctrl-S) can still go with Ctrl-C.
    let (mut interrupts, _listening) = interrupts::listen()?;
    tokio::select! {
        _ = last_words => {}
        _ = interrupts.recv() => {}
    }
    Ok(code)
}
