//! Colour: a tone says what a text means, and only here it becomes an escape sequence.

use console::Style;

use crate::model::run::outcome::HostOutcome;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    /// Divides what comes before from what comes after.
    Heading,
    Good,
    /// Somebody should look.
    Warning,
    Bad,
    /// Of little interest now.
    Dim,
}

impl Tone {
    pub fn of(outcome: HostOutcome) -> Self {
        match outcome {
            HostOutcome::Succeeded => Self::Good,
            HostOutcome::Untouched => Self::Dim,
            HostOutcome::RolledBack => Self::Warning,
            HostOutcome::Failed
            | HostOutcome::Unreachable
            | HostOutcome::Locked
            | HostOutcome::Held
            | HostOutcome::Unknown
            | HostOutcome::Detached => Self::Bad,
        }
    }

    /// The text in this tone, when colour is wanted. Everything is said in words too, so nothing is lost without.
    pub fn paint(self, text: &str, color: bool) -> String {
        let style = match self {
            Self::Plain => return text.to_owned(),
            Self::Heading => Style::new().bold(),
            Self::Good => Style::new().green(),
            Self::Warning => Style::new().yellow(),
            Self::Bad => Style::new().red(),
            Self::Dim => Style::new().dim(),
        };
        if color && !text.is_empty() { style.force_styling(true).apply_to(text).to_string() } else { text.to_owned() }
    }
}
