//! What a person can do about an error. Text is made of it where it is shown, in [`crate::report`] alone.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hint {
    /// It can be pasted.
    Command(String),
    /// In words.
    Advice(String),
}

impl Hint {
    pub fn command(text: impl Into<String>) -> Self {
        Self::Command(text.into())
    }

    pub fn advice(text: impl Into<String>) -> Self {
        Self::Advice(text.into())
    }

    /// The name that was perhaps meant.
    pub fn did_you_mean(name: impl fmt::Display) -> Self {
        Self::Advice(format!("did you mean `{name}`?"))
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Command(text) | Self::Advice(text)) = self;
        f.write_str(text)
    }
}

/// An error that knows what helps.
pub trait Advise: std::error::Error {
    /// What to do about it, besides what its message says.
    fn hints(&self) -> Vec<Hint>;
}
