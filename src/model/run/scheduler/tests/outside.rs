//! What a random run does not have in its hand: the hosts, and the person.

use super::known::{Attempt, Truth};
use super::world::{Controller, World};
use super::*;
use crate::model::run::event::{Decision, Direction, Fact};
use crate::model::run::host_summary::StepKind;
use crate::model::run::past::OpenStep;

impl World {
    /// What the host makes of an order, and what the controller hears of it.
    pub fn carry_out(&mut self, attempt: Attempt, watch: bool, back: bool) -> StepOutcome {
        let unknown_outcome = unknown();
        let detached = StepOutcome::Detached { reason: "away".into() };
        let durable = self.step(attempt.at).durable;
        if watch && !durable {
            return unknown_outcome;
        }
        if watch && let Some(truth) = self.attempts.get(&attempt).cloned() {
            if self.dice.trouble_in(12) {
                return detached;
            }
            let lost = truth.lost || self.dice.trouble_in(16);
            let failed = self.dice.trouble_in(4);
            let outcome = truth.outcome.unwrap_or(if failed { FAILED } else { StepOutcome::Succeeded });
            self.attempts.insert(attempt, Truth { outcome: Some(outcome.clone()), lost });
            return if lost { unknown_outcome } else { outcome };
        }
        let not_started = StepOutcome::NotStarted { reason: "lost".into() };
        if watch && back && !attempt.undo {
            return not_started;
        }
        let calm = self.dice.calm;
        let (outcome, heard) = match self.dice.roll() % 24 {
            _ if calm => (Some(StepOutcome::Succeeded), None),
            0 | 1 => (Some(FAILED), None),
            2 => (Some(FAILED), Some(unknown_outcome)),
            3 => (Some(StepOutcome::Succeeded), Some(unknown_outcome)),
            4 if durable => (None, Some(detached)),
            5 if durable => (Some(StepOutcome::Succeeded), Some(detached)),
            6 => return not_started,
            7 if !attempt.undo => return StepOutcome::Skipped { reason: "unless".into() },
            9 => (Some(StepOutcome::Refused { reason: "a block".into() }), None),
            8 => (Some(StepOutcome::Unusable { reason: "binary".into() }), None),
            _ => (Some(StepOutcome::Succeeded), None),
        };
        let lost = matches!(heard, Some(StepOutcome::Unknown { .. }));
        self.attempts.insert(attempt, Truth { outcome: outcome.clone(), lost });
        heard.or(outcome).unwrap()
    }

    /// What runs on the host is to end.
    pub fn end(&mut self, h: HostIndex, c: &mut Controller) {
        c.end_watch(h);
        let open = self.hosts[h.0].open;
        let ended = self.dice.one_in(2);
        for input in c.waiting.iter_mut().filter(|_| ended) {
            match input {
                Input::Connected(of) if *of == h => *input = Input::ConnectFailed(h, "interrupted".into()),
                Input::StepEnded(of, outcome) if *of == h && *outcome == StepOutcome::Succeeded => {
                    *outcome = StepOutcome::Cancelled;
                    let truth = Truth { outcome: Some(StepOutcome::Cancelled), lost: false };
                    self.attempts.insert(open.unwrap(), truth);
                }
                _ => {}
            }
        }
    }

    /// What the operator says of open steps, as the command line lets him.
    pub fn decide(&mut self) {
        let mut decided = Vec::new();
        for open in self.past().open_steps() {
            if open.kind == StepKind::Run && self.dice.one_in(3) {
                let decision = if self.dice.one_in(2) { Decision::Rerun } else { Decision::AssumeDone };
                decided.push((open, decision));
            }
        }
        let mut past = self.past();
        for (open, decision) in &decided {
            past.decide(open.host, open.at, *decision);
        }
        let rerun = decided.iter().any(|(_, decision)| *decision == Decision::Rerun);
        if rerun && Scheduler::resume(&self.plan, &past, Direction::Forward).goes_back() {
            return;
        }
        for (open, decision) in decided {
            let (host, step) = self.place(open.host, open.at);
            self.facts.push(Fact::StepDecided { host, step, decision });
            let (runs, changes) = (self.step(open.at).durable, !self.step(open.at).read_only);
            let known = &mut self.hosts[open.host.0];
            known.out = false;
            match decision {
                Decision::AssumeDone => {
                    known.open = None;
                    known.finished.insert(open.at);
                    known.note(open.at, true, changes);
                }
                Decision::Rerun => {
                    known.rerun.insert(open.at);
                    // Of what is not durable nobody can be asked: it may have done its work.
                    if known.open.take_if(|_| !runs).is_some() {
                        known.effects.iter_mut().filter(|effect| effect.at == open.at).for_each(|e| e.sure = true);
                    }
                }
            }
        }
    }

    /// The operator gives a host up. Not while nobody knows how a step ended there on which the whole site depends.
    pub fn give_up(&mut self, host: usize) {
        let once = |open: &OpenStep| self.plan.phases[open.at.phase].once && open.is_unknown();
        if !self.past().open_steps().iter().any(|open| open.host.0 == host && once(open)) {
            self.facts.push(Fact::HostGivenUp { host: self.plan.hosts[host].label.clone(), by: "me".into() });
            self.hosts[host].given_up = true;
            self.hosts[host].out = true;
        }
    }
}
