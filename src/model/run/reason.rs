//! Why something ended as it did: one line for people, the cause for programs, and what helps.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::cause::Cause;
use crate::model::text::hint::Hint;

/// A reason. In JSON its text is `reason`, with `cause` and `hints` beside it where there are any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// In words, without the hints.
    #[serde(rename = "reason")]
    pub text: String,
    /// Where fleet knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<Hint>,
}

impl Reason {
    pub fn new(cause: Cause, text: impl Into<String>) -> Self {
        Self { text: text.into(), cause: Some(cause), hints: Vec::new() }
    }

    /// One of an older fleet, whose hints are in its text.
    pub fn parse(text: &str) -> Self {
        let mut parts = text.split("\nhint: ");
        let text = parts.next().unwrap_or_default().to_owned();
        Self { text, cause: None, hints: parts.map(Hint::advice).collect() }
    }

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

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        optional(deserializer)?.ok_or_else(|| D::Error::missing_field("reason"))
    }
}

/// For a reason that may be missing. The `Option` of serde itself would take one that it cannot read for a missing one.
pub fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Reason>, D::Error> {
    let Fields { reason, cause, hints } = Fields::deserialize(deserializer)?;
    Ok(reason.map(|text| {
        let known = Reason::parse(&text);
        Reason { cause, hints: [known.hints, hints].concat(), ..known }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run::event::Fact;
    use crate::model::run::outcome::StepOutcome;

    fn read(json: &str) -> Result<Fact, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn hints_in_the_text_of_an_older_record_are_taken_out_of_it() {
        let old =
            r#"{"event":"host-finished","host":"web1","outcome":"locked","reason":"run r\nhint: wait\nhint: resume"}"#;
        let Ok(Fact::HostFinished { reason: Some(reason), .. }) = read(old) else { panic!("{:?}", read(old)) };
        assert_eq!(reason, Reason::from("run r").hint(Hint::advice("wait")).hint(Hint::advice("resume")));
        let none = read(r#"{"event":"host-finished","host":"web1","outcome":"succeeded"}"#);
        assert!(matches!(none, Ok(Fact::HostFinished { reason: None, .. })), "{none:?}");
    }

    #[test]
    fn cause_and_hints_stand_beside_the_reason() {
        let reason = Reason::new(Cause::HostKeyUnknown, "not pinned").hint(Hint::command("fleet s trust"));
        let json = serde_json::to_string(&StepOutcome::NotStarted { reason: reason.clone() }).unwrap();
        let told = r#"{"result":"not-started","reason":"not pinned","cause":"host-key-unknown","hints":[{"command":"fleet s trust"}]}"#;
        assert_eq!(json, told);
        assert_eq!(serde_json::from_str::<StepOutcome>(told).unwrap(), StepOutcome::NotStarted { reason });
    }

    #[test]
    fn a_cause_or_a_field_that_is_not_known_is_refused() {
        for (told, strange) in [("host-finished", r#""cause":"moon""#), ("host-finished", r#""moon":1"#)] {
            let json = format!(r#"{{"event":"{told}","host":"web1","outcome":"failed","reason":"x",{strange}}}"#);
            assert!(read(&json).is_err(), "{json}");
        }
        assert!(read(r#"{"event":"connection-lost","host":"web1"}"#).is_err(), "without a reason");
        assert!(serde_json::from_str::<StepOutcome>(r#"{"result":"unknown","reason":"x","moon":1}"#).is_err());
    }
}
