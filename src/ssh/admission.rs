//! How many connections may be on their way to a login at the same time.
//!
//! By default sshd turns connections away at random when ten have not logged in yet (`MaxStartups 10:30:100`, `sshd_config(5)`): a
//! server with many sites would refuse a part of them.
//!
//! Rejected: to count at the TCP connection for all targets together. Hosts that do not answer would keep the others waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// To one address and port: two below the server's limit, for others who log in.
const TO_ONE: usize = 8;
/// To all, once TCP is connected: each costs a key exchange's CPU time here.
const TO_ALL: usize = 256;

/// Counts the connections that have not logged in yet.
#[derive(Debug)]
pub struct Admission {
    all: Arc<Semaphore>,
    one: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// Leave to log in; over when dropped.
pub(super) type Leave = OwnedSemaphorePermit;

impl Default for Admission {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(TO_ALL)), one: Mutex::default() }
    }
}

impl Admission {
    /// Waits until a connection to that address and port may be made.
    pub(super) async fn to(&self, target: String) -> Option<Leave> {
        let semaphore = {
            let mut one = self.one.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(one.entry(target).or_insert_with(|| Arc::new(Semaphore::new(TO_ONE))))
        };
        // Nobody closes it.
        semaphore.acquire_owned().await.ok()
    }

    /// Waits until a further handshake may begin.
    pub(super) async fn handshake(&self) -> Option<Leave> {
        Arc::clone(&self.all).acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_server_gets_no_more_logins_at_once_than_it_takes() {
        let admission = Admission::default();
        let mut leaves = Vec::new();
        for _ in 0..TO_ONE {
            leaves.push(admission.to("web1:22".to_owned()).now_or_never().unwrap());
        }
        let next = admission.to("web1:22".to_owned());
        tokio::pin!(next);
        assert!(next.as_mut().now_or_never().is_none());
        assert!(admission.to("web1:2222".to_owned()).now_or_never().is_some(), "another server");
        leaves.pop();
        assert!(next.now_or_never().is_some());
    }
}
