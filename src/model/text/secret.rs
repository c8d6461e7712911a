//! Secret values: those of variables with `secret = true`.
//!
//! They are known to fleet's own process, and on a host to the environment of the step that uses them; nothing that is written down or shown
//! holds one. So the type has neither `Display` nor `Serialize`, and whoever wants the text says [`Secret::expose`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use crate::model::text::name::VarName;

/// Shown in place of a secret value.
pub const SHOWN: &str = "[secret]";

/// A shorter value, in characters, is refused: to mask it would mask half of what hosts print.
pub const MIN_LENGTH: usize = 6;

/// A longer value, in bytes, is refused. Linux takes 128 KiB for one variable of an environment.
pub const MAX_LENGTH: usize = 32 << 10;

#[derive(Clone)]
pub struct Secret(Arc<SecretString>);

/// Why a value is not taken. The value itself is not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretProblem {
    #[error("the value is empty")]
    Empty,
    #[error("the value is too short to be masked in output: it needs a line of at least {MIN_LENGTH} characters")]
    Short,
    #[error("the value is longer than {} KiB", MAX_LENGTH >> 10)]
    Long,
    #[error("the value holds a NUL byte, which no environment variable can")]
    Nul,
}

impl Secret {
    /// Takes a value without the newlines at its end.
    pub fn parse(text: &str) -> Result<Self, SecretProblem> {
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            return Err(SecretProblem::Empty);
        }
        if text.contains('\0') {
            return Err(SecretProblem::Nul);
        }
        if text.len() > MAX_LENGTH {
            return Err(SecretProblem::Long);
        }
        if !text.lines().any(|line| line.trim().chars().count() >= MIN_LENGTH) {
            return Err(SecretProblem::Short);
        }
        Ok(Self::of(text.to_owned()))
    }

    /// A text in which a secret value stands, such as the URL of a database.
    pub fn of(text: String) -> Self {
        Self(Arc::new(SecretString::from(text)))
    }

    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHOWN)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

/// The values of a run's secret variables.
pub type Secrets = BTreeMap<VarName, Secret>;

/// The environment variable from which fleet takes the value of a secret: `FLEET_SECRET_DB_PASSWORD` for `db-password`.
pub fn environment_name(name: &VarName) -> String {
    let upper = |c: char| if matches!(c, '-' | '.') { '_' } else { c.to_ascii_uppercase() };
    format!("{ENVIRONMENT_PREFIX}{}", name.as_str().chars().map(upper).collect::<String>())
}

pub const ENVIRONMENT_PREFIX: &str = "FLEET_SECRET_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_masked_or_sent_is_refused() {
        assert_eq!(Secret::parse("\r\n"), Err(SecretProblem::Empty));
        assert_eq!(Secret::parse("abcde\n"), Err(SecretProblem::Short));
        assert_eq!(Secret::parse("abcde\nfghij\n"), Err(SecretProblem::Short));
        assert_eq!(Secret::parse("ab\0cdefgh"), Err(SecretProblem::Nul));
        assert_eq!(Secret::parse(&"x".repeat(MAX_LENGTH + 1)), Err(SecretProblem::Long));
        assert_eq!(Secret::parse("äöüäöü\r\n\n").unwrap().expose(), "äöüäöü");
        assert_eq!(Secret::parse("ab\nhunter2\n").unwrap().expose(), "ab\nhunter2");
    }

    #[test]
    fn it_is_not_shown_by_accident() {
        assert_eq!(format!("{:?}", Secret::of("hunter2".to_owned())), SHOWN);
    }

    #[test]
    fn the_variable_of_the_environment_is_a_name_that_shells_take() {
        assert_eq!(environment_name(&VarName::parse("db-password").unwrap()), "FLEET_SECRET_DB_PASSWORD");
        assert_eq!(environment_name(&VarName::parse("backup.key_2").unwrap()), "FLEET_SECRET_BACKUP_KEY_2");
    }
}
