//! What comes from the workers, and what it means for the run.

use super::dispatcher::Dispatcher;
use super::host::Busy;
use super::message::{Ended, Message, Released};
use super::task::Attempt;
use crate::model::plan::plan::HostIndex;
use crate::model::run::cause::Cause;
use crate::model::run::event::{Fact, OutputData};
use crate::model::run::host_summary::StepKind;
use crate::model::run::outcome::{HostOutcome, StepOutcome};
use crate::model::run::reason::Reason;
use crate::model::run::scheduler::{Action, Input, StepIndex};
use crate::model::text::name::VarName;

impl Dispatcher<'_> {
    pub(super) fn on_message(&mut self, host: HostIndex, message: Message) {
        match message {
            Message::Happened(fact) => self.tell(*fact),
            Message::Locked(sequence, former) => {
                self.host(host).locked = true;
                self.host(host).sequence = sequence;
                self.host(host).former_proof = former.map(|former| *former);
                self.tell(Fact::LockAcquired { host: self.label(host) });
            }
            Message::Secret(at, value) => self.restore(host, at, &value),
            Message::Arrived(input) => {
                match input {
                    // What it has not told is lost.
                    Input::Connected(_) => self.unread.retain(|_, of| *of != host),
                    Input::LockUnknown(..) => self.host(host).locked = true,
                    // The lock there is not this run's.
                    Input::Refused(_, HostOutcome::Locked, _) => self.host(host).locked = false,
                    _ => {}
                }
                self.arrived(host, input);
            }
            Message::Released(released) => self.on_released(host, released),
            Message::Output(stream, bytes) => {
                if let Some(Busy::Watched(watching)) = &mut self.host(host).busy {
                    watching.print(stream, bytes);
                } else if let Some(Busy::Running(Attempt { at, .. })) = self.host(host).busy {
                    let (host, step) = (self.label(host), self.path(at));
                    self.tell(Fact::Output { host, step, stream, data: OutputData(bytes) });
                }
            }
            Message::Ended(ended) => self.on_ended(host, ended),
            Message::Tried(at, ended) => self.on_tried(host, at, ended),
            Message::Unwatched => self.on_unwatched(host),
        }
    }

    /// A host is connected, or not. While one is awaited, nothing begins: a step may need its value.
    fn arrived(&mut self, host: HostIndex, input: Input) {
        self.host(host).busy = None;
        self.awaited.remove(&host);
        self.arrivals.push(input);
        if self.awaited.is_empty() {
            self.inputs.extend(self.arrivals.drain(..));
        }
    }

    pub(super) fn on_ended(&mut self, host: HostIndex, ended: Ended) {
        let Some(Busy::Running(attempt)) = self.host(host).busy.take() else { return };
        let Ended { outcome, captured, took, .. } = self.judge(host, attempt, ended);
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let Attempt { kind, at, nth } = attempt;
        let (label, step) = (self.label(host), self.path(at));
        let registered = captured.zip(self.step(at).register.clone());
        let (outcome, registered) = match self.not_as_proven(at, registered.as_ref()) {
            Some(reason) => (StepOutcome::Refused { reason }, registered),
            None => (outcome, registered),
        };
        let on_record = registered.is_none_or(|(value, name)| self.register(host, at, &name, &value));
        if on_record {
            self.spend(host, attempt, &outcome);
        }
        match kind {
            StepKind::Run => {
                self.keep_for_undo(host, at);
                let actions = self.decide(Input::StepEnded(host, outcome.clone()));
                let retrying = actions.iter().any(|action| matches!(action, Action::Retry(h, _) if *h == host));
                self.tell(match outcome {
                    StepOutcome::Skipped { reason } => Fact::StepSkipped { host: label, step, reason },
                    outcome => Fact::StepFinished { host: label, step, attempt: nth, outcome, retrying, millis },
                });
                self.act(actions);
            }
            StepKind::Undo => {
                self.tell(Fact::UndoFinished { host: label, step, outcome: outcome.clone(), millis });
                self.inputs.push_back(Input::UndoEnded(host, outcome));
            }
        }
    }

    /// Why a value that a step gives to a variable is refused: on the site that this one follows, another one was proven.
    fn not_as_proven(&self, at: StepIndex, registered: Option<&(String, VarName)>) -> Option<String> {
        let (value, name) = registered?;
        let basis = self.run.plan.basis.as_ref()?;
        let proof = basis.proof.as_ref()?;
        let proven = proof.get(name).filter(|proven| *proven != value.as_str())?;
        let value =
            if self.step(at).secret_output || self.masker.is_in(value) { "another value" } else { value.as_str() };
        let asked = basis.given.get(name).filter(|given| *given != value).map(|given| format!(" {given}"));
        let asked = asked.unwrap_or_default();
        Some(format!("{name}{asked} is {value} here, and {proven} was proven on {} by run {}", basis.site, proof.run))
    }

    /// The step's end is about to be on record: its output needs no room on the host any more, unless nothing else has it.
    fn spend(&mut self, host: HostIndex, attempt: Attempt, outcome: &StepOutcome) {
        let planned = self.step(attempt.at);
        let open = matches!(outcome, StepOutcome::Detached { .. } | StepOutcome::Unknown { .. });
        if open || !planned.durable || (planned.secret_output && planned.register.is_some()) {
            return;
        }
        let user = self.run.plan.user(host, attempt.at);
        self.host(host).spent.push((user, attempt.key(host)));
    }

    pub(super) fn on_worker_gone(&mut self, host: HostIndex, why: &str) {
        let reason = Reason::new(Cause::Bug, why);
        match self.host(host).busy.clone() {
            Some(Busy::Connecting) => self.arrived(host, Input::ConnectFailed(host, reason)),
            Some(Busy::Running(Attempt { at, .. })) => {
                let durable = self.step(at).durable;
                let outcome = if durable { StepOutcome::Detached { reason } } else { StepOutcome::Unknown { reason } };
                self.on_ended(host, Ended::without_command(outcome));
            }
            Some(Busy::Watched(_)) => self.on_unwatched(host),
            Some(Busy::Releasing(_)) => self.on_released(host, Released::Kept(reason)),
            None => {}
        }
    }
}
