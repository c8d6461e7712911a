//! A worker's first and last errand on a host: to lock the site there, and to give it back.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::worker::{Message, Worker};
use crate::model::command::RemoteCommand;
use crate::model::event::Stream;
use crate::model::name::RunId;
use crate::model::outcome::HostOutcome;
use crate::model::spool::{self, Claim, Holder, HostReport, LEAST_ROOM, UNNAMED};
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

impl Worker {
    /// Locks the site. An error is the message that tells why not.
    pub(super) async fn claim(&mut self, stop: &CancellationToken) -> Result<(), Message> {
        let Some(claim) = self.lock.clone() else { return Ok(()) };
        let mut patience = PATIENCE.0;
        let mut report = loop {
            let answer = match self.insist(&claim.lock(), stop).await {
                Ok(answer) => answer,
                Err(reason) if !self.is_connected() => return Err(Message::ConnectFailed(reason)),
                // An account that may run nothing, for one.
                Err(reason) => {
                    let reason = format!("the site cannot be locked here: {reason}");
                    return Err(Message::Refused(HostOutcome::Failed, reason));
                }
            };
            let report = HostReport::parse(&answer);
            match &report.holder {
                Some(holder)
                    if holder.run.as_str() > claim.run.as_str() && patience > 0 && report.superseded.is_none() =>
                {
                    patience -= 1;
                    sleep(PATIENCE.1).await;
                }
                _ => break report,
            }
        };
        self.scope = report.scope;
        if let Some(session) = self.session.as_mut() {
            see_all(session.as_mut(), &mut report, stop).await;
        }
        if let Some(other) = &report.superseded {
            let reason =
                format!("run {other} has worked on the site here since: what this run left is not there any more");
            return Err(Message::Refused(HostOutcome::Locked, reason));
        }
        if let Some(holder) = &report.holder {
            return Err(Message::Refused(HostOutcome::Locked, held(holder, &claim)));
        }
        if !report.ready {
            let reason = "no folder for the spool: neither the home folder nor /var/tmp can be written to\n\
                          hint: free some room there, or make it writable";
            return Err(Message::Refused(HostOutcome::Failed, reason.to_owned()));
        }
        self.tell(Message::Locked).await;
        for what in report.limits() {
            self.tell(Message::Warned(what.to_owned())).await;
        }
        if let Some(free) = report.free.filter(|free| *free < LEAST_ROOM && !claim.resumed) {
            let reason = format!(
                "only {} MiB are free in {}, where the output of steps is kept while they run; {} MiB are needed",
                free >> 10,
                report.spool,
                LEAST_ROOM >> 10
            );
            let _ = self.release("", false).await;
            return Err(Message::Refused(HostOutcome::Failed, reason));
        }
        for user in &claim.users {
            // Where sudo does not allow it, the step itself will say so.
            let _ = self.ask(&claim.prepare(user), stop).await;
        }
        Ok(())
    }

    /// Gives the lock back, and removes what the run has left in the spool, unless it is to be kept until another run comes.
    pub(super) async fn release(&mut self, line: &str, keep: bool) -> Result<(), String> {
        let Some(claim) = self.lock.clone() else { return Ok(()) };
        let never = CancellationToken::new();
        if !self.is_connected() {
            if self.session.take().is_some() {
                self.lost("the connection broke after the last step".to_owned(), false).await;
            }
            self.reconnect_within(ONCE_MORE).await?;
        }
        for user in &claim.users {
            let _ = self.ask(&claim.clean(user, keep), &never).await;
        }
        let answer = self.insist(&claim.release(line, keep), &never).await?;
        if answer.lines().any(|line| line == "released") { Ok(()) } else { Err("the host did not do it".to_owned()) }
    }

    /// Asks again on a new connection when the old one broke: who has the lock already gets it, and who has given it back has.
    async fn insist(&mut self, command: &RemoteCommand, stop: &CancellationToken) -> Result<String, String> {
        let give_up = Instant::now() + ONCE_MORE;
        loop {
            match self.ask(command, stop).await {
                Err(reason) if !self.is_connected() && !stop.is_cancelled() && Instant::now() < give_up => {
                    self.lost(reason, false).await;
                    tokio::select! {
                        connected = self.reconnect_within(ONCE_MORE) => connected?,
                        () = stop.cancelled() => return Err("interrupted".to_owned()),
                    }
                }
                answer => return answer,
            }
        }
    }

    async fn ask(&mut self, command: &RemoteCommand, stop: &CancellationToken) -> Result<String, String> {
        match self.session.as_mut() {
            Some(session) => ask(session.as_mut(), command, stop).await,
            None => Err("no connection".to_owned()),
        }
    }
}

/// Runs a command and gives what it prints on standard output. An error says why there is no answer.
pub async fn ask(
    session: &mut dyn Session,
    command: &RemoteCommand,
    stop: &CancellationToken,
) -> Result<String, String> {
    // Filled by the session, emptied here until it drops its end.
    let (output, mut chunks) = mpsc::channel::<OutputChunk>(16);
    let command = Remote::Plain(command);
    let exec = Exec { command, timeout: Some(TIMEOUT), idle_timeout: None, stop: stop.clone(), output };
    let mut answer = Vec::new();
    let read = async {
        while let Some(chunk) = chunks.recv().await {
            let room = LONGEST_ANSWER.saturating_sub(answer.len());
            answer.extend(chunk.bytes.iter().take(room).filter(|_| chunk.stream == Stream::Stdout));
        }
    };
    match tokio::join!(session.exec(exec), read).0 {
        ExecEnd::Exited(_) => Ok(String::from_utf8_lossy(&answer).into_owned()),
        ExecEnd::NotStarted(reason) | ExecEnd::Lost(reason) | ExecEnd::Unknown(reason) => Err(reason),
        ExecEnd::Stopped => Err("interrupted".to_owned()),
        ExecEnd::TimedOut | ExecEnd::IdleTimedOut | ExecEnd::Absent | ExecEnd::Detached(_) => {
            Err(format!("no answer in {} s", TIMEOUT.as_secs()))
        }
    }
}

/// Asks the other users' spools for the steps of the run that has the lock.
pub async fn see_all(session: &mut dyn Session, report: &mut HostReport, stop: &CancellationToken) {
    let Some(Holder { run, users, evidence, .. }) = &mut report.holder else { return };
    let Ok(run) = RunId::parse(run) else { return };
    for user in users {
        match ask(session, &spool::evidence(&run, user), stop).await.map(|answer| HostReport::parse(&answer).holder) {
            Ok(Some(holder)) => {
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
    } else if run == UNNAMED {
        return format!(
            "by a run without a name: the host stopped while its lock was made\nhint: `fleet {} unlock`",
            claim.site
        );
    } else {
        format!(
            "where it was started, `fleet resume {run}` or `fleet undo {run}`; if that controller is lost, `fleet {} unlock`",
            claim.site
        )
    };
    format!("run {run}, begun {since}; {evidence}\nhint: {hint}")
}
