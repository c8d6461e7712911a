//! Inputs and actions of the scheduler as text, with the names of the plan: lines of the log.

use crate::model::plan::plan::{HostIndex, Plan};
use crate::model::run::scheduler::{Action, Input, Settlement, StepIndex};

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
        Input::WatchEnded(of, None) => format!("watch-ended {}", host(of)),
        Input::WatchEnded(of, Some((_, outcome))) => format!("watch-ended {}: {}", host(of), outcome.describe()),
        Input::SoakOver => "soak-over".to_owned(),
        Input::Interrupt => "interrupt".to_owned(),
        Input::LetGo => "let-go".to_owned(),
    }
}

/// Actions, as a list.
pub fn decided(plan: &Plan, actions: &[Action]) -> String {
    let actions: Vec<String> = actions.iter().map(|action| told_action(plan, action)).collect();
    format!("[{}]", actions.join("; "))
}

fn told_action(plan: &Plan, action: &Action) -> String {
    let host = |host: &HostIndex| label(plan, *host);
    let step = |at: &StepIndex| plan.step(*at).map_or("?", |step| step.path.as_str());
    let phase = |phase: &usize| plan.phases.get(*phase).map_or("?", |phase| phase.name.as_str());
    match action {
        Action::Connect(of) => format!("connect {}", host(of)),
        Action::Run(of, at, attempt) => format!("run {} {} attempt {attempt}", host(of), step(at)),
        Action::PlanUndo(of, at) => format!("plan-undo {} {}", host(of), step(at)),
        Action::Retry(of, delay) => format!("retry {} in {delay:?}", host(of)),
        Action::Watch(of, at, attempt) => format!("watch {} {} attempt {attempt}", host(of), step(at)),
        Action::Undo(of, at, attempt) => format!("undo {} {} attempt {attempt}", host(of), step(at)),
        Action::WatchUndo(of, at, attempt) => format!("watch-undo {} {} attempt {attempt}", host(of), step(at)),
        Action::End(of) => format!("end {}", host(of)),
        Action::StartWatch(of, at) => format!("start-watch {} {}", host(of), phase(at)),
        Action::WatchStarted(of, batch, delay) => format!("watch-started {} {} for {delay:?}", phase(of), batch + 1),
        Action::EndWatch(of) => format!("end-watch {}", host(of)),
        Action::Soak(delay) => format!("soak {delay:?}"),
        Action::PhaseStarted(of) => format!("phase-started {}", phase(of)),
        Action::BatchStarted(of, batch) => format!("batch-started {} {}", phase(of), batch + 1),
        Action::BatchFinished(of, batch) => format!("batch-finished {} {}", phase(of), batch + 1),
        Action::RolloutStopped(reason) => format!("rollout-stopped: {reason}"),
        Action::Interrupted(level) => format!("interrupted {level}"),
        Action::Settle(Settlement { host: of, outcome, reason, keeps_lock, .. }) => {
            let keeps = if *keeps_lock { ", keeps its lock" } else { "" };
            let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("settle {} {}{keeps}{why}", host(of), outcome.describe())
        }
        Action::Finish => "finish".to_owned(),
    }
}

fn label(plan: &Plan, host: HostIndex) -> &str {
    plan.hosts.get(host.0).map_or("?", |host| host.label.as_str())
}
