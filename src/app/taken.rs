//! A run that another controller began, taken up from its record.

use super::choice::{has_begun, is_open};
use super::planning;
use super::resume_error::ResumeError;
use crate::engine::Resumed;
use crate::files::project::Project;
use crate::model::plan::plan::{AD_HOC, HostIndex, Plan, PlanStep};
use crate::model::run::event::{Decision, Direction};
use crate::model::run::exit;
use crate::model::run::host_summary::StepKind;
use crate::model::run::outcome::StepOutcome;
use crate::model::run::past::{OpenStep, Past};
use crate::model::run::scheduler::Scheduler;
use crate::model::text::name::{HostLabel, RunId};
use crate::record::known::Known;
use crate::record::store::{Record, Store};

/// A run whose record is this process's now.
pub struct Taken {
    pub run: RunId,
    pub known: Known,
    record: Box<dyn Record>,
    direction: Direction,
    /// What somebody has decided about its open steps.
    decided: Vec<(OpenStep, Decision)>,
    /// The hosts that it finishes without.
    given_up: Vec<HostIndex>,
}

impl Taken {
    /// Takes it up, unless another process works on it, or there is nothing to do in that direction.
    ///
    /// The way back needs the text of a script only where nobody knows whether it still runs: one that is lost keeps no site as it is.
    pub fn take(store: &dyn Store, run: RunId, direction: Direction) -> Result<Self, ResumeError> {
        store.refuse_not_started(&run)?;
        let record = store.reopen(&run)?;
        let known = store.known(&run)?;
        if known.plan.task == AD_HOC {
            return Err(ResumeError::AdHoc(run));
        }
        let open = known.past.open_steps();
        let may_run = |at| open.iter().any(|open| open.at == at && open.kind == StepKind::Run);
        if direction == Direction::Forward {
            known.plan.files.iter().try_for_each(|file| store.blob(&run, &file.blob).map(drop))?;
        }
        for (at, id) in known.plan.scripts() {
            if direction == Direction::Forward || may_run(at) {
                store.blob(&run, id)?;
            }
        }
        let ended = known.summary.finished.is_some();
        let succeeded = known.summary.told_exit_code == Some(exit::SUCCESS);
        match direction {
            Direction::Back if !has_begun(&known) => Err(ResumeError::NothingToUndo(run)),
            Direction::Cancel if ended && !is_open(&known) => Err(ResumeError::NothingToCancel(run)),
            Direction::Forward if ended && (succeeded || !is_open(&known)) => {
                let site = known.plan.sites.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
                Err(ResumeError::Over { run, site, task: known.plan.task, succeeded })
            }
            Direction::Forward | Direction::Back | Direction::Cancel => {
                Ok(Self { run, known, record, direction, decided: Vec::new(), given_up: Vec::new() })
            }
        }
    }

    /// A recipe or an inventory that has changed since would make another run of it.
    pub fn refuse_other_plan(&self, store: &dyn Store, project: &Project) -> Result<(), ResumeError> {
        let Some(asked) = store.request(&self.run)? else { return Ok(()) };
        // Files that are broken do not tell whether anything has changed.
        if let Some(site) = planning::site(project, &asked.site)?.filter(|site| site.recipe.is_some()) {
            planning::recipe(project, site)?;
        }
        let difference = match planning::plan(project, &asked, &self.run) {
            Ok(now) => self.known.plan.difference(&now),
            Err(error) => Some(error.in_short()),
        };
        difference.map_or(Ok(()), |difference| Err(ResumeError::Changed { run: self.run.clone(), difference }))
    }

    /// Decides about steps, on all hosts on which they are open.
    pub fn decide(&mut self, typed: &[String], decision: Decision) -> Result<(), ResumeError> {
        let open = self.known.past.open_steps();
        for typed in typed {
            let (host, step) = typed.rsplit_once(':').map_or((None, typed.as_str()), |(host, step)| (Some(host), step));
            let fits = |open: &&OpenStep| {
                let path = self.path(open);
                let named = path == step || path.rsplit('/').next() == Some(step);
                named && open.kind == StepKind::Run && host.is_none_or(|host| self.label(open.host).as_str() == host)
            };
            let fitting: Vec<&OpenStep> = open.iter().filter(fits).collect();
            if fitting.is_empty() {
                let open = open.iter().map(|open| format!("{}:{}", self.label(open.host), self.path(open))).collect();
                return Err(ResumeError::NotOpen { run: self.run.clone(), typed: typed.clone(), open });
            }
            if fitting.iter().any(|open| self.decided.iter().any(|(step, _)| step == *open)) {
                return Err(ResumeError::DecidedTwice(typed.clone()));
            }
            self.decided.extend(fitting.into_iter().map(|open| (open.clone(), decision)));
        }
        Ok(())
    }

    /// Gives hosts up. Not one whose step the whole site depends on, as long as nobody knows how that step ended.
    pub fn give_up(&mut self, typed: &[String]) -> Result<(), ResumeError> {
        let Known { plan, past, .. } = &self.known;
        for name in typed {
            let Some(host) = plan.hosts.iter().position(|host| host.label.as_str() == name).map(HostIndex) else {
                let hosts = plan.hosts.iter().map(|host| host.label.to_string()).collect();
                return Err(ResumeError::NoHost { run: self.run.clone(), typed: name.clone(), hosts });
            };
            let decision = self.decided.iter().find(|(open, _)| open.host == host);
            if let Some((open, Decision::Rerun)) = decision {
                return Err(ResumeError::GivenUpAndRerun { host: name.clone(), step: self.path(open) });
            }
            let is_once = |open: &&OpenStep| plan.phases.get(open.at.phase).is_some_and(|phase| phase.once);
            let open = past.open_steps();
            let open = open.iter().filter(|open| open.host == host && open.is_unknown()).find(is_once);
            if let (Some(open), None) = (open, decision) {
                let (run, step) = (self.run.clone(), self.path(open));
                return Err(ResumeError::OnceInDoubt { run, host: name.clone(), step });
            }
            self.given_up.push(host);
        }
        Ok(())
    }

    fn decided_past(&self) -> Past {
        let mut past = self.known.past.clone();
        for (step, decision) in &self.decided {
            past.decide(step.host, step.at, *decision);
        }
        for host in &self.given_up {
            past.give_up(*host);
        }
        past
    }

    /// Does the run go back when it goes on like that?
    fn goes_back(&self) -> bool {
        Scheduler::resume(&self.known.plan, &self.decided_past(), Direction::Forward).goes_back()
    }

    /// An error when a step is to run again that would then only be undone.
    pub fn refuse_turned_back(&self) -> Result<(), ResumeError> {
        let again = self.decided.iter().any(|(_, decision)| *decision == Decision::Rerun);
        if again && self.goes_back() { Err(ResumeError::TurnedBack(self.run.clone())) } else { Ok(()) }
    }

    /// Steps that do no harm when they are run again need nobody to decide that, as long as the run goes forward.
    pub fn rerun_harmless(&mut self) {
        let harmless = |open: &OpenStep| {
            let unknown = matches!(open.outcome, Some(StepOutcome::Unknown { .. })) && open.kind == StepKind::Run;
            unknown && self.step(open).is_some_and(|step| step.idempotent || step.read_only)
        };
        let undecided = |open: &OpenStep| {
            self.decided.iter().all(|(step, _)| step.host != open.host) && !self.given_up.contains(&open.host)
        };
        let open = self.known.past.open_steps().into_iter();
        let again: Vec<OpenStep> = open.filter(|open| harmless(open) && undecided(open)).collect();
        let typed = self.decided.len();
        self.decided.extend(again.into_iter().map(|open| (open, Decision::Rerun)));
        if self.goes_back() {
            self.decided.truncate(typed);
        }
    }

    fn step(&self, open: &OpenStep) -> Option<&PlanStep> {
        self.known.plan.step(open.at)
    }

    fn path(&self, open: &OpenStep) -> String {
        self.step(open).map(|step| step.path.to_string()).unwrap_or_default()
    }

    fn label(&self, host: HostIndex) -> &HostLabel {
        #[expect(clippy::indexing_slicing, reason = "a HostIndex is made only from this plan's hosts")]
        &self.known.plan.hosts[host.0].label
    }

    /// Its record and its plan, and what it goes on with.
    pub fn resumed(self, store: &dyn Store) -> Result<(Box<dyn Record>, Plan, Resumed), ResumeError> {
        let (recorded, past) = (self.recorded(store)?, self.decided_past());
        let Self { known: Known { plan, summary, .. }, record, direction, decided, given_up, .. } = self;
        Ok((record, plan, Resumed { past, summary, direction, decided, given_up, recorded }))
    }

    /// How much of the output of the steps in flight is in the logs.
    fn recorded(&self, store: &dyn Store) -> Result<Vec<(HostIndex, u64, u64)>, ResumeError> {
        let in_flight = |open: &OpenStep| matches!(open.outcome, None | Some(StepOutcome::Detached { .. }));
        let count = |open: OpenStep| {
            let recorded = store.recorded((&self.run, self.label(open.host)), &self.step(&open)?.path, open.kind);
            Some(recorded.map(|(out, err)| (open.host, out, err)).map_err(ResumeError::from))
        };
        self.known.past.open_steps().into_iter().filter(in_flight).filter_map(count).collect()
    }
}
