//! `fleet SITE TASK...` and `fleet SITE run -- CMD`.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use tokio::sync::OnceCell;
use tokio::sync::mpsc::Receiver;

use super::args::SiteArgs;
use super::context::{self, Context, print, say};
use super::failure::Failure;
use super::interrupts::Listener;
use super::{access, ask, books, descriptors, interrupts, logging, preview, secrets, trust};
use crate::app;
use crate::app::consent::{self, Risk};
use crate::app::planning::{self, PlanningError};
use crate::app::run_id::fresh_run_id;
use crate::engine::Run;
use crate::model::inventory::inventory::{Share, Site};
use crate::model::plan::book::Proof;
use crate::model::plan::plan::{AD_HOC, Plan};
use crate::model::plan::planner::{self, Asked, PlanError};
use crate::model::recipe::recipe::LOOKING_TASKS;
use crate::model::recipe::shell::quote;
use crate::model::run::event::Signal;
use crate::model::run::exit;
use crate::model::run::summary::Summary;
use crate::model::text::hint::Hint;
use crate::model::text::name::{HostName, RunId, SiteName, TaskName};
use crate::model::text::printable::printable;
use crate::model::text::secret::Secrets;
use crate::record::store::{Record, Store as _};
use crate::remote::Connect;
use crate::report::json::Json;
use crate::report::narrator::{Detail, Telling};
use crate::report::outlet::Outlet;
use crate::report::plain::Plain;
use crate::report::plan_summary;
use crate::report::plan_text;
use crate::report::reporter::Reporter;
use crate::report::table;
use crate::report::terminal::Terminal;
use crate::report::words::counted;

/// Runs tasks on each targeted site, one site after another; the first that does not succeed is the last.
pub async fn tasks(context: &Context<'_>, args: &SiteArgs) -> Result<u8, Failure> {
    let sites = context.targets(&args.selector)?;
    let tasks = args.tasks.iter().map(|task| TaskName::parse(task));
    let tasks = tasks.collect::<Result<Vec<_>, _>>().map_err(Failure::usage)?;
    tasks_on(context, sites, &tasks, (args, OnceCell::new())).await
}

/// The same on these sites. The way in is taken where there is one: keys are read, and passphrases asked for, once.
pub async fn tasks_on(
    context: &Context<'_>,
    sites: Vec<(&Site, Vec<HostName>)>,
    tasks: &[TaskName],
    (args, connector): (&SiteArgs, OnceCell<Arc<dyn Connect>>),
) -> Result<u8, Failure> {
    planning::refuse_followers(&sites)?;
    // Before the first of them is planned, for which hosts may be asked.
    for (site, _) in &sites {
        context.recipe(site)?;
    }
    let mut overrides = context.flags.overrides();
    if tasks.iter().all(|task| LOOKING_TASKS.contains(&task.as_str())) {
        // A host that is away is no reason not to look at the others.
        overrides.max_fail.get_or_insert(Share::Percent(100));
    }
    let mut plans: Vec<(Plan, Asked, RunId, Option<Secrets>)> = Vec::new();
    // What the hosts of followers have now, as their books say, by site.
    let mut former: BTreeMap<SiteName, Proof> = BTreeMap::new();
    for (site, hosts) in sites {
        let run = fresh_run_id(&Zoned::now()).map_err(Failure::environment)?;
        let mut asked = Asked {
            site: site.name.clone(),
            hosts,
            tasks: tasks.to_vec(),
            overrides: overrides.clone(),
            login: context::login_user()?,
            proof: None,
            unproven: false,
        };
        let mut values = None;
        let plan = match planning::plan(&context.project, &asked, &run) {
            Err(PlanningError::Plan(unproven @ PlanError::Unproven { .. })) => {
                if let (PlanError::Unproven { secrets: names, .. }, false) = (&unproven, context.flags.dry_run) {
                    values = Some(secrets::of_site(context, &site.name, names).await?);
                }
                let way = connector.get_or_try_init(|| way_to_all(context, args)).await?;
                books::prove(context, way, site, (&mut asked, unproven)).await?;
                let plan = planning::plan(&context.project, &asked, &run)?;
                let here = books::proven_here(context, way, &plan).await;
                former.extend(here.map(|here| (site.name.clone(), here)));
                plan
            }
            plan => plan?,
        };
        plans.push((plan, asked, run, values));
    }
    if context.flags.dry_run {
        return dry_run(
            context,
            plans.iter().map(|(plan, ..)| (plan, plan.sites.first().and_then(|site| former.get(site)))),
        );
    }
    for (plan, asked, _, values) in &mut plans {
        let asks = consent::risks(&context.project, plan).next().is_some() && !context.flags.yes;
        let mut silent = None;
        if asks {
            // Without a terminal nothing is asked, and what is refused needs no look.
            if ask::is_interactive(context.flags) && !plan.previews.is_empty() {
                let way = connector.get_or_try_init(|| way_to_all(context, args)).await?;
                silent = preview::show(context, way, (plan, asked), values).await?;
            }
            let former = plan.sites.first().and_then(|site| former.get(site));
            say(plan_summary::summary(plan, former, context::colour(context.flags, &io::stderr())).trim_end());
        } else {
            plan.left_out.iter().for_each(|note| say(&format!("note: {note}")));
            say_basis(plan);
        }
        ask_by_name(context, plan, &plan.task, silent.as_deref())?;
    }
    for (plan, _, _, values) in &mut plans {
        descriptors::suffice_for(plan)?;
        if values.is_none() {
            *values = Some(secrets::of_plan(context, plan).await?);
        }
    }
    let connector = connector.get_or_try_init(|| way_to_all(context, args)).await?;
    let mut plans = plans.into_iter();
    while let Some((plan, asked, id, values)) = plans.next() {
        let secrets = values.unwrap_or_default();
        let code = execute(context, (plan, Some(&asked), secrets), id, Arc::clone(connector)).await?;
        if code != exit::SUCCESS {
            let left: Vec<String> = plans.flat_map(|(plan, ..)| plan.sites).map(|site| site.to_string()).collect();
            if !left.is_empty() {
                say(&format!("not begun, because of that: {}", left.join(", ")));
            }
            return Ok(code);
        }
    }
    Ok(exit::SUCCESS)
}

/// The way in to all hosts that the command touches or asks.
async fn way_to_all(context: &Context<'_>, args: &SiteArgs) -> Result<Arc<dyn Connect>, Failure> {
    let mut hosts = trust::hosts(context, &args.selector)?;
    for (site, _) in context.targets(&args.selector)? {
        hosts.extend(books::followed(context, site)?);
    }
    access::for_runs(context, &hosts).await
}

pub async fn command(context: &Context<'_>, args: &SiteArgs) -> Result<u8, Failure> {
    let command = match args.command.as_slice() {
        [] => {
            let hint = Hint::Command(format!("fleet {} run -- uptime", quote(&args.selector)));
            return Err(Failure::usage("what is to run?").hint(hint));
        }
        // One word is shell text, pipes and all; several are words, each quoted.
        [text] => text.clone(),
        words => words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "),
    };
    let sites = context.targets(&args.selector)?;
    let plan = planner::plan_command(&sites, &command, &context.flags.overrides(), &context::login_user()?)
        .map_err(|e| Failure::new(exit::INVALID, e))?;
    if context.flags.dry_run {
        return dry_run(context, [(&plan, None)]);
    }
    confirm(context, &plan, &plan.task)?;
    descriptors::suffice_for(&plan)?;
    let connector = access::for_runs(context, &plan.hosts).await?;
    let id = fresh_run_id(&Zoned::now()).map_err(Failure::environment)?;
    execute(context, (plan, None, Secrets::new()), id, connector).await
}

fn dry_run<'p>(
    context: &Context<'_>,
    plans: impl IntoIterator<Item = (&'p Plan, Option<&'p Proof>)>,
) -> Result<u8, Failure> {
    for (plan, former) in plans {
        if context.flags.json {
            let json = serde_json::to_string(plan).map_err(|e| Failure::new(exit::BUG, e))?;
            print(&format!("{json}\n"))?;
        } else {
            print(&plan_text::plan(plan, former, context.color()))?;
        }
    }
    Ok(exit::SUCCESS)
}

/// What the plan takes from the followed site, and how old that is.
fn say_basis(plan: &Plan) {
    if let Some(basis) = plan_summary::basis(plan) {
        say(&format!("note: {}", printable(basis.as_bytes())));
    }
}

/// Production is asked for by name.
pub fn confirm(context: &Context<'_>, plan: &Plan, what: &str) -> Result<(), Failure> {
    say_basis(plan);
    ask_by_name(context, plan, what, None)
}

/// `silent`: the hosts that could not be reached just now.
fn ask_by_name(context: &Context<'_>, plan: &Plan, what: &str, silent: Option<&str>) -> Result<(), Failure> {
    let silent = silent.map(|hosts| format!(" ({hosts} cannot be reached)")).unwrap_or_default();
    for (name, risk) in consent::risks(&context.project, plan) {
        let hosts = counted(plan.hosts.iter().filter(|host| host.site == *name).count(), "host");
        let on = match risk {
            Risk::Production => "production".to_owned(),
            Risk::Unknown => format!("`{name}`, whose file has errors"),
        };
        let question = format!("{what} on {on}, {hosts}{silent}. Type `{name}` to go on:");
        ask::confirm_by_name(context.flags, &question, name.as_str())?;
    }
    Ok(())
}

/// What shows a run, besides its record.
pub fn views(context: &Context<'_>, plan: &Arc<Plan>) -> Result<Vec<Box<dyn Reporter>>, Failure> {
    let (flags, ad_hoc) = (context.flags, plan.task == AD_HOC);
    let mut reporters: Vec<Box<dyn Reporter>> = Vec::new();
    if flags.json {
        reporters.push(Box::new(Json::new(Outlet::new(io::stdout()).map_err(Failure::environment)?)));
    }
    let live = io::stderr().is_terminal() && !context::is_dumb() && !logging::is_shown(flags) && !flags.quiet;
    // A view may skip what a stopped terminal does not show; where output itself is printed, nothing may be missing.
    let may_skip = live && !ad_hoc;
    let detail = match flags.verbose {
        // The live view has a line for each host; what an ad-hoc command prints is its result, and scrolls by above it.
        _ if flags.quiet || may_skip => Detail::Trouble,
        0 => Detail::Normal,
        _ => Detail::Verbose,
    };
    let color = context::colour(flags, &io::stderr());
    let telling = Telling { detail, color, zone: TimeZone::system(), plan: Arc::clone(plan) };
    let out = if may_skip { Outlet::of_view(io::stderr()) } else { Outlet::new(io::stderr()) };
    let out = out.map_err(Failure::environment)?;
    let is_behind = out.is_behind();
    reporters.push(if live {
        Box::new(Terminal::stderr(out, move || may_skip && is_behind(), telling))
    } else {
        Box::new(Plain::new(out, telling))
    });
    Ok(reporters)
}

async fn execute(
    context: &Context<'_>,
    (plan, asked, secrets): (Plan, Option<&Asked>, Secrets),
    id: RunId,
    connector: Arc<dyn Connect>,
) -> Result<u8, Failure> {
    let (interrupts, listening) = interrupts::listen()?;
    let record = context.store().create(&id, &plan, asked)?;
    let run = Run { secrets, ..fresh_run(context, (plan, id), connector, interrupts) };
    carry_out(context, record, run, listening).await
}

/// A run of this operator's, from its beginning, without secrets.
pub fn fresh_run(
    context: &Context<'_>,
    (plan, id): (Plan, RunId),
    connector: Arc<dyn Connect>,
    interrupts: Receiver<Signal>,
) -> Run {
    let (plan, by, project) = (Arc::new(plan), context::operator(), context.project.root.clone());
    let (secrets, now) = (Secrets::new(), Timestamp::now);
    Run { plan, id, by, secrets, resumed: None, project, connector, interrupts, now }
}

/// Carries out a run, shows it, and gives its exit code. What listens for interrupts has done so from before there was the record.
pub async fn carry_out(
    context: &Context<'_>,
    record: Box<dyn Record>,
    run: Run,
    listening: Listener,
) -> Result<u8, Failure> {
    let plan = Arc::clone(&run.plan);
    logging::keep(&context.store().debug_log(&run.id, &plan));
    let views = views(context, &plan)?;
    let (summary, reporters) = app::carry_out::carry_out(run, record, views).await;
    let code = summary.exit_code();
    // Whoever leaves the last words unread (`| less`, Ctrl-S) can still go with Ctrl-C.
    let (mut interrupts, _listening) = interrupts::listen()?;
    drop(listening);
    let (json, color) = (context.flags.json, context.color());
    let last_words = tokio::task::spawn_blocking(move || {
        // Gives the terminal back.
        drop(reporters);
        logging::tell_trouble();
        tell_end(&plan, &summary, json, color);
    });
    tokio::select! {
        _ = last_words => {}
        _ = interrupts.recv() => {}
    }
    Ok(code)
}

pub fn tell_end(plan: &Arc<Plan>, summary: &Summary, json: bool, color: bool) {
    let text = table::table(plan, summary, color);
    // The deployment is over: whoever closed standard output does not change how it ended.
    if json {
        say(&text);
    } else {
        let _ = print(&text);
    }
}
