//! What is on record of a host of a random run, and how it stands there.

use super::*;
use crate::model::run::event::{EVENT_VERSION, Event, Fact};
use crate::model::run::past::Past;
use crate::model::text::name::RunId;

/// What a later controller reads.
pub fn past_of(plan: &Plan, facts: &[Fact]) -> Past {
    let run = RunId::parse("20260101-000000-0000").unwrap();
    let at = jiff::Timestamp::UNIX_EPOCH;
    let event = |fact: &Fact| Event { v: EVENT_VERSION, at, run: run.clone(), fact: fact.clone() };
    Past::of(plan, &facts.iter().map(event).collect::<Vec<_>>())
}

/// An attempt of a step, or of its undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt {
    pub host: usize,
    pub at: StepIndex,
    pub undo: bool,
    pub number: u32,
}

/// How an attempt stands on its host; one that never came there is not known to the world.
#[derive(Debug, Clone)]
pub struct Truth {
    /// None while it runs.
    pub outcome: Option<StepOutcome>,
    /// Nobody will ever be told.
    pub lost: bool,
}

/// A step that may have an effect.
#[derive(Debug, Clone, Copy)]
pub struct Effect {
    pub at: StepIndex,
    pub succeeded: bool,
    /// It was sent, as far as is known.
    pub sure: bool,
}

/// What is on record of a host.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Not undone, in the order in which they ran.
    pub effects: Vec<Effect>,
    pub finished: BTreeSet<StepIndex>,
    /// It takes no further part.
    pub out: bool,
    /// The phase of the step that failed last.
    pub failed_in: Option<usize>,
    /// Announced, and of its end nobody knows.
    pub open: Option<Attempt>,
    /// The operator wants these to run again.
    pub rerun: BTreeSet<StepIndex>,
    pub locked: bool,
    pub given_up: bool,
}

impl Known {
    /// A step of the phase has failed.
    pub fn fail_in(&mut self, phase: usize) {
        self.out = true;
        self.failed_in = Some(phase);
    }

    pub fn note(&mut self, at: StepIndex, succeeded: bool, changes: bool) {
        match self.effects.iter_mut().find(|effect| effect.at == at) {
            Some(effect) => effect.succeeded = succeeded,
            None if changes => self.effects.push(Effect { at, succeeded, sure: false }),
            None => {}
        }
    }
}
