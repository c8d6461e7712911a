//! Runs one command in a shell on the host, from the request to the end mark.
//!
//! Invariant: an exit status is told only when the end mark with this command's nonce came. A channel that ends without it is
//! [`ExecEnd::NotStarted`] if the begin mark cannot have been written, else [`ExecEnd::Lost`]. The channel is closed, unless its shell waits
//! for the next command, and read without pause until then: one unread channel would stop the whole connection, its keepalive too.

use std::collections::VecDeque;
use std::time::Duration;

use russh::ChannelMsg;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::framing::{self, Framing};
use super::link::Link;
use super::shells::{Shell, Shells};
use super::timeouts::{Timeouts, in_words};
use super::{Exec, ExecEnd, OutputChunk, Remote};
use crate::model::command::Wire;
use crate::model::durable::{Entry, LeashOrder, StepEnd, exit_status};
use crate::model::event::Stream;
use crate::model::printable::printable;

/// Lines to the leash that wait for the connection.
const LEASH: usize = 8;

/// Runs the command. The second value: may the connection be used again?
pub(super) async fn run(link: &Link, shells: &mut Shells, timeouts: &Timeouts, mut exec: Exec<'_>) -> (ExecEnd, bool) {
    // A step that is only watched may run already: it is ended when the host has been asked for it.
    if exec.stop.is_cancelled() && !matches!(exec.command, Remote::Durable(_, Entry::Watch { .. })) {
        return (ExecEnd::NotStarted("stopped before it was sent".to_owned()), true);
    }
    let nonce = format!("{:032x}", rand::random::<u128>());
    let wire = exec.command.wire(&nonce);
    if let Some(shell) = wire.setup.and_then(|_| shells.take(&wire.exec)) {
        let talk = converse(link, timeouts, &mut exec, &wire, shell, wire.stdin.clone()).await;
        // It may have been killed, or closed by the server, since its last command.
        if talk.began || link.handle.is_closed() {
            return talk.over(link, shells, &wire.exec);
        }
    }
    match shells.open(link, timeouts, &wire.exec).await {
        Ok(shell) => {
            let text = [wire.setup.unwrap_or_default().as_bytes(), &wire.stdin].concat();
            converse(link, timeouts, &mut exec, &wire, shell, text).await.over(link, shells, &wire.exec)
        }
        Err((reason, usable)) => (ExecEnd::NotStarted(reason), usable),
    }
}

/// A command's way through a shell.
struct Talk {
    end: ExecEnd,
    /// Its begin mark came.
    began: bool,
    /// The shell, if it takes another command.
    shell: Option<Shell>,
    /// The connection took all that it was to take.
    usable: bool,
}

impl Talk {
    fn over(self, link: &Link, shells: &mut Shells, exec: &str) -> (ExecEnd, bool) {
        if let Some(shell) = self.shell {
            shells.keep(exec, shell);
        }
        (self.end, self.usable && !link.handle.is_closed())
    }
}

/// Sends `text` to the shell and listens to the end of the command.
async fn converse(
    link: &Link,
    timeouts: &Timeouts,
    exec: &mut Exec<'_>,
    wire: &Wire,
    mut shell: Shell,
    text: Vec<u8>,
) -> Talk {
    let durable = matches!(exec.command, Remote::Durable(..));
    let ends = if durable { |words: &str| StepEnd::parse(words).is_some() } else { framing::is_number };
    let mut command = Command {
        stdout: Framing::new(wire, ends),
        stderr: Framing::new(wire, ends),
        polls: durable.then(Polls::new),
        pending: VecDeque::new(),
        phase: Phase::Starting { by: Instant::now() + timeouts.channel },
        timeouts,
        limits: (exec.timeout, exec.idle_timeout),
        stop: false,
        exit: None,
        refused: false,
    };
    let mut end = None;
    {
        // Orders to the leash. Emptied as fast as the connection takes them; a question that finds no room is left out.
        let (leash, mut lines) = mpsc::channel::<String>(LEASH);
        let writer = &shell.writer;
        let feed = async {
            // Not waiting for the reply to the request saves a round trip. If it is a refusal, nobody reads this.
            writer.data_bytes(text).await?;
            while let Some(line) = lines.recv().await {
                writer.data_bytes(line.into_bytes()).await?;
            }
            Ok::<(), russh::Error>(())
        };
        tokio::pin!(feed);
        let (mut feeding, mut listening) = (true, true);
        while end.is_none() || !command.pending.is_empty() {
            let wake = command.wake();
            tokio::select! {
                permit = exec.output.reserve(), if listening && !command.pending.is_empty() => match permit {
                    Ok(permit) => {
                        if let Some(chunk) = command.pending.pop_front() {
                            permit.send(chunk);
                        }
                        command.heard();
                    }
                    Err(_) => listening = false,
                },
                message = shell.reader.wait(), if end.is_none() && command.pending.is_empty() => end = command.take(message, link),
                // An error here is the end of the connection, which the reader tells as well.
                _ = &mut feed, if feeding => feeding = false,
                () = exec.stop.cancelled(), if !command.stop => command.stop = true,
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() && end.is_none() => end = command.late(),
            }
            if !listening {
                command.pending.clear();
            }
            if let Some(line) = command.next_line() {
                // Questions leave room for the other lines there are; and if the feed has ended, so has the connection.
                let _ = leash.try_send(line);
            }
            if command.asks() && leash.capacity() > LEASH / 2 {
                let _ = leash.try_send(LeashOrder::Poll.line().to_owned());
            }
        }
    }
    let (began, stays) = (command.began(), command.leaves_its_shell(exec.command));
    let end = end.unwrap_or_else(|| ExecEnd::Lost(link.lost()));
    if stays {
        return Talk { end, began, shell: Some(shell), usable: true };
    }
    Talk { end, began, shell: None, usable: shell.close(timeouts).await }
}

/// Where the command stands.
struct Command<'a> {
    stdout: Framing,
    stderr: Framing,
    /// Output that the receiver has not taken.
    pending: VecDeque<OutputChunk>,
    phase: Phase,
    timeouts: &'a Timeouts,
    /// Running time, silence.
    limits: (Option<Duration>, Option<Duration>),
    /// Was it asked to stop?
    stop: bool,
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

    /// Output came: while more is on its way, there is nothing to ask for.
    fn heard(&mut self) {
        *self = Self::new();
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
    /// It runs.
    Running { since: Instant, heard: Instant },
    /// To be ended; TERM is sent with the next line.
    Condemned { why: Why },
    /// TERM was sent.
    Terminated { why: Why, kill_at: Instant },
    /// KILL is sent with the next line.
    Doomed { why: Why },
    /// KILL was sent.
    Killed { why: Why, give_up_at: Instant },
    /// The end mark came on standard output; that of standard error is on its way.
    Ended { why: Option<Why>, by: Instant },
}

/// Why a command was ended.
#[derive(Clone, Copy)]
enum Why {
    TimedOut,
    IdleTimedOut,
    Stopped,
}

impl Command<'_> {
    /// Takes a message of the channel. `Some`: that was the end.
    fn take(&mut self, message: Option<ChannelMsg>, link: &Link) -> Option<ExecEnd> {
        match message {
            Some(ChannelMsg::Data { data }) => {
                let bytes = self.stdout.push(&data);
                self.output(Stream::Stdout, bytes)
            }
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => {
                let bytes = self.stderr.push(&data);
                self.output(Stream::Stderr, bytes)
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                self.exit = Some(format!("exit status {exit_status}"));
                None
            }
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                self.exit = Some(format!("ended by signal {signal_name:?}"));
                None
            }
            Some(ChannelMsg::Failure) => {
                self.refused = true;
                Some(self.without_end(None))
            }
            Some(ChannelMsg::Close) => Some(self.without_end(None)),
            None => Some(self.without_end(Some(link.lost()))),
            // Eof comes before or after the status, and a daemon may hold it back for ever.
            Some(_) => None,
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
        let words = self.stdout.end()?;
        if self.stdout.pid().is_none() {
            return Some(self.without_end(None));
        }
        if self.stderr.end().is_some() {
            return Some(self.with_end(words));
        }
        if !matches!(self.phase, Phase::Ended { .. }) {
            self.phase = Phase::Ended { why: self.why(), by: Instant::now() + self.timeouts.channel };
        }
        None
    }

    /// Did its begin mark come?
    fn began(&self) -> bool {
        self.stdout.pid().is_some() || self.stderr.pid().is_some()
    }

    /// Does the shell take another command? Having run a step to its end it does, and not after anything else that it told.
    fn leaves_its_shell(&self, command: Remote<'_>) -> bool {
        let ends =
            [&self.stdout, &self.stderr].map(|stream| stream.end().is_some_and(|words| words.starts_with("exit ")));
        matches!(command, Remote::Durable(_, Entry::Start)) && ends == [true, true]
    }

    fn heard(&mut self) {
        if let Phase::Running { heard, .. } = &mut self.phase {
            *heard = Instant::now();
        }
        if let Some(polls) = &mut self.polls {
            polls.heard();
        }
    }

    /// When to ask for output. Not while some waits for a slow receiver.
    fn next_question(&self) -> Option<Instant> {
        self.polls.as_ref().filter(|_| self.pending.is_empty()).map(|polls| polls.next)
    }

    /// Is it time to ask for output?
    fn asks(&mut self) -> bool {
        let runs = matches!(self.phase, Phase::Running { .. } | Phase::Killed { .. }) && self.pending.is_empty();
        self.polls.as_mut().filter(|_| runs).is_some_and(Polls::due)
    }

    fn why(&self) -> Option<Why> {
        match self.phase {
            // Condemned, but TERM not sent: the mark was already on its way.
            Phase::Starting { .. } | Phase::Running { .. } | Phase::Condemned { .. } => None,
            Phase::Terminated { why, .. } | Phase::Doomed { why } | Phase::Killed { why, .. } => Some(why),
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
                Some(StepEnd::Unknown(reason)) => ExecEnd::Unknown(reason.to_owned()),
                Some(StepEnd::Fault(reason)) => ExecEnd::NotStarted(reason),
                None => ExecEnd::Lost(format!("an end that fleet does not know: {words}")),
            };
        }
        match self.why() {
            None => ExecEnd::Exited(exit_status(words.parse().unwrap_or(255))),
            Some(Why::TimedOut) => ExecEnd::TimedOut,
            Some(Why::IdleTimedOut) => ExecEnd::IdleTimedOut,
            Some(Why::Stopped) => ExecEnd::Stopped,
        }
    }

    /// The channel ended, or with `lost` the connection, before the end mark came on both streams.
    fn without_end(&self, lost: Option<String>) -> ExecEnd {
        if let (Some(words), Some(_)) = (self.stdout.end(), self.stdout.pid())
            // What is missing of a durable step's standard error can be asked for again.
            && self.polls.is_none()
        {
            return self.with_end(words);
        }
        if self.refused {
            return ExecEnd::NotStarted("the server refuses to run commands".to_owned());
        }
        if self.began() {
            return ExecEnd::Lost(match (lost, &self.exit) {
                (Some(lost), None) => lost,
                (_, Some(exit)) => format!("the shell that waited for it is gone ({exit})"),
                (None, None) => "the server closed the channel".to_owned(),
            });
        }
        match lost {
            // The command may have arrived, and its begin mark not come back.
            Some(lost) if self.exit.is_none() => ExecEnd::Lost(lost),
            _ => ExecEnd::NotStarted(self.noise()),
        }
    }

    /// What was printed instead of the begin mark.
    fn noise(&self) -> String {
        // One line, whatever the host says: what stands on lines of their own in an error is fleet's.
        let texts = [self.stderr.noise(), self.stdout.noise()];
        let lines = texts.iter().flat_map(|noise| noise.split(|byte| *byte == b'\n')).map(<[u8]>::trim_ascii);
        let text = lines.filter(|line| !line.is_empty()).map(printable).collect::<Vec<_>>().join(" / ");
        let exit = self.exit.as_deref().unwrap_or("the channel was closed");
        let hint = if text.contains("sudo:") && text.contains("password") {
            "\nhint: let sudo run it without a password (NOPASSWD in sudoers), or log in as that user"
        } else {
            ""
        };
        if text.is_empty() {
            format!("no shell for it ({exit})")
        } else {
            format!("no shell for it ({exit}): {text}{hint}")
        }
    }

    /// When to look again though nothing came.
    fn wake(&self) -> Option<Instant> {
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
            // Left by `next_line` at once.
            Phase::Condemned { .. } | Phase::Doomed { .. } => None,
        }
    }

    /// The time of [`Self::wake`] has come.
    fn late(&mut self) -> Option<ExecEnd> {
        let now = Instant::now();
        match self.phase {
            Phase::Starting { .. } => {
                let limit = in_words(self.timeouts.channel);
                return Some(ExecEnd::Lost(format!(
                    "no sign of its shell in {limit}; do startup files of the login shell hang?"
                )));
            }
            Phase::Running { since, heard } => {
                let over = |from: Instant, limit: Option<Duration>| limit.is_some_and(|limit| from + limit <= now);
                if over(since, self.limits.0) {
                    self.phase = Phase::Condemned { why: Why::TimedOut };
                } else if over(heard, self.limits.1) {
                    self.phase = Phase::Condemned { why: Why::IdleTimedOut };
                }
            }
            Phase::Terminated { why, .. } => self.phase = Phase::Doomed { why },
            Phase::Killed { give_up_at, .. } if give_up_at <= now => {
                let reason = "KILL did not end it".to_owned();
                return Some(if self.polls.is_some() { ExecEnd::Unknown(reason) } else { ExecEnd::Lost(reason) });
            }
            // The status is certain; at worst, the last bytes of standard error are missing.
            Phase::Ended { .. } => return Some(self.without_end(None)),
            // Killed: it was time for a question.
            Phase::Condemned { .. } | Phase::Doomed { .. } | Phase::Killed { .. } => {}
        }
        None
    }

    /// What to write to the leash now.
    fn next_line(&mut self) -> Option<String> {
        if self.stop && matches!(self.phase, Phase::Running { .. }) {
            self.phase = Phase::Condemned { why: Why::Stopped };
        }
        let pid = self.stdout.pid()?;
        let after_grace = Instant::now() + self.timeouts.grace;
        match self.phase {
            // The host itself goes from TERM to KILL.
            Phase::Condemned { why } if self.polls.is_some() => {
                let give_up_at = after_grace + self.timeouts.grace + self.timeouts.channel;
                self.phase = Phase::Killed { why, give_up_at };
                let order = if let Why::IdleTimedOut = why { LeashOrder::EndIdle } else { LeashOrder::Cancel };
                Some(order.line().to_owned())
            }
            Phase::Condemned { why } => {
                self.phase = Phase::Terminated { why, kill_at: after_grace };
                Some(format!("TERM {pid}\n"))
            }
            Phase::Doomed { why } => {
                self.phase = Phase::Killed { why, give_up_at: after_grace };
                Some(format!("KILL {pid}\n"))
            }
            _ => None,
        }
    }
}
