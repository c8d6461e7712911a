//! A host as the dispatcher sees it.

use std::collections::{BTreeMap, HashMap};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::contact::Stops;
use super::task::{Attempt, Order, Recorded};
use crate::model::run::event::Stream;
use crate::model::run::outcome::StepOutcome;
use crate::model::run::scheduler::{Settlement, StepIndex};
use crate::model::text::name::{UserName, VarName};
use crate::remote::{HostProof, StepKey};

/// What a host is busy with.
#[derive(Debug, Clone)]
pub enum Busy {
    Connecting,
    Running(Attempt),
    /// Its watched steps are repeated.
    Watched(Box<Watching>),
    /// Giving its lock back, before it is told how it ended.
    Releasing(Box<Settlement>),
}

/// How often the watched steps of a host have failed so far.
#[derive(Debug, Clone, Default)]
pub struct Watching {
    /// How often each step has failed in a row.
    pub failures: BTreeMap<StepIndex, u32>,
    /// What the current attempt has printed; shown when it fails.
    pub output: Vec<(Stream, Vec<u8>)>,
    /// The step that has failed too often, and how it ended last.
    pub failed: Option<(StepIndex, StepOutcome)>,
}

/// A host as the dispatcher sees it.
#[derive(Default)]
pub struct Host {
    pub orders: Option<mpsc::Sender<(Order, Stops)>>,
    pub busy: Option<Busy>,
    pub stop: CancellationToken,
    /// It need not be watched any longer.
    pub no_watch: CancellationToken,
    /// The run holds the site's lock there, or may hold it.
    pub locked: bool,
    /// The same of an earlier controller, for certain.
    pub was_locked: bool,
    /// An attempt of a step, or of an undo, by an earlier controller may be running there.
    pub in_flight: bool,
    /// The greatest number of a run there, when it was locked.
    pub sequence: u64,
    /// What its book said to be proven then.
    pub former_proof: Option<HostProof>,
    pub registered: BTreeMap<VarName, String>,
    /// What the undo of a step gets, as it was when the step ended: a later step may register the same variable anew.
    pub kept: HashMap<StepIndex, BTreeMap<VarName, String>>,
    /// Steps whose end is on record, and whose output still takes room on the host, with the user whose spool it is in.
    pub spent: Vec<(Option<UserName>, StepKey)>,
    /// Steps of the past whose secret values are not on record.
    pub secrets: Vec<Attempt>,
    /// How much of the output of the step in flight is on record, in a resumed run.
    pub recorded: Recorded,
}

impl Host {
    /// Takes the steps whose room the next step of this user gives back.
    pub fn take_spent(&mut self, user: Option<&UserName>) -> Vec<StepKey> {
        self.spent.extract_if(.., |(of, _)| of.as_ref() == user).map(|(_, key)| key).collect()
    }
}
