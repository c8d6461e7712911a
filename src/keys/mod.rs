//! Key pairs and trust: generate, store, distribute to hosts, prove by a login; which host keys to pin.
//!
//! Invariants: a key is never written over; a host's `authorized_keys` keeps every foreign byte; a key counts as distributed only
//! after a second login with it; a host key that contradicts what is pinned is never pinned.

pub mod authorized_keys;
pub mod distribute;
pub mod fingerprints;
pub mod offered;
pub mod pin;
pub mod rollout;
pub mod store;
pub mod trust;
