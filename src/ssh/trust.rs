//! What a person reads when a host's key is not the pinned one.

use super::ConnectError;
use super::dial::target;
use super::host_key::HostKey;
use super::known_hosts::Verdict;
use crate::model::recipe::shell::quote;
use crate::model::run::cause::Cause;

/// A host whose key was looked at.
pub(super) struct Offer<'a> {
    /// The site, for the hint.
    pub site: &'a str,
    pub address: &'a str,
    pub port: u16,
    pub key: &'a HostKey,
}

impl Offer<'_> {
    /// Only a pinned key is good.
    pub fn judge(&self, verdict: &Verdict) -> Result<(), ConnectError> {
        let Self { site, address, port, key } = self;
        let host = target(address, *port);
        let offered = format!("{} {}", key.key_type(), key.fingerprint());
        let message = match verdict {
            Verdict::Pinned => return Ok(()),
            Verdict::Unknown => format!(
                "the key of {host} is not pinned: it offers {offered}\n\
                 hint: compare it with what the host's owner tells you, then `fleet {site} trust`"
            ),
            Verdict::Changed { path, line, pinned, name } => format!(
                "THE KEY OF {host} HAS CHANGED: it offers {offered}; pinned is {} ({}, line {line})\n\
                 hint: this may be an attack; verify the new key with the host's owner, then `ssh-keygen -R {} -f {}` and `fleet {site} trust`",
                pinned.fingerprint(),
                path.display(),
                quote(name),
                quote(&path.to_string_lossy()),
            ),
            Verdict::Revoked { path, line } => format!(
                "the key of {host} is revoked ({}, line {line}): it offers {offered}\n\
                 hint: somebody else may hold it; the host needs a new key before it can be trusted again",
                path.display()
            ),
            Verdict::OtherTypeKnown { path, line, types, name } => format!(
                "{host} offers a key of another type than the pinned: it offers {offered}; pinned is {} ({}, line {line})\n\
                 hint: this may be an attack; verify the new key with the host's owner, then `ssh-keygen -R {} -f {}` and `fleet {site} trust`",
                types.join(", "),
                path.display(),
                quote(name),
                quote(&path.to_string_lossy()),
            ),
        };
        let cause = match verdict {
            Verdict::Pinned | Verdict::Unknown => Cause::HostKeyUnknown,
            Verdict::Changed { .. } | Verdict::OtherTypeKnown { .. } => Cause::HostKeyChanged,
            Verdict::Revoked { .. } => Cause::HostKeyRevoked,
        };
        Err(ConnectError::HostKey { message, cause })
    }
}
