//! `fleet resume RUN`, `fleet undo RUN`, `fleet cancel RUN`: a run that another controller began, taken up from its record.

use rustix::io::Errno;
use rustix::process::{Pid, Signal as ProcessSignal, kill_process};

use super::args::ResumeArgs;
use super::context::{Context, say};
use super::failure::Failure;
use super::interrupts::{self, Listening};
use super::{access, attach, descriptors, run, secrets};
use crate::app::choice::choose;
use crate::app::taken::Taken;
use crate::engine::Run;
use crate::model::plan::plan::Plan;
use crate::model::run::event::{Decision, Direction};
use crate::model::text::name::RunId;
use crate::record::store::Store as _;

pub async fn resume(context: &Context<'_>, args: &ResumeArgs) -> Result<u8, Failure> {
    let (listening, mut taken) = take(context, &args.run.run, Direction::Forward)?;
    if !args.as_planned {
        taken.refuse_other_plan(&context.store(), &context.project)?;
    }
    taken.decide(&args.assume_done, Decision::AssumeDone)?;
    taken.decide(&args.rerun, Decision::Rerun)?;
    taken.give_up(&args.give_up)?;
    taken.refuse_turned_back()?;
    taken.rerun_harmless();
    go(context, (listening, taken)).await
}

pub async fn undo(context: &Context<'_>, typed: &str) -> Result<u8, Failure> {
    let (listening, taken) = take(context, typed, Direction::Back)?;
    let plan = &taken.known.plan;
    run::confirm(context, plan, &format!("undo of run {} ({})", taken.run, plan.task))?;
    go(context, (listening, taken)).await
}

/// Ends the steps of a run, and has it undone by its policy.
pub async fn cancel(context: &Context<'_>, typed: &str) -> Result<u8, Failure> {
    let store = context.store();
    let run = choose(&store, typed, Some(Direction::Cancel))?;
    let confirm = |run: &RunId, plan: &Plan| run::confirm(context, plan, &format!("end of run {run} ({})", plan.task));
    let mut asked = false;
    if store.controller(&run).is_some() {
        confirm(&run, &store.plan(&run)?)?;
        asked = true;
        // Looked up after the answer, which may have taken long. The lock of the record says that it is this process, and no other that
        // got its number.
        if let Some(pid) = store.controller(&run) {
            match Pid::from_raw(pid).map_or(Err(Errno::SRCH), |pid| kill_process(pid, ProcessSignal::USR1)) {
                Ok(()) => {
                    say(&format!("run {run}: its running steps are ended, in process {pid}"));
                    return attach::follow(context, &run).await;
                }
                // It has just ended.
                Err(Errno::SRCH) => {}
                Err(error) => {
                    let reason = format!("process {pid}, which carries out run {run}, cannot be told: {error}");
                    return Err(Failure::environment(reason));
                }
            }
        }
    }
    let (listening, taken) = take(context, run.as_str(), Direction::Cancel)?;
    if !asked {
        confirm(&taken.run, &taken.known.plan)?;
    }
    go(context, (listening, taken)).await
}

/// Whoever has the record is its controller, and may be told at once.
fn take(context: &Context<'_>, typed: &str, direction: Direction) -> Result<(Listening, Taken), Failure> {
    let store = context.store();
    let run = choose(&store, typed, Some(direction))?;
    Ok((interrupts::listen()?, Taken::take(&store, run, direction)?))
}

async fn go(context: &Context<'_>, ((interrupts, listening), taken): (Listening, Taken)) -> Result<u8, Failure> {
    let id = taken.run.clone();
    let (record, plan, resumed) = taken.resumed(&context.store())?;
    descriptors::suffice_for(&plan)?;
    // Nothing of them is on record.
    let secrets = secrets::of_plan(context, &plan).await?;
    let connector = access::for_runs(context, &plan.hosts).await?;
    let run = Run { secrets, resumed: Some(resumed), ..run::fresh_run(context, (plan, id), connector, interrupts) };
    run::carry_out(context, record, run, listening).await
}
