//! The owner of a run.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::worker::{Message, Order, ReadyGuard, Task, Worker};
use super::{Observer, Run};
use crate::model::command::{CommandTemplate, RemoteCommand};
use crate::model::event::{EVENT_VERSION, Event, Fact, OutputData, Proven, Signal};
use crate::model::masking::Masker;
use crate::model::name::{HostLabel, PhaseName, StepPath, VarName};
use crate::model::outcome::StepOutcome;
use crate::model::plan::{Guard, HostIndex, Plan, PlanStep, StepCommands};
use crate::model::scheduler::{Action, Input, Scheduler, StepIndex};
use crate::model::summary::Summary;
use crate::model::template::Template;

/// Messages that wait for the dispatcher. Filled by the workers, who wait when it is full; emptied by the dispatcher alone.
const MESSAGES: usize = 256;

/// How long finished workers may take to say good-bye to their hosts.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a host is busy with.
#[derive(Debug, Clone, Copy)]
enum Busy {
    Connecting,
    Step(StepIndex, u32),
    Undo(StepIndex),
}

/// A host as the dispatcher sees it.
#[derive(Default)]
struct Host {
    orders: Option<mpsc::Sender<Order>>,
    busy: Option<Busy>,
    stop: CancellationToken,
    registered: BTreeMap<VarName, String>,
    /// What the undo of a step gets, as it was when the step ended: a later step may register the same variable anew.
    kept: HashMap<StepIndex, BTreeMap<VarName, String>>,
}

pub struct Dispatcher<'a> {
    run: Run,
    observer: &'a mut dyn Observer,
    scheduler: Scheduler,
    summary: Summary,
    hosts: Vec<Host>,
    workers: JoinSet<()>,
    owners: HashMap<tokio::task::Id, HostIndex>,
    sender: mpsc::Sender<(HostIndex, Message)>,
    messages: mpsc::Receiver<(HostIndex, Message)>,
    timers: FuturesUnordered<BoxFuture<'static, Input>>,
    /// Inputs that need no waiting.
    inputs: VecDeque<Input>,
    /// Steps and undos whose command could not be made, and why.
    not_started: VecDeque<(HostIndex, String)>,
    /// The secret values that steps registered.
    masker: Masker,
    /// What the operator interrupted with last.
    signal: Signal,
    /// What the observer has not seen yet.
    events: Vec<Event>,
    /// What the workers get as soon as the observer has seen it.
    orders: Vec<(HostIndex, Order)>,
}

impl<'a> Dispatcher<'a> {
    pub fn new(run: Run, observer: &'a mut dyn Observer) -> Self {
        let (sender, messages) = mpsc::channel(MESSAGES);
        Self {
            scheduler: Scheduler::new(Arc::clone(&run.plan)),
            summary: Summary::default(),
            hosts: run.plan.hosts.iter().map(|_| Host::default()).collect(),
            workers: JoinSet::new(),
            owners: HashMap::new(),
            sender,
            messages,
            timers: FuturesUnordered::new(),
            inputs: VecDeque::from([Input::Start]),
            not_started: VecDeque::new(),
            masker: Masker::default(),
            signal: Signal::Int,
            events: Vec::new(),
            orders: Vec::new(),
            run,
            observer,
        }
    }

    pub async fn run(mut self) -> Summary {
        let plan = Arc::clone(&self.run.plan);
        self.tell(Fact::RunStarted {
            sites: plan.sites.clone(),
            task: plan.task.clone(),
            hosts: plan.hosts.iter().map(|host| host.label.clone()).collect(),
            by: self.run.by.clone(),
        });
        self.flush();
        let mut ticks = interval(Duration::from_millis(100));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.scheduler.is_finished() {
            while !self.is_idle() {
                if let Some((host, reason)) = self.not_started.pop_front() {
                    self.on_ended(host, StepOutcome::NotStarted { reason }, None, Duration::ZERO);
                } else if let Some(input) = self.inputs.pop_front() {
                    let actions = self.scheduler.on(input);
                    self.act(actions);
                }
            }
            self.flush();
            if !self.is_idle() || !self.orders.is_empty() || self.scheduler.is_finished() {
                continue;
            }
            tokio::select! {
                Some((host, message)) = self.messages.recv() => {
                    self.on_message(host, message);
                    // What came in together is written together: one flush of the record for all of it.
                    while let Ok((host, message)) = self.messages.try_recv() {
                        self.on_message(host, message);
                    }
                }
                Some(input) = self.timers.next() => self.inputs.push_back(input),
                Some(joined) = self.workers.join_next_with_id() => {
                    // A worker ends when it has no more orders; before that only by a panic.
                    self.on_worker_ended(joined.map_or_else(|error| error.id(), |(id, ())| id));
                }
                Some(signal) = self.run.interrupts.recv() => {
                    self.signal = signal;
                    self.inputs.push_back(Input::Interrupt);
                }
                _ = ticks.tick() => self.observer.tick(),
            }
        }
        self.finish(&plan).await
    }

    /// Is there nothing to be done without waiting?
    fn is_idle(&self) -> bool {
        self.inputs.is_empty() && self.not_started.is_empty()
    }

    async fn finish(mut self, plan: &Plan) -> Summary {
        let exit_code = self.summary.exit_code();
        let proven = plan.proves.as_ref().filter(|_| exit_code == 0).and_then(|name| self.proven(name));
        self.tell(Fact::RunFinished { exit_code, proven });
        self.flush();
        // Without orders the workers close their connections and end. One that hangs is dropped with the set.
        self.hosts.clear();
        drop(self.messages);
        let farewell = async { while self.workers.join_next().await.is_some() {} };
        let _ = timeout(FAREWELL, farewell).await;
        self.summary
    }

    /// The variable's value, when it is one and the same on all hosts that have it.
    fn proven(&self, name: &VarName) -> Option<Proven> {
        let mut values = self.hosts.iter().filter_map(|host| host.registered.get(name));
        let value = values.next()?;
        values.all(|other| other == value).then(|| Proven { name: name.clone(), value: value.clone() })
    }

    fn tell(&mut self, fact: Fact) {
        let event = Event { v: EVENT_VERSION, at: (self.run.now)(), run: self.run.id.clone(), fact };
        self.summary.apply(&event);
        self.events.push(event);
    }

    /// Shows the observer what has happened and what is about to, and only then lets it happen.
    fn flush(&mut self) {
        if !self.events.is_empty() {
            self.observer.observe(&std::mem::take(&mut self.events));
        }
        for (host, order) in std::mem::take(&mut self.orders) {
            let sent = self.host(host).orders.as_ref().is_some_and(|orders| orders.try_send(order).is_ok());
            if !sent {
                self.on_worker_gone(host, "a bug in fleet: its worker is gone");
            }
        }
    }

    fn host(&mut self, host: HostIndex) -> &mut Host {
        #[expect(clippy::indexing_slicing, reason = "a HostIndex is made only from this plan's hosts")]
        &mut self.hosts[host.0]
    }

    fn label(&self, host: HostIndex) -> HostLabel {
        #[expect(clippy::indexing_slicing, reason = "a HostIndex is made only from this plan's hosts")]
        self.run.plan.hosts[host.0].label.clone()
    }

    fn step(&self, at: StepIndex) -> &PlanStep {
        #[expect(clippy::indexing_slicing, reason = "the scheduler names only steps of this plan")]
        &self.run.plan.phases[at.phase].steps[at.step]
    }

    fn path(&self, at: StepIndex) -> StepPath {
        self.step(at).path.clone()
    }

    fn phase_name(&self, phase: usize) -> PhaseName {
        #[expect(clippy::indexing_slicing, reason = "the scheduler names only phases of this plan")]
        self.run.plan.phases[phase].name.clone()
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Connect(host) => self.connect(host),
                Action::Run(host, at, attempt) => self.start_step(host, at, attempt),
                Action::Undo(host, at) => self.start_undo(host, at),
                Action::Retry(host, delay) => self.after(delay, Input::RetryDue(host)),
                Action::Soak(delay) => self.after(delay, Input::SoakOver),
                Action::End(host) => self.host(host).stop.cancel(),
                Action::PhaseStarted(phase) => {
                    let batches = self.run.plan.phases.get(phase).map_or(0, |p| p.batches.len());
                    self.tell(Fact::PhaseStarted { phase: self.phase_name(phase), batches });
                }
                Action::BatchStarted(phase, batch) => {
                    let hosts = self.run.plan.phases.get(phase).and_then(|p| p.batches.get(batch)).cloned();
                    let hosts = hosts.unwrap_or_default().into_iter().map(|host| self.label(host)).collect();
                    self.tell(Fact::BatchStarted { phase: self.phase_name(phase), batch: batch + 1, hosts });
                }
                Action::BatchFinished(phase, batch) => {
                    self.tell(Fact::BatchFinished { phase: self.phase_name(phase), batch: batch + 1 });
                }
                Action::RolloutStopped(reason) => self.tell(Fact::RolloutStopped { reason }),
                Action::Interrupted(level) => self.tell(Fact::Interrupted { level, signal: self.signal }),
                Action::Settle(settled) => {
                    self.host(settled.host).orders = None;
                    self.tell(Fact::HostFinished {
                        host: self.label(settled.host),
                        outcome: settled.outcome,
                        reason: settled.reason,
                        in_force: settled.in_force,
                        kept: settled.kept,
                    });
                }
                Action::Finish => {}
            }
        }
    }

    fn after(&mut self, delay: Duration, input: Input) {
        self.timers.push(tokio::time::sleep(delay).map(|()| input).boxed());
    }

    fn connect(&mut self, index: HostIndex) {
        self.tell(Fact::HostStarted { host: self.label(index) });
        let Some(host) = self.run.plan.hosts.get(index.0).cloned() else { return };
        // One order at a time, so one place is enough.
        let (orders, receiver) = mpsc::channel(1);
        let worker = Worker {
            index,
            host,
            connector: Arc::clone(&self.run.connector),
            messages: self.sender.clone(),
            session: None,
        };
        let handle = self.workers.spawn(worker.run(receiver));
        self.owners.insert(handle.id(), index);
        self.host(index).orders = Some(orders);
        let stop = self.busy(index, Busy::Connecting);
        self.orders.push((index, Order::Connect(stop)));
    }

    fn busy(&mut self, host: HostIndex, busy: Busy) -> CancellationToken {
        let stop = CancellationToken::new();
        let state = self.host(host);
        state.busy = Some(busy);
        state.stop = stop.clone();
        stop
    }

    fn start_step(&mut self, host: HostIndex, at: StepIndex, attempt: u32) {
        self.tell(Fact::StepStarted { host: self.label(host), step: self.path(at), attempt });
        let stop = self.busy(host, Busy::Step(at, attempt));
        let planned = self.step(at);
        let task = self.commands(host, at).and_then(|commands| {
            let guard = match &commands.guard {
                None => None,
                Some(Guard::Unless(command)) => Some(ReadyGuard::Unless(self.ready(host, command)?)),
                Some(Guard::OnlyIf(command)) => Some(ReadyGuard::OnlyIf(self.ready(host, command)?)),
            };
            Ok(Task {
                guard,
                command: self.ready(host, &commands.run)?,
                timeout: planned.timeout,
                idle_timeout: planned.idle_timeout,
                capture: planned.register.is_some(),
                secret: planned.secret_output,
                masker: self.masker.clone(),
                stop,
            })
        });
        self.execute(host, task);
    }

    fn start_undo(&mut self, host: HostIndex, at: StepIndex) {
        self.tell(Fact::UndoStarted { host: self.label(host), step: self.path(at) });
        let stop = self.busy(host, Busy::Undo(at));
        let planned = self.step(at);
        let task = self.commands(host, at).and_then(|commands| {
            let undo = commands.undo.as_ref().ok_or("the step has no undo")?;
            Ok(Task {
                guard: None,
                command: Self::bound(undo, self.hosts.get(host.0).and_then(|host| host.kept.get(&at)))?,
                timeout: planned.timeout,
                idle_timeout: planned.idle_timeout,
                capture: false,
                secret: planned.secret_output,
                masker: self.masker.clone(),
                stop,
            })
        });
        self.execute(host, task);
    }

    fn commands(&self, host: HostIndex, at: StepIndex) -> Result<&StepCommands, String> {
        self.step(at).commands.get(&host).ok_or_else(|| "the step is not for this host".to_owned())
    }

    /// The command with all that earlier steps registered.
    fn ready(&self, host: HostIndex, command: &CommandTemplate) -> Result<RemoteCommand, String> {
        Self::bound(command, self.hosts.get(host.0).map(|host| &host.registered))
    }

    fn bound(command: &CommandTemplate, values: Option<&BTreeMap<VarName, String>>) -> Result<RemoteCommand, String> {
        let bound = command.bind(|name| values.and_then(|values| values.get(name)).cloned());
        bound
            .finish()
            .map_err(|name| format!("`{name}` was to be registered by an earlier step, which was skipped or failed"))
    }

    fn execute(&mut self, host: HostIndex, task: Result<Task, String>) {
        match task {
            Ok(task) => self.orders.push((host, Order::Execute(Box::new(task)))),
            // Later: the actions that came together with this one are to be told first.
            Err(reason) => self.not_started.push_back((host, reason)),
        }
    }

    fn on_message(&mut self, host: HostIndex, message: Message) {
        match message {
            Message::Connected => {
                self.tell(Fact::Connected { host: self.label(host) });
                // In the middle of a step it was lost and is there again; the step goes on.
                if let Some(Busy::Connecting) = self.host(host).busy {
                    self.host(host).busy = None;
                    self.inputs.push_back(Input::Connected(host));
                }
            }
            Message::ConnectFailed(reason) => {
                self.host(host).busy = None;
                self.inputs.push_back(Input::ConnectFailed(host, reason));
            }
            Message::ConnectionLost(reason) => self.tell(Fact::ConnectionLost { host: self.label(host), reason }),
            Message::Output(stream, bytes) => {
                if let Some(Busy::Step(at, _) | Busy::Undo(at)) = self.host(host).busy {
                    let (host, step) = (self.label(host), self.path(at));
                    self.tell(Fact::Output { host, step, stream, data: OutputData(bytes) });
                }
            }
            Message::Ended { outcome, captured, took } => self.on_ended(host, outcome, captured, took),
        }
    }

    fn on_ended(&mut self, host: HostIndex, outcome: StepOutcome, captured: Option<String>, took: Duration) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let label = self.label(host);
        match self.host(host).busy.take() {
            Some(Busy::Step(at, attempt)) => {
                if let (Some(value), Some(name)) = (captured, self.step(at).register.clone()) {
                    self.register(host, at, &name, &value);
                }
                self.keep_for_undo(host, at);
                let actions = self.scheduler.on(Input::StepEnded(host, outcome.clone()));
                let step = self.path(at);
                let retrying = actions.iter().any(|action| matches!(action, Action::Retry(h, _) if *h == host));
                self.tell(match outcome {
                    StepOutcome::Skipped { reason } => Fact::StepSkipped { host: label, step, reason },
                    outcome => Fact::StepFinished { host: label, step, attempt, outcome, retrying, millis },
                });
                self.act(actions);
            }
            Some(Busy::Undo(at)) => {
                self.tell(Fact::UndoFinished { host: label, step: self.path(at), outcome: outcome.clone(), millis });
                self.inputs.push_back(Input::UndoEnded(host, outcome));
            }
            Some(Busy::Connecting) | None => {}
        }
    }

    fn register(&mut self, host: HostIndex, at: StepIndex, name: &VarName, value: &str) {
        if self.step(at).secret_output {
            self.masker.add(value);
        } else {
            self.tell(Fact::Registered { host: self.label(host), name: name.clone(), value: value.to_owned() });
        }
        let once = self.run.plan.phases.get(at.phase).is_some_and(|phase| phase.once);
        let hosts = if once { self.hosts.as_mut_slice() } else { std::slice::from_mut(self.host(host)) };
        for host in hosts {
            host.registered.insert(name.clone(), value.to_owned());
        }
    }

    fn keep_for_undo(&mut self, host: HostIndex, at: StepIndex) {
        let undo = self.commands(host, at).ok().and_then(|commands| commands.undo.as_ref());
        let names = undo.into_iter().flat_map(CommandTemplate::templates).flat_map(Template::names);
        let registered = self.hosts.get(host.0).map(|host| &host.registered);
        let value = |name: &VarName| Some((name.clone(), registered?.get(name)?.clone()));
        let values: BTreeMap<_, _> = names.filter_map(value).collect();
        if !values.is_empty() {
            self.host(host).kept.insert(at, values);
        }
    }

    fn on_worker_ended(&mut self, id: tokio::task::Id) {
        if let Some(host) = self.owners.remove(&id) {
            self.on_worker_gone(host, "a bug in fleet: its worker panicked");
        }
    }

    fn on_worker_gone(&mut self, host: HostIndex, why: &str) {
        match self.host(host).busy {
            Some(Busy::Connecting) => {
                self.host(host).busy = None;
                self.inputs.push_back(Input::ConnectFailed(host, why.to_owned()));
            }
            Some(Busy::Step(..) | Busy::Undo(_)) => {
                self.on_ended(host, StepOutcome::Unknown { reason: why.to_owned() }, None, Duration::ZERO);
            }
            None => {}
        }
    }
}
