//! `fleet resume RUN`, `fleet undo RUN`, `fleet cancel RUN`: a run that another controller began, taken up from its record.

use std::sync::Arc;

use rustix::io::Errno;
use rustix::process::{Pid, Signal as ProcessSignal, kill_process};

use super::args::ResumeArgs;
use super::context::{Context, say};
use super::failure::{Failure, with_cause};
use super::interrupts::{self, Listening};
use super::run::{self, Work};
use super::{access, attach, descriptors};
use crate::engine::Resumed;
use crate::model::plan::plan::{AD_HOC, HostIndex, Plan};
use crate::model::run::event::{Decision, Direction};
use crate::model::run::exit;
use crate::model::run::host_summary::StepKind;
use crate::model::run::outcome::{HostOutcome, StepOutcome};
use crate::model::run::past::{OpenStep, Past};
use crate::model::run::scheduler::Scheduler;
use crate::model::run::summary::Summary;
use crate::model::text::name::{HostLabel, RunId};
use crate::record::known::Known;
use crate::record::record_error::RecordError;
use crate::record::store::{Record, Store as _};

/// Goes on with a run.
pub async fn resume(context: &Context<'_>, args: &ResumeArgs) -> Result<u8, Failure> {
    let run = choose(context, &args.run, |run| {
        !lives(context, run) && known(context, run).is_some_and(|(past, summary)| is_open(&past, &summary))
    })?;
    let taken = Taken::take(context, run)?;
    if let Some(word) = taken.is_over() {
        return Err(Failure::refused(format!(
            "run {} {word}: there is nothing to resume\nhint: fleet {} {}",
            taken.run,
            taken.site(),
            taken.plan.task
        )));
    }
    if !args.as_planned {
        taken.refuse_other_plan(context)?;
    }
    let decisions = [(&args.assume_done, Decision::AssumeDone), (&args.rerun, Decision::Rerun)];
    let decided = taken
        .decide(decisions.into_iter().flat_map(|(steps, decision)| steps.iter().map(move |step| (step, decision))))?;
    let given_up = taken.give_up(&args.give_up, &decided)?;
    if !args.rerun.is_empty() && taken.goes_back(&decided, &given_up) {
        return Err(Failure::refused(format!(
            "run {run} has turned back, and what would be run again would only be undone\n\
             hint: fleet undo {run}",
            run = taken.run
        )));
    }
    let decided = taken.with_harmless(decided, &given_up);
    taken.go(context, Direction::Forward, decided, given_up).await
}

/// Takes back what a run has done.
pub async fn undo(context: &Context<'_>, typed: &str) -> Result<u8, Failure> {
    // One that was cut off may have locked hosts, though it ran nothing on them.
    let fits = |past: &Past, summary: &Summary| {
        !past.is_empty() || summary.finished.is_none() || summary.hosts().any(|host| host.locked)
    };
    let run = choose(context, typed, |run| {
        !lives(context, run) && known(context, run).is_some_and(|(past, summary)| fits(&past, &summary))
    })?;
    let taken = Taken::take(context, run)?;
    if !fits(&taken.past, &taken.summary) {
        return Err(Failure::refused(format!("run {} has done nothing: there is nothing to undo", taken.run)));
    }
    run::confirm(context, &taken.plan, &format!("undo of run {} ({})", taken.run, taken.plan.task))?;
    taken.go(context, Direction::Back, Vec::new(), Vec::new()).await
}

/// Ends the steps of a run, and has it undone by its policy.
pub async fn cancel(context: &Context<'_>, typed: &str) -> Result<u8, Failure> {
    let run = choose(context, typed, |run| {
        lives(context, run) || known(context, run).is_some_and(|(past, summary)| is_open(&past, &summary))
    })?;
    let ask = |plan: &Plan| run::confirm(context, plan, &format!("end of run {run} ({})", plan.task));
    let mut asked = false;
    if lives(context, &run) {
        ask(&context.store().plan(&run)?)?;
        asked = true;
        // Looked up after the answer, which may have taken long. The lock of the record says that it is this process, and no other that
        // got its number.
        if let Some(pid) = context.store().controller(&run) {
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
    let taken = Taken::take(context, run.clone())?;
    if taken.summary.finished.is_some() && !is_open(&taken.past, &taken.summary) {
        return Err(Failure::refused(format!("run {run} has ended: there is nothing to cancel")));
    }
    if !asked {
        ask(&taken.plan)?;
    }
    taken.go(context, Direction::Cancel, Vec::new(), Vec::new()).await
}

/// The run of that name. `last` is the newest that has anything to do with what is asked, or else the newest of all: a deployment that
/// was kept away by the lock of another run is not what a person means.
pub fn choose(context: &Context<'_>, typed: &str, fits: impl Fn(&RunId) -> bool) -> Result<RunId, Failure> {
    let store = context.store();
    let newest = store.find(typed)?;
    if typed != "last" {
        return Ok(newest);
    }
    let found = store.runs()?.into_iter().rev().take(LOOKED_AT).find(fits);
    Ok(found.unwrap_or(newest))
}

/// Does a controller work on it?
fn lives(context: &Context<'_>, run: &RunId) -> bool {
    context.store().controller(run).is_some()
}

/// Runs that are looked at for the one that `last` means.
const LOOKED_AT: usize = 50;

/// What is known of a run; nothing if its record does not read, or it was a single command.
fn known(context: &Context<'_>, run: &RunId) -> Option<(Past, Summary)> {
    let Known { plan, past, summary } = context.store().known(run).ok()?;
    (plan.task != AD_HOC).then_some((past, summary))
}

/// May steps of a run be running, or does it wait for a decision?
fn is_open(past: &Past, summary: &Summary) -> bool {
    let open =
        |outcome| matches!(outcome, None | Some(HostOutcome::Detached | HostOutcome::Unknown | HostOutcome::Held));
    let begun = !past.is_empty() || summary.finished.is_none();
    summary.hosts().any(|host| host.locked || (begun && open(host.outcome)))
}

/// A run whose record is this process's now.
struct Taken {
    run: RunId,
    listening: Listening,
    record: Box<dyn Record>,
    plan: Plan,
    past: Past,
    summary: Summary,
}

impl Taken {
    fn take(context: &Context<'_>, run: RunId) -> Result<Self, Failure> {
        context.store().refuse_not_started(&run)?;
        let listening = interrupts::listen()?;
        let record = context.store().reopen(&run).map_err(|error| match error {
            RecordError::Busy { .. } => Failure::Message(
                exit::LOCKED,
                format!("{error}\nhint: fleet attach {run} shows it, fleet cancel {run} ends it"),
            ),
            error => Failure::Message(exit::ENVIRONMENT, with_cause(&error)),
        })?;
        let Known { plan, past, summary } = context.store().known(&run)?;
        if plan.task == AD_HOC {
            return Err(Failure::refused(format!(
                "run {run} was one command, which ends with its connection: there is nothing to go on with"
            )));
        }
        Ok(Self { run, listening, record, plan, past, summary })
    }

    fn site(&self) -> String {
        self.plan.sites.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    /// Why there is nothing to go on with.
    fn is_over(&self) -> Option<&'static str> {
        self.summary.finished?;
        if self.summary.told_exit_code == Some(exit::SUCCESS) {
            return Some("has succeeded");
        }
        (!is_open(&self.past, &self.summary)).then_some("has ended, and nothing of it is open")
    }

    /// A recipe or an inventory that has changed since would make another run of it.
    fn refuse_other_plan(&self, context: &Context<'_>) -> Result<(), Failure> {
        let Some(asked) = context.store().request(&self.run)? else { return Ok(()) };
        // Files that are broken do not tell whether anything has changed.
        if let Some(site) = context.site(&asked.site)?.filter(|site| site.recipe.is_some()) {
            context.recipe(site)?;
        }
        let now = run::plan_tasks(context, &asked, &self.run).and_then(|plan| Ok(plan?));
        let difference = match &now {
            Ok(now) => self.plan.difference(now),
            Err(failure) => Some(failure.in_short()),
        };
        match difference {
            None => Ok(()),
            Some(difference) => Err(Failure::refused(format!(
                "recipe or inventory have changed since run {} was planned: {difference}\n\
                 hint: --as-planned goes on with what was planned then; fleet undo {} takes it back",
                self.run, self.run
            ))),
        }
    }

    /// Which hosts a decision is about: all on which the step is open.
    fn decide<'s>(
        &self,
        typed: impl Iterator<Item = (&'s String, Decision)>,
    ) -> Result<Vec<(OpenStep, Decision)>, Failure> {
        let open = self.past.open_steps();
        let mut decided = Vec::new();
        for (typed, decision) in typed {
            let (host, step) = typed.rsplit_once(':').map_or((None, typed.as_str()), |(host, step)| (Some(host), step));
            let fits = |open: &&OpenStep| {
                let path = self.path(open);
                let named = path == step || path.rsplit('/').next() == Some(step);
                named && open.kind == StepKind::Run && host.is_none_or(|host| self.label(open.host).as_str() == host)
            };
            let fitting: Vec<&OpenStep> = open.iter().filter(fits).collect();
            if fitting.is_empty() {
                let open: Vec<String> =
                    open.iter().map(|open| format!("{}:{}", self.label(open.host), self.path(open))).collect();
                let known =
                    if open.is_empty() { "none is".to_owned() } else { format!("open are {}", open.join(", ")) };
                return Err(Failure::Message(
                    exit::NO_MATCH,
                    format!("no step `{typed}` is open in run {}; {known}", self.run),
                ));
            }
            if fitting.iter().any(|open| decided.iter().any(|(step, _): &(OpenStep, _)| step == *open)) {
                return Err(Failure::usage(format!("`{typed}` is decided twice: it is done, or it is run again")));
            }
            decided.extend(fitting.into_iter().map(|open| (open.clone(), decision)));
        }
        Ok(decided)
    }

    /// The hosts that are given up. Not one whose step the whole site depends on, as long as nobody knows how that step ended.
    fn give_up(&self, typed: &[String], decided: &[(OpenStep, Decision)]) -> Result<Vec<HostIndex>, Failure> {
        let mut given_up = Vec::new();
        for name in typed {
            let known = || self.plan.hosts.iter().map(|host| host.label.as_str()).collect::<Vec<_>>().join(", ");
            let place = self.plan.hosts.iter().position(|host| host.label.as_str() == name);
            let host = place.map(HostIndex).ok_or_else(|| {
                let message = format!("run {} has no host `{name}`; its hosts are {}", self.run, known());
                Failure::Message(exit::NO_MATCH, message)
            })?;
            let decision = decided.iter().find(|(open, _)| open.host == host);
            if let Some((open, Decision::Rerun)) = decision {
                let message = format!("{name} is given up, and its step `{}` is to run again", self.path(open));
                return Err(Failure::usage(message));
            }
            let is_once = |open: &&OpenStep| self.plan.phases.get(open.at.phase).is_some_and(|phase| phase.once);
            let open = self.past.open_steps();
            let open = open.iter().filter(|open| open.host == host && open.is_unknown()).find(is_once);
            if let (Some(open), None) = (open, decision) {
                let (run, path) = (&self.run, self.path(open));
                return Err(Failure::refused(format!(
                    "{name} cannot be given up: {path} runs once for the whole site, and nobody knows how it ended\n\
                     hint: if you know that it is done: fleet resume {run} --assume-done {name}:{path} --give-up {name}"
                )));
            }
            given_up.push(host);
        }
        Ok(given_up)
    }

    fn decided_past(&self, decided: &[(OpenStep, Decision)], given_up: &[HostIndex]) -> Past {
        let mut past = self.past.clone();
        for (step, decision) in decided {
            past.decide(step.host, step.at, *decision);
        }
        for host in given_up {
            past.give_up(*host);
        }
        past
    }

    /// Does the run go back when it goes on like that?
    fn goes_back(&self, decided: &[(OpenStep, Decision)], given_up: &[HostIndex]) -> bool {
        let past = self.decided_past(decided, given_up);
        Scheduler::resume(&self.plan, &past, Direction::Forward).goes_back()
    }

    /// Steps that do no harm when they are run again need nobody to decide that, as long as the run goes forward.
    fn with_harmless(&self, decided: Vec<(OpenStep, Decision)>, given_up: &[HostIndex]) -> Vec<(OpenStep, Decision)> {
        let harmless = |open: &OpenStep| {
            let step = self.plan.phases.get(open.at.phase).and_then(|phase| phase.steps.get(open.at.step));
            let unknown = matches!(open.outcome, Some(StepOutcome::Unknown { .. })) && open.kind == StepKind::Run;
            unknown && step.is_some_and(|step| step.idempotent || step.read_only)
        };
        let undecided =
            |open: &OpenStep| decided.iter().all(|(step, _)| step.host != open.host) && !given_up.contains(&open.host);
        let again = self.past.open_steps().into_iter().filter(|open| harmless(open) && undecided(open));
        let all: Vec<_> = decided.iter().cloned().chain(again.map(|open| (open, Decision::Rerun))).collect();
        if self.goes_back(&all, given_up) { decided } else { all }
    }

    fn path(&self, open: &OpenStep) -> String {
        let step = self.plan.phases.get(open.at.phase).and_then(|phase| phase.steps.get(open.at.step));
        step.map(|step| step.path.to_string()).unwrap_or_default()
    }

    fn label(&self, host: HostIndex) -> HostLabel {
        #[expect(clippy::indexing_slicing, reason = "a HostIndex is made only from this plan's hosts")]
        self.plan.hosts[host.0].label.clone()
    }

    async fn go(
        self,
        context: &Context<'_>,
        direction: Direction,
        decided: Vec<(OpenStep, Decision)>,
        given_up: Vec<HostIndex>,
    ) -> Result<u8, Failure> {
        let (recorded, past) = (self.recorded(context)?, self.decided_past(&decided, &given_up));
        let Self { run, listening, record, plan, summary, .. } = self;
        descriptors::suffice_for(&plan)?;
        let connector = Arc::new(access::for_runs(context, &plan.hosts).await?);
        let resumed = Resumed { past, summary, direction, decided, given_up, recorded };
        run::carry_out(context, record, Work { plan, id: run, connector, listening, resumed: Some(resumed) }).await
    }

    /// How much of the output of the steps in flight is in the logs.
    fn recorded(&self, context: &Context<'_>) -> Result<Vec<(HostIndex, u64, u64)>, Failure> {
        let in_flight = |open: &OpenStep| matches!(open.outcome, None | Some(StepOutcome::Detached { .. }));
        let store = context.store();
        let count = |open: OpenStep| {
            let step = self.plan.phases.get(open.at.phase).and_then(|phase| phase.steps.get(open.at.step))?;
            let recorded = store.recorded((&self.run, &self.label(open.host)), &step.path, open.kind);
            Some(recorded.map(|(out, err)| (open.host, out, err)).map_err(Failure::from))
        };
        self.past.open_steps().into_iter().filter(in_flight).filter_map(count).collect()
    }
}
