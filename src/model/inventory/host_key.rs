//! What the pinned keys say about the key that a host offers, and the words for it: ssh/ gives the verdict, keys/ decides by it what is
//! pinned, and whoever shows it finds its text here.

use std::fmt;

use crate::model::recipe::shell::quote;
use crate::model::run::cause::Cause;
use crate::model::text::name::SiteName;

/// What the pinned keys say about an offered key. Lines are counted from 1, and `name` is the host as its line spells it: what
/// `ssh-keygen -R` takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Verdict {
    /// It is pinned for the host. Nothing else lets a connection go on.
    #[error("the key is pinned")]
    Pinned,
    /// No key is pinned for the host.
    #[error("the key is not pinned")]
    Unknown,
    /// Another key of the same type is pinned, by its fingerprint.
    #[error("the key has changed: {pinned} is pinned in {path}:{line}")]
    Changed { path: String, line: usize, pinned: String, name: String },
    /// Only keys of other types are pinned: it may be a stranger who does not have those. The line is that of the first.
    #[error("the host is known by a key of another type: {} in {path}:{line}", types.join(", "))]
    OtherTypeKnown { path: String, line: usize, types: Vec<String>, name: String },
    /// The key is marked `@revoked`.
    #[error("the key is revoked")]
    Revoked { path: String, line: usize },
    /// It is no key, but a certificate, which was not asked for.
    #[error("the host shows a certificate instead of a key")]
    Certificate,
}

impl Verdict {
    fn removal(&self) -> Option<String> {
        match self {
            Self::Changed { path, name, .. } | Self::OtherTypeKnown { path, name, .. } => {
                Some(format!("ssh-keygen -R {} -f {}", quote(name), quote(path)))
            }
            Self::Pinned | Self::Unknown | Self::Revoked { .. } | Self::Certificate => None,
        }
    }

    /// What to do about a key that therefore is not pinned.
    pub fn hint(&self) -> String {
        match self.removal() {
            Some(removal) => format!("it may be an attack; ask the host's owner. To trust anew: {removal}"),
            None => "somebody else may hold it; the host needs a new key".to_owned(),
        }
    }
}

/// A connection that ended because the host's key is not the pinned one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyRefusal {
    /// `web1:22`
    pub host: String,
    /// Type and fingerprint; empty of a certificate.
    pub offered: String,
    pub verdict: Verdict,
}

impl HostKeyRefusal {
    /// A certificate is no key that is known.
    pub fn cause(&self) -> Cause {
        match &self.verdict {
            Verdict::Pinned | Verdict::Unknown | Verdict::Certificate => Cause::HostKeyUnknown,
            Verdict::Changed { .. } | Verdict::OtherTypeKnown { .. } => Cause::HostKeyChanged,
            Verdict::Revoked { .. } => Cause::HostKeyRevoked,
        }
    }

    /// What to do about it on a host of this site.
    pub fn hint(&self, site: &SiteName) -> Option<String> {
        match &self.verdict {
            Verdict::Unknown => {
                Some(format!("compare it with what the host's owner tells you, then `fleet {site} trust`"))
            }
            verdict @ (Verdict::Changed { .. } | Verdict::OtherTypeKnown { .. }) => Some(format!(
                "this may be an attack; verify the new key with the host's owner, then `{}` and `fleet {site} trust`",
                verdict.removal()?
            )),
            Verdict::Revoked { .. } => {
                Some("somebody else may hold it; the host needs a new key before it can be trusted again".to_owned())
            }
            Verdict::Pinned | Verdict::Certificate => None,
        }
    }
}

impl fmt::Display for HostKeyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, offered, verdict } = self;
        match verdict {
            Verdict::Unknown => write!(f, "the key of {host} is not pinned: it offers {offered}"),
            Verdict::Changed { path, line, pinned, .. } => write!(
                f,
                "THE KEY OF {host} HAS CHANGED: it offers {offered}; pinned is {pinned} ({path}, line {line})"
            ),
            Verdict::OtherTypeKnown { path, line, types, .. } => write!(
                f,
                "{host} offers a key of another type than the pinned: it offers {offered}; pinned is {} ({path}, line {line})",
                types.join(", ")
            ),
            Verdict::Revoked { path, line } => {
                write!(f, "the key of {host} is revoked ({path}, line {line}): it offers {offered}")
            }
            Verdict::Pinned | Verdict::Certificate => verdict.fmt(f),
        }
    }
}
