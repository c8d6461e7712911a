//! Asks a host, and understands the answer.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::host_report::{Holder, HostReport};
use super::question::Question;
use super::session::{Exec, ExecEnd, OutputChunk, Remote, Session};
use crate::model::run::event::Stream;
use crate::model::run::reason::Reason;
use crate::model::text::name::RunId;

const TIMEOUT: Duration = Duration::from_secs(60);
const LONGEST_ANSWER: usize = 1 << 20;

pub struct NoAnswer {
    pub reason: Reason,
    /// Nobody knows what the host made of it. Else nothing happened there.
    pub sent: bool,
}

impl Question {
    /// Gives the host's answer. An interrupt does not cut it short.
    pub async fn ask(&self, session: &mut dyn Session) -> Result<String, NoAnswer> {
        let (end, [answer, _]) = collect(session, Remote::Question(self), TIMEOUT, LONGEST_ANSWER).await;
        debug!(question = self.function(), ?end, bytes = answer.len(), "host asked");
        match end {
            ExecEnd::Exited(_) => Ok(String::from_utf8_lossy(&answer).into_owned()),
            ExecEnd::NotStarted(reason) => Err(NoAnswer { reason, sent: false }),
            ExecEnd::Lost(reason) | ExecEnd::Unknown(reason) => Err(NoAnswer { reason, sent: true }),
            // A question is never stopped.
            ExecEnd::TimedOut | ExecEnd::IdleTimedOut | ExecEnd::Stopped | ExecEnd::Absent | ExecEnd::Detached(_) => {
                Err(NoAnswer { reason: format!("no answer in {} s", TIMEOUT.as_secs()).into(), sent: true })
            }
        }
    }
}

impl HostReport {
    /// Asks the other users' spools for the steps of the run that has the lock.
    pub async fn see_all(&mut self, session: &mut dyn Session) {
        let Some(Holder { run, users, evidence, .. }) = &mut self.holder else { return };
        let Ok(run) = RunId::parse(run) else { return };
        for user in users {
            match Question::evidence(&run, user).ask(session).await.map(|answer| HostReport::parse(&answer).holder) {
                Ok(Some(holder)) => {
                    evidence.connected |= holder.evidence.connected;
                    evidence.running.extend(holder.evidence.running);
                    evidence.unknown.extend(holder.evidence.unknown);
                }
                Ok(None) | Err(_) => evidence.unseen.push(user.clone()),
            }
        }
    }
}

/// Runs to the end, and gives what was printed on standard output and on standard error: no more than so many bytes of each.
pub async fn collect(
    session: &mut dyn Session,
    command: Remote<'_>,
    timeout: Duration,
    most: usize,
) -> (ExecEnd, [Vec<u8>; 2]) {
    // Filled by the session, emptied here until it drops its end.
    let (output, mut chunks) = mpsc::channel::<OutputChunk>(16);
    let stop = CancellationToken::new();
    let exec = Exec { command, timeout: Some(timeout), idle_timeout: None, stop, output, findings: None };
    let read = async {
        let mut streams = [Vec::new(), Vec::new()];
        while let Some(OutputChunk { stream, bytes }) = chunks.recv().await {
            let [stdout, stderr] = &mut streams;
            let kept = if stream == Stream::Stdout { stdout } else { stderr };
            kept.extend(bytes.into_iter().take(most.saturating_sub(kept.len())));
        }
        streams
    };
    tokio::join!(session.exec(exec), read)
}
