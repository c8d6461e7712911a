//! A run that another controller began, taken up from its record.

use super::choice::is_open;
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
}

impl Taken {
    /// Takes it up, unless another process works on it.
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
        let is_open = |at| open.iter().any(|open| open.at == at && open.kind == StepKind::Run);
        for (at, id) in known.plan.blob_ids() {
            if direction == Direction::Forward || is_open(at) {
                store.blob(&run, id)?;
            }
        }
        Ok(Self { run, known, record })
    }

    /// An error when there is nothing to go on with.
    pub fn refuse_over(&self) -> Result<(), ResumeError> {
        let Known { plan, summary, .. } = &self.known;
        let succeeded = match summary.told_exit_code {
            _ if summary.finished.is_none() => return Ok(()),
            Some(exit::SUCCESS) => true,
            _ if is_open(&self.known) => return Ok(()),
            _ => false,
        };
        let site = plan.sites.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        Err(ResumeError::Over { run: self.run.clone(), site, task: plan.task.clone(), succeeded })
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

    /// Which hosts a decision is about: all on which the step is open.
    pub fn decide<'s>(
        &self,
        typed: impl Iterator<Item = (&'s String, Decision)>,
    ) -> Result<Vec<(OpenStep, Decision)>, ResumeError> {
        let open = self.known.past.open_steps();
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
                let open = open.iter().map(|open| format!("{}:{}", self.label(open.host), self.path(open))).collect();
                return Err(ResumeError::NotOpen { run: self.run.clone(), typed: typed.clone(), open });
            }
            if fitting.iter().any(|open| decided.iter().any(|(step, _): &(OpenStep, _)| step == *open)) {
                return Err(ResumeError::DecidedTwice(typed.clone()));
            }
            decided.extend(fitting.into_iter().map(|open| (open.clone(), decision)));
        }
        Ok(decided)
    }

    /// The hosts that are given up. Not one whose step the whole site depends on, as long as nobody knows how that step ended.
    pub fn give_up(&self, typed: &[String], decided: &[(OpenStep, Decision)]) -> Result<Vec<HostIndex>, ResumeError> {
        let Known { plan, past, .. } = &self.known;
        let mut given_up = Vec::new();
        for name in typed {
            let Some(host) = plan.hosts.iter().position(|host| host.label.as_str() == name).map(HostIndex) else {
                let hosts = plan.hosts.iter().map(|host| host.label.to_string()).collect();
                return Err(ResumeError::NoHost { run: self.run.clone(), typed: name.clone(), hosts });
            };
            let decision = decided.iter().find(|(open, _)| open.host == host);
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
            given_up.push(host);
        }
        Ok(given_up)
    }

    fn decided_past(&self, decided: &[(OpenStep, Decision)], given_up: &[HostIndex]) -> Past {
        let mut past = self.known.past.clone();
        for (step, decision) in decided {
            past.decide(step.host, step.at, *decision);
        }
        for host in given_up {
            past.give_up(*host);
        }
        past
    }

    /// Does the run go back when it goes on like that?
    pub fn goes_back(&self, decided: &[(OpenStep, Decision)], given_up: &[HostIndex]) -> bool {
        let past = self.decided_past(decided, given_up);
        Scheduler::resume(&self.known.plan, &past, Direction::Forward).goes_back()
    }

    /// Steps that do no harm when they are run again need nobody to decide that, as long as the run goes forward.
    pub fn with_harmless(
        &self,
        decided: Vec<(OpenStep, Decision)>,
        given_up: &[HostIndex],
    ) -> Vec<(OpenStep, Decision)> {
        let harmless = |open: &OpenStep| {
            let unknown = matches!(open.outcome, Some(StepOutcome::Unknown { .. })) && open.kind == StepKind::Run;
            unknown && self.step(open).is_some_and(|step| step.idempotent || step.read_only)
        };
        let undecided =
            |open: &OpenStep| decided.iter().all(|(step, _)| step.host != open.host) && !given_up.contains(&open.host);
        let again = self.known.past.open_steps().into_iter().filter(|open| harmless(open) && undecided(open));
        let all: Vec<_> = decided.iter().cloned().chain(again.map(|open| (open, Decision::Rerun))).collect();
        if self.goes_back(&all, given_up) { decided } else { all }
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
    pub fn resumed(
        self,
        store: &dyn Store,
        direction: Direction,
        decided: Vec<(OpenStep, Decision)>,
        given_up: Vec<HostIndex>,
    ) -> Result<(Box<dyn Record>, Plan, Resumed), ResumeError> {
        let (recorded, past) = (self.recorded(store)?, self.decided_past(&decided, &given_up));
        let Known { plan, summary, .. } = self.known;
        Ok((self.record, plan, Resumed { past, summary, direction, decided, given_up, recorded }))
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
