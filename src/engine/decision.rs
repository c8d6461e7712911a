//! Inputs and actions of the scheduler as text, with the names of the plan: lines of the log.

use std::fmt;

use crate::model::plan::plan::{HostIndex, Plan};
use crate::model::run::scheduler::{Action, Input, Settlement, StepIndex};

/// Actions, as a list.
pub struct Decided<'a> {
    pub plan: &'a Plan,
    pub actions: &'a [Action],
}

/// `step-ended web1: exit status 3`.
pub fn told(plan: &Plan, input: &Input) -> String {
    let host = |host: &HostIndex| label(plan, *host);
    match input {
        Input::Start => "start".to_owned(),
        Input::Connected(of) => format!("connected {}", host(of)),
        Input::ConnectFailed(of, reason) => format!("connect-failed {}: {reason}", host(of)),
        Input::Refused(of, outcome, reason) => format!("refused {} {}: {reason}", host(of), outcome.describe()),
        Input::LockUnknown(of, reason) => format!("lock-unknown {}: {reason}", host(of)),
        Input::StepEnded(of, outcome) => format!("step-ended {}: {}", host(of), outcome.describe()),
        Input::RetryDue(of) => format!("retry-due {}", host(of)),
        Input::UndoEnded(of, outcome) => format!("undo-ended {}: {}", host(of), outcome.describe()),
        Input::SoakOver => "soak-over".to_owned(),
        Input::Interrupt => "interrupt".to_owned(),
        Input::LetGo => "let-go".to_owned(),
    }
}

impl Decided<'_> {
    fn action(&self, action: &Action, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = |host: &HostIndex| label(self.plan, *host);
        let step = |at: &StepIndex| step(self.plan, *at);
        match action {
            Action::Connect(of) => write!(f, "connect {}", host(of)),
            Action::Run(of, at, attempt) => write!(f, "run {} {} attempt {attempt}", host(of), step(at)),
            Action::PlanUndo(of, at) => write!(f, "plan-undo {} {}", host(of), step(at)),
            Action::Retry(of, delay) => write!(f, "retry {} in {delay:?}", host(of)),
            Action::Watch(of, at, attempt) => write!(f, "watch {} {} attempt {attempt}", host(of), step(at)),
            Action::Undo(of, at, attempt) => write!(f, "undo {} {} attempt {attempt}", host(of), step(at)),
            Action::WatchUndo(of, at, attempt) => write!(f, "watch-undo {} {} attempt {attempt}", host(of), step(at)),
            Action::End(of) => write!(f, "end {}", host(of)),
            Action::Soak(delay) => write!(f, "soak {delay:?}"),
            Action::PhaseStarted(phase) => write!(f, "phase-started {}", phase_name(self.plan, *phase)),
            Action::BatchStarted(phase, batch) => {
                write!(f, "batch-started {} {}", phase_name(self.plan, *phase), batch + 1)
            }
            Action::BatchFinished(phase, batch) => {
                write!(f, "batch-finished {} {}", phase_name(self.plan, *phase), batch + 1)
            }
            Action::RolloutStopped(reason) => write!(f, "rollout-stopped: {reason}"),
            Action::Interrupted(level) => write!(f, "interrupted {level}"),
            Action::Settle(Settlement { host: of, outcome, reason, keeps_lock, .. }) => {
                let keeps = if *keeps_lock { ", keeps its lock" } else { "" };
                write!(f, "settle {} {}{keeps}", host(of), outcome.describe())?;
                reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
            }
            Action::Finish => f.write_str("finish"),
        }
    }
}

impl fmt::Display for Decided<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (place, action) in self.actions.iter().enumerate() {
            f.write_str(if place == 0 { "" } else { "; " })?;
            self.action(action, f)?;
        }
        f.write_str("]")
    }
}

fn label(plan: &Plan, host: HostIndex) -> &str {
    plan.hosts.get(host.0).map_or("?", |host| host.label.as_str())
}

fn phase_name(plan: &Plan, phase: usize) -> &str {
    plan.phases.get(phase).map_or("?", |phase| phase.name.as_str())
}

fn step(plan: &Plan, at: StepIndex) -> &str {
    plan.step(at).map_or("?", |step| step.path.as_str())
}
