//! Makes tasks for the workers out of the steps of the plan: variables, limits, names.

use std::collections::BTreeMap;

use super::dispatcher::Dispatcher;
use super::host::Busy;
use super::task::{Order, Task, Work};
use crate::model::plan::book::EffectChange;
use crate::model::plan::command::{CommandTemplate, RemoteCommand};
use crate::model::plan::plan::{Guard, HostIndex, PlanHost};
use crate::model::recipe::template::Template;
use crate::model::run::event::Fact;
use crate::model::run::host_summary::StepKind;
use crate::model::run::outcome::StepOutcome;
use crate::model::run::scheduler::StepIndex;
use crate::model::text::name::VarName;
use crate::remote::{DurableStep, Scope, StepKey};
use crate::trace;

impl Dispatcher<'_> {
    /// `watch`: an earlier controller announced it, and it may run already.
    pub(super) fn start_step(&mut self, host: HostIndex, at: StepIndex, attempt: u32, watch: bool) {
        let (host_label, path) = (self.label(host), self.path(at));
        self.tell(if watch {
            Fact::StepResumed { host: host_label, step: path, attempt, undo: false }
        } else {
            Fact::StepStarted { host: host_label, step: path, attempt }
        });
        self.busy(host, Busy::Step(at, attempt));
        let recorded = std::mem::take(&mut self.host(host).recorded);
        let made = self.step_task(host, at, attempt);
        // A run that goes back begins nothing that it would have to undo.
        let only_watch = watch && self.scheduler.goes_back();
        self.execute(host, made.map(|task| Task { attempt, watch: watch.then_some(recorded), only_watch, ..task }));
    }

    fn step_task(&mut self, host: HostIndex, at: StepIndex, attempt: u32) -> Result<Task, StepOutcome> {
        let guard = match self.run.plan.guard(host, at) {
            None => None,
            Some(Guard::Unless(command)) => Some(Guard::Unless(self.ready(host, &command)?)),
            Some(Guard::OnlyIf(command)) => Some(Guard::OnlyIf(self.ready(host, &command)?)),
        };
        let run = self.run.plan.run(host, at).ok_or_else(|| not_started("the host has nothing to run in it"))?;
        let command = self.ready(host, &run)?;
        let spent = self.host(host).take_spent(command.as_user.as_ref());
        let work = self.work(host, at, StepKey::run(host, at, attempt), command, spent);
        let effects = self.step(at).changes();
        Ok(Task { guard, ..self.task(at, work, self.step(at).register.is_some()).with(effects) })
    }

    pub(super) fn start_undo(&mut self, host: HostIndex, at: StepIndex, attempt: u32, watch: bool) {
        let (host_label, path) = (self.label(host), self.path(at));
        self.tell(if watch {
            Fact::StepResumed { host: host_label, step: path, attempt, undo: true }
        } else {
            Fact::UndoStarted { host: host_label, step: path, attempt }
        });
        self.busy(host, Busy::Undo(at, attempt));
        let recorded = std::mem::take(&mut self.host(host).recorded);
        let made = self.undo_task(host, at, attempt);
        self.execute(
            host,
            made.map(|task| Task { attempt, kind: StepKind::Undo, watch: watch.then_some(recorded), ..task }),
        );
    }

    fn undo_task(&mut self, host: HostIndex, at: StepIndex, attempt: u32) -> Result<Task, StepOutcome> {
        let undo = self.run.plan.undo(host, at).ok_or_else(|| not_started("the step has no undo"))?;
        let command = self.bound(&undo, self.hosts.get(host.0).and_then(|host| host.kept.get(&at)))?;
        let spent = self.host(host).take_spent(command.as_user.as_ref());
        let work = self.work(host, at, StepKey::undo(host, at, attempt), command, spent);
        Ok(self.task(at, work, false).with(self.step(at).undo_changes()))
    }

    /// A task with the limits of its step.
    pub(super) fn task(&self, at: StepIndex, work: Work, capture: bool) -> Task {
        let planned = self.step(at);
        Task {
            step: planned.path.clone(),
            attempt: 1,
            kind: StepKind::Run,
            guard: None,
            work,
            watch: None,
            only_watch: false,
            timeout: planned.timeout,
            idle_timeout: planned.idle_timeout,
            capture,
            secret: planned.secret_output,
            effects: EffectChange::default(),
            masker: self.masker.clone(),
        }
    }

    pub(super) fn work(
        &self,
        host: HostIndex,
        at: StepIndex,
        key: StepKey,
        command: RemoteCommand,
        spent: Vec<StepKey>,
    ) -> Work {
        let planned = self.step(at);
        // A run that locks nothing has no folder on the host either: nobody would remove it.
        if !planned.durable || !self.run.plan.locks() {
            return if planned.read_only { Work::ReadOnly(command) } else { Work::Plain(command) };
        }
        // Without a folder of its own the book is in the login user's spool, and another user's spool may hold an old one of the same site.
        let book = self.run.plan.hosts.get(host.0).map(PlanHost::site_book);
        let book = book.filter(|book| command.as_user.is_none() || book.folder.is_some());
        Work::Durable(Box::new(DurableStep {
            run: self.run.id.clone(),
            label: format!("{}{} on {}", if key.is_undo() { "undo of " } else { "" }, planned.path, self.label(host)),
            key,
            command,
            limit: planned.timeout,
            spent,
            effects: EffectChange::default(),
            book,
            scope: Scope::default(),
        }))
    }

    /// The command with all that earlier steps registered.
    pub(super) fn ready(&self, host: HostIndex, command: &CommandTemplate) -> Result<RemoteCommand, StepOutcome> {
        self.bound(command, self.hosts.get(host.0).map(|host| &host.registered))
    }

    /// An error says what becomes of the step. One of a resumed run waits for a secret value whose host is away: it may be running.
    fn bound(
        &self,
        command: &CommandTemplate,
        values: Option<&BTreeMap<VarName, String>>,
    ) -> Result<RemoteCommand, StepOutcome> {
        let bound = command.bind(|name| values.and_then(|values| values.get(name)).cloned());
        bound.finish().map_err(|name| match self.unread.get(&name) {
            Some(host) => {
                let reason = format!("the secret value `{name}` is on {} alone, which is away", self.label(*host));
                StepOutcome::Detached { reason: reason.into() }
            }
            None => {
                not_started(&format!("`{name}` was to be registered by an earlier step, which was skipped or failed"))
            }
        })
    }

    fn execute(&mut self, host: HostIndex, task: Result<Task, StepOutcome>) {
        match task {
            Ok(task) => self.orders.push((host, Order::Execute(Box::new(task)))),
            // Later: the actions that came together with this one are to be told first.
            Err(outcome) => self.not_started.push_back((host, outcome)),
        }
    }

    /// Does what the step registers hold for all hosts?
    pub(super) fn is_shared(&self, at: StepIndex) -> bool {
        self.run.plan.phases.get(at.phase).is_some_and(|phase| phase.once)
    }

    pub(super) fn register(&mut self, host: HostIndex, at: StepIndex, name: &VarName, value: &str) {
        if self.step(at).secret_output {
            self.masker.add(value);
            trace::hide(value);
        } else {
            self.tell(Fact::Registered { host: self.label(host), name: name.clone(), value: value.to_owned() });
        }
        let hosts = if self.is_shared(at) { self.hosts.as_mut_slice() } else { std::slice::from_mut(self.host(host)) };
        for host in hosts {
            host.registered.insert(name.clone(), value.to_owned());
        }
    }

    /// What is registered until now is what its undo gets.
    pub(super) fn plan_undo(&mut self, host: HostIndex, at: StepIndex) {
        self.keep_for_undo(host, at);
        self.tell(Fact::UndoPlanned { host: self.label(host), step: self.path(at) });
    }

    pub(super) fn keep_for_undo(&mut self, host: HostIndex, at: StepIndex) {
        let registered = self.hosts.get(host.0).map(|host| &host.registered);
        let value = |name: &VarName| Some((name.clone(), registered?.get(name)?.clone()));
        let values: BTreeMap<_, _> = self.undo_names(host, at).iter().filter_map(value).collect();
        if !values.is_empty() {
            self.host(host).kept.insert(at, values);
        }
    }

    /// The variables that the undo of a step takes.
    pub(super) fn undo_names(&self, host: HostIndex, at: StepIndex) -> Vec<VarName> {
        let undo = self.run.plan.undo(host, at);
        undo.iter().flat_map(CommandTemplate::templates).flat_map(Template::names).cloned().collect()
    }
}

fn not_started(reason: &str) -> StepOutcome {
    StepOutcome::NotStarted { reason: reason.into() }
}
