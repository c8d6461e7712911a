//! Durable steps: a command that goes on when its connection, or fleet itself, is gone, and that is started at most once.
//!
//! A shell that sshd starts becomes the supervisor of one step after another (`scripts/step.sh` is all of it): for each it makes a file
//! with `O_EXCL`, so that a second start of the same step only watches the first one, runs the step in a session of its own with its output
//! in files, and writes down how it ended. While somebody listens, a second process, the leash, copies the output to the channel whenever
//! the controller asks for it, and obeys its orders. Nothing is installed on the host: the supervisor's text is the first thing that the
//! shell reads. The shell ends with its connection, after the step that it has.
//!
//! What is promised, and what not: a step is *started at most once*. When its supervisor dies, the host reboots or the spool is lost
//! in the middle of a step, nobody can know what the step did, and its outcome is unknown.
//!
//! Rejected, after measuring: a shell for each step. It costs a channel, which is a round trip, a login shell with its startup files and
//! the reading of 5 KB: half of all that a step costs. A supervisor that is installed once for a run and host: a round trip, a check of its
//! content, and a leftover. A streamer on the host that polls the files with `sleep`: two processes a poll, also for steps that end at once.
//! Here the controller's clock asks, and a step that ends before the first question costs nothing. A pipe to the controller: it breaks with
//! the connection, or stops the step when nobody reads.

use std::fmt::Write as _;
use std::time::Duration;

use super::command::{MAX_REPORT, Marks, Payload, Wire, login_command};
use super::question::Question;
use super::scripts::{BOOK, SPOOL, STEP, assign};
use crate::model::plan::book::{Book, EffectChange};
use crate::model::plan::command::RemoteCommand;
use crate::model::plan::plan::HostIndex;
use crate::model::recipe::shell::quote;
use crate::model::run::scheduler::StepIndex;
use crate::model::text::name::RunId;

/// Between TERM and KILL, in tenths of a second.
const GRACE_TENTHS: u32 = 50;

/// What the controller says to the leash while a step runs.
///
/// An order that comes when the step has just ended is read, whole or in part, by the shell that waits for its next command. So an order is
/// an empty line or a comment, and so is all that is left of one whose first bytes are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeashOrder {
    /// Copy what is new of the output.
    Poll,
    /// End the step, because it is not wanted any more.
    Cancel,
    /// End the step, because it was silent for too long.
    EndIdle,
}

impl LeashOrder {
    pub fn line(self) -> &'static str {
        match self {
            Self::Poll => "\n",
            Self::Cancel => "#\n",
            Self::EndIdle => "##\n",
        }
    }
}

/// What names an attempt of a step, or of an undo, on a host within a run: `0.2.3.1`, `0.2.3.u1`. It is part of file names there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepKey(String);

impl StepKey {
    pub fn run(host: HostIndex, at: StepIndex, attempt: u32) -> Self {
        Self(format!("{}.{}.{}.{attempt}", host.0, at.phase, at.step))
    }

    /// An attempt of its undo, from 1.
    pub fn undo(host: HostIndex, at: StepIndex, attempt: u32) -> Self {
        Self(format!("{}.{}.{}.u{attempt}", host.0, at.phase, at.step))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A command that is to be durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurableStep {
    pub run: RunId,
    pub key: StepKey,
    /// The step in words, for people who look at the host: no blank at the ends, one line.
    pub label: String,
    pub command: RemoteCommand,
    /// Longest running time. The host keeps to it, whether or not anybody listens.
    pub limit: Option<Duration>,
    /// Steps of the same user whose output is on record: the room is given back.
    pub spent: Vec<StepKey>,
    /// What it changes of the effects in the site's book.
    pub effects: EffectChange,
    /// Where the site's book is, when the step's user can tell.
    pub book: Option<Book>,
    /// What the login user is asked before each start, when the step's user is another one: that one may not be able to see the lock.
    pub witness: Option<Question>,
    /// What takes the supervisor out of the login session, where a logout would end it.
    pub scope: Scope,
}

/// How the supervisor leaves the login session. With `KillUserProcesses=yes`, systemd-logind ends at logout all that is still in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// There is no need to, or no way.
    #[default]
    Session,
    /// A scope of the user's own manager, which lingers.
    User,
    /// A scope of the system's manager, for root.
    System,
}

/// What is asked of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Start the step, or watch it from its first byte if it was started.
    Start,
    /// Watch the step if it was started. The controller has so many bytes of its output.
    Watch { out: u64, err: u64 },
    /// The same; and if it was not started, it never will be: a start that is still on its way, held up by the line or by the host, comes
    /// too late.
    Forbid { out: u64, err: u64 },
}

/// How a durable step stands, in the words of its end mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepEnd {
    /// It exited; 0 to 255.
    Exited(u8),
    TimedOut,
    /// The controller had it ended, because it was silent.
    IdleTimedOut,
    /// The controller had it ended.
    Cancelled,
    /// It was never started, and the spool proves it.
    Absent,
    /// It was started, or may have been, and what became of it cannot be found out.
    Unknown(&'static str),
    /// It was not started, because the host cannot.
    Fault(String),
}

impl StepEnd {
    pub fn parse(words: &str) -> Option<Self> {
        let (first, rest) = words.split_once(' ').unwrap_or((words, ""));
        Some(match (first, rest) {
            ("exit", rest) => {
                let (status, why) = rest.split_once(' ').unwrap_or((rest, ""));
                match why {
                    "" => Self::Exited(exit_status(status.parse().ok()?)),
                    "timeout" => Self::TimedOut,
                    "idle" => Self::IdleTimedOut,
                    "cancel" => Self::Cancelled,
                    _ => return None,
                }
            }
            ("absent", "") => Self::Absent,
            ("lost", "") => Self::Unknown("its folder on the host is gone, or from before a reboot"),
            ("gone", "") => Self::Unknown("its supervisor on the host was killed, or never began"),
            ("rebooted", "") => Self::Unknown("the host was rebooted while it was running"),
            ("fault", reason) => Self::Fault(reason.to_owned()),
            _ => return None,
        })
    }
}

/// Some shells report a signal as 256 + n (ksh93), most as 128 + n.
pub fn exit_status(number: u32) -> u8 {
    let low = u8::try_from(number & 0x7f).unwrap_or_default();
    if number > 255 { low | 0x80 } else { u8::try_from(number).unwrap_or_default() }
}

impl DurableStep {
    pub fn wire(&self, entry: Entry, nonce: &str) -> Wire {
        let Marks { begin, found, end } = Marks::of(nonce);
        let (start, never, out, err) = match entry {
            Entry::Start => ("yes", "", 0, 0),
            Entry::Watch { out, err } => ("", "", out, err),
            Entry::Forbid { out, err } => ("", "yes", out, err),
        };
        let spent: Vec<&str> = self.spent.iter().map(StepKey::as_str).collect();
        let mut stdin = String::from("{\n");
        stdin += &assign([
            ("run", self.run.as_str()),
            ("key", self.key.as_str()),
            ("label", &self.label),
            ("start", start),
            ("seen", if self.witness.is_some() { self.run.as_str() } else { "" }),
            ("never", never),
            ("out", &out.to_string()),
            ("err", &err.to_string()),
            ("limit", &self.limit.map(seconds).unwrap_or_default()),
            ("grace", &GRACE_TENTHS.to_string()),
            ("spent", &spent.join(" ")),
            ("begin", &begin),
            ("found", &found),
            ("most", &MAX_REPORT.to_string()),
            ("end", &end),
        ]);
        stdin += &self.book.as_ref().map(Book::assignments).unwrap_or_default();
        stdin += &self.effects.assignments();
        if entry == Entry::Start {
            let _ = writeln!(stdin, "fleet_command() {{\n{}\n}}", self.step_line(nonce));
        }
        stdin.push_str("fleet_step\n}\n");
        let exec = login_command(self.scope.launcher(), self.command.as_user.as_ref());
        Wire { exec, setup: vec![&SPOOL, &BOOK, &STEP], stdin: stdin.into_bytes(), found, begin, end }
    }

    /// The command's shell, started by the supervisor. It writes down who it is, in a variable that the command does not get. It takes its standard error for itself: dash redirects in the waiting shell, which
    /// says there how a signal ended what it waits for.
    fn step_line(&self, nonce: &str) -> String {
        let Payload { variables, inner, redirections, bodies } =
            self.command.payload(nonce, r#"exec 2>&8 8>&-; FLEET_MARK=; { read -r FLEET_MARK </proc/$$/stat; } 2>/dev/null; echo "$$ $FLEET_MARK" >>"$FLEET_GATE""#);
        let close = |descriptor: &str| {
            if redirections.contains(&format!("{descriptor}<<")) { String::new() } else { format!("{descriptor}<&- ") }
        };
        format!(
            "FLEET_GATE=$_step.run FLEET_FINDINGS=$_step.found FLEET_STEP={step} {variables} $_setsid /bin/sh -c {inner} sh </dev/null >>\"$_step.out\" 8>>\"$_step.err\" \
             3<&- {four}{five}6>&- 7>&- {redirections}\n{bodies}",
            step = quote(&format!("{}/{}", self.run, self.key.as_str())),
            four = close("4"),
            five = close("5"),
        )
        .trim_end_matches('\n')
        .to_owned()
    }
}

impl Scope {
    /// What puts a command into the scope.
    fn launcher(self) -> &'static str {
        match self {
            Self::Session => "",
            Self::User => "systemd-run --user --scope --quiet --collect ",
            Self::System => "systemd-run --scope --quiet --collect ",
        }
    }
}

/// `90`, `0.5`: what every `sleep` knows, and a fraction only where it matters.
fn seconds(limit: Duration) -> String {
    let whole = limit.as_secs() + u64::from(limit.subsec_nanos() > 0);
    if limit < Duration::from_secs(10) && limit.subsec_millis() > 0 {
        format!("{}.{:03}", limit.as_secs(), limit.subsec_millis())
    } else {
        whole.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shell may read it in place of the leash, from anywhere on.
    #[test]
    fn what_is_left_of_an_order_runs_nothing() {
        for order in [LeashOrder::Poll, LeashOrder::Cancel, LeashOrder::EndIdle] {
            let line = order.line().strip_suffix('\n').unwrap();
            assert!(line.bytes().all(|byte| byte == b'#'), "{line}");
        }
    }
}
