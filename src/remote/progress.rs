//! Where a command stands, from what its channel tells and what time it is: how it ended, and when to say what to its leash.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::command::Wire;
use super::framing::{self, Framing};
use super::session::{Exec, ExecEnd, OutputChunk, Remote};
use super::step::{Entry, LeashOrder, StepEnd, exit_status};
use crate::model::run::cause::Cause;
use crate::model::run::event::Stream;
use crate::model::run::reason::Reason;
use crate::model::text::hint::Hint;
use crate::model::text::printable::printable;
use crate::ssh::{Connection, Heard, Timeouts, in_words};

/// How long the first mark on standard error may come after the last one on standard output, before the server is asked whether there is one.
/// The host has written it before any on standard output.
const LATE: Duration = Duration::from_millis(100);

/// What is told of a command whose standard error came to nothing.
const UNHEARD: &str = "fleet: a startup file of the login shell (.bashrc) redirects standard error: what this printed there is lost, or came with the rest\n";

pub(super) struct Progress<'a> {
    stdout: Framing,
    stderr: Framing,
    /// Who takes what the command reports.
    findings: Option<mpsc::Sender<Vec<u8>>>,
    /// Output that the receiver has not taken.
    pub pending: VecDeque<OutputChunk>,
    phase: Phase,
    timeouts: &'a Timeouts,
    /// Running time, silence.
    limits: (Option<Duration>, Option<Duration>),
    /// Does anybody read orders on the host?
    leashed: bool,
    pub stop: bool,
    /// What to write to the leash next.
    line: Option<String>,
    /// What the channel said about the waiting shell.
    exit: Option<String>,
    refused: bool,
    /// For a durable step: when to ask the host for what the step has printed.
    polls: Option<Polls>,
}

/// Questions for output: soon after there was some, and seldom when there was none for long. A step that ends says so unasked.
struct Polls {
    next: Instant,
    pause: Duration,
}

impl Polls {
    const SHORTEST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(1);

    fn new() -> Self {
        Self { next: Instant::now() + Self::SHORTEST, pause: Self::SHORTEST }
    }

    fn due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.next <= now;
        if due {
            self.pause = (self.pause * 3 / 2).min(Self::LONGEST);
            self.next = now + self.pause;
        }
        due
    }
}

#[derive(Clone, Copy)]
enum Phase {
    /// No begin mark yet.
    Starting { by: Instant },
    /// The begin mark came, and the last output at `heard`.
    Running { since: Instant, heard: Instant },
    /// TERM was sent.
    Terminated { why: Why, kill_at: Instant },
    /// KILL was sent; to a durable step the order to end it, and the host itself goes from TERM to KILL.
    Killed { why: Why, give_up_at: Instant },
    /// The end mark came on standard output; that of standard error is on its way.
    Ended { why: Option<Why>, by: Instant, unheard: bool },
}

#[derive(Clone, Copy)]
enum Why {
    TimedOut,
    IdleTimedOut,
    Stopped,
}

impl<'a> Progress<'a> {
    pub fn new(exec: &Exec<'_>, wire: &Wire, timeouts: &'a Timeouts) -> Self {
        let durable = matches!(exec.command, Remote::Durable(..));
        let ends = if durable { |words: &str| StepEnd::parse(words).is_some() } else { framing::is_number };
        Self {
            stdout: Framing::new(wire, ends),
            stderr: Framing::new(wire, ends),
            polls: durable.then(Polls::new),
            findings: exec.findings.clone(),
            pending: VecDeque::new(),
            phase: Phase::Starting { by: Instant::now() + timeouts.channel },
            timeouts,
            limits: (exec.timeout, exec.idle_timeout),
            leashed: !matches!(exec.command, Remote::Question(_)),
            stop: false,
            line: None,
            exit: None,
            refused: false,
        }
    }

    /// Takes what the channel tells. `Some`: that was the end.
    pub fn take(&mut self, heard: Heard, connection: &Connection) -> Option<ExecEnd> {
        match heard {
            Heard::Output(stream, bytes) => {
                let framing = if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr };
                let bytes = framing.push(&bytes);
                self.output(stream, bytes)
            }
            Heard::Exit(words) => {
                self.exit = Some(words);
                None
            }
            Heard::Refused => {
                self.refused = true;
                Some(self.without_end(None))
            }
            Heard::Closed => Some(self.closed()),
            Heard::Lost => Some(self.without_end(Some(connection.lost()))),
        }
    }

    fn output(&mut self, stream: Stream, bytes: Vec<u8>) -> Option<ExecEnd> {
        let now = Instant::now();
        if let (Phase::Starting { .. }, Some(_)) = (self.phase, self.stdout.pid()) {
            self.phase = Phase::Running { since: now, heard: now };
        }
        if !bytes.is_empty() {
            self.pending.push_back(OutputChunk { stream, bytes });
            self.heard();
        }
        self.ended()
    }

    /// Is all there that there is to wait for?
    fn ended(&mut self) -> Option<ExecEnd> {
        if let Some((report, taker)) = self.stdout.take_report().zip(self.findings.as_ref()) {
            // It has room for the only one.
            let _ = taker.try_send(report);
        }
        let words = self.stdout.end()?;
        if self.stdout.pid().is_none() {
            return Some(self.without_end(None));
        }
        if let Some(other) = self.stderr.end() {
            // The host says the same on both.
            let differ =
                || ExecEnd::Unknown(format!("its two streams say that it ended differently: {words}; {other}").into());
            return Some(if words == other { self.with_end(words) } else { differ() });
        }
        if !matches!(self.phase, Phase::Ended { .. }) {
            let unheard = self.stderr.pid().is_none();
            let limit = if unheard { LATE } else { self.timeouts.channel };
            self.phase = Phase::Ended { why: self.why(), by: Instant::now() + limit, unheard };
        }
        None
    }

    /// Did the command end, and nothing of its standard error come to us?
    pub fn is_unheard(&self) -> bool {
        self.stdout.pid().is_some() && self.stdout.end().is_some() && self.stderr.pid().is_none()
    }

    fn began(&self) -> bool {
        self.stdout.pid().is_some() || self.stderr.pid().is_some()
    }

    /// Does the shell take another command? Having answered a question, or run a step to its end, it does, as a rule, and not after anything
    /// else that it told.
    pub fn leaves_its_shell(&self, command: Remote<'_>) -> bool {
        let ended = |words: &str| match command {
            Remote::Durable(_, Entry::Start) => words.starts_with("exit "),
            Remote::Question(_) => true,
            Remote::Plain(_) | Remote::Durable(..) => false,
        };
        self.began() && [&self.stdout, &self.stderr].iter().all(|stream| stream.end().is_some_and(ended))
    }

    pub fn heard(&mut self) {
        if let Phase::Running { heard, .. } = &mut self.phase {
            *heard = Instant::now();
        }
        // While more is on its way, there is nothing to ask for.
        if let Some(polls) = &mut self.polls {
            *polls = Polls::new();
        }
    }

    /// When to ask for output. Not while some waits for a slow receiver.
    fn next_question(&self) -> Option<Instant> {
        self.polls.as_ref().filter(|_| self.pending.is_empty()).map(|polls| polls.next)
    }

    pub fn asks(&mut self) -> bool {
        let runs = matches!(self.phase, Phase::Running { .. } | Phase::Killed { .. }) && self.pending.is_empty();
        self.polls.as_mut().filter(|_| runs).is_some_and(Polls::due)
    }

    fn why(&self) -> Option<Why> {
        match self.phase {
            Phase::Starting { .. } | Phase::Running { .. } => None,
            Phase::Terminated { why, .. } | Phase::Killed { why, .. } => Some(why),
            Phase::Ended { why, .. } => why,
        }
    }

    fn with_end(&self, words: &str) -> ExecEnd {
        if self.polls.is_some() {
            return match StepEnd::parse(words) {
                Some(StepEnd::Exited(status)) => ExecEnd::Exited(status),
                Some(StepEnd::TimedOut) => ExecEnd::TimedOut,
                Some(StepEnd::IdleTimedOut) => ExecEnd::IdleTimedOut,
                Some(StepEnd::Cancelled) => ExecEnd::Stopped,
                Some(StepEnd::Absent) => ExecEnd::Absent,
                Some(StepEnd::Unknown(reason)) => ExecEnd::Unknown(reason.into()),
                Some(StepEnd::Fault(reason)) => ExecEnd::NotStarted(reason.into()),
                None => ExecEnd::Lost(format!("an end that fleet does not know: {words}").into()),
            };
        }
        match self.why() {
            None => ExecEnd::Exited(exit_status(words.parse().unwrap_or(255))),
            Some(Why::TimedOut) => ExecEnd::TimedOut,
            Some(Why::IdleTimedOut) => ExecEnd::IdleTimedOut,
            Some(Why::Stopped) => ExecEnd::Stopped,
        }
    }

    /// Nothing more is to come from the channel.
    fn closed(&mut self) -> ExecEnd {
        if self.is_unheard() {
            self.pending.push_back(OutputChunk { stream: Stream::Stderr, bytes: UNHEARD.into() });
        }
        self.without_end(None)
    }

    /// The channel ended, or with `lost` the connection, before the end mark came on both streams.
    fn without_end(&self, lost: Option<String>) -> ExecEnd {
        if let (Some(words), Some(_)) = (self.stdout.end(), self.stdout.pid())
            // What is missing of a durable step's standard error can be asked for again, unless there is nothing to come.
            && (self.polls.is_none() || (self.is_unheard() && lost.is_none()))
        {
            return self.with_end(words);
        }
        if self.refused {
            return ExecEnd::NotStarted(Reason::new(Cause::NoShell, "the server refuses to run commands"));
        }
        if self.began() {
            return ExecEnd::Lost(
                match (lost, &self.exit) {
                    (Some(lost), None) => lost,
                    (_, Some(exit)) => format!("the shell that waited for it is gone ({exit})"),
                    (None, None) => "the server closed the channel".to_owned(),
                }
                .into(),
            );
        }
        match lost {
            // The command may have arrived, and its begin mark not come back.
            Some(lost) if self.exit.is_none() => ExecEnd::Lost(lost.into()),
            _ => ExecEnd::NotStarted(self.noise()),
        }
    }

    fn noise(&self) -> Reason {
        // One line, whatever the host says: what stands on lines of their own in an error is fleet's.
        let texts = [self.stderr.noise(), self.stdout.noise()];
        let lines = texts.iter().flat_map(|noise| noise.split(|byte| *byte == b'\n')).map(<[u8]>::trim_ascii);
        let text = lines.filter(|line| !line.is_empty()).map(printable).collect::<Vec<_>>().join(" / ");
        let exit = self.exit.as_deref().unwrap_or("the channel was closed");
        if text.is_empty() {
            return Reason::new(Cause::NoShell, format!("no shell for it ({exit})"));
        }
        let reason = Reason::new(Cause::NoShell, format!("no shell for it ({exit}): {text}"));
        if !(text.contains("sudo:") && text.contains("password")) {
            return reason;
        }
        let hint = "let sudo run it without a password (NOPASSWD in sudoers), or log in as that user";
        Reason { cause: Some(Cause::SudoNeedsPassword), ..reason.hint(Hint::advice(hint)) }
    }

    /// When to look again though nothing came.
    pub fn wake(&self) -> Option<Instant> {
        match self.phase {
            Phase::Starting { by } | Phase::Ended { by, .. } => Some(by),
            Phase::Running { since, heard } => {
                // While the receiver is slow, the silence is ours.
                let idle = self.limits.1.filter(|_| self.pending.is_empty());
                let polls = self.next_question();
                let limits = [self.limits.0.map(|limit| since + limit), idle.map(|limit| heard + limit), polls];
                limits.into_iter().flatten().min()
            }
            Phase::Terminated { kill_at, .. } => Some(kill_at),
            Phase::Killed { give_up_at, .. } => {
                Some(self.next_question().map_or(give_up_at, |next| next.min(give_up_at)))
            }
        }
    }

    /// The time of [`Self::wake`] has come.
    pub fn late(&mut self) -> Option<ExecEnd> {
        let now = Instant::now();
        match self.phase {
            Phase::Starting { .. } => {
                let limit = in_words(self.timeouts.channel);
                let why = if self.stderr.pid().is_some() {
                    "a startup file of the login shell (.bashrc) sends standard output elsewhere"
                } else {
                    "do startup files of the login shell hang, or send its output elsewhere?"
                };
                return Some(ExecEnd::Lost(format!("no sign of its shell in {limit}; {why}").into()));
            }
            Phase::Running { since, heard } => {
                let over = |from: Instant, limit: Option<Duration>| limit.is_some_and(|limit| from + limit <= now);
                if over(since, self.limits.0) && !self.leashed {
                    return Some(ExecEnd::TimedOut);
                }
                if over(since, self.limits.0) {
                    self.terminate(Why::TimedOut);
                } else if over(heard, self.limits.1) {
                    self.terminate(Why::IdleTimedOut);
                }
            }
            Phase::Terminated { why, .. } => {
                self.phase = Phase::Killed { why, give_up_at: now + self.timeouts.grace };
                self.line = self.stdout.pid().map(|pid| format!("KILL {pid}\n"));
            }
            Phase::Killed { give_up_at, .. } if give_up_at <= now => {
                let reason = "KILL did not end it".into();
                return Some(if self.polls.is_some() { ExecEnd::Unknown(reason) } else { ExecEnd::Lost(reason) });
            }
            // It was only late.
            Phase::Ended { why, unheard: true, .. } if self.stderr.pid().is_some() => {
                self.phase = Phase::Ended { why, by: now + self.timeouts.channel, unheard: false };
            }
            // A plain command's status is certain; at worst, the last bytes of its standard error are missing.
            Phase::Ended { .. } => return Some(self.closed()),
            // Killed: it was time for a question.
            Phase::Killed { .. } => {}
        }
        None
    }

    fn terminate(&mut self, why: Why) {
        let after_grace = Instant::now() + self.timeouts.grace;
        if self.polls.is_some() {
            let give_up_at = after_grace + self.timeouts.grace + self.timeouts.channel;
            self.phase = Phase::Killed { why, give_up_at };
            let order = if let Why::IdleTimedOut = why { LeashOrder::EndIdle } else { LeashOrder::Cancel };
            self.line = Some(order.line().to_owned());
        } else {
            self.phase = Phase::Terminated { why, kill_at: after_grace };
            self.line = self.stdout.pid().map(|pid| format!("TERM {pid}\n"));
        }
    }

    /// What to write to the leash now.
    pub fn next_line(&mut self) -> Option<String> {
        if self.stop && self.leashed && matches!(self.phase, Phase::Running { .. }) {
            self.terminate(Why::Stopped);
        }
        self.line.take()
    }
}
