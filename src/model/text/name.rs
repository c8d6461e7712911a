//! Names that cannot be wrong: parsed once, where they enter.
//!
//! A host's or user's name ends up on a remote command line, in a file name and on a terminal, so the alphabet is small
//! and a leading `-` is refused everywhere.

use std::borrow::Borrow;
use std::fmt;
use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("{kind} is empty")]
    Empty {
        /// What was to be named, for example `site name`.
        kind: &'static str,
    },
    #[error("{kind} `{name}` must start with a letter or a digit")]
    Start { kind: &'static str, name: String },
    #[error("{kind} `{name}` holds {found:?}; allowed are letters, digits and {allowed}")]
    Character {
        kind: &'static str,
        name: String,
        /// The first character that is not allowed.
        found: char,
        /// The punctuation that is.
        allowed: &'static str,
    },
    #[error("{kind} is longer than 255 bytes")]
    Length { kind: &'static str },
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

/// The one spelling of an address: `0:0:0:0:0:0:0:1` is `::1`, and `::ffff:192.0.2.1`, which reaches the same host, is `192.0.2.1`.
/// Anything else stays as it is. The spelling is that of the resolver, by which OpenSSH looks up what `ssh 0:0:0:0:0:0:0:1` connects to.
pub fn canonical_address(text: &str) -> String {
    let (address, zone) = text.split_at(text.find('%').unwrap_or(text.len()));
    match (address.parse::<Ipv6Addr>(), zone) {
        (Ok(address), "") => address.to_canonical().to_string(),
        (Ok(address), zone) => format!("{address}{zone}"),
        (Err(_), _) => text.to_owned(),
    }
}

macro_rules! names {
    (@spelled $name:expr) => { $name.to_owned() };
    (@spelled $name:expr, $spelling:ident) => { $spelling($name) };
    ($($(#[$doc:meta])* $name:ident = $kind:literal, $allowed:literal $(, $spelling:ident)?;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            pub fn parse(name: &str) -> Result<Self, NameError> {
                check($kind, $allowed, name).map(|()| Self(names!(@spelled name $(, $spelling)?)))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::parse(&name)
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
    /// Where a host is reached: a DNS name, an IPv4 or an IPv6 address. Equal where the address is, however it was spelled.
    Address = "address", "._:%-", canonical_address;
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
    /// What a step calls a finding, and a site's file accepts: `pr_person.initials`.
    FindingName = "name of a finding", "._:/-";
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
    fn an_address_has_one_spelling() {
        for (typed, address) in [
            ("::1", "::1"),
            ("0:0:0:0:0:0:0:1", "::1"),
            ("2001:DB8::0:00A", "2001:db8::a"),
            ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::FFFF:C000:0201", "192.0.2.1"),
            ("FE80:0::1%eth0", "fe80::1%eth0"),
            ("192.0.2.1", "192.0.2.1"),
            ("Web1.Example.org", "Web1.Example.org"),
            ("1:2", "1:2"),
            ("0:0::192.0.2.300", "0:0::192.0.2.300"),
        ] {
            assert_eq!(Address::parse(typed).unwrap().as_str(), address, "{typed}");
            assert_eq!(Address::try_from(typed.to_owned()).unwrap().as_str(), address, "{typed}");
        }
    }

    #[test]
    fn the_error_says_what_is_allowed() {
        let error = SiteName::parse("my site").unwrap_err().to_string();
        assert_eq!(error, "site name `my site` holds ' '; allowed are letters, digits and ._-");
    }
}
