//! Asking a host for its key, to pin it. Nothing is trusted and no login is tried.

use std::sync::{Arc, Mutex};

use super::admission::Admission;
use super::connect_error::ConnectError;
use super::dial::Dial;
use super::host_key::HostKey;
use super::link;
use super::timeouts::Timeouts;
use crate::model::inventory::host_key::Verdict;
use crate::model::inventory::ssh::Endpoint;
use crate::model::run::cause::Cause;

/// Asks a host for its key. The key exchange proves that it holds the private half. `prefer`: types that are pinned already, so that a
/// host with several keys shows one that can be compared.
///
/// The connection ends inside the key exchange: no user name and no login request is sent.
pub async fn scan_host_key(
    host: &Endpoint,
    timeouts: &Timeouts,
    prefer: &[String],
    admission: &Admission,
) -> Result<HostKey, ConnectError> {
    let dial = Dial { host, timeouts, admission };
    let seen = Arc::new(Mutex::new(None));
    let offered = Arc::clone(&seen);
    let judge = Box::new(move |key: &HostKey| {
        if let Ok(mut offered) = offered.lock() {
            *offered = Some(key.clone());
        }
        // Having seen the key is all: a refusal is the quickest way out.
        Verdict::Unknown
    });
    let end = link::connect(&dial, prefer, judge).await;
    match (seen.lock().ok().and_then(|mut key| key.take()), end) {
        (Some(key), _) => Ok(key),
        (None, Err(error)) => Err(error),
        (None, Ok(_)) => Err(ConnectError::Handshake {
            address: dial.target(),
            reason: "the host showed no key".to_owned(),
            cause: Cause::Handshake,
        }),
    }
}
