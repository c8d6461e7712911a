//! A worker's first and last errand on a host: to lock the site there, and to give it back.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::worker::{ConnectFailure, Message, Worker};
use crate::model::plan::book::EffectChange;
use crate::model::plan::command::RemoteCommand;
use crate::model::plan::host_report::{Holder, HostReport};
use crate::model::plan::spool::{self, Claim, Farewell, LEAST_ROOM, UNNAMED};
use crate::model::run::event::Stream;
use crate::model::run::outcome::HostOutcome;
use crate::model::text::name::RunId;
use crate::model::text::printable::printable;
use crate::ssh::{Exec, ExecEnd, OutputChunk, Remote, Session};

/// How long an errand may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;
/// How often, and with which pause, a lock is asked for again that a younger run has: two that begin at the same moment may each have locked
/// a host, and the younger one gives way when it sees that.
const PATIENCE: (u32, Duration) = (8, Duration::from_millis(250));

/// For how long an errand that was cut off is taken up again, and a host is called that is to get its lock back.
const ONCE_MORE: Duration = Duration::from_secs(2);

/// Why a question has no answer.
pub enum NoAnswer {
    /// It was not sent: nothing happened on the host.
    NotSent(String),
    /// It was sent, and nobody knows what the host made of it.
    Unheard(String),
}

/// What became of a lock that was to be given back.
#[derive(Debug)]
pub enum Released {
    /// It was.
    Free,
    /// It was, and what the run has proven could not be written down.
    Unproven,
    /// The run had it no more: somebody has taken it away, and another run may have worked beside this one.
    Taken(String),
    /// It was not.
    Kept(String),
}

impl NoAnswer {
    fn reason(self) -> String {
        match self {
            Self::NotSent(reason) | Self::Unheard(reason) => reason,
        }
    }
}

impl Worker {
    /// Locks the site. An error is the message that tells why not.
    ///
    /// An interrupt does not cut this short: a lock whose answer nobody waits for is one that nobody gives back.
    pub(super) async fn claim(&mut self, stop: &CancellationToken) -> Result<(), Message> {
        let Some(claim) = self.lock.clone() else { return Ok(()) };
        if stop.is_cancelled() {
            return Err(Message::ConnectFailed(ConnectFailure::Interrupted.to_string()));
        }
        let (mut patience, mut looked_twice) = (PATIENCE.0, false);
        let mut report = loop {
            let answer = match self.insist(&claim.lock()).await {
                Ok(answer) => answer,
                Err(NoAnswer::Unheard(reason)) => return Err(Message::LockUnknown(reason)),
                Err(NoAnswer::NotSent(reason)) if !self.is_connected() => return Err(Message::ConnectFailed(reason)),
                // An account that may run nothing, for one.
                Err(NoAnswer::NotSent(reason)) => {
                    let reason = format!("the site cannot be locked here: {reason}");
                    return Err(Message::Refused(HostOutcome::Failed, reason));
                }
            };
            let report = HostReport::parse(&answer);
            log_answer(&report);
            match &report.holder {
                Some(holder)
                    if holder.run.as_str() > claim.run.as_str()
                        && patience > 0
                        && report.superseded.is_none()
                        && !stop.is_cancelled() =>
                {
                    patience -= 1;
                    info!(holder = holder.run, left = patience, "a younger run has the lock, and is waited for");
                    sleep(PATIENCE.1).await;
                }
                // It may have been given back just then, together with its connection.
                Some(holder) if !holder.evidence.is_alive() && !looked_twice && !stop.is_cancelled() => {
                    looked_twice = true;
                    sleep(PATIENCE.1).await;
                }
                _ => break report,
            }
        };
        self.scope = report.scope;
        if report.ready {
            self.tell(Message::Locked(report.sequence)).await;
            for what in report.limits() {
                self.tell(Message::Warned(what.to_owned())).await;
            }
        } else if let Some(session) = self.session.as_mut() {
            see_all(session.as_mut(), &mut report).await;
        }
        let refused = match refusal(&report, &claim) {
            None => self.prepare(&claim).await,
            refused => refused,
        };
        // A lock that was taken is given back when the host is told to have finished.
        refused.map_or(Ok(()), |(outcome, reason)| Err(Message::Refused(outcome, reason)))
    }

    /// Makes the folders of the other users whose steps the run has.
    async fn prepare(&mut self, claim: &Claim) -> Option<(HostOutcome, String)> {
        for user in &claim.users {
            // Where sudo does not allow it, the step itself will say so.
            let Ok(answer) = self.ask(&claim.prepare(user)).await else { continue };
            if let Some(exposed) = HostReport::parse(&answer).exposed() {
                return Some((HostOutcome::Failed, format!("the spool of {user} is not safe: {exposed}")));
            }
        }
        None
    }

    /// Gives the lock back, and removes what the run has left in the spool, unless it is to be kept until another run comes.
    pub(super) async fn release(&mut self, farewell: &Farewell) -> Released {
        let released = match self.released(farewell).await {
            Ok(released) => released,
            Err(reason) => Released::Kept(format!("its lock could not be given back: {reason}")),
        };
        debug!(keep = farewell.keep, sequence = farewell.sequence, ?released, "lock given back");
        released
    }

    async fn released(&mut self, farewell: &Farewell) -> Result<Released, String> {
        let Some(claim) = self.lock.clone() else { return Ok(Released::Free) };
        if !self.is_connected() {
            if self.session.take().is_some() {
                self.lost("the connection broke after the last step".to_owned(), false).await;
            }
            self.reconnect_within(ONCE_MORE).await?;
        }
        for user in &claim.users {
            let _ = self.ask(&claim.clean(user, farewell.keep)).await;
        }
        let answer = self.insist(&claim.release(farewell)).await.map_err(NoAnswer::reason)?;
        let says = |word: &str| answer.lines().any(|line| line == word);
        let taken = answer.lines().find_map(|line| line.strip_prefix("taken "));
        match taken {
            Some("-") => Ok(Released::Taken("somebody took its lock away while it ran".to_owned())),
            Some(other) => {
                let other = printable(other.as_bytes());
                Ok(Released::Taken(format!("its lock was taken away while it ran, and run {other} has it")))
            }
            None if says("released") && says("unproven") => Ok(Released::Unproven),
            None if says("released") => Ok(Released::Free),
            None => Err("the host did not do it".to_owned()),
        }
    }

    /// Writes into the site's book what a command has begun to leave in force, or has ended.
    pub(super) async fn note(&mut self, change: &EffectChange) -> Result<(), String> {
        let Some(claim) = self.lock.clone() else { return Ok(()) };
        let answer = self.insist(&claim.note(change)).await.map_err(NoAnswer::reason)?;
        if answer.lines().any(|line| line == "noted") {
            Ok(())
        } else {
            Err("the site's book cannot be written".to_owned())
        }
    }

    /// Asks again on a new connection when the old one broke: who has the lock already gets it, and who has given it back has.
    async fn insist(&mut self, command: &RemoteCommand) -> Result<String, NoAnswer> {
        let give_up = Instant::now() + ONCE_MORE;
        let mut sent = false;
        loop {
            let answer = self.ask(command).await;
            sent |= matches!(answer, Err(NoAnswer::Unheard(_)));
            let not_now = |reason| if sent { NoAnswer::Unheard(reason) } else { NoAnswer::NotSent(reason) };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) if self.is_connected() || Instant::now() >= give_up => return Err(not_now(error.reason())),
                Err(error) => {
                    self.lost(error.reason(), false).await;
                    self.reconnect_within(ONCE_MORE).await.map_err(not_now)?;
                }
            }
        }
    }

    async fn ask(&mut self, command: &RemoteCommand) -> Result<String, NoAnswer> {
        match self.session.as_mut() {
            Some(session) => question(session.as_mut(), command).await,
            None => Err(NoAnswer::NotSent("no connection".to_owned())),
        }
    }
}

/// Runs a command and gives what it prints on standard output. An error says why there is no answer. An interrupt does not cut it short.
pub async fn ask(session: &mut dyn Session, command: &RemoteCommand) -> Result<String, String> {
    question(session, command).await.map_err(NoAnswer::reason)
}

async fn question(session: &mut dyn Session, command: &RemoteCommand) -> Result<String, NoAnswer> {
    // Filled by the session, emptied here until it drops its end.
    let (output, mut chunks) = mpsc::channel::<OutputChunk>(16);
    let (command, stop) = (Remote::Plain(command), CancellationToken::new());
    let exec = Exec { command, timeout: Some(TIMEOUT), idle_timeout: None, stop, output };
    let mut answer = Vec::new();
    let read = async {
        while let Some(chunk) = chunks.recv().await {
            let room = LONGEST_ANSWER.saturating_sub(answer.len());
            answer.extend(chunk.bytes.iter().take(room).filter(|_| chunk.stream == Stream::Stdout));
        }
    };
    match tokio::join!(session.exec(exec), read).0 {
        ExecEnd::Exited(_) => Ok(String::from_utf8_lossy(&answer).into_owned()),
        ExecEnd::NotStarted(reason) => Err(NoAnswer::NotSent(reason)),
        ExecEnd::Lost(reason) | ExecEnd::Unknown(reason) => Err(NoAnswer::Unheard(reason)),
        ExecEnd::Stopped => Err(NoAnswer::Unheard("interrupted".to_owned())),
        ExecEnd::TimedOut | ExecEnd::IdleTimedOut | ExecEnd::Absent | ExecEnd::Detached(_) => {
            Err(NoAnswer::Unheard(format!("no answer in {} s", TIMEOUT.as_secs())))
        }
    }
}

/// What the host said when it was asked for the lock.
fn log_answer(report: &HostReport) {
    let HostReport { ready, sequence, free, book, spool, superseded, .. } = report;
    let (holder, evidence) = report.holder.as_ref().map(|h| (h.run.as_str(), h.evidence.describe())).unzip();
    debug!(ready, sequence, free_kib = free, book, spool, superseded, holder, evidence, "lock asked for");
}

/// Why the run cannot begin there, or go on.
fn refusal(report: &HostReport, claim: &Claim) -> Option<(HostOutcome, String)> {
    if let Some(other) = &report.superseded {
        let other = printable(other.as_bytes());
        let reason = format!("run {other} has worked on the site here since: what this run left is not there any more");
        return Some((HostOutcome::Locked, reason));
    }
    if let Some(holder) = &report.holder {
        return Some((HostOutcome::Locked, held(holder, claim)));
    }
    if let Some(exposed) = report.exposed() {
        return Some((HostOutcome::Failed, format!("the spool is not safe: {exposed}")));
    }
    if report.no_book {
        let reason = format!(
            "{login} cannot write to {book}, where the site's lock is kept\n\
             hint: the folder above it must be there, and {login} be one of those who may deploy",
            book = printable(report.book.as_bytes()),
            login = claim.book.login,
        );
        return Some((HostOutcome::Failed, reason));
    }
    if !report.ready {
        let reason = match report.free {
            None => "no folder for the spool: neither the home folder nor /var/tmp can be written to".to_owned(),
            // There is one, and no file can be made in it, or in the book.
            Some(free) => format!(
                "the lock or the spool cannot be written: {free} KiB are free in {}; the lock is in {}",
                printable(report.spool.as_bytes()),
                printable(report.book.as_bytes()),
            ),
        };
        return Some((HostOutcome::Failed, format!("{reason}\nhint: free some room there, or make it writable")));
    }
    let free = report.free.filter(|free| *free < LEAST_ROOM && !claim.resumed)?;
    let reason = format!(
        "only {} MiB are free in {}, where the output of steps is kept while they run; {} MiB are needed",
        free >> 10,
        report.spool,
        LEAST_ROOM >> 10
    );
    Some((HostOutcome::Failed, reason))
}

/// Asks the other users' spools for the steps of the run that has the lock.
pub async fn see_all(session: &mut dyn Session, report: &mut HostReport) {
    let Some(Holder { run, users, evidence, .. }) = &mut report.holder else { return };
    let Ok(run) = RunId::parse(run) else { return };
    for user in users {
        match ask(session, &spool::evidence(&run, user)).await.map(|answer| HostReport::parse(&answer).holder) {
            Ok(Some(holder)) => {
                evidence.connected |= holder.evidence.connected;
                evidence.running.extend(holder.evidence.running);
                evidence.unknown.extend(holder.evidence.unknown);
            }
            Ok(None) | Err(_) => evidence.unseen.push(user.clone()),
        }
    }
}

/// Who has the lock, and what to do about it.
fn held(holder: &Holder, claim: &Claim) -> String {
    let (run, since, evidence) = (&holder.run, &holder.since, holder.evidence.describe());
    let hint = if holder.evidence.connected {
        format!("wait for it; where it was started, `fleet attach {run}` shows it and `fleet cancel {run}` ends it")
    } else if holder.evidence.is_alive() {
        format!("where it was started, `fleet resume {run}` goes on with it and `fleet cancel {run}` ends it")
    } else if let Some(path) = &holder.foreign {
        let path = printable(path.as_bytes());
        return format!(
            "by {path}, which no run of fleet has made\nhint: look at it, and remove it if nobody needs it"
        );
    } else if run == UNNAMED {
        let site = &claim.book.site;
        return format!(
            "by a run without a name: the host stopped while its lock was made\nhint: `fleet {site} unlock`"
        );
    } else if holder.evidence.is_over() {
        let site = &claim.book.site;
        format!(
            "where it was started, `fleet resume {run}` or `fleet undo {run}`; if that controller is lost, `fleet {site} unlock`"
        )
    } else {
        format!(
            "where it was started, `fleet resume {run}` or `fleet undo {run}`; whoever may see all of it can tell more"
        )
    };
    format!("run {run}, begun {since}; {evidence}\nhint: {hint}")
}
