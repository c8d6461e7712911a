//! A worker's first and last errand on a host: to lock the site there, and to give it back.

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::contact::{Contact, Stops};
use super::message::{Message, Released};
use crate::model::plan::book::EffectChange;
use crate::model::run::cause::Cause;
use crate::model::run::event::Fact;
use crate::model::run::outcome::HostOutcome;
use crate::model::run::reason::Reason;
use crate::model::run::scheduler::Input;
use crate::model::text::hint::Hint;
use crate::model::text::printable::printable;
use crate::remote::{Claim, Farewell, Holder, HostReport, LEAST_ROOM, NoAnswer, Question, UNNAMED};

/// How often, and with which pause, a lock is asked for again that a younger run has: two that begin at the same moment may each have locked
/// a host, and the younger one gives way when it sees that.
const PATIENCE: (u32, Duration) = (8, Duration::from_millis(250));

/// For how long an errand that was cut off is taken up again, and a host is called that is to get its lock back.
const ONCE_MORE: Duration = Duration::from_secs(2);

impl Contact {
    /// Locks the site. An error is what came of it instead.
    ///
    /// An interrupt does not cut this short: a lock whose answer nobody waits for is one that nobody gives back.
    pub(super) async fn claim(&mut self, claim: &Claim, stop: &CancellationToken) -> Result<(), Input> {
        let index = self.index;
        if stop.is_cancelled() {
            return Err(Input::ConnectFailed(index, Reason::new(Cause::Interrupted, "interrupted")));
        }
        let (mut patience, mut looked_twice) = (PATIENCE.0, false);
        let mut report = loop {
            let answer = match self.insist(&claim.lock(), ONCE_MORE, pending()).await {
                Ok(answer) => answer,
                Err(NoAnswer { reason, sent: true }) => return Err(Input::LockUnknown(index, reason)),
                Err(NoAnswer { reason, .. }) if !self.is_connected() => {
                    return Err(Input::ConnectFailed(index, reason));
                }
                // An account that may run nothing, for one.
                Err(NoAnswer { reason, .. }) => {
                    let reason = reason.or(Cause::LockFailed).after("the site cannot be locked here: ");
                    return Err(Input::Refused(index, HostOutcome::Failed, reason));
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
                    debug!(holder = holder.run, "no sign of life of the run that has the lock: looked at once more");
                    sleep(PATIENCE.1).await;
                }
                _ => break report,
            }
        };
        self.scope = report.scope;
        if report.ready {
            self.tell(Message::Locked(report.sequence, report.proof.take().map(Box::new))).await;
            for what in report.limits() {
                self.happened(|host| Fact::LessPromised { host, what: what.to_owned() }).await;
            }
        } else if let Some(session) = self.session.as_mut() {
            report.see_all(session.as_mut()).await;
        }
        let refused = match refusal(&report, claim) {
            None => self.prepare(claim).await,
            refused => refused,
        };
        // A lock that was taken is given back when the host is told to have finished.
        refused.map_or(Ok(()), |(outcome, reason)| Err(Input::Refused(index, outcome, reason)))
    }

    /// Makes the folders of the other users whose steps the run has.
    async fn prepare(&mut self, claim: &Claim) -> Option<(HostOutcome, Reason)> {
        for user in &claim.users {
            // Where sudo does not allow it, the step itself will say so.
            let Ok(answer) = self.ask(&claim.prepare(user)).await else { continue };
            if let Some(exposed) = HostReport::parse(&answer).exposed() {
                return Some(failed(Cause::SpoolNotSafe, format!("the spool of {user} is not safe: {exposed}")));
            }
        }
        None
    }

    /// Gives the lock back, and removes what the run has left in the spool, unless it is to be kept until another run comes.
    pub(super) async fn release(&mut self, claim: &Claim, farewell: &Farewell) -> Released {
        let released = match self.released(claim, farewell).await {
            Ok(released) => released,
            Err(reason) => Released::Kept(reason.or(Cause::LockKept).after("its lock could not be given back: ")),
        };
        debug!(keep = farewell.keep, sequence = farewell.sequence, ?released, "lock given back");
        released
    }

    async fn released(&mut self, claim: &Claim, farewell: &Farewell) -> Result<Released, Reason> {
        if !self.is_connected() {
            if self.session.take().is_some() {
                self.lost("the connection broke after the last step".into(), false).await;
            }
            self.reconnect_within(ONCE_MORE).await?;
        }
        for user in &claim.users {
            let _ = self.ask(&claim.clean(user, farewell.keep)).await;
        }
        let answer = self.insist(&claim.release(farewell), ONCE_MORE, pending()).await.map_err(|no| no.reason)?;
        let says = |word: &str| answer.lines().any(|line| line == word);
        let taken = answer.lines().find_map(|line| line.strip_prefix("taken ")).map(|by| match by {
            "-" => "somebody took its lock away while it ran".to_owned(),
            run => format!("its lock was taken away while it ran, and run {} has it", printable(run.as_bytes())),
        });
        match taken {
            Some(reason) => Ok(Released::Taken(Reason::new(Cause::LockTaken, reason))),
            None if says("released") && says("unproven") => Ok(Released::Unproven),
            None if says("released") => Ok(Released::Free),
            None => Err("the host did not do it".into()),
        }
    }

    /// Writes into the site's book what a command has begun to leave in force, or has ended.
    ///
    /// Like a step, it waits for a connection that broke; what has begun nothing yet waits no longer than the rollout goes forward.
    pub(super) async fn note(&mut self, claim: &Claim, change: &EffectChange, stops: &Stops) -> Result<(), Reason> {
        let until = async {
            tokio::select! {
                () = stops.stop.cancelled() => {}
                () = stops.no_start.cancelled(), if !change.begin.is_empty() => {}
            }
            stops.why_not_started().into()
        };
        let limit = self.host.endpoint.reconnect_timeout;
        let answer = self.insist(&claim.note(change), limit, until).await.map_err(|no| no.reason)?;
        match answer.lines().find(|line| matches!(*line, "noted" | "taken")) {
            Some("noted") => Ok(()),
            Some(_) => Err(taken()),
            None => Err(Reason::new(Cause::NoBook, "the site's book cannot be written")),
        }
    }

    /// Asks what a step needs before it begins: it waits for a connection that broke as long as the rollout goes forward.
    pub(super) async fn insist_on(&mut self, question: &Question, stops: &Stops) -> Result<String, Reason> {
        let until = async {
            tokio::select! {
                () = stops.stop.cancelled() => {}
                () = stops.no_start.cancelled() => {}
            }
            stops.why_not_started().into()
        };
        let limit = self.host.endpoint.reconnect_timeout;
        self.insist(question, limit, until).await.map_err(|no| no.reason)
    }

    /// Asks again on a new connection when the old one broke, for so long, or until there is a reason not to: who has the lock already gets it,
    /// who has given it back has, and what is in the book already is written once.
    async fn insist(
        &mut self,
        question: &Question,
        limit: Duration,
        until: impl Future<Output = Reason>,
    ) -> Result<String, NoAnswer> {
        let give_up = Instant::now() + limit;
        let mut sent = false;
        let mut until = pin!(until);
        loop {
            let reason = match self.ask(question).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    sent |= error.sent;
                    error.reason
                }
            };
            if self.is_connected() || Instant::now() >= give_up {
                return Err(NoAnswer { reason, sent });
            }
            self.lost(reason, false).await;
            let connected = tokio::select! {
                biased;
                reason = until.as_mut() => Err(reason),
                connected = self.reconnect_within(limit) => connected,
            };
            connected.map_err(|reason| NoAnswer { reason, sent })?;
        }
    }

    pub(super) async fn ask(&mut self, question: &Question) -> Result<String, NoAnswer> {
        match self.session.as_mut() {
            Some(session) => question.ask(session.as_mut()).await,
            None => Err(NoAnswer { reason: "no connection".into(), sent: false }),
        }
    }
}

/// Why nothing more begins on a host where the run has lost its lock.
pub(super) fn taken() -> Reason {
    Reason::new(Cause::LockTaken, "the run has no lock there any more: somebody has taken it away")
}

/// What the host said when it was asked for the lock.
fn log_answer(report: &HostReport) {
    let HostReport { ready, sequence, free, book, spool, superseded, .. } = report;
    let (holder, evidence) = report.holder.as_ref().map(|h| (h.run.as_str(), h.evidence.describe())).unzip();
    debug!(ready, sequence, free_kib = free, book, spool, superseded, holder, evidence, "lock asked for");
}

/// Why the run cannot begin there, or go on.
fn refusal(report: &HostReport, claim: &Claim) -> Option<(HostOutcome, Reason)> {
    if let Some(other) = &report.superseded {
        let other = printable(other.as_bytes());
        let reason = format!("run {other} has worked on the site here since: what this run left is not there any more");
        return Some((HostOutcome::Locked, Reason::new(Cause::Superseded, reason)));
    }
    if let Some(holder) = &report.holder {
        return Some((HostOutcome::Locked, held(holder, claim)));
    }
    if let Some(exposed) = report.exposed() {
        return Some(failed(Cause::SpoolNotSafe, format!("the spool is not safe: {exposed}")));
    }
    if report.no_book {
        let login = &claim.book.login;
        let reason = format!(
            "{login} cannot write to {book}, where the site's lock is kept",
            book = printable(report.book.as_bytes())
        );
        let hint = format!("the folder above it must be there, and {login} be one of those who may deploy");
        return Some((HostOutcome::Failed, Reason::new(Cause::NoBook, reason).hint(Hint::advice(hint))));
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
        let hint = Hint::advice("free some room there, or make it writable");
        return Some((HostOutcome::Failed, Reason::new(Cause::NoSpool, reason).hint(hint)));
    }
    let free = report.free.filter(|free| *free < LEAST_ROOM && !claim.resumed)?;
    let reason = format!(
        "only {} MiB are free in {}, where the output of steps is kept while they run; {} MiB are needed",
        free >> 10,
        report.spool,
        LEAST_ROOM >> 10
    );
    Some(failed(Cause::NoRoom, reason))
}

fn failed(cause: Cause, text: String) -> (HostOutcome, Reason) {
    (HostOutcome::Failed, Reason::new(cause, text))
}

/// Who has the lock, and what to do about it.
fn held(holder: &Holder, claim: &Claim) -> Reason {
    let (run, site, evidence) = (&holder.run, &claim.book.site, &holder.evidence);
    let mut who = format!("run {run}, begun {}; {}", holder.since, evidence.describe());
    let hint = if evidence.connected {
        format!("wait for it; where it was started, `fleet attach {run}` shows it and `fleet cancel {run}` ends it")
    } else if evidence.is_alive() {
        format!("where it was started, `fleet resume {run}` goes on with it and `fleet cancel {run}` ends it")
    } else if let Some(path) = &holder.foreign {
        who = format!("by {}, which no run of fleet has made", printable(path.as_bytes()));
        "look at it, and remove it if nobody needs it".to_owned()
    } else if run == UNNAMED {
        "by a run without a name: the host stopped while its lock was made".clone_into(&mut who);
        format!("`fleet {site} unlock`")
    } else if evidence.is_over() {
        format!(
            "where it was started, `fleet resume {run}` or `fleet undo {run}`; if that controller is lost, `fleet {site} unlock`"
        )
    } else {
        format!(
            "where it was started, `fleet resume {run}` or `fleet undo {run}`; whoever may see all of it can tell more"
        )
    };
    Reason::new(Cause::LockHeld, who).hint(Hint::advice(hint))
}
