//! What a run would do, as the recipe's own task says that looks: before the question whether to begin.

use std::collections::BTreeSet;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use jiff::{Timestamp, Zoned};
use tokio::sync::mpsc;

use super::context::{self, Context, say};
use super::failure::Failure;
use super::{descriptors, interrupts, logging, secrets};
use crate::app;
use crate::app::planning::{self, PlanningError};
use crate::app::run_id::fresh_run_id;
use crate::engine::Run;
use crate::model::plan::plan::Plan;
use crate::model::plan::planner::{Asked, PlanError};
use crate::model::run::exit;
use crate::model::run::outcome::HostOutcome;
use crate::model::run::summary::Summary;
use crate::model::text::fold::fold_names;
use crate::model::text::name::{TaskName, VarName};
use crate::model::text::secret::Secrets;
use crate::record::store::Store as _;
use crate::remote::Connect;
use crate::report::{findings_text, printed_text, table, words};

/// Runs the previews of a plan on its hosts, and shows what these print. Gives the hosts that could not be reached, in words, when the
/// plan itself would go on without them; an error is the end of the command, and nothing was changed.
pub async fn show(
    context: &Context<'_>,
    connector: &Arc<dyn Connect>,
    (plan, asked): (&Plan, &Asked),
    values: &mut Option<Secrets>,
) -> Result<Option<String>, Failure> {
    if plan.previews.is_empty() {
        return Ok(None);
    }
    let names = plan.previews.iter().map(TaskName::as_str).collect::<Vec<_>>().join(" ");
    // It would show what the whole task does.
    if !asked.overrides.steps.is_all() {
        say(&format!("note: steps are left out, so the preview, `{names}`, is left out, too"));
        return Ok(None);
    }
    let id = fresh_run_id(&Zoned::now()).map_err(Failure::environment)?;
    let asked = Asked { tasks: plan.previews.clone(), ..asked.clone() };
    let looking = match planning::plan(&context.project, &asked, &id) {
        // There is nothing to look at on these hosts.
        Err(PlanningError::Plan(PlanError::Empty(_))) => return Ok(None),
        looking => looking?,
    };
    descriptors::suffice_for(&looking)?;
    add_secrets(context, (plan, &looking), values).await?;
    say(&format!("{names} on {}:", words::counted(looking.hosts.len(), "host")));
    let (mut signals, listening) = interrupts::listen()?;
    // Filled below, emptied by the run.
    let (interrupt, interrupts) = mpsc::channel(4);
    let record = context.store().create(&id, &looking, Some(&asked))?;
    let looking = Arc::new(looking);
    let run = Run {
        plan: Arc::clone(&looking),
        id: id.clone(),
        by: context::operator(),
        secrets: values.clone().unwrap_or_default(),
        resumed: None,
        project: context.project.root.clone(),
        connector: Arc::clone(connector),
        interrupts,
        now: Timestamp::now,
    };
    logging::keep(&context.store().debug_log(&id, &looking));
    let mut carried_out = pin!(app::carry_out::carry_out(run, record, Vec::new()));
    let (summary, _) = loop {
        tokio::select! {
            ended = &mut carried_out => break ended,
            Some(signal) = signals.recv() => {
                say("interrupted");
                // Twice: what only looks is ended at once.
                (0..2).for_each(|_| _ = interrupt.try_send(signal));
            }
        }
    };
    drop(listening);
    let color = context::colour(context.flags, &io::stderr());
    let shown = printed_text::printed(&context.store(), &id, &looking)?;
    let findings = summary.findings().next().map(|_| findings_text::findings(&summary, color));
    for text in [Some(shown), findings].into_iter().flatten().filter(|text| !text.is_empty()) {
        say(text.trim_end());
    }
    match silent(&summary) {
        Ok(silent) => Ok(silent),
        Err(code) => {
            say(table::table(&looking, &summary, color).trim_end());
            say("nothing was asked, and nothing was changed");
            Err(Failure::Told(code))
        }
    }
}

/// The values that the preview needs are asked for once, with those of the plan.
async fn add_secrets(
    context: &Context<'_>,
    (plan, looking): (&Plan, &Plan),
    values: &mut Option<Secrets>,
) -> Result<(), Failure> {
    let Some(site) = plan.sites.first().filter(|_| !looking.secrets.is_empty()) else { return Ok(()) };
    let known = values.get_or_insert_default();
    let needed = plan.secrets.union(&looking.secrets).filter(|name| !known.contains_key(*name));
    let missing: BTreeSet<VarName> = needed.cloned().collect();
    known.extend(secrets::of_site(context, site, &missing).await?);
    Ok(())
}

/// The hosts that could not be reached, when that is all that is wrong, and no more than the site allows; else the exit code.
fn silent(summary: &Summary) -> Result<Option<String>, u8> {
    let code = summary.exit_code();
    let is_silent = |outcome| outcome == Some(HostOutcome::Unreachable);
    let names = || fold_names(summary.hosts().filter(|host| is_silent(host.outcome)).map(|host| host.host.as_str()));
    match code {
        exit::SUCCESS => Ok(None),
        exit::UNREACHABLE if summary.stopped.is_none() => Ok(Some(names())),
        code => Err(code),
    }
}
