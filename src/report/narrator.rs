//! Events in words, line by line: `web1 | migrate | what it printed`, `web1 > migrate > 08:45:21 exit status 3 after 3.5 s`.
//!
//! A bar stands before what a host printed, an angle before what fleet says. All remote text goes through
//! [`printable`](crate::model::text::printable), so a line is one line and nothing in it can pass for fleet's.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::cause::without_own;
use super::command_text::{command, failed_silently};
use super::findings_text::{accept_unused, finding_tone};
use super::paint::Tone;
use super::time::{duration, time_of_day};
use super::trouble::{Cause, Shared, Trouble, Troubles};
use super::words::{
    because, counted, hint_lines, interrupt_in_words, last_lines, lines_in_words, short, sites_and_task,
};
use crate::model::plan::plan::Plan;
use crate::model::run::agenda::Agenda;
use crate::model::run::event::{Direction, Event, Fact};
use crate::model::run::exit;
use crate::model::run::finding::{Finding, FindingKind};
use crate::model::run::outcome::{HostOutcome, StepOutcome};
use crate::model::run::summary::{StepKind, Summary};
use crate::model::text::fold::fold_names;
use crate::model::text::name::{HostLabel, PhaseName, StepPath};
use crate::model::text::printable::{one_line, printable, printable_line};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Only what went wrong, with the last lines of the step.
    Trouble,
    /// Steps, their output, phases and batches.
    Normal,
    /// Connections and registered variables too.
    Verbose,
}

#[derive(Debug, Clone)]
pub struct Telling {
    pub detail: Detail,
    pub color: bool,
    pub zone: TimeZone,
    pub plan: Arc<Plan>,
}

/// A step, or the undo of one; and the same on a host.
type NamedStep<'a> = (&'a StepPath, StepKind);
type Place<'a> = (&'a HostLabel, &'a StepPath, StepKind);

/// Lines of a failed step that are shown again where its output was not.
const LAST_LINES: usize = 10;
/// The columns of hosts and steps grow to this, so that one long name does not push everything aside.
const COLUMN: usize = 28;

pub struct Narrator {
    pub telling: Telling,
    pub agenda: Agenda,
    troubles: Troubles,
    host_width: usize,
    step_width: usize,
}

impl Narrator {
    pub fn new(telling: Telling) -> Self {
        let (agenda, troubles) = (Agenda::of(&telling.plan), Troubles::default());
        Self { telling, agenda, troubles, host_width: 0, step_width: 0 }
    }

    /// Takes an event, and what is known with it, and returns lines without newlines. A failure is held back for a moment, until other lines follow: the same failure
    /// on many hosts becomes one line.
    pub fn tell(&mut self, event: &Event, summary: &Summary) -> Vec<String> {
        let lines = self.words(event, summary);
        let over = matches!(event.fact, Fact::RunFinished { .. });
        if lines.is_empty() && !over && !self.troubles.are_due(event.at) && summary.hosts().len() > 1 {
            return lines;
        }
        let mut all = self.rest();
        all.extend(lines);
        all
    }

    /// Returns what has been held back long enough.
    pub fn tick(&mut self, now: Timestamp) -> Vec<String> {
        if self.troubles.are_due(now) { self.rest() } else { Vec::new() }
    }

    /// Returns all that is held back.
    pub fn rest(&mut self) -> Vec<String> {
        self.troubles.take().iter().flat_map(|shared| self.shared(shared)).collect()
    }

    fn words(&mut self, event: &Event, summary: &Summary) -> Vec<String> {
        let at = event.at;
        match &event.fact {
            Fact::RunStarted { sites, task, hosts, by, .. } => {
                let widest = hosts.iter().map(|host| host.as_str().len()).max().unwrap_or_default();
                self.host_width = widest.min(COLUMN);
                let (what, by) = (sites_and_task(sites, task), printable(by.as_bytes()));
                let count = counted(hosts.len(), "host");
                self.heading(at, Detail::Normal, &format!("{what} on {count}, run {} by {by}", event.run))
            }
            Fact::PhaseStarted { phase, batches } if *batches <= 1 => {
                self.heading(at, Detail::Normal, &format!("phase {phase}"))
            }
            Fact::BatchStarted { phase, batch, hosts } => {
                let batches = summary.phases.iter().rfind(|p| &p.name == phase).map_or(*batch, |phase| phase.batches);
                if batches <= 1 {
                    return Vec::new();
                }
                let hosts = fold_names(hosts.iter().map(HostLabel::as_str));
                self.heading(at, Detail::Normal, &format!("phase {phase}, batch {batch} of {batches}: {hosts}"))
            }
            Fact::PhaseStarted { .. }
            | Fact::BatchFinished { .. }
            | Fact::LockRequested { .. }
            | Fact::UndoPlanned { .. } => Vec::new(),
            Fact::WatchStarted { phase, batch, millis } => self.watch_started(at, (phase, *batch), *millis),
            Fact::WatchFailed { host, step, outcome, failures, limit } => {
                self.watch_failed(at, (host, step), outcome, (*failures, *limit))
            }
            Fact::RolloutStopped { reason } => {
                let reason = printable(reason.as_bytes());
                self.heading(at, Detail::Trouble, &format!("the rollout stops: {reason}"))
            }
            Fact::AcceptUnused { names } => self.heading(at, Detail::Normal, &accept_unused(names)),
            Fact::FindingReported { host, step, undo, finding } => {
                self.finding(at, (host, step, kind_of(*undo)), finding)
            }
            Fact::Interrupted { level, .. } => self.heading(at, Detail::Trouble, interrupt_in_words(*level)),
            Fact::ReporterDropped { reporter, reason } => {
                let reason = printable(reason.as_bytes());
                self.heading(at, Detail::Trouble, &format!("warning: {reporter} gets no more events: {reason}"))
            }
            Fact::RunFinished { exit_code, .. } => {
                let took = summary.duration().map_or_else(String::new, |took| format!(" after {}", duration(took)));
                let code = exit::describe(*exit_code);
                self.heading(at, Detail::Normal, &format!("{code}{took} (exit code {exit_code})"))
            }
            Fact::HostStarted { host } => self.about_host(at, host, Detail::Verbose, Tone::Dim, "connecting"),
            Fact::Connected { host } => self.about_host(at, host, Detail::Verbose, Tone::Dim, "connected"),
            Fact::RunResumed { direction, by } => self.run_resumed((event, summary), *direction, by),
            Fact::StepResumed { host, step, undo, .. } => {
                self.about_step(at, (host, step, kind_of(*undo)), Tone::Dim, "taken up again")
            }
            Fact::StepDecided { host, step, decision } => {
                self.about_step(at, (host, step, StepKind::Run), Tone::Warning, decision.describe())
            }
            Fact::HostGivenUp { host, by } => {
                let text = format!("given up by {}", printable(by.as_bytes()));
                self.trouble(at, host, Tone::Warning, text, Vec::new())
            }
            Fact::LockAcquired { host } => self.about_host(at, host, Detail::Verbose, Tone::Dim, "locked"),
            Fact::LockReleased { host } => self.about_host(at, host, Detail::Verbose, Tone::Dim, "lock given back"),
            Fact::LessPromised { host, what } => {
                let text = format!("warning: {}", printable(what.as_bytes()));
                self.trouble(at, host, Tone::Warning, text, Vec::new())
            }
            Fact::Reattached { host } => self.trouble(at, host, Tone::Good, "connected again".to_owned(), Vec::new()),
            Fact::ConnectionLost { host, reason, step_goes_on } => {
                // The reason often begins with the same words.
                let reason = one_line(&reason.text);
                let goes_on = if *step_goes_on { ", step goes on, retrying" } else { ", retrying" };
                let text = match reason.strip_prefix("connection lost") {
                    Some(rest) => format!("connection lost{goes_on}{rest}"),
                    None => format!("connection lost{goes_on}: {reason}"),
                };
                self.trouble(at, host, Tone::Warning, text, Vec::new())
            }
            Fact::Registered { host, name, value } => self.value(at, host, name.as_str(), value),
            Fact::ChangeDescribed { host, text, .. } => self.value(at, host, "change", text),
            Fact::HostFinished { host, outcome, .. } => self.host_finished((at, summary), host, *outcome),
            Fact::Output { host, step, data, .. } => self.output(summary, (host, step), &data.0),
            Fact::StepStarted { host, step, attempt } => {
                let text = if *attempt > 1 { format!("started, attempt {attempt}") } else { "started".to_owned() };
                self.about_step(at, (host, step, StepKind::Run), Tone::Dim, &text)
            }
            Fact::UndoStarted { host, step, .. } => {
                self.about_step(at, (host, step, StepKind::Undo), Tone::Warning, "started")
            }
            Fact::StepSkipped { host, step, reason } => {
                let text = format!("skipped: {}", printable(reason.as_bytes()));
                self.about_step(at, (host, step, StepKind::Run), Tone::Dim, &text)
            }
            Fact::StepFinished { host, step, outcome, retrying, millis, .. } => {
                self.ended((at, summary), (host, step, StepKind::Run), outcome, *millis, *retrying)
            }
            Fact::UndoFinished { host, step, outcome, millis } => {
                self.ended((at, summary), (host, step, StepKind::Undo), outcome, *millis, false)
            }
        }
    }

    fn run_resumed(&mut self, (event, summary): (&Event, &Summary), direction: Direction, by: &str) -> Vec<String> {
        let how = match direction {
            Direction::Forward => "resumed",
            Direction::Back => "undone",
            Direction::Cancel => "cancelled",
        };
        let hosts = summary.hosts();
        self.host_width = hosts.map(|host| host.host.as_str().len()).max().unwrap_or_default().min(COLUMN);
        let by = printable(by.as_bytes());
        self.heading(event.at, Detail::Normal, &format!("run {} is {how} by {by}", event.run))
    }

    fn tells(&self, detail: Detail) -> bool {
        detail <= self.telling.detail
    }

    fn heading(&self, at: Timestamp, detail: Detail, text: &str) -> Vec<String> {
        if !self.tells(detail) {
            return Vec::new();
        }
        let text = format!("==> {} {text}", time_of_day(at, &self.telling.zone));
        vec![Tone::Heading.paint(&text, self.telling.color)]
    }

    fn about_host(&mut self, at: Timestamp, host: &HostLabel, detail: Detail, tone: Tone, text: &str) -> Vec<String> {
        if self.tells(detail) { vec![self.line(at, (host.as_str(), None), tone, text)] } else { Vec::new() }
    }

    fn value(&mut self, at: Timestamp, host: &HostLabel, name: &str, value: &str) -> Vec<String> {
        self.about_host(at, host, Detail::Verbose, Tone::Dim, &format!("{name} = {}", printable(value.as_bytes())))
    }

    /// Holds back one line about a host, and the hints below it.
    fn trouble(
        &mut self,
        at: Timestamp,
        host: &HostLabel,
        tone: Tone,
        text: String,
        hints: Vec<String>,
    ) -> Vec<String> {
        let cause = Cause { step: None, text: without_own(&self.agenda, host, &text), hints };
        let trouble = Trouble { tone, text, took: None, command: None, lines: Vec::new() };
        self.troubles.add(at, host, cause, trouble);
        Vec::new()
    }

    /// The lines about a trouble of one host or more.
    fn shared(&mut self, shared: &Shared) -> Vec<String> {
        let Shared { at, cause, hosts } = shared;
        let Some((first, trouble)) = hosts.first() else { return Vec::new() };
        let names = fold_names(hosts.iter().map(|(host, _)| host.as_str()));
        let step = cause.step.as_ref().map(|(step, kind)| (step, *kind));
        let mut lines = vec![self.line(*at, (&names, step), trouble.tone, &shared.text())];
        lines.extend(cause.hints.iter().map(|hint| self.line(*at, (&names, None), Tone::Plain, hint)));
        let command = trouble.command.iter();
        lines.extend(command.map(|command| self.line(*at, (first.as_str(), step), Tone::Plain, command)));
        let prefix = self.prefix(first.as_str(), step, '|');
        lines.extend(trouble.lines.iter().map(|line| format!("{prefix}{line}")));
        lines
    }

    fn about_step(&mut self, at: Timestamp, (host, step, kind): Place<'_>, tone: Tone, text: &str) -> Vec<String> {
        let place = (host.as_str(), Some((step, kind)));
        if self.tells(Detail::Normal) { vec![self.line(at, place, tone, text)] } else { Vec::new() }
    }

    /// What fleet says of hosts, or of a step on them.
    fn line(&mut self, at: Timestamp, (hosts, step): (&str, Option<NamedStep<'_>>), tone: Tone, text: &str) -> String {
        let (prefix, time) = (self.prefix(hosts, step, '>'), time_of_day(at, &self.telling.zone));
        format!("{prefix}{time} {}", tone.paint(text, self.telling.color))
    }

    fn ended(
        &mut self,
        (at, summary): (Timestamp, &Summary),
        place: Place<'_>,
        outcome: &StepOutcome,
        millis: u64,
        retrying: bool,
    ) -> Vec<String> {
        let took = duration(Duration::from_millis(millis));
        let mut what = printable(outcome.describe().as_bytes());
        let text = format!("{what} after {took}");
        if outcome.is_success() {
            return self.about_step(at, place, Tone::Good, &text);
        }
        if retrying {
            let text = format!("{text}, will be tried again");
            return self.about_step(at, place, Tone::Warning, &text);
        }
        match outcome {
            // Because of another trouble, which is told by itself.
            StepOutcome::Cancelled => return self.about_step(at, place, Tone::Warning, &text),
            StepOutcome::Unknown { .. } | StepOutcome::Detached { .. } => {}
            StepOutcome::Succeeded
            | StepOutcome::Skipped { .. }
            | StepOutcome::Failed { .. }
            | StepOutcome::Signaled { .. }
            | StepOutcome::TimedOut { .. }
            | StepOutcome::Unusable { .. }
            | StepOutcome::Refused { .. }
            | StepOutcome::NotStarted { .. } => what.insert_str(0, "FAILED: "),
        }
        let (host, step, kind) = place;
        let tail = summary.host(host.as_str()).map(|host| &host.tail);
        let silent = tail.filter(|tail| failed_silently(outcome, tail));
        let command = silent.and_then(|_| command(&self.agenda, host, step, kind));
        let unshown = tail.filter(|_| !self.tells(Detail::Normal));
        let text = without_own(&self.agenda, host, &what);
        let cause = Cause { step: Some((step.clone(), kind)), text, hints: hint_lines(outcome.hints()) };
        let trouble = Trouble {
            tone: Tone::Bad,
            text: what,
            took: Some(Duration::from_millis(millis)),
            command: command.map(|(lines, text)| format!("command{}: {text}", lines_in_words(lines))),
            lines: unshown.map(|tail| last_lines(tail, LAST_LINES).collect()).unwrap_or_default(),
        };
        self.troubles.add(at, host, cause, trouble);
        Vec::new()
    }

    /// What a step reported. The same from many hosts is shown once.
    fn finding(&mut self, at: Timestamp, place: Place<'_>, finding: &Finding) -> Vec<String> {
        let text = finding.to_string();
        let tone = finding_tone(finding);
        if finding.kind == FindingKind::Notice {
            return self.about_step(at, place, tone, &text);
        }
        self.step_trouble(at, place, tone, text)
    }

    fn watch_started(&self, at: Timestamp, (phase, batch): (&PhaseName, usize), millis: u64) -> Vec<String> {
        let time = duration(Duration::from_millis(millis));
        self.heading(at, Detail::Normal, &format!("phase {phase}, batch {batch} soaks for {time}, watched"))
    }

    fn watch_failed(
        &mut self,
        at: Timestamp,
        (host, step): (&HostLabel, &StepPath),
        outcome: &StepOutcome,
        (failures, limit): (u32, u32),
    ) -> Vec<String> {
        let text = format!("watch: {} ({failures} of {limit})", printable(outcome.describe().as_bytes()));
        self.step_trouble(at, (host, step, StepKind::Run), Tone::Warning, text)
    }

    /// Holds back one line about a step.
    fn step_trouble(&mut self, at: Timestamp, (host, step, kind): Place<'_>, tone: Tone, text: String) -> Vec<String> {
        let step = Some((step.clone(), kind));
        let cause = Cause { step, text: without_own(&self.agenda, host, &text), hints: Vec::new() };
        self.troubles.add(at, host, cause, Trouble { tone, text, took: None, command: None, lines: Vec::new() });
        Vec::new()
    }

    fn host_finished(
        &mut self,
        (at, summary): (Timestamp, &Summary),
        host: &HostLabel,
        outcome: HostOutcome,
    ) -> Vec<String> {
        let Some(known) = summary.host(host.as_str()) else { return Vec::new() };
        let mut text = outcome.describe().to_owned();
        let mut hints = Vec::new();
        if let Some(reason) = &known.reason {
            text = because(&text, &one_line(&reason.text));
            // Those of a failed step were told when it failed.
            hints = if known.failure.is_none() { hint_lines(&reason.hints) } else { hints };
        }
        if !known.in_force.is_empty() {
            text.push_str("; still in force: ");
            text.push_str(&printable(known.in_force.join(", ").as_bytes()));
        }
        let tone = Tone::of(outcome);
        if let HostOutcome::Succeeded | HostOutcome::Untouched = outcome {
            return self.about_host(at, host, Detail::Normal, tone, &text);
        }
        self.trouble(at, host, tone, text, hints)
    }

    fn output(&mut self, summary: &Summary, (host, step): (&HostLabel, &StepPath), data: &[u8]) -> Vec<String> {
        if !self.tells(Detail::Normal) {
            return Vec::new();
        }
        let activity = summary.host(host.as_str()).and_then(|host| host.activity.as_ref());
        let kind = activity.map_or(StepKind::Run, |activity| activity.kind);
        let prefix = self.prefix(host.as_str(), Some((step, kind)), '|');
        data.split_inclusive(|&b| b == b'\n').map(|line| format!("{prefix}{}", printable_line(line))).collect()
    }

    /// `web1 | migrate | `, in columns that have grown to what was seen so far; of a whole host, `web1 > `.
    fn prefix(&mut self, host: &str, step: Option<NamedStep<'_>>, mark: char) -> String {
        let host_width = self.host_width;
        let Some((step, kind)) = step else { return format!("{host:host_width$} {mark} ") };
        let step = short(step.as_str());
        let step = match kind {
            StepKind::Run => step.to_owned(),
            StepKind::Undo => format!("undo {step}"),
        };
        self.step_width = self.step_width.max(step.len().min(COLUMN));
        let step_width = self.step_width;
        format!("{host:host_width$} {mark} {step:step_width$} {mark} ")
    }
}

fn kind_of(undo: bool) -> StepKind {
    if undo { StepKind::Undo } else { StepKind::Run }
}
