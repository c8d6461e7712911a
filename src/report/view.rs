//! What the live view shows: a pure function of what is known, the time, and the size of the screen.
//!
//! A heading, then a line per host. When there are more hosts than lines, those that run or went wrong come first, and the others
//! are counted.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;

use super::narrator::{hosts_in_words, interrupt_in_words, reason_and_hints};
use super::paint::Tone;
use super::time::clock;
use crate::model::name::SiteName;
use crate::model::outcome::{HostOutcome, StepOutcome};
use crate::model::printable::{printable, printable_line};
use crate::model::summary::{HostSummary, StepKind, Summary, elapsed};

/// A step that has printed nothing for so long is said to be silent.
const SILENT: Duration = Duration::from_secs(30);

/// A line of the view, as wide as the screen at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewLine {
    /// What it means.
    pub tone: Tone,
    /// The text, without colour.
    pub text: String,
}

/// What a host is doing, in the order in which hosts get the lines of a screen that is too small for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Undoing,
    Running,
    /// A step failed, and it is not settled yet.
    Failed,
    Ended(Ending),
    Lost,
    Connecting,
    /// Between two steps, or until its batch, or the others of its phase, are through.
    Waiting,
    /// It ended, and there is nothing to look at.
    Done(HostOutcome),
}

/// How a host ended that somebody should look at, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    Unknown,
    Detached,
    Held,
    Failed,
    Locked,
    Unreachable,
    RolledBack,
}

impl State {
    fn of(host: &HostSummary) -> Self {
        match host.outcome {
            Some(HostOutcome::Unknown) => Self::Ended(Ending::Unknown),
            Some(HostOutcome::Detached) => Self::Ended(Ending::Detached),
            Some(HostOutcome::Locked) => Self::Ended(Ending::Locked),
            Some(HostOutcome::Held) => Self::Ended(Ending::Held),
            Some(HostOutcome::Failed) => Self::Ended(Ending::Failed),
            Some(HostOutcome::Unreachable) => Self::Ended(Ending::Unreachable),
            Some(HostOutcome::RolledBack) => Self::Ended(Ending::RolledBack),
            Some(outcome @ (HostOutcome::Succeeded | HostOutcome::Untouched)) => Self::Done(outcome),
            None => match &host.activity {
                _ if host.connections_lost > 0 && !host.connected => Self::Lost,
                Some(activity) if activity.kind == StepKind::Undo => Self::Undoing,
                Some(_) => Self::Running,
                None if host.failure.as_ref().is_some_and(|failure| failure.outcome != StepOutcome::Cancelled) => {
                    Self::Failed
                }
                None if host.started.is_some() && !host.connected => Self::Connecting,
                None => Self::Waiting,
            },
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Undoing => "undoing",
            Self::Running => "running",
            Self::Ended(Ending::Unknown) => HostOutcome::Unknown.describe(),
            Self::Ended(Ending::Detached) => HostOutcome::Detached.describe(),
            Self::Ended(Ending::Locked) => HostOutcome::Locked.describe(),
            Self::Ended(Ending::Held) => HostOutcome::Held.describe(),
            Self::Failed | Self::Ended(Ending::Failed) => HostOutcome::Failed.describe(),
            Self::Ended(Ending::Unreachable) => HostOutcome::Unreachable.describe(),
            Self::Ended(Ending::RolledBack) => HostOutcome::RolledBack.describe(),
            Self::Lost => "reconnecting",
            Self::Connecting => "connecting",
            Self::Waiting => "waiting",
            Self::Done(HostOutcome::Succeeded) => "done",
            Self::Done(outcome) => outcome.describe(),
        }
    }

    fn tone(self) -> Tone {
        match self {
            Self::Running | Self::Connecting => Tone::Plain,
            Self::Undoing | Self::Lost | Self::Ended(Ending::RolledBack) => Tone::Warning,
            // All other endings are bad.
            Self::Failed | Self::Ended(_) => Tone::Bad,
            Self::Waiting => Tone::Dim,
            Self::Done(outcome) => Tone::of(outcome),
        }
    }
}

/// The view of a run on a screen of that size. It never has more than `height` lines, nor one wider than `width`.
pub fn view(summary: &Summary, now: Timestamp, width: usize, height: usize) -> Vec<ViewLine> {
    if width == 0 {
        return Vec::new();
    }
    let mut hosts: Vec<(State, &HostSummary)> = summary.hosts().map(|host| (State::of(host), host)).collect();
    let mut lines = vec![heading(summary, &hosts, now)];
    lines.extend(trouble(summary));
    let room = height.saturating_sub(lines.len());
    let mut folded = Vec::new();
    if hosts.len() > room {
        // The sort is stable: hosts that do the same stay in the order of the plan.
        hosts.sort_by_key(|(state, _)| *state);
        folded = hosts.split_off(room.saturating_sub(1));
    }
    let columns = Columns::of(&hosts, width);
    lines.extend(hosts.iter().map(|(state, host)| columns.line(*state, host, now)));
    if !folded.is_empty() {
        let counts = counts(&folded);
        lines.push(ViewLine { tone: Tone::Dim, text: format!("… {} more: {counts}", folded.len()) });
    }
    lines.truncate(height);
    for line in &mut lines {
        // A tab has no width that could be known here.
        let text = line.text.replace('\t', " ");
        line.text = console::truncate_str(text.trim_end(), width, "…").into_owned();
    }
    lines
}

fn heading(summary: &Summary, hosts: &[(State, &HostSummary)], now: Timestamp) -> ViewLine {
    let sites: Vec<&str> = summary.sites.iter().map(SiteName::as_str).collect();
    let mut text = format!("{} {}", sites.join(","), printable(summary.task.as_bytes()));
    if let Some(started) = summary.started {
        text.push_str("  ");
        text.push_str(&clock(elapsed(started, now)));
    }
    if let Some(phase) = summary.phases.last() {
        _ = write!(text, "  phase {}", phase.name);
        if phase.batches > 1 {
            _ = write!(text, ", batch {} of {}", phase.batch, phase.batches);
        }
    }
    _ = write!(text, "  {}: {}", hosts_in_words(hosts.len()), counts(hosts));
    ViewLine { tone: Tone::Heading, text }
}

fn trouble(summary: &Summary) -> Option<ViewLine> {
    let text = match (&summary.stopped, summary.interrupts) {
        (None, 0) => return None,
        (Some(reason), 0) => format!("the rollout stops: {}", printable(reason.as_bytes())),
        (_, level) => interrupt_in_words(level).to_owned(),
    };
    Some(ViewLine { tone: Tone::Warning, text })
}

/// `3 running, 30 waiting, 7 done`.
fn counts(hosts: &[(State, &HostSummary)]) -> String {
    let mut states: Vec<State> = hosts.iter().map(|(state, _)| *state).collect();
    states.sort_unstable();
    let parts: Vec<String> = states
        .chunk_by(|a, b| a == b)
        .filter_map(|same| Some(format!("{} {}", same.len(), same.first()?.word())))
        .collect();
    parts.join(", ")
}

/// Widths of the columns, in characters, for the hosts that are shown.
struct Columns {
    host: usize,
    state: usize,
    step: usize,
}

impl Columns {
    fn of(hosts: &[(State, &HostSummary)], width: usize) -> Self {
        let widest = |texts: &mut dyn Iterator<Item = usize>, most: usize| texts.max().unwrap_or_default().min(most);
        Self {
            host: widest(&mut hosts.iter().map(|(_, host)| host.host.as_str().len()), width / 4),
            state: widest(&mut hosts.iter().map(|(state, _)| state.word().len()), width),
            step: widest(&mut hosts.iter().map(|(state, host)| step(*state, host).len()), width / 3),
        }
    }

    fn line(&self, state: State, host: &HostSummary, now: Timestamp) -> ViewLine {
        let Self { host: host_width, state: state_width, step: step_width } = *self;
        let name = console::truncate_str(host.host.as_str(), host_width, "…");
        let step = step(state, host);
        let step = console::truncate_str(&step, step_width, "…");
        let (time, said) = (time(host, now), said(host, now));
        let word = state.word();
        let text = format!("  {name:host_width$}  {word:state_width$}  {step:step_width$}  {time:>7}  {said}");
        ViewLine { tone: state.tone(), text }
    }
}

/// What it is doing, or what went wrong.
fn step(state: State, host: &HostSummary) -> String {
    if matches!(state, State::Done(_)) {
        return String::new();
    }
    match (&host.activity, &host.failure) {
        (Some(activity), _) if activity.attempt > 1 => format!("{} ({})", activity.step, activity.attempt),
        (Some(activity), _) => activity.step.to_string(),
        (None, Some(failure)) => failure.step.to_string(),
        (None, None) => String::new(),
    }
}

/// For how long it has been doing that, or how long it took.
fn time(host: &HostSummary, now: Timestamp) -> String {
    let time = match &host.activity {
        Some(activity) => Some(elapsed(activity.since, now)),
        None if host.outcome.is_none() && !host.connected => host.started.map(|started| elapsed(started, now)),
        None => host.duration(),
    };
    time.map(clock).unwrap_or_default()
}

/// The last line that it printed; for a host that ended, why.
fn said(host: &HostSummary, now: Timestamp) -> String {
    if host.outcome.is_some() {
        return host.reason.as_ref().map(|reason| reason_and_hints(reason).0).unwrap_or_default();
    }
    let Some(activity) = &host.activity else { return String::new() };
    let last = host.tail.last().map(|line| printable_line(&line.bytes)).unwrap_or_default();
    let quiet = elapsed(activity.printed.unwrap_or(activity.since), now);
    if quiet >= SILENT { format!("silent {} s  {}", quiet.as_secs(), last.trim()) } else { last.trim().to_owned() }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
