//! Pauses between attempts to connect, and the attempts that a first connection gets.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::info;

use super::connect_error::ConnectError;

/// Before the first further attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Attempts to connect that came to nothing, and the pauses after them.
#[derive(Debug, Default)]
pub struct Backoff {
    pub attempts: u32,
}

impl Backoff {
    pub const MAX_PAUSE: Duration = Duration::from_secs(30);

    /// Before the next attempt. It doubles, and is drawn anew each time, so that a thousand hosts do not come at once.
    pub fn pause(&self) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.attempts.min(16)).min(Self::MAX_PAUSE);
        pause.mul_f64(rand::random_range(0.5..1.0))
    }

    /// Retries, for as long as `limit`, what a busy or restarting server turns away at once. Nothing of a login has been sent by then.
    ///
    /// Rejected: to retry a time-out as well. The server had its time.
    pub async fn retry<T, F>(limit: Duration, mut attempt: impl FnMut() -> F) -> Result<T, ConnectError>
    where
        F: Future<Output = Result<T, ConnectError>>,
    {
        // Since the first failure: before it, the attempt may have waited for its turn.
        let mut failing = None;
        let mut backoff = Self::default();
        loop {
            let error = match attempt().await {
                Err(error) if error.is_transient() => error,
                end => return end,
            };
            let pause = backoff.pause();
            if failing.get_or_insert_with(Instant::now).elapsed() + pause >= limit {
                return Err(error);
            }
            info!(%error, ?pause, ?limit, "connecting again after a pause");
            sleep(pause).await;
            backoff.attempts += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::inventory::host_key::{HostKeyRefusal, Verdict};
    use crate::model::run::cause::Cause;

    fn refusal() -> ConnectError {
        let (host, offered, verdict) = (String::new(), String::new(), Verdict::Unknown);
        ConnectError::HostKey(Box::new(HostKeyRefusal { host, offered, verdict }))
    }

    fn refused() -> ConnectError {
        ConnectError::Tcp {
            address: "web1:22".into(),
            reason: "connection refused".into(),
            cause: Cause::ConnectionRefused,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_connection_is_retried_with_growing_pauses_until_the_limit() {
        let begun = Instant::now();
        let mut attempts = 0;
        let end: Result<(), _> = Backoff::retry(Duration::from_secs(10), || {
            attempts += 1;
            async { Err(refused()) }
        })
        .await;
        assert_eq!(end, Err(refused()));
        assert!(attempts > 3, "{attempts}");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_attempt_cannot_change_is_not_retried() {
        let (address, reason) = ("web1:22".into(), "no answer".into());
        for error in [refusal(), ConnectError::Tcp { address, reason, cause: Cause::ConnectTimedOut }] {
            let mut attempts = 0;
            let end: Result<(), _> = Backoff::retry(Duration::from_secs(10), || {
                attempts += 1;
                let error = error.clone();
                async { Err(error) }
            })
            .await;
            assert_eq!((end, attempts), (Err(error), 1));
        }
        let mut attempts = 0;
        let end = Backoff::retry(Duration::from_secs(10), || {
            attempts += 1;
            let end = if attempts < 3 { Err(refused()) } else { Ok(attempts) };
            async { end }
        })
        .await;
        assert_eq!(end, Ok(3));
    }
}
