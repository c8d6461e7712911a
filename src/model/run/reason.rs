//! Why something ended as it did: one line for people, the cause for programs, and what helps.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use super::cause::Cause;
use crate::model::text::hint::Hint;

/// A reason. In JSON its text is `reason`, with `cause` and `hints` beside it where there are any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Reason {
    /// In words, without the hints.
    #[serde(rename = "reason")]
    pub text: String,
    /// Where fleet knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<Hint>,
}

impl Reason {
    /// With its cause.
    pub fn new(cause: Cause, text: impl Into<String>) -> Self {
        Self { text: text.into(), cause: Some(cause), hints: Vec::new() }
    }

    /// One of an older fleet, whose hints are in its text.
    pub fn parse(text: &str) -> Self {
        let mut parts = text.split("\nhint: ");
        let text = parts.next().unwrap_or_default().to_owned();
        Self { text, cause: None, hints: parts.map(Hint::advice).collect() }
    }

    /// Everything on one line.
    pub fn in_one_line(&self) -> String {
        self.hints.iter().fold(self.text.clone(), |line, hint| format!("{line}; hint: {hint}"))
    }

    /// With that cause, where none is known yet.
    #[must_use]
    pub fn or(mut self, cause: Cause) -> Self {
        self.cause = self.cause.or(Some(cause));
        self
    }

    /// The same with a hint more.
    #[must_use]
    pub fn hint(mut self, hint: Hint) -> Self {
        self.hints.push(hint);
        self
    }

    /// The same with words before it.
    #[must_use]
    pub fn after(mut self, words: impl fmt::Display) -> Self {
        self.text = format!("{words}{}", self.text);
        self
    }

    /// Two, one after the other: the cause is that of the first.
    #[must_use]
    pub fn and(self, then: Self) -> Self {
        let hints = self.hints.into_iter().chain(then.hints).collect();
        Self { text: format!("{}; {}", self.text, then.text), cause: self.cause.or(then.cause), hints }
    }

    /// One that comes after another, where there is another.
    #[must_use]
    pub fn following(self, before: Option<Self>) -> Self {
        match before {
            Some(before) => before.and(self),
            None => self,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self { text, cause: None, hints: Vec::new() }
    }
}

impl From<&str> for Reason {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// A reason as it is written. Up to version 2 of the events, its hints are in its text.
#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    cause: Option<Cause>,
    #[serde(default)]
    hints: Vec<Hint>,
}

impl From<Fields> for Option<Reason> {
    fn from(Fields { reason, cause, mut hints }: Fields) -> Self {
        let mut known = Reason::parse(&reason?);
        known.hints.append(&mut hints);
        Some(Reason { cause, ..known })
    }
}

impl TryFrom<Fields> for Reason {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        Option::from(fields).ok_or("missing field `reason`")
    }
}

/// For a reason that may be missing. The `Option` of serde itself would take one that it cannot read for a missing one.
pub fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Reason>, D::Error> {
    Fields::deserialize(deserializer).map(Into::into)
}
