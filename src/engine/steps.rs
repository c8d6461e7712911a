//! Makes tasks for the workers out of the steps of the plan: variables, limits, names.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::dispatcher::Dispatcher;
use super::host::Busy;
use super::task::{Attempt, Order, Task, Work};
use crate::model::plan::book::EffectChange;
use crate::model::plan::command::{CommandTemplate, RemoteCommand, Unfinished};
use crate::model::plan::plan::{AD_HOC, Guard, HostIndex, PlanHost};
use crate::model::recipe::template::Template;
use crate::model::run::event::Fact;
use crate::model::run::host_summary::StepKind;
use crate::model::run::masking::Masked;
use crate::model::run::outcome::StepOutcome;
use crate::model::run::scheduler::StepIndex;
use crate::model::text::name::VarName;
use crate::remote::{DurableStep, Question, Scope};
use crate::trace;

/// Characters of what a step says that the run changes: it is for a line of a table.
const MAX_CHANGE: usize = 200;

impl Dispatcher<'_> {
    /// `watch`: an earlier controller announced it, and it may run already.
    pub(super) fn start(&mut self, host: HostIndex, attempt: Attempt, watch: bool) {
        let Attempt { kind, at, nth } = attempt;
        let (label, step) = (self.label(host), self.path(at));
        if let Some(reason) = self.not_for(host, attempt).filter(|_| !watch) {
            self.busy(host, Busy::Running(attempt));
            self.not_started.push_back((host, StepOutcome::Skipped { reason }));
            return;
        }
        self.tell(match kind {
            _ if watch => Fact::StepResumed { host: label, step, attempt: nth, undo: kind == StepKind::Undo },
            StepKind::Run => Fact::StepStarted { host: label, step, attempt: nth },
            StepKind::Undo => Fact::UndoStarted { host: label, step, attempt: nth },
        });
        self.busy(host, Busy::Running(attempt));
        let recorded = std::mem::take(&mut self.host(host).recorded);
        match self.made(host, attempt) {
            Ok(task) => {
                // A run that goes back begins nothing that it would have to undo.
                let only_watch = watch && kind == StepKind::Run && self.scheduler.goes_back();
                let task = Task { watch: watch.then_some(recorded), only_watch, ..task };
                self.orders.push((host, Order::Execute(Box::new(task))));
            }
            // Later: the actions that came together with this one are to be told first.
            Err(outcome) => self.not_started.push_back((host, outcome)),
        }
    }

    fn made(&mut self, host: HostIndex, attempt: Attempt) -> Result<Task, StepOutcome> {
        let (plan, at) = (&self.run.plan, attempt.at);
        let (command, guard, effects) = match attempt.kind {
            StepKind::Run => {
                let guard = match plan.guard(host, at) {
                    None => None,
                    Some(Guard::Unless(command)) => Some(Guard::Unless(self.ready(host, &command)?)),
                    Some(Guard::OnlyIf(command)) => Some(Guard::OnlyIf(self.ready(host, &command)?)),
                };
                let run = plan.run(host, at).ok_or_else(|| not_started("the host has nothing to run in it"))?;
                (self.ready(host, &run)?, guard, self.step(at).changes())
            }
            StepKind::Undo => {
                let undo = plan.undo(host, at).ok_or_else(|| not_started("the step has no undo"))?;
                let kept = self.hosts.get(host.0).and_then(|host| host.kept.get(&at));
                (self.bound(&undo, kept)?, None, self.step(at).undo_changes())
            }
        };
        Ok(Task { guard, ..self.task(host, attempt, command).with(effects) })
    }

    /// Why the step has nothing to do on the host: a variable has another value than its phase is for. Of a step that is only an undo, whether that
    /// has; what a step did is undone whatever became of the variable since.
    fn not_for(&self, host: HostIndex, Attempt { kind, at, .. }: Attempt) -> Option<String> {
        let step = self.step(at);
        if kind == StepKind::Undo && !step.is_only_undo() {
            return None;
        }
        let registered = |name| self.hosts.get(host.0)?.registered.get(name).cloned();
        step.when.iter().find_map(|(name, wanted)| {
            let value = registered(name).or_else(|| self.run.plan.value(name, host));
            (value.as_ref() != Some(wanted)).then(|| format!("only when `{name}` is {wanted}"))
        })
    }

    /// A task with the limits of its step.
    pub(super) fn task(&mut self, host: HostIndex, attempt: Attempt, command: RemoteCommand) -> Task {
        let spent = self.host(host).take_spent(command.as_user.as_ref());
        let planned = self.step(attempt.at);
        let undo = attempt.kind == StepKind::Undo;
        // A run that locks nothing has no folder on the host either: nobody would remove it.
        let work = if planned.durable && self.run.plan.locks() {
            // Without a folder of its own the book is in the login user's spool, and another user's spool may hold an old one of the same site.
            let book = self.run.plan.hosts.get(host.0).map(PlanHost::site_book);
            let book = book.filter(|book| command.as_user.is_none() || book.folder.is_some());
            let witness = self.run.plan.hosts.get(host.0).filter(|_| command.as_user.is_some());
            Work::Durable(Box::new(DurableStep {
                run: self.run.id.clone(),
                label: format!("{}{} on {}", if undo { "undo of " } else { "" }, planned.path, self.label(host)),
                key: attempt.key(host),
                command,
                limit: planned.timeout,
                spent,
                effects: EffectChange::default(),
                book,
                witness: witness.map(|host| Question::holds(&self.run.id, &host.site_book())),
                scope: Scope::default(),
            }))
        } else if !undo && planned.is_local() {
            Work::Local(command)
        } else if planned.read_only {
            Work::ReadOnly(command)
        } else {
            Work::Plain(command)
        };
        Task {
            step: planned.path.clone(),
            attempt,
            guard: None,
            work,
            watch: None,
            only_watch: false,
            timeout: planned.timeout,
            idle_timeout: planned.idle_timeout,
            reports: self.run.plan.task != AD_HOC,
            capture: !undo && planned.register.is_some(),
            secret: planned.secret_output,
            effects: EffectChange::default(),
            masker: Arc::clone(&self.masker),
        }
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
        bound.finish_with(&self.run.secrets).map_err(|unfinished| {
            let name = match unfinished {
                Unfinished::Open(name) => name,
                Unfinished::User(error) => return not_started(&error.to_string()),
            };
            match self.unread.get(&name) {
                Some(host) if self.hosts.get(host.0).is_some_and(|host| host.locked) => {
                    let reason = format!("the secret value `{name}` is on {} alone, which is away", self.label(*host));
                    StepOutcome::Detached { reason: reason.into() }
                }
                Some(host) => {
                    let host = self.label(*host);
                    not_started(&format!("the secret value `{name}` was on {host} alone, which is out of the run"))
                }
                None if self.run.plan.secrets.contains(&name) => {
                    not_started(&format!("the secret `{name}` is used outside `env`, or has no value"))
                }
                None => not_started(&format!(
                    "`{name}` was to be registered by an earlier step, which was skipped or failed"
                )),
            }
        })
    }

    /// Does what the step registers hold for all hosts?
    pub(super) fn is_shared(&self, at: StepIndex) -> bool {
        self.run.plan.phases.get(at.phase).is_some_and(|phase| phase.once)
    }

    /// False: the value is a secret, and is on record nowhere.
    pub(super) fn register(&mut self, host: HostIndex, at: StepIndex, name: &VarName, value: &str) -> bool {
        if self.run.plan.summary.as_ref() == Some(name) && !self.step(at).secret_output {
            self.describe_change(host, at, value);
        }
        // What holds a secret is one, too.
        if self.step(at).secret_output || self.masker.is_in(value) {
            self.register_secret(host, at, name, value);
            return false;
        }
        self.tell(Fact::Registered { host: self.label(host), name: name.clone(), value: value.to_owned() });
        self.set_variable(host, at, name, value);
        true
    }

    /// What the run changes, as a step says it: the first line, without secrets.
    fn describe_change(&mut self, host: HostIndex, at: StepIndex, value: &str) {
        let mut masked = Masked::default();
        masked.push(value.as_bytes());
        let text = String::from_utf8_lossy(&masked.give(value.len(), &self.masker)).into_owned();
        let Some(line) = text.lines().map(str::trim).find(|line| !line.is_empty()) else { return };
        let text = line.chars().take(MAX_CHANGE).collect();
        self.tell(Fact::ChangeDescribed { host: self.label(host), text, shared: self.is_shared(at) });
    }

    pub(super) fn register_secret(&mut self, host: HostIndex, at: StepIndex, name: &VarName, value: &str) {
        Arc::make_mut(&mut self.masker).add(value);
        trace::hide(value);
        self.set_variable(host, at, name, value);
    }

    pub(super) fn set_variable(&mut self, host: HostIndex, at: StepIndex, name: &VarName, value: &str) {
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
