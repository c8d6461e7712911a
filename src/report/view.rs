//! What the live view shows: a pure function of what is known, the time, and the size of the screen.
//!
//! A heading, then a line per host. When there are more hosts than lines, those that run or went wrong come first, and the others
//! are counted.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;

use super::columns::Cell;
use super::findings_text;
use super::paint::Tone;
use super::time::clock;
use super::words::{counted, interrupt_in_words, sites_and_task};
use crate::model::run::agenda::{Agenda, Progress};
use crate::model::run::event::Direction;
use crate::model::run::outcome::{HostOutcome, StepOutcome};
use crate::model::run::summary::{HostSummary, PhaseSummary, StepKind, Summary, elapsed};
use crate::model::text::name::{PhaseName, StepPath};
use crate::model::text::printable::{one_line, printable, printable_line};

/// The view mentions missing output after this time.
const SILENT: Duration = Duration::from_secs(30);

/// What a host is doing, in the order in which hosts get the lines of a screen that is too small for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Undoing,
    Running,
    /// A step failed, and it is not settled yet.
    Failed,
    /// At that place of [`WORST_FIRST`].
    Ended(usize, HostOutcome),
    Lost,
    /// A step failed and will be retried.
    Retrying,
    Connecting,
    /// Between two steps, or waiting for its batch, its next phase or its rollback.
    Waiting,
    /// It has finished its steps of the current phase, and has more in a later one.
    PhaseDone,
    /// Its steps are undone, and it waits for the other hosts.
    Undone,
    /// It has ended, or finished all its steps: nothing to look at.
    Done(HostOutcome),
}

/// How hosts end that somebody should look at, in that order.
const WORST_FIRST: [HostOutcome; 7] = [
    HostOutcome::Unknown,
    HostOutcome::Detached,
    HostOutcome::Held,
    HostOutcome::Failed,
    HostOutcome::Locked,
    HostOutcome::Unreachable,
    HostOutcome::RolledBack,
];

impl State {
    fn of(host: &HostSummary, scene: &Scene<'_>) -> Self {
        match host.outcome {
            Some(outcome @ (HostOutcome::Succeeded | HostOutcome::Untouched)) => Self::Done(outcome),
            Some(outcome) => {
                let place = WORST_FIRST.iter().position(|worse| *worse == outcome);
                Self::Ended(place.unwrap_or(WORST_FIRST.len()), outcome)
            }
            None => match &host.activity {
                _ if host.connections_lost > 0 && !host.connected => Self::Lost,
                Some(activity) if activity.kind == StepKind::Undo => Self::Undoing,
                Some(_) => Self::Running,
                None if host.failure.as_ref().is_some_and(|failure| failure.outcome != StepOutcome::Cancelled) => {
                    Self::Failed
                }
                None if host.started.is_some() && !host.connected => Self::Connecting,
                None if scene.goes_back() && scene.agenda.is_undone(host) => Self::Undone,
                None if scene.goes_back() => Self::Waiting,
                None if host.retrying.is_some() => Self::Retrying,
                None => match scene.agenda.progress(host) {
                    Progress::Done => Self::Done(HostOutcome::Succeeded),
                    Progress::Between { done, .. } if scene.is_in(done) => Self::PhaseDone,
                    Progress::Unknown | Progress::Before(_) | Progress::Between { .. } => Self::Waiting,
                },
            },
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Undoing => "undoing",
            Self::Running => "running",
            Self::Failed => HostOutcome::Failed.describe(),
            Self::Lost => "reconnecting",
            Self::Connecting => "connecting",
            Self::Retrying => "retrying",
            Self::Waiting => "waiting",
            Self::PhaseDone => "phase done",
            Self::Undone => "undone",
            Self::Done(HostOutcome::Succeeded) => "done",
            Self::Done(outcome) | Self::Ended(_, outcome) => outcome.describe(),
        }
    }

    fn tone(self) -> Tone {
        match self {
            Self::Running | Self::Connecting => Tone::Plain,
            Self::Undoing | Self::Undone | Self::Lost | Self::Retrying => Tone::Warning,
            Self::Failed => Tone::Bad,
            Self::Waiting | Self::PhaseDone => Tone::Dim,
            Self::Done(outcome) | Self::Ended(_, outcome) => Tone::of(outcome),
        }
    }
}

pub struct Scene<'a> {
    pub summary: &'a Summary,
    pub agenda: &'a Agenda,
    pub now: Timestamp,
}

impl Scene<'_> {
    /// Does the run only undo steps, or none at all, from here on?
    fn goes_back(&self) -> bool {
        let Summary { stopped, interrupts, resumed, .. } = self.summary;
        stopped.is_some() || *interrupts > 0 || matches!(resumed, Some(Direction::Back | Direction::Cancel))
    }

    fn is_in(&self, phase: &PhaseName) -> bool {
        self.summary.phases.last().is_some_and(|current| &current.name == phase)
    }

    /// Is the run between two batches? Without a soak time, the next one starts at the same moment.
    fn soaks(&self) -> bool {
        let last = self.summary.phases.last();
        let more = |phase: &PhaseSummary| (1..phase.batches).contains(&phase.batch) || phase.watched == phase.batch;
        last.is_some_and(|phase| phase.batch > 0 && phase.finished == phase.batch && more(phase))
            && self.summary.finished.is_none()
            && !self.goes_back()
    }
}

/// The view of a run on a screen of that size, line by line. It never has more than `height` lines, nor one wider than `width`.
pub fn view(scene: &Scene<'_>, width: usize, height: usize) -> Vec<Cell> {
    if width == 0 {
        return Vec::new();
    }
    let summary = scene.summary;
    let mut hosts: Vec<(State, &HostSummary)> = summary.hosts().map(|host| (State::of(host, scene), host)).collect();
    let mut lines = vec![heading(scene, &hosts)];
    lines.extend(trouble(summary));
    let room = height.saturating_sub(lines.len());
    let mut folded = Vec::new();
    if hosts.len() > room {
        // The sort is stable: hosts that do the same stay in the order of the plan.
        hosts.sort_by_key(|(state, _)| *state);
        folded = hosts.split_off(room.saturating_sub(1));
    }
    let columns = Columns::of(&hosts, scene, width);
    lines.extend(hosts.iter().map(|(state, host)| columns.line(*state, host, scene)));
    if !folded.is_empty() {
        let counts = counts(&folded);
        lines.push(Cell::toned(Tone::Dim, format!("… {} more: {counts}", folded.len())));
    }
    lines.truncate(height);
    for line in &mut lines {
        // A tab has no width that could be known here.
        let text = line.text.replace('\t', " ");
        line.text = console::truncate_str(text.trim_end(), width, "…").into_owned();
    }
    lines
}

fn heading(scene: &Scene<'_>, hosts: &[(State, &HostSummary)]) -> Cell {
    let Scene { summary, now, .. } = *scene;
    let mut text = sites_and_task(&summary.sites, &summary.task);
    if let Some(started) = summary.started {
        _ = write!(text, "  {}", clock(elapsed(started, now)));
    }
    if let Some(phase) = summary.phases.last() {
        _ = write!(text, "  phase {}", phase.name);
        if phase.batches > 1 {
            _ = write!(text, ", batch {} of {}", phase.batch, phase.batches);
        }
        if scene.soaks() {
            text.push_str(" soaking");
        }
    }
    _ = write!(text, "  {}: {}", counted(hosts.len(), "host"), counts(hosts));
    if let Some(findings) = findings_text::counts(summary) {
        _ = write!(text, "  findings: {findings}");
    }
    Cell::toned(Tone::Heading, text)
}

fn trouble(summary: &Summary) -> Option<Cell> {
    let text = match (&summary.stopped, summary.interrupts) {
        (None, 0) => return None,
        (Some(reason), 0) => format!("the rollout stops: {}", printable(reason.as_bytes())),
        (_, level) => interrupt_in_words(level).to_owned(),
    };
    Some(Cell::toned(Tone::Warning, text))
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
    number: usize,
    step: usize,
}

impl Columns {
    fn of(hosts: &[(State, &HostSummary)], scene: &Scene<'_>, width: usize) -> Self {
        let widest = |texts: &mut dyn Iterator<Item = usize>, most: usize| texts.max().unwrap_or_default().min(most);
        Self {
            host: widest(&mut hosts.iter().map(|(_, host)| host.host.as_str().len()), width / 4),
            state: widest(&mut hosts.iter().map(|(state, _)| state.word().len()), width),
            number: widest(&mut hosts.iter().map(|(state, host)| number(*state, host, scene).len()), width),
            step: widest(&mut hosts.iter().map(|(state, host)| step(*state, host).len()), width / 3),
        }
    }

    fn line(&self, state: State, host: &HostSummary, scene: &Scene<'_>) -> Cell {
        let Self { host: host_width, state: state_width, number: number_width, step: step_width } = *self;
        let name = console::truncate_str(host.host.as_str(), host_width, "…");
        let mut number = format!("{:>number_width$}", number(state, host, scene));
        if number_width > 0 {
            number.push_str("  ");
        }
        let step = step(state, host);
        let step = console::truncate_str(&step, step_width, "…");
        let (time, said) = (time(host, scene.now), said(state, host, scene));
        let word = state.word();
        let text = format!("  {name:host_width$}  {word:state_width$}  {number}{step:step_width$}  {time:>7}  {said}");
        Cell::toned(state.tone(), text)
    }
}

/// `3/9`: the third of its nine steps. Empty for a host with a single step.
fn number(state: State, host: &HostSummary, scene: &Scene<'_>) -> String {
    let step = match (&host.activity, &host.failure) {
        (Some(activity), _) => (activity.kind == StepKind::Run).then_some(&activity.step),
        (None, Some(failure)) if state == State::Failed && failure.kind == StepKind::Run => Some(&failure.step),
        (None, _) if state == State::Retrying => host.retrying.as_ref(),
        (None, _) => None,
    };
    let number = step.and_then(|step| scene.agenda.number(&host.host, step)).filter(|(_, all)| *all > 1);
    number.map(|(number, all)| format!("{number}/{all}")).unwrap_or_default()
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
        (None, None) => host.retrying.as_ref().map(StepPath::to_string).unwrap_or_default(),
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

/// The last line of output, the reason for an end, or what the host waits for.
fn said(state: State, host: &HostSummary, scene: &Scene<'_>) -> String {
    if host.outcome.is_some() {
        return host.reason.as_ref().map(|reason| one_line(&reason.text)).unwrap_or_default();
    }
    let Some(activity) = &host.activity else { return waits_for(state, host, scene) };
    let last = host.tail.last().map(|line| printable_line(&line.bytes)).unwrap_or_default();
    let quiet = elapsed(activity.printed.unwrap_or(activity.since), scene.now);
    if quiet >= SILENT { format!("no output for {}  {}", clock(quiet), last.trim()) } else { last.trim().to_owned() }
}

fn waits_for(state: State, host: &HostSummary, scene: &Scene<'_>) -> String {
    let (Progress::Before(next) | Progress::Between { next, .. }) = scene.agenda.progress(host) else {
        return String::new();
    };
    match (state, scene.summary.phases.last()) {
        (State::PhaseDone, _) => format!("next: phase {next}"),
        (State::Waiting, Some(current)) if !scene.goes_back() => {
            let in_batch = current.hosts.contains(&host.host) && !scene.soaks();
            match (scene.is_in(next), in_batch) {
                (true, true) => String::new(),
                (true, false) => "for its batch".to_owned(),
                (false, _) => format!("for phase {next}"),
            }
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
