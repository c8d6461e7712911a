mod dice;
mod doubts;
mod known;
mod outside;
mod random;
mod resumed;
mod rules;
mod undos;
mod watch;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::inventory::ssh::Endpoint;
use crate::model::plan::blob::Blobs;
use crate::model::plan::command::CommandTemplate;
use crate::model::plan::operation::Operation;
use crate::model::plan::plan::{OnFailure, PLAN_VERSION, PlanHost, PlanStep, Retry, Watch};
use crate::model::plan::values::Values;
use crate::model::recipe::template::Template;
use crate::model::run::outcome::StepOutcome;
use crate::model::text::name::{Address, HostLabel, HostName, PhaseName, SiteName, StepPath, UserName};

fn host(i: usize) -> PlanHost {
    PlanHost {
        label: HostLabel::parse(&format!("h{i}")).unwrap(),
        site: SiteName::parse("s").unwrap(),
        name: HostName::parse(&format!("h{i}")).unwrap(),
        endpoint: Endpoint {
            connect_timeout: Duration::from_secs(1),
            connect_retry: Duration::from_secs(1),
            reconnect_timeout: Duration::from_secs(1),
            keepalive: Duration::from_secs(1),
            ..Endpoint::new(Address::parse("127.0.0.1").unwrap(), &UserName::parse("u").unwrap())
        },
        roles: Vec::new(),
        book: None,
        values: Arc::default(),
    }
}

/// A phase: its batches, whether it runs once, and its steps: a name, `!` for "has an undo", `?` for "is only an undo", `-name` for "ends that step".
fn phase(name: &str, batches: &[&[usize]], steps: &[&str]) -> PlanPhase {
    let batches: Vec<Vec<HostIndex>> = batches.iter().map(|b| b.iter().copied().map(HostIndex).collect()).collect();
    let command = || CommandTemplate::shell(Template::literal("true"));
    let step = |spec: &&str| {
        let (spec, ends) =
            spec.split_once(" -").map_or((*spec, Vec::new()), |(s, e)| (s, vec![StepPath::parse(e).unwrap()]));
        let undo = spec.ends_with(['!', '?']).then(command);
        let run = (!spec.ends_with('?')).then(command);
        PlanStep {
            ends,
            run: run.map(Operation::Command),
            undo,
            ..PlanStep::new(
                StepPath::parse(&format!("{name}/{}", spec.trim_end_matches(['!', '?']))).unwrap(),
                batches.iter().flatten().copied().collect(),
            )
        }
    };
    PlanPhase {
        name: PhaseName::parse(name).unwrap(),
        once: false,
        soak: Duration::ZERO,
        steps: steps.iter().map(step).collect(),
        batches,
    }
}

fn once(phase: PlanPhase) -> PlanPhase {
    PlanPhase { once: true, ..phase }
}

fn plan(hosts: usize, phases: Vec<PlanPhase>) -> Plan {
    Plan {
        v: PLAN_VERSION,
        sites: vec![SiteName::parse("s").unwrap()],
        task: "t".to_owned(),
        hosts: (0..hosts).map(host).collect(),
        phases,
        max_failures: 0,
        on_failure: OnFailure::Undo,
        parallel: 32,
        proves: Vec::new(),
        secrets: BTreeSet::new(),
        left_out: Vec::new(),
        summary: None,
        previews: Vec::new(),
        basis: None,
        accept: std::collections::BTreeMap::new(),
        values: Values::new(),
        files: Vec::new(),
        blobs: Blobs::default(),
    }
}

const FAILED: StepOutcome = StepOutcome::Failed { status: 3 };

fn unknown() -> StepOutcome {
    StepOutcome::Unknown { reason: "connection lost".into() }
}

/// Plays a run: every host answers at once, in the order in which it was asked, by the given rules. The log holds one word a fact.
struct Play {
    plan: Arc<Plan>,
    unreachable: BTreeSet<usize>,
    steps: BTreeMap<(usize, &'static str), StepOutcome>,
    undos: BTreeMap<(usize, &'static str), StepOutcome>,
    /// Interrupt before the answer of this number.
    interrupts: Vec<usize>,
}

impl Play {
    fn of(plan: Plan) -> Self {
        Self {
            plan: Arc::new(plan),
            unreachable: BTreeSet::new(),
            steps: BTreeMap::new(),
            undos: BTreeMap::new(),
            interrupts: Vec::new(),
        }
    }

    fn step(mut self, host: usize, step: &'static str, outcome: StepOutcome) -> Self {
        self.steps.insert((host, step), outcome);
        self
    }

    fn undo(mut self, host: usize, step: &'static str, outcome: StepOutcome) -> Self {
        self.undos.insert((host, step), outcome);
        self
    }

    fn unreachable(mut self, host: usize) -> Self {
        self.unreachable.insert(host);
        self
    }

    fn run(self) -> Vec<String> {
        let mut scheduler = Scheduler::new(Arc::clone(&self.plan));
        let mut inputs = VecDeque::from([Input::Start]);
        let mut log = Vec::new();
        let mut answered = 0;
        while let Some(input) = inputs.pop_front() {
            if self.interrupts.contains(&answered) {
                answered += 1;
                inputs.push_front(input);
                inputs.push_front(Input::Interrupt);
                continue;
            }
            answered += 1;
            for action in scheduler.on(input) {
                self.answer(action, &mut inputs, &mut log);
            }
        }
        assert!(scheduler.is_finished(), "the run never ended: {log:?}");
        log
    }

    fn answer(&self, action: Action, inputs: &mut VecDeque<Input>, log: &mut Vec<String>) {
        let name = |at: StepIndex| {
            let path = self.plan.phases[at.phase].steps[at.step].path.to_string();
            path.split_once('/').unwrap().1.to_owned()
        };
        let lookup = |rules: &BTreeMap<(usize, &'static str), StepOutcome>, host: HostIndex, at: StepIndex| {
            rules.iter().find(|((h, s), _)| *h == host.0 && **s == name(at)).map(|(_, o)| o.clone())
        };
        match action {
            Action::Connect(h) if self.unreachable.contains(&h.0) => {
                inputs.push_back(Input::ConnectFailed(h, "refused".into()));
            }
            Action::Connect(h) => inputs.push_back(Input::Connected(h)),
            Action::Run(h, at, _) | Action::Watch(h, at, _) => {
                log.push(format!("{}:{}", h.0, name(at)));
                inputs.push_back(Input::StepEnded(h, lookup(&self.steps, h, at).unwrap_or(StepOutcome::Succeeded)));
            }
            Action::Undo(h, at, _) | Action::WatchUndo(h, at, _) => {
                log.push(format!("{}:undo-{}", h.0, name(at)));
                inputs.push_back(Input::UndoEnded(h, lookup(&self.undos, h, at).unwrap_or(StepOutcome::Succeeded)));
            }
            Action::PlanUndo(h, at) => log.push(format!("{}:plan-undo-{}", h.0, name(at))),
            Action::Retry(h, _) => inputs.push_back(Input::RetryDue(h)),
            Action::Soak(_) => {
                log.push("soak".to_owned());
                inputs.push_back(Input::SoakOver);
            }
            Action::StartWatch(h, phase) => {
                log.push(format!("{}:watch", h.0));
                let step = self.plan.phases[phase].steps.iter().position(|step| step.watch.is_some()).unwrap();
                if let Some(outcome) = self.steps.get(&(h.0, "watch")) {
                    inputs.push_back(Input::WatchEnded(h, Some((StepIndex { phase, step }, outcome.clone()))));
                }
            }
            Action::EndWatch(h) | Action::End(h) => inputs.push_back(Input::WatchEnded(h, None)),
            Action::RolloutStopped(reason) => log.push(format!("stopped: {reason}")),
            Action::Settle(s) => {
                let paths: Vec<_> = s.in_force.iter().map(ToString::to_string).collect();
                log.push(format!(
                    "{} {}{}",
                    s.host.0,
                    s.outcome.describe(),
                    if paths.is_empty() { String::new() } else { format!(" [{}]", paths.join(" ")) }
                ));
            }
            Action::PhaseStarted(_)
            | Action::BatchStarted(..)
            | Action::BatchFinished(..)
            | Action::WatchStarted(..)
            | Action::Interrupted(_)
            | Action::Finish => {}
        }
    }
}

/// close (all) -> migrate (once) -> roll (canary, rest), as a real deployment has it.
fn deployment() -> Plan {
    plan(
        3,
        vec![
            phase("close", &[&[0, 1, 2]], &["maintenance!"]),
            once(phase("db", &[&[0]], &["migrate!"])),
            phase("roll", &[&[0], &[1, 2]], &["pull!", "open! -close/maintenance"]),
        ],
    )
}

#[test]
fn phases_are_barriers_and_batches_follow_one_another() {
    let log = Play::of(deployment()).run();
    assert_eq!(
        log.join(" | "),
        "0:maintenance | 1:maintenance | 2:maintenance | 0:migrate | 0:pull | 0:open | 1:pull | 2:pull | 1:open | 2:open | 0 succeeded | 1 succeeded | 2 succeeded"
    );
}

#[test]
fn a_failure_beyond_the_budget_unwinds_everything_backwards() {
    let log = Play::of(deployment()).step(1, "pull", FAILED).run();
    assert_eq!(
        log[7..].join(" | "),
        "2:pull | stopped: 1 host failed, 0 allowed | 0:undo-open | 1:undo-pull | 2:undo-pull | 0:undo-pull \
         | 0:undo-migrate | 0:undo-maintenance | 1:undo-maintenance | 2:undo-maintenance | 0 rolled back | 1 rolled back | 2 rolled back"
    );
}

#[test]
fn a_failure_within_the_budget_undoes_its_phase_on_that_host_alone() {
    let mut p = deployment();
    p.max_failures = 1;
    let log = Play::of(p).step(1, "open", FAILED).run();
    assert_eq!(
        log[9..].join(" | "),
        "2:open | 1:undo-open | 1:undo-pull | 0 succeeded | 1 failed [close/maintenance] | 2 succeeded"
    );
}

#[test]
fn a_host_that_dropped_out_is_unwound_with_the_others_when_the_budget_breaks_later() {
    let mut p = deployment();
    p.max_failures = 1;
    let log = Play::of(p).step(0, "pull", FAILED).step(2, "pull", FAILED).run();
    assert!(log.contains(&"0:undo-maintenance".to_owned()), "{log:?}");
    assert_eq!(log.last().unwrap(), "2 rolled back");
}

#[test]
fn a_failing_once_step_is_always_beyond_the_budget() {
    let mut p = deployment();
    p.max_failures = 3;
    let log = Play::of(p).step(0, "migrate", FAILED).run();
    assert_eq!(log[4], "stopped: db/migrate failed; it runs once for the whole rollout");
    assert_eq!(log[5], "0:undo-migrate");
}

#[test]
fn an_unknown_migration_holds_the_whole_site_closed() {
    let log = Play::of(deployment()).step(0, "migrate", unknown()).run();
    assert_eq!(
        log[4..].join(" | "),
        "stopped: 1 host failed, 0 allowed | 0 unknown [close/maintenance db/migrate] | 1 held [close/maintenance] | 2 held [close/maintenance]"
    );
}

#[test]
fn a_failing_undo_of_a_once_step_holds_the_whole_site_closed() {
    let log = Play::of(deployment()).step(2, "pull", FAILED).undo(0, "migrate", FAILED).run();
    let end = log.iter().position(|l| l == "0:undo-migrate").unwrap() + 1;
    assert_eq!(
        log[end..].join(" | "),
        "0 held [close/maintenance db/migrate] | 1 held [close/maintenance] | 2 held [close/maintenance]"
    );
}

#[test]
fn the_database_stays_closed_when_its_host_is_in_doubt_about_something_else() {
    let log = Play::of(deployment()).step(0, "pull", unknown()).run();
    assert_eq!(
        log[4..].join(" | "),
        "0:pull | stopped: 1 host failed, 0 allowed | 0 unknown [close/maintenance db/migrate roll/pull] | 1 held [close/maintenance] | 2 held [close/maintenance]"
    );
}

#[test]
fn a_failing_undo_of_one_host_holds_that_host_only() {
    let log = Play::of(deployment()).step(2, "pull", FAILED).undo(1, "pull", FAILED).run();
    let end = log.len() - 3;
    assert_eq!(log[end..].join(" | "), "0 rolled back | 1 held [close/maintenance roll/pull] | 2 rolled back");
}

#[test]
fn hold_leaves_everything_as_it_is() {
    let mut p = deployment();
    p.on_failure = OnFailure::Hold;
    let log = Play::of(p).step(0, "pull", FAILED).run();
    assert_eq!(
        log[5..].join(" | "),
        "stopped: 1 host failed, 0 allowed | 0 held [close/maintenance db/migrate roll/pull] | 1 held [close/maintenance] | 2 held [close/maintenance]"
    );
}

#[test]
fn nothing_is_done_when_a_host_cannot_be_reached_and_all_of_them_are_told() {
    let log = Play::of(deployment()).unreachable(1).unreachable(2).run();
    assert_eq!(
        log.join(" | "),
        "1 unreachable | 2 unreachable | stopped: 2 of 3 hosts could not be reached | 0 untouched"
    );
}

#[test]
fn the_host_of_a_once_phase_must_be_there_whatever_the_budget() {
    let mut p = deployment();
    p.max_failures = 3;
    let log = Play::of(p).unreachable(0).run();
    assert!(log[1].starts_with("stopped: the host of phase `db`"), "{log:?}");
}

#[test]
fn an_interrupt_lets_running_steps_end_and_then_undoes() {
    let mut play = Play::of(deployment());
    play.interrupts = vec![5];
    assert_eq!(
        play.run().join(" | "),
        "0:maintenance | 1:maintenance | 2:maintenance | stopped: interrupted | 0:undo-maintenance | 1:undo-maintenance | 2:undo-maintenance \
         | 0 rolled back | 1 rolled back | 2 rolled back"
    );
}

#[test]
fn the_third_interrupt_lets_go_and_says_what_goes_on() {
    // Host 0 answers before the interrupts, the others never do.
    let mut play = Play::of(deployment());
    play.interrupts = vec![5, 6, 7];
    let log = play.run();
    assert_eq!(
        log[4..].join(" | "),
        "0 held [close/maintenance] | 1 detached [close/maintenance] | 2 detached [close/maintenance]"
    );
}

#[test]
fn a_host_that_only_looked_is_untouched_when_the_run_stops() {
    let mut p = plan(2, vec![phase("check", &[&[0, 1]], &["look"]), phase("act", &[&[0, 1]], &["x"])]);
    p.phases[0].steps[0].read_only = true;
    assert_eq!(Play::of(p).step(1, "look", FAILED).run()[3..].join(" | "), "0 untouched | 1 failed");
}

#[test]
fn a_retry_runs_the_same_step_again_and_only_a_last_failure_counts() {
    let mut p = plan(1, vec![phase("a", &[&[0]], &["x"])]);
    p.phases[0].steps[0].retry = Some(Retry { times: 2, delay: Duration::from_secs(1) });
    let log = Play::of(p).step(0, "x", FAILED).run();
    assert_eq!(log.join(" | "), "0:x | 0:x | 0:x | stopped: 1 host failed, 0 allowed | 0 failed");
}

#[test]
fn hosts_of_an_ad_hoc_command_settle_as_they_come() {
    let mut p = plan(3, vec![phase("run", &[&[0, 1, 2]], &["x"])]);
    p.max_failures = 3;
    let log = Play::of(p).unreachable(1).step(0, "x", FAILED).run();
    assert_eq!(log.join(" | "), "0:x | 1 unreachable | 2:x | 0 failed | 2 succeeded");
}

#[test]
fn soak_lies_between_batches_and_not_after_the_last() {
    let mut p = plan(2, vec![phase("roll", &[&[0], &[1]], &["x"])]);
    p.phases[0].soak = Duration::from_secs(30);
    assert_eq!(Play::of(p).run().join(" | "), "0:x | 0 succeeded | soak | 1:x | 1 succeeded");
}
