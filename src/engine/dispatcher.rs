//! The owner of a run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Level, debug, error, info, info_span};

use super::contact::{Contact, Reconnecting, Stops};
use super::decision::{decided, told};
use super::files::Files;
use super::host::{Busy, Host};
use super::message::{Ended, Message};
use super::run::{Observer, Run, Unwritten};
use super::task::{Attempt, Order};
use super::worker::Worker;
use crate::model::plan::plan::{HostIndex, PlanStep};
use crate::model::run::event::{EVENT_VERSION, Event, Fact, Proven, Signal};
use crate::model::run::exit;
use crate::model::run::host_summary::StepKind;
use crate::model::run::masking::Masker;
use crate::model::run::outcome::StepOutcome;
use crate::model::run::past::Past;
use crate::model::run::scheduler::{Action, Input, Scheduler, StepIndex};
use crate::model::run::summary::Summary;
use crate::model::text::name::{HostLabel, PhaseName, StepPath, VarName};
use crate::remote::{HostProof, Scope};
use crate::trace;

/// Messages that wait for the dispatcher. Filled by the workers, who wait when it is full; emptied by the dispatcher alone.
const MESSAGES: usize = 256;

/// How long finished workers may take to say good-bye to their hosts.
const FAREWELL: Duration = Duration::from_secs(2);

pub struct Dispatcher<'a> {
    pub(super) run: Run,
    observer: &'a mut dyn Observer,
    pub(super) scheduler: Scheduler,
    pub(super) summary: Summary,
    pub(super) hosts: Vec<Host>,
    /// What an earlier controller did.
    pub(super) past: Option<Past>,
    /// Nothing can be written down any more.
    unwritten: bool,
    /// When the run began, for the hosts' history.
    pub(super) began: jiff::Timestamp,
    /// Each gives its host when it ends, also when it panicked.
    workers: JoinSet<HostIndex>,
    sender: mpsc::Sender<(HostIndex, Message)>,
    pub(super) messages: mpsc::Receiver<(HostIndex, Message)>,
    timers: FuturesUnordered<BoxFuture<'static, Input>>,
    /// Inputs that need no waiting.
    pub(super) inputs: VecDeque<Input>,
    /// Steps and undos whose command could not be made, and what that means.
    pub(super) not_started: VecDeque<(HostIndex, StepOutcome)>,
    /// Secret values of the past that hold for all hosts and were not read again yet, and the hosts that have them.
    pub(super) unread: BTreeMap<VarName, HostIndex>,
    /// Hosts that are being connected, and have values for the others.
    pub(super) awaited: BTreeSet<HostIndex>,
    /// What came of connecting, while a host is awaited.
    pub(super) arrivals: Vec<Input>,
    /// The values of secret variables, and those that steps registered. A task keeps those that were known when it was made.
    pub(super) masker: Arc<Masker>,
    /// What the operator interrupted with last.
    signal: Signal,
    /// Cancelled when the rollout stops.
    pub(super) no_start: CancellationToken,
    /// The observer has seen what is not written yet.
    uncommitted: bool,
    /// What the run has proven is not in the book of every host.
    pub(super) unproven: bool,
    /// Hosts that get their lock back when it is known what the run has proven.
    pub(super) deferred: Vec<HostIndex>,
    /// What the workers get as soon as the observer has written it.
    pub(super) orders: Vec<(HostIndex, Order)>,
}

impl<'a> Dispatcher<'a> {
    pub fn new(run: Run, observer: &'a mut dyn Observer) -> Self {
        let (sender, messages) = mpsc::channel(MESSAGES);
        let scheduler = match &run.resumed {
            Some(resumed) => Scheduler::resume(&run.plan, &resumed.past, resumed.direction),
            None => Scheduler::new(Arc::clone(&run.plan)),
        };
        let mut masker = Masker::default();
        for secret in run.secrets.values() {
            masker.add_secret(secret);
            trace::hide_secret(secret);
        }
        Self {
            scheduler,
            summary: Summary::default(),
            past: None,
            unwritten: false,
            began: (run.now)(),
            hosts: run.plan.hosts.iter().map(|_| Host::default()).collect(),
            workers: JoinSet::new(),
            sender,
            messages,
            timers: FuturesUnordered::new(),
            inputs: VecDeque::from([Input::Start]),
            not_started: VecDeque::new(),
            unread: BTreeMap::new(),
            awaited: BTreeSet::new(),
            arrivals: Vec::new(),
            masker: Arc::new(masker),
            signal: Signal::Int,
            no_start: CancellationToken::new(),
            uncommitted: false,
            unproven: false,
            deferred: Vec::new(),
            orders: Vec::new(),
            run,
            observer,
        }
    }

    pub async fn run(mut self) -> Summary {
        let plan = Arc::clone(&self.run.plan);
        match self.run.resumed.take() {
            Some(resumed) => self.resume(resumed),
            None => self.tell(Fact::RunStarted {
                sites: plan.sites.clone(),
                task: plan.task.clone(),
                hosts: plan.hosts.iter().map(|host| host.label.clone()).collect(),
                by: self.run.by.clone(),
                basis: plan.basis.clone(),
            }),
        }
        self.flush();
        let mut ticks = interval(Duration::from_millis(100));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.scheduler.is_finished() {
            while !self.is_idle() {
                if let Some((host, outcome)) = self.not_started.pop_front() {
                    self.on_ended(host, Ended::without_command(outcome));
                } else if let Some(input) = self.inputs.pop_front() {
                    let actions = self.decide(input);
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
                    // What came in together is written together: one flush of the record for all of it. No more than the channel holds:
                    // hosts that print faster than it is written would keep everything else waiting, an interrupt as well.
                    for _ in 1..MESSAGES {
                        let Ok((host, message)) = self.messages.try_recv() else { break };
                        self.on_message(host, message);
                    }
                }
                Some(input) = self.timers.next() => self.inputs.push_back(input),
                // A worker ends when it has no more orders; before that only by a panic.
                Some(Ok(host)) = self.workers.join_next() => {
                    self.on_worker_gone(host, "a bug in fleet: its worker panicked");
                }
                Some(signal) = self.run.interrupts.recv() => self.on_signal(signal),
                _ = ticks.tick() => self.observer.tick(&mut self.summary),
            }
        }
        self.finish().await
    }

    /// What the scheduler wants done. The log has all that decides how a run goes: each input, with what came of it.
    pub(super) fn decide(&mut self, input: Input) -> Vec<Action> {
        let input_told = tracing::enabled!(Level::DEBUG).then(|| told(&self.run.plan, &input));
        let actions = self.scheduler.on(input);
        debug!(input = input_told, actions = %decided(&self.run.plan, &actions), "scheduler");
        actions
    }

    /// Every signal is one interrupt more; a cancellation ends the running steps, and never lets go of them.
    fn on_signal(&mut self, signal: Signal) {
        info!(?signal, "interrupted");
        self.signal = signal;
        let more = match signal {
            Signal::Int | Signal::Term => 1,
            Signal::Cancel => 2_u8.saturating_sub(self.summary.interrupts),
        };
        self.inputs.extend(std::iter::repeat_n(Input::Interrupt, usize::from(more)));
    }

    /// Is there nothing to be done without waiting?
    fn is_idle(&self) -> bool {
        self.inputs.is_empty() && self.not_started.is_empty()
    }

    async fn finish(mut self) -> Summary {
        let proven = self.give_back_deferred();
        self.wait_for_releases().await;
        let exit_code = self.summary.exit_code();
        let proven = proven.filter(|_| exit_code == 0 && !self.unproven);
        if exit_code == exit::SUCCESS && !self.summary.is_undo() {
            self.tell_unused();
        }
        let sequence = self.run.plan.locks().then(|| self.sequence());
        let undone = self.summary.is_undo();
        debug!(exit_code, proven = proven.is_some(), sequence, "run finished");
        let changes = self.summary.changes_in_short();
        self.tell(Fact::RunFinished { exit_code, proven, sequence, changes, undone });
        self.flush();
        // Without orders the workers close their connections and end. One that hangs is dropped with the set.
        self.hosts.clear();
        drop(self.messages);
        let farewell = async { while self.workers.join_next().await.is_some() {} };
        let _ = timeout(FAREWELL, farewell).await;
        self.summary
    }

    /// The values of all variables that the plan proves, each of which is one and the same on all hosts that have it.
    pub(super) fn proven(&self) -> Option<Proven> {
        let former = HostProof::newest(self.hosts.iter().filter_map(|host| host.former_proof.clone()));
        let names = &self.run.plan.proves;
        let mut values: BTreeMap<VarName, String> =
            names.iter().map(|name| Some((name.clone(), self.common_value(name)?))).collect::<Option<_>>()?;
        let is_new = |name: &&VarName| {
            let former = former.as_ref().and_then(|former| former.get(name));
            former != values.get(*name).map(String::as_str)
        };
        // What the site had proven before is known to who locked it first.
        let new = self.past.is_none().then(|| names.iter().filter(is_new).cloned().collect());
        let name = names.first()?.clone();
        Some(Proven { value: values.remove(&name)?, name, also: values, accepted: self.summary.accepted(), new })
    }

    fn common_value(&self, name: &VarName) -> Option<String> {
        let mut values = self.hosts.iter().filter_map(|host| host.registered.get(name));
        let value = values.next().filter(|value| !self.masker.is_in(value))?;
        values.all(|other| other == value).then(|| value.clone())
    }

    pub(super) fn tell(&mut self, fact: Fact) {
        let event = Event { v: EVENT_VERSION, at: (self.run.now)(), run: self.run.id.clone(), fact };
        self.summary.apply(&event);
        self.observer.observe(&event, &mut self.summary);
        self.uncommitted = true;
    }

    /// Has the observer write what has happened and what is about to, and only then lets it happen.
    pub(super) fn flush(&mut self) {
        if std::mem::take(&mut self.uncommitted) {
            let written = self.observer.commit(&mut self.summary);
            if let (Err(Unwritten), false) = (written, self.unwritten) {
                error!("the record cannot be written: the run lets go");
                self.unwritten = true;
                self.orders.clear();
                self.inputs.push_front(Input::LetGo);
            }
        }
        for (host, order) in std::mem::take(&mut self.orders) {
            let stop = self.host(host).stop.clone();
            // An undo is not kept from beginning by a rollout that has stopped.
            let is_watched = matches!(self.host(host).busy, Some(Busy::Watched(_)));
            let forward = matches!(self.host(host).busy, Some(Busy::Running(Attempt { kind: StepKind::Run, .. })));
            let no_start = match (is_watched, forward) {
                (true, _) => self.host(host).no_watch.clone(),
                (false, true) => self.no_start.clone(),
                (false, false) => CancellationToken::new(),
            };
            let stops = Stops { stop, no_start };
            let sent = self.host(host).orders.as_ref().is_some_and(|orders| orders.try_send((order, stops)).is_ok());
            if !sent {
                self.on_worker_gone(host, "a bug in fleet: its worker is gone");
            }
        }
    }

    pub(super) fn host(&mut self, host: HostIndex) -> &mut Host {
        #[expect(clippy::indexing_slicing, reason = "a HostIndex is made only from this plan's hosts")]
        &mut self.hosts[host.0]
    }

    pub(super) fn label(&self, host: HostIndex) -> HostLabel {
        #[expect(clippy::indexing_slicing, reason = "a HostIndex is made only from this plan's hosts")]
        self.run.plan.hosts[host.0].label.clone()
    }

    pub(super) fn step(&self, at: StepIndex) -> &PlanStep {
        #[expect(clippy::indexing_slicing, reason = "the scheduler names only steps of this plan")]
        &self.run.plan.phases[at.phase].steps[at.step]
    }

    pub(super) fn path(&self, at: StepIndex) -> StepPath {
        self.step(at).path.clone()
    }

    fn phase_name(&self, phase: usize) -> PhaseName {
        #[expect(clippy::indexing_slicing, reason = "the scheduler names only phases of this plan")]
        self.run.plan.phases[phase].name.clone()
    }

    pub(super) fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Connect(host) => self.connect(host),
                Action::Run(host, at, nth) => self.start(host, Attempt { kind: StepKind::Run, at, nth }, false),
                Action::Watch(host, at, nth) => self.start(host, Attempt { kind: StepKind::Run, at, nth }, true),
                Action::Undo(host, at, nth) => self.start(host, Attempt { kind: StepKind::Undo, at, nth }, false),
                Action::WatchUndo(host, at, nth) => self.start(host, Attempt { kind: StepKind::Undo, at, nth }, true),
                Action::PlanUndo(host, at) => self.plan_undo(host, at),
                Action::Retry(host, delay) => self.after(delay, Input::RetryDue(host)),
                Action::Soak(delay) => self.after(delay, Input::SoakOver),
                Action::WatchStarted(phase, batch, delay) => {
                    let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                    self.tell(Fact::WatchStarted { phase: self.phase_name(phase), batch: batch + 1, millis });
                }
                Action::StartWatch(host, phase) => self.start_watch(host, phase),
                Action::EndWatch(host) => self.host(host).no_watch.cancel(),
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
                Action::RolloutStopped(reason) => {
                    self.no_start.cancel();
                    self.tell(Fact::RolloutStopped { reason });
                }
                Action::Interrupted(level) => self.tell(Fact::Interrupted { level, signal: self.signal }),
                Action::Settle(settled) => self.settle(settled),
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
        let lock = self.lock(index);
        if lock.is_some() {
            self.tell(Fact::LockRequested { host: self.label(index) });
        }
        let secrets = self.secrets(index);
        if secrets.iter().any(|task| self.is_shared(task.attempt.at)) {
            self.awaited.insert(index);
        }
        let span = info_span!("host", host = %host.label);
        let contact = Contact {
            index,
            host,
            span: span.clone(),
            connector: Arc::clone(&self.run.connector),
            messages: self.sender.clone(),
            session: None,
            scope: Scope::default(),
            reconnecting: Reconnecting::default(),
        };
        let files = Files::new(Arc::clone(&self.run.plan), self.run.id.clone(), self.past.is_some());
        let project = self.run.project.clone();
        let worker = Worker { contact, lock, project, files, secrets };
        let work = AssertUnwindSafe(worker.run(receiver).instrument(span)).catch_unwind();
        self.workers.spawn(work.map(move |_| index));
        self.host(index).orders = Some(orders);
        self.busy(index, Busy::Connecting);
        self.orders.push((index, Order::Connect));
    }

    pub(super) fn busy(&mut self, host: HostIndex, busy: Busy) {
        let state = self.host(host);
        state.busy = Some(busy);
        state.stop = CancellationToken::new();
        state.no_watch = CancellationToken::new();
    }
}
