//! How many connections may be on their way to a login at the same time.
//!
//! By default sshd turns connections away at random when ten have not logged in yet (`MaxStartups 10:30:100`, `sshd_config(5)`): a
//! server with many sites would refuse a part of them.
//!
//! Rejected: to count before the TCP connection for all servers together. Hosts that do not answer would keep the others waiting.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// To one address and port, whatever its hosts are called: two below the server's limit, for others who log in.
const MAX_TO_SERVER: usize = 8;
/// In all, once TCP is connected: each costs a key exchange's CPU time here.
const MAX_IN_ALL: usize = 256;

/// Counts the connections that have not logged in yet.
#[derive(Debug)]
pub struct Admission {
    all: Arc<Semaphore>,
    servers: Mutex<HashMap<SocketAddr, Arc<Semaphore>>>,
}

/// Permits one connection to log in. Dropped when it has, or when it never will.
pub(super) type LoginPermit = OwnedSemaphorePermit;

impl Default for Admission {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(MAX_IN_ALL)), servers: Mutex::default() }
    }
}

impl Admission {
    /// Waits until a connection to that server may be made. None: the server has timed out meanwhile.
    pub(super) async fn to(&self, server: SocketAddr) -> Option<LoginPermit> {
        let semaphore = {
            let mut servers = self.servers();
            Arc::clone(servers.entry(server).or_insert_with(|| Arc::new(Semaphore::new(MAX_TO_SERVER))))
        };
        semaphore.acquire_owned().await.ok()
    }

    /// The server does not answer: whoever waits for it now need not wait for the same.
    pub(super) fn timed_out(&self, server: SocketAddr) {
        if let Some(semaphore) = self.servers().remove(&server) {
            semaphore.close();
        }
    }

    /// Waits until a further handshake may begin.
    pub(super) async fn handshake(&self) -> Option<LoginPermit> {
        Arc::clone(&self.all).acquire_owned().await.ok()
    }

    fn servers(&self) -> MutexGuard<'_, HashMap<SocketAddr, Arc<Semaphore>>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn server(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[tokio::test]
    async fn a_server_gets_no_more_logins_at_once_than_it_takes() {
        let admission = Admission::default();
        let mut permits = Vec::new();
        for _ in 0..MAX_TO_SERVER {
            permits.push(admission.to(server(22)).now_or_never().unwrap());
        }
        let next = admission.to(server(22));
        tokio::pin!(next);
        assert!(next.as_mut().now_or_never().is_none());
        assert!(admission.to(server(2222)).now_or_never().is_some(), "another server");
        permits.pop();
        assert!(next.now_or_never().unwrap().is_some());
    }

    #[tokio::test]
    async fn who_waits_for_a_server_that_timed_out_waits_no_longer() {
        let admission = Admission::default();
        let permits: Vec<_> = (0..MAX_TO_SERVER).map(|_| admission.to(server(22)).now_or_never().unwrap()).collect();
        let next = admission.to(server(22));
        tokio::pin!(next);
        assert!(next.as_mut().now_or_never().is_none());
        admission.timed_out(server(22));
        assert!(next.now_or_never().unwrap().is_none());
        // A later attempt is a new one.
        assert!(admission.to(server(22)).now_or_never().unwrap().is_some());
        drop(permits);
    }
}
