//! Events of runs that never were, for tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::inventory::ssh::Endpoint;
use crate::model::plan::blob::Blobs;
use crate::model::plan::command::CommandTemplate;
use crate::model::plan::operation::Operation;
use crate::model::plan::plan::{HostIndex, OnFailure, PLAN_VERSION, Plan, PlanHost, PlanPhase, PlanStep};
use crate::model::plan::values::Values;
use crate::model::recipe::template::{Language, Template};
use crate::model::run::event::{EVENT_VERSION, Event, Fact, OutputData, Proven, Stream};
use crate::model::run::outcome::{HostOutcome, StepOutcome};
use crate::model::run::reason::Reason;
use crate::model::text::name::{Address, HostLabel, HostName, PhaseName, RunId, SiteName, StepPath, UserName, VarName};

/// The moment at which all scripted runs begin.
pub fn beginning() -> Timestamp {
    "2026-11-22T08:45:12.123Z".parse().unwrap()
}

/// A moment of a scripted run.
pub fn after(seconds: f64) -> Timestamp {
    beginning() + SignedDuration::from_secs_f64(seconds)
}

/// The run of all scripts.
pub fn run() -> RunId {
    RunId::parse("20261122-084512-7f3a").unwrap()
}

pub fn host(name: &str) -> HostLabel {
    HostLabel::parse(name).unwrap()
}

pub fn step(path: &str) -> StepPath {
    StepPath::parse(path).unwrap()
}

pub fn phase(name: &str) -> PhaseName {
    PhaseName::parse(name).unwrap()
}

/// A plan of hosts `192.0.2.11` and so on, and of steps: path, `run`, `undo`; of a step that is only an undo, `run` is empty. Each is
/// for all hosts.
pub fn plan(hosts: &[&str], steps: &[(&str, &str, &str)]) -> Plan {
    let site = SiteName::parse("mysite").unwrap();
    let plan_host = |(n, name): (usize, &&str)| PlanHost {
        label: host(name),
        site: site.clone(),
        name: HostName::parse(name).unwrap(),
        endpoint: Endpoint {
            connect_retry: Duration::ZERO,
            ..Endpoint::new(
                Address::parse(&format!("192.0.2.{}", n + 11)).unwrap(),
                &UserName::parse("release").unwrap(),
            )
        },
        roles: vec![],
        book: None,
        values: Arc::default(),
    };
    let template = |text: &str| {
        (!text.is_empty()).then(|| CommandTemplate::shell(Template::parse(text, Language::Shell).unwrap()))
    };
    let all: Vec<HostIndex> = (0..hosts.len()).map(HostIndex).collect();
    let mut phases: Vec<PlanPhase> = Vec::new();
    for (path, run, undo) in steps {
        let name = phase(path.split('/').next().unwrap());
        let step = PlanStep {
            run: template(run).map(Operation::Command),
            undo: template(undo),
            ..PlanStep::new(step(path), all.iter().copied().collect())
        };
        match phases.last_mut().filter(|phase| phase.name == name) {
            Some(phase) => phase.steps.push(step),
            None => phases.push(PlanPhase {
                name,
                once: false,
                batches: vec![all.clone()],
                soak: Duration::ZERO,
                steps: vec![step],
            }),
        }
    }
    Plan {
        v: PLAN_VERSION,
        sites: vec![site.clone()],
        task: "deploy".into(),
        hosts: hosts.iter().enumerate().map(plan_host).collect(),
        phases,
        max_failures: 0,
        on_failure: OnFailure::Undo,
        parallel: 32,
        proves: Vec::new(),
        secrets: std::collections::BTreeSet::new(),
        left_out: Vec::new(),
        summary: None,
        previews: Vec::new(),
        basis: None,
        accept: BTreeMap::new(),
        values: Values::new(),
        files: Vec::new(),
        blobs: Blobs::default(),
    }
}

/// Writes down events, one after another.
#[derive(Default)]
pub struct Script {
    now: f64,
    pub events: Vec<Event>,
}

impl Script {
    pub fn wait(&mut self, seconds: f64) -> &mut Self {
        self.now += seconds;
        self
    }

    pub fn fact(&mut self, fact: Fact) -> &mut Self {
        self.events.push(Event { v: EVENT_VERSION, at: after(self.now), run: run(), fact });
        self
    }

    pub fn start(&mut self, site: &str, task: &str, hosts: &[&str]) -> &mut Self {
        let hosts = hosts.iter().map(|name| host(name)).collect();
        let (sites, task, by) = (vec![SiteName::parse(site).unwrap()], task.to_owned(), "alice@desk".to_owned());
        self.fact(Fact::RunStarted { sites, task, hosts, by, basis: None })
    }

    pub fn phase(&mut self, name: &str, batches: usize) -> &mut Self {
        self.fact(Fact::PhaseStarted { phase: phase(name), batches })
    }

    pub fn batch(&mut self, name: &str, batch: usize, hosts: &[&str]) -> &mut Self {
        let hosts = hosts.iter().map(|name| host(name)).collect();
        self.fact(Fact::BatchStarted { phase: phase(name), batch, hosts })
    }

    pub fn batch_end(&mut self, name: &str, batch: usize) -> &mut Self {
        self.fact(Fact::BatchFinished { phase: phase(name), batch })
    }

    pub fn connect(&mut self, name: &str) -> &mut Self {
        self.fact(Fact::HostStarted { host: host(name) }).wait(0.2).fact(Fact::Connected { host: host(name) })
    }

    pub fn begin(&mut self, name: &str, path: &str) -> &mut Self {
        self.fact(Fact::StepStarted { host: host(name), step: step(path), attempt: 1 })
    }

    pub fn print(&mut self, name: &str, path: &str, text: &str) -> &mut Self {
        self.print_bytes(name, path, Stream::Stdout, text.as_bytes())
    }

    pub fn print_bytes(&mut self, name: &str, path: &str, stream: Stream, bytes: &[u8]) -> &mut Self {
        self.fact(Fact::Output { host: host(name), step: step(path), stream, data: OutputData(bytes.to_vec()) })
    }

    pub fn end(&mut self, name: &str, path: &str, outcome: StepOutcome, millis: u64) -> &mut Self {
        self.fact(Fact::StepFinished {
            host: host(name),
            step: step(path),
            attempt: 1,
            outcome,
            retrying: false,
            millis,
        })
    }

    /// A whole step that succeeds in a second.
    pub fn step(&mut self, name: &str, path: &str) -> &mut Self {
        self.begin(name, path).wait(1.0).end(name, path, StepOutcome::Succeeded, 1000)
    }

    pub fn undo(&mut self, name: &str, path: &str, outcome: StepOutcome) -> &mut Self {
        self.fact(Fact::UndoStarted { host: host(name), step: step(path), attempt: 1 })
            .wait(0.5)
            .fact(Fact::UndoFinished { host: host(name), step: step(path), outcome, millis: 500 })
    }

    pub fn settle(&mut self, name: &str, outcome: HostOutcome, reason: Option<&str>, in_force: &[&str]) -> &mut Self {
        let in_force = in_force.iter().map(|path| (*path).to_owned()).collect();
        self.fact(Fact::HostFinished {
            host: host(name),
            outcome,
            reason: reason.map(Reason::parse),
            in_force,
            kept: Vec::new(),
            locked: false,
        })
    }

    pub fn finish(&mut self, exit_code: u8, proven: Option<&str>) -> &mut Self {
        let proven = proven.map(|value| Proven {
            name: VarName::parse("revision").unwrap(),
            value: value.to_owned(),
            accepted: std::collections::BTreeMap::new(),
            also: std::collections::BTreeMap::new(),
            new: None,
        });
        self.fact(Fact::RunFinished { exit_code, proven, sequence: None, changes: None, undone: false })
    }
}

/// A rolling deployment on five hosts: the canary succeeds, in the second batch a migration fails beyond the budget, one host cannot
/// be reached, and all is undone, but for one undo that fails as well.
pub fn rolling_deployment() -> Vec<Event> {
    let mut script = Script::default();
    let hosts = ["web1", "web2", "web3", "web4", "web5"];
    script.start("mysite", "deploy", &hosts).wait(0.1).phase("close", 1).batch("close", 1, &["web1"]);
    script.connect("web1").step("web1", "close/maintenance-on").batch_end("close", 1);
    script.phase("roll", 3).batch("roll", 1, &["web1"]);
    script.begin("web1", "roll/pull").print("web1", "roll/pull", "HEAD is now at 3f2a91c\n").wait(2.0);
    script.end("web1", "roll/pull", StepOutcome::Succeeded, 2000).batch_end("roll", 1);
    script.batch("roll", 2, &["web2", "web3", "web4"]).connect("web2").connect("web3");
    script.fact(Fact::HostStarted { host: host("web4") });
    script.step("web2", "roll/pull").step("web3", "roll/pull");
    script.begin("web2", "roll/migrate").begin("web3", "roll/migrate");
    script.print("web2", "roll/migrate", "10 %\r50 %\rapplying 0042_person\n");
    script.print_bytes(
        "web2",
        "roll/migrate",
        Stream::Stderr,
        b"\x1b[31mERROR\x1b[0m: column \"initials\" does not exist\n",
    );
    script.print("web3", "roll/migrate", "applying 0042_person\n").wait(3.5);
    script.end("web2", "roll/migrate", StepOutcome::Failed { status: 3 }, 3500);
    script.fact(Fact::RolloutStopped { reason: "1 host failed, and the rollout bears 0".to_owned() });
    script.wait(10.0);
    script.settle("web4", HostOutcome::Unreachable, Some("no TCP connection to 192.0.2.14:22 in 10 s"), &[]);
    script.end("web3", "roll/migrate", StepOutcome::Cancelled, 13_500);
    script.undo("web2", "roll/pull", StepOutcome::Succeeded);
    script.undo("web3", "roll/pull", StepOutcome::Failed { status: 1 });
    script.settle("web3", HostOutcome::Held, Some("the undo of roll/pull failed"), &["roll/pull"]);
    script.settle("web2", HostOutcome::RolledBack, Some("roll/migrate: exit status 3"), &[]);
    script.undo("web1", "roll/pull", StepOutcome::Succeeded);
    script.undo("web1", "close/maintenance-on", StepOutcome::Succeeded);
    script.settle("web1", HostOutcome::RolledBack, Some("the rollout was stopped"), &[]);
    script.settle("web5", HostOutcome::Untouched, Some("the rollout was stopped"), &[]);
    script.finish(10, None);
    script.events
}
