//! How a host is reached: each setting of `[ssh]` and `[[host]]` is declared once, and reading, layering, showing, what the command line
//! sets and the [`Endpoint`] of a plan follow from it.
//!
//! A new setting is an entry of the table below. With a flag, it also is a field of the command line's flags (`cli/args.rs`), and a word in
//! the list of those that a verb takes (`cli/flags.rs`).
//!
//! Rejected: a map from names to values of an enum, which every user of a value would have to look into.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::config::document::{Item, Table};
use crate::model::config::setting::{Origin, Setting, Spanned};
use crate::model::text::name::{Address, UserName};

pub const SSH_PORT: u16 = 22;

/// A value for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// A text, or a number.
    Text(String),
    Time(Duration),
}

/// `"key" field: type => type in an endpoint, default VALUE, reader => how it is shown;`, with `else VALUE` where to say nothing is no
/// setting of its own. What no flag sets is left out of a request, which has null for the others.
macro_rules! settings {
    (|$login:ident| $(
        $(#[$doc:meta])* $key:literal $field:ident: $(#[$unset:meta])? $type:ty => $final:ty, $kind:ident $lowest:expr, $read:expr => $show:expr;
    )*) => {
        /// A layer of settings, or several of them, one over the other.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct SshSettings {
            $($(#[$doc])* pub $field: Option<Setting<$type>>,)*
        }

        impl SshSettings {
            /// Reads the keys out of `[ssh]` or `[[host]]`.
            pub fn read(table: &Table<'_>) -> Self {
                if let Some(jump) = table.item("jump") {
                    jump.report("jump hosts are not supported yet");
                }
                Self { $($field: table.read($key, $read),)* }
            }

            /// What holds where no file says otherwise.
            pub fn defaults() -> Self {
                Self { $($field: lowest!($kind $lowest),)* }
            }

            /// These settings, and where there are none those of `below`.
            #[must_use]
            pub fn over(self, below: &Self) -> Self {
                Self { $($field: self.$field.or_else(|| below.$field.clone()),)* }
            }

            /// Those that are set: key, value, and where it came from.
            pub fn shown(&self) -> impl Iterator<Item = (&'static str, Shown, &Origin)> {
                [$(self.$field.as_ref().map(|set| ($key, $show(set.value.clone()), &set.origin)),)*].into_iter().flatten()
            }

            /// Without their origins.
            pub fn values(&self) -> SshValues {
                SshValues { $($field: self.$field.as_ref().map(|set| set.value.clone()),)* }
            }
        }

        /// Settings without origins: what the command line sets, above all files.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub struct SshValues {
            $($(#[$doc])* $(#[$unset])? pub $field: Option<$type>,)*
        }

        impl SshValues {
            #[must_use]
            pub fn over(self, below: Self) -> Self {
                Self { $($field: self.$field.or(below.$field),)* }
            }

            /// A host of these settings. `login` is its user when they name none.
            pub fn endpoint(self, address: Address, $login: &UserName) -> Endpoint {
                Endpoint { address, $($field: self.$field.map_or_else(|| $lowest, Into::into),)* }
            }
        }

        /// How a host is reached.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Endpoint {
            /// Name or IP address.
            pub address: Address,
            $($(#[$doc])* pub $field: $final,)*
        }

        impl Endpoint {
            /// All but the address.
            pub fn values(&self) -> SshValues {
                SshValues { $($field: self.$field.clone().into(),)* }
            }
        }
    };
}

macro_rules! lowest {
    (default $value:expr) => {
        Some(Setting::default_of($value))
    };
    (else $value:expr) => {
        None
    };
}

settings! { |login|
    "port" port: #[serde(skip_serializing_if = "Option::is_none")] u16 => u16, default SSH_PORT, port => text;
    /// Login user; when nobody sets it, the one who runs `fleet`.
    "user" user: UserName => UserName, else login.clone(), |item| item.parsed(UserName::parse) => text;
    /// Private key file: of a site's file relative to the project folder, of the command line to the current one.
    "identity" identity: String => Option<String>, else None, identity => text;
    /// Limit of the TCP connection.
    "connect-timeout" connect_timeout: Duration => Duration, default Duration::from_secs(10), Item::limit => Shown::Time;
    /// How long to retry a first connection that is refused or closed at once: sshd is back from a restart, or has room again, in less.
    "connect-retry" connect_retry: Duration => Duration, default Duration::from_secs(5), Item::duration => Shown::Time;
    /// How long a lost connection is tried to be made again.
    "reconnect-timeout" reconnect_timeout: Duration => Duration, default Duration::from_secs(600), Item::limit => Shown::Time;
    /// Between two signs of life that are asked of the host; after four without an answer the connection is lost.
    "keepalive" keepalive: #[serde(skip_serializing_if = "Option::is_none")] Duration => Duration, default Duration::from_secs(15), Item::limit => Shown::Time;
}

impl Endpoint {
    /// A host of which nothing is set.
    pub fn new(address: Address, user: &UserName) -> Self {
        SshValues::default().endpoint(address, user)
    }
}

fn port(item: &Item<'_>) -> Option<Spanned<u16>> {
    match item.integer() {
        Some(0) | None => item.expected_value("a port number, 1 to 65535"),
        Some(value) => Some(Spanned { value, span: item.span.clone() }),
    }
}

fn identity(item: &Item<'_>) -> Option<Spanned<String>> {
    item.parsed(|path| {
        if path.is_empty() || path.chars().any(char::is_control) {
            return Err("`identity` must be the path of a private key file");
        }
        Ok(path.to_owned())
    })
}

#[expect(clippy::needless_pass_by_value, reason = "it stands where `Shown::Time` does")]
fn text(value: impl ToString) -> Shown {
    Shown::Text(value.to_string())
}

#[cfg(test)]
mod tests;
