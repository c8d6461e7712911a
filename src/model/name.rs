//! Names that cannot be wrong: parsed once, where they enter.
//!
//! A host's or user's name ends up on a remote command line, in a file name and on a terminal, so the alphabet is small
//! and a leading `-` is refused everywhere.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty.
    #[error("{kind} is empty")]
    Empty {
        /// What was to be named, for example `site name`.
        kind: &'static str,
    },
    /// The name starts with a character that a name may not start with.
    #[error("{kind} `{name}` must start with a letter or a digit")]
    Start {
        /// What was to be named.
        kind: &'static str,
        /// The refused text.
        name: String,
    },
    /// The name holds a character outside its alphabet.
    #[error("{kind} `{name}` holds {found:?}; allowed are letters, digits and {allowed}")]
    Character {
        /// What was to be named.
        kind: &'static str,
        /// The refused text.
        name: String,
        /// The first character that is not allowed.
        found: char,
        /// The punctuation that is.
        allowed: &'static str,
    },
    /// The name is longer than 255 bytes.
    #[error("{kind} is longer than 255 bytes")]
    Length {
        /// What was to be named.
        kind: &'static str,
    },
}

fn check(kind: &'static str, allowed: &'static str, name: &str) -> Result<(), NameError> {
    let Some(first) = name.chars().next() else {
        return Err(NameError::Empty { kind });
    };
    if name.len() > 255 {
        return Err(NameError::Length { kind });
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || allowed.contains(c);
    if let Some(found) = name.chars().find(|&c| !fits(c)) {
        return Err(NameError::Character { kind, name: name.to_owned(), found, allowed });
    }
    // An IPv6 address may start with a colon, a user or variable name with an underscore: never with `-` or `.`.
    if !first.is_ascii_alphanumeric() && !matches!(first, '_' | ':') {
        return Err(NameError::Start { kind, name: name.to_owned() });
    }
    Ok(())
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $kind:literal, $allowed:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses the name, or says what is wrong with it.
            pub fn parse(name: &str) -> Result<Self, NameError> {
                check($kind, $allowed, name).map(|()| Self(name.to_owned()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                check($kind, $allowed, &name).map(|()| Self(name))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    )*};
}

names! {
    /// A site: one deployed application, one file in `hosts/`.
    SiteName = "site name", "._-";
    /// A host of a site, as the inventory calls it.
    HostName = "host name", "._-";
    /// Where a host is reached: a DNS name, an IPv4 or an IPv6 address.
    Address = "address", "._:%-";
    /// A role: a label shared by hosts of a site.
    RoleName = "role", "_-";
    /// A login or sudo user on a host.
    UserName = "user name", "._-";
    /// A task of a recipe.
    TaskName = "task name", "_-";
    /// A phase of a task.
    PhaseName = "phase name", "_-";
    /// A step of a phase.
    StepName = "step name", "._-";
    /// A recipe: a file in `recipes/`, or a built-in one.
    RecipeName = "recipe name", "._-";
    /// A variable. A dot groups what belongs together: `backup.id`.
    VarName = "variable name", "._-";
    /// A run: sortable by time, for example `20261122-084512-7f3a19c4`.
    RunId = "run id", "-";
    /// What a host is called in one run: `web1`, or `mysite:web1` when the run spans several sites.
    HostLabel = "host label", "._:-";
    /// Where a step stands in its plan: `phase/step`, or `phase/task/step` for a step that came with a task.
    StepPath = "step path", "._/-";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_starts_with_a_dash_or_a_dot() {
        assert!(HostName::parse("-oProxyCommand=x").is_err());
        assert!(HostName::parse("..").is_err());
        assert!(HostName::parse("../../x").is_err());
        assert!(UserName::parse("_apt").is_ok());
        assert!(Address::parse("::1").is_ok());
    }

    #[test]
    fn the_error_says_what_is_allowed() {
        let error = SiteName::parse("my site").unwrap_err().to_string();
        assert_eq!(error, "site name `my site` holds ' '; allowed are letters, digits and ._-");
    }
}
