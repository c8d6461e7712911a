//! What no controller may do, whatever happens: asked of each action before it is carried out.

use super::known::{Attempt, Effect, Known, Truth};
use super::world::{Controller, World};
use super::*;
use crate::model::run::event::Direction;

impl World {
    pub fn check(&self, action: &Action, c: &Controller) {
        assert!(!c.over, "{action:?} after the end");
        // What it would have known is not on record any more.
        if c.dead || c.unwritten && !matches!(action, Action::Settle(_)) {
            return;
        }
        if let Some(h) = host_of(action) {
            assert!(!c.settled.contains(&h.0), "{action:?}: the host has settled");
            let ends = matches!(action, Action::Settle(_));
            assert!(ends || !self.hosts[h.0].given_up, "{action:?}: the host was given up");
            let known = c.asked.contains(&h.0) && !c.away.contains(&h.0);
            assert!(ends || matches!(action, Action::Connect(_)) || known, "{action:?}: the host is not there");
        }
        if let Some(attempt) = attempt_of(action) {
            self.check_free(attempt.host, c);
            self.check_number(attempt, matches!(action, Action::Watch(..) | Action::WatchUndo(..)));
        }
        match action {
            Action::Connect(h) => {
                self.check_free(h.0, c);
                assert!(!c.asked.contains(&h.0), "host {} is connected twice", h.0);
                assert!(c.resumed || !c.stopped, "a connection after the stop");
            }
            Action::Run(h, at, _) => {
                self.check_forward(*h, *at, c);
                self.check_nothing_beside(h.0, c);
                self.check_runs_once(*h, *at);
                assert!(self.step(*at).runs_on(*h), "{at:?} is only an undo");
            }
            Action::PlanUndo(h, at) => {
                self.check_forward(*h, *at, c);
                assert!(self.step(*at).is_only_undo(), "{at:?} is not only an undo");
            }
            Action::Undo(h, at, _) => {
                self.check_nothing_beside(h.0, c);
                assert!(
                    self.hosts[h.0].open.is_none() || c.told.contains(&h.0),
                    "nobody was told of {:?}",
                    self.hosts[h.0].open
                );
                self.check_back(*h, *at, c);
            }
            Action::StartWatch(h, phase) => {
                assert!(!c.stopped, "{action:?} after the stop");
                assert!(!c.busy.contains(&h.0) && !c.pausing.contains(&h.0) && !c.watched.contains(&h.0), "{action:?}");
                let known = &self.hosts[h.0];
                assert!(!known.out, "host {} takes no further part, and is watched", h.0);
                let mut steps = self.steps_of(*h).filter(|at| at.phase == *phase);
                assert!(steps.all(|at| known.finished.contains(&at)), "{action:?} before it was rolled");
            }
            Action::Retry(..)
            | Action::WatchStarted(..)
            | Action::Soak(_)
            | Action::PhaseStarted(_)
            | Action::BatchStarted(..) => {
                assert!(!c.stopped, "{action:?} after the stop");
            }
            Action::RolloutStopped(_) => assert!(c.resumed || !c.stopped, "stopped twice"),
            Action::Settle(settlement) => self.check_settlement(settlement, c),
            _ => {}
        }
    }

    fn check_free(&self, host: usize, c: &Controller) {
        assert!(!c.watched.contains(&host), "host {host} is watched");
        assert!(!c.busy.contains(&host), "host {host} has two things to do");
        assert!(!c.pausing.contains(&host), "host {host} waits for another attempt");
        assert!(c.busy.len() < self.plan.parallel, "wider than allowed");
    }

    /// A host knows an attempt by its number: one that comes twice would be the same one.
    fn check_number(&self, attempt: Attempt, watch: bool) {
        let last = self.announced.get(&(attempt.host, attempt.at, attempt.undo)).copied().unwrap_or_default();
        assert_eq!(attempt.number, if watch { last } else { last + 1 }, "{attempt:?}");
        if watch {
            assert_eq!(self.hosts[attempt.host].open, Some(attempt), "watched although it is known how it ended");
        }
    }

    /// Nothing is done on a host beside what may be running there.
    fn check_nothing_beside(&self, host: usize, c: &Controller) {
        let open = self.hosts[host].open;
        assert!(open.is_none() || c.looked.contains(&host), "beside {open:?}");
    }

    /// A step that has succeeded is not run again.
    fn check_runs_once(&self, h: HostIndex, at: StepIndex) {
        let (known, step) = (&self.hosts[h.0], self.step(at));
        assert!(!known.finished.contains(&at), "{at:?} runs again on host {}", h.0);
        let again = step.idempotent || step.read_only || known.rerun.contains(&at);
        let did = |(attempt, truth): (&Attempt, &Truth)| {
            (attempt.host, attempt.at, attempt.undo) == (h.0, at, false)
                && truth.outcome == Some(StepOutcome::Succeeded)
        };
        assert!(again || !self.attempts.iter().any(did), "{at:?} had succeeded on host {}", h.0);
    }

    /// The order of steps, phases and batches; and nothing begins in a rollout that has stopped, or has to.
    fn check_forward(&self, h: HostIndex, at: StepIndex, c: &Controller) {
        assert!(!c.stopped, "{at:?} started after the stop");
        assert!(!self.hosts[h.0].out, "host {} takes no further part", h.0);
        let out = |host: usize| self.hosts[host].out || (!c.resumed && c.away.contains(&host));
        let failures = (0..self.hosts.len()).filter(|host| out(*host)).count();
        assert!(failures <= self.plan.max_failures, "{at:?} started after {failures} failures");
        for host in 0..self.hosts.len() {
            let once = |s: &StepIndex| self.plan.phases[s.phase].once && !self.hosts[host].finished.contains(s);
            let skipped = self.steps_of(HostIndex(host)).find(once).filter(|_| out(host));
            assert!(skipped.is_none(), "{at:?} started without {skipped:?}, which runs once");
            let batch = |of: usize| {
                let batches = &self.plan.phases[at.phase].batches;
                batches.iter().position(|batch| batch.contains(&HostIndex(of)))
            };
            let before = |step: StepIndex| {
                if host == h.0 { step < at } else { (step.phase, batch(host)) < (at.phase, batch(h.0)) }
            };
            let open = self.steps_of(HostIndex(host)).find(|s| before(*s) && !self.hosts[host].finished.contains(s));
            assert!(out(host) || open.is_none(), "{at:?} on host {} before {open:?} on host {host}", h.0);
        }
    }

    fn steps_of(&self, h: HostIndex) -> impl Iterator<Item = StepIndex> {
        let phases = self.plan.phases.iter().enumerate();
        phases.flat_map(move |(phase, planned)| {
            let steps = planned.steps.iter().enumerate().filter(move |(_, step)| step.hosts.contains(h));
            steps.map(move |(step, _)| StepIndex { phase, step })
        })
    }

    fn has_undo(&self, h: HostIndex, at: StepIndex) -> bool {
        self.step(at).has_undo_on(h)
    }

    /// Undo goes backwards, over all phases and on each host; and only what ran is undone.
    fn check_back(&self, h: HostIndex, at: StepIndex, c: &Controller) {
        assert!(self.has_undo(h, at) && !self.step(at).read_only, "{at:?} has no undo");
        let mut undoable = self.hosts[h.0].effects.iter().rev().filter(|effect| self.has_undo(h, effect.at));
        assert_eq!(undoable.next().map(|effect| effect.at), Some(at), "undo of another one");
        assert!(!c.undo_failed.contains(&h.0), "undone after an undo that failed on host {}", h.0);
        assert!(c.doubtful.is_none_or(|phase| at.phase >= phase), "undone before a `once` step in doubt");
        assert!(c.lowest_undo.is_none_or(|low| at.phase <= low), "phases forwards");
        let wanted = c.direction == Some(Direction::Back) || self.undone;
        assert!(self.plan.on_failure == OnFailure::Undo || wanted, "undone, and the policy is to hold");
        // Within the budget it is undone in the phase alone in which it failed.
        let alone = self.hosts[h.0].out && self.hosts[h.0].failed_in == Some(at.phase);
        assert!(c.stopped || alone, "{at:?} is undone, and the host failed in {:?}", self.hosts[h.0].failed_in);
        // A host that fails within the budget goes back alone, whether the `once` step has run yet or not.
        for (host, known) in self.hosts.iter().enumerate().filter(|_| c.stopped) {
            let once = |phase: usize| self.plan.phases[phase].once && phase > at.phase;
            let left = |effect: &&Effect| once(effect.at.phase) && self.has_undo(HostIndex(host), effect.at);
            let left = known.effects.iter().find(left);
            assert!(left.is_none(), "{at:?} is undone before {left:?}, which runs once");
        }
    }

    fn check_settlement(&self, settlement: &Settlement, c: &Controller) {
        let (h, known) = (settlement.host, &self.hosts[settlement.host.0]);
        let ran = known.effects.iter().any(|effect| self.step(effect.at).runs_on(h));
        match settlement.outcome {
            HostOutcome::Succeeded => {
                let runs = |step: &StepIndex| self.step(*step).runs_on(h);
                let left = self.steps_of(h).find(|step| runs(step) && !known.finished.contains(step));
                assert!(left.is_none() && !known.out, "succeeded without {left:?}: {settlement:?}");
            }
            HostOutcome::RolledBack => assert!(settlement.in_force.is_empty(), "not rolled back: {settlement:?}"),
            HostOutcome::Untouched => assert!(!ran, "touched: {settlement:?}"),
            HostOutcome::Unknown => assert!(known.open.is_some(), "it is known: {settlement:?}"),
            _ => {}
        }
        // Somebody has looked, and a person has said that it goes back whatever was found.
        let decided = c.direction == Some(Direction::Back) && c.looked.contains(&h.0) && !c.busy.contains(&h.0);
        let may_run = known.open.is_some() && !known.given_up && !decided;
        assert!(!may_run || settlement.keeps_lock, "{:?} may be running: {settlement:?}", known.open);
        if settlement.outcome != HostOutcome::Succeeded {
            let told: Vec<&str> = settlement.in_force.iter().map(StepPath::as_str).collect();
            assert_eq!(told, self.in_force(h, known), "{settlement:?}");
        }
    }

    fn in_force(&self, h: HostIndex, known: &Known) -> Vec<&str> {
        let mut paths: Vec<&StepPath> = Vec::new();
        for effect in &known.effects {
            let step = self.step(effect.at);
            paths.retain(|path| !effect.succeeded || !step.ends.contains(path));
            if step.ends.is_empty() && self.has_undo(h, effect.at) && self.step(effect.at).runs_on(h) {
                paths.push(&step.path);
            }
        }
        paths.into_iter().map(StepPath::as_str).collect()
    }

    /// A step that was done twice on a host, and that nobody wanted to be done twice.
    pub fn ran_twice(&self) -> Option<(usize, StepIndex)> {
        let succeeded = self.attempts.iter().filter(|(_, truth)| truth.outcome == Some(StepOutcome::Succeeded));
        let mut done = BTreeSet::new();
        succeeded.map(|(attempt, _)| (attempt.host, attempt.at)).find(|place| !done.insert(*place))
    }
}

/// The first interrupt ends what connects, the second what runs; a cancelled run ends what it watches.
pub fn check_ends(actions: &[Action], c: &Controller) {
    let connecting = c.waiting.iter().filter_map(|input| match input {
        Input::Connected(h) | Input::ConnectFailed(h, _) | Input::Refused(h, ..) | Input::LockUnknown(h, _) => Some(*h),
        _ => None,
    });
    let running = c.waiting.iter().filter_map(|input| if let Input::StepEnded(h, _) = input { Some(*h) } else { None });
    let watched = actions.iter().filter_map(|action| if let Action::Watch(h, ..) = action { Some(*h) } else { None });
    let to_end: Vec<HostIndex> = match actions {
        [Action::Interrupted(1), ..] => connecting.collect(),
        [Action::Interrupted(2), ..] => running.collect(),
        _ if c.direction == Some(Direction::Cancel) => watched.collect(),
        _ => Vec::new(),
    };
    let left = to_end.iter().find(|host| !actions.contains(&Action::End(**host)));
    assert!(left.is_none(), "not ended on {left:?}: {actions:?}");
}

fn host_of(action: &Action) -> Option<HostIndex> {
    match action {
        Action::Connect(h) | Action::PlanUndo(h, _) | Action::Retry(h, _) | Action::End(h) => Some(*h),
        Action::Settle(settlement) => Some(settlement.host),
        _ => attempt_of(action).map(|attempt| HostIndex(attempt.host)),
    }
}

fn attempt_of(action: &Action) -> Option<Attempt> {
    match action {
        Action::Run(h, at, number) | Action::Watch(h, at, number) => {
            Some(Attempt { host: h.0, at: *at, undo: false, number: *number })
        }
        Action::Undo(h, at, number) | Action::WatchUndo(h, at, number) => {
            Some(Attempt { host: h.0, at: *at, undo: true, number: *number })
        }
        _ => None,
    }
}
