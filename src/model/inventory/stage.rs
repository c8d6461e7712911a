//! What a site is for.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Upgraded first, and again and again.
    Test,
    /// Shown to people.
    Demo,
    /// People depend on it.
    Production,
}

impl Stage {
    pub const ALL: [Self; 3] = [Self::Test, Self::Demo, Self::Production];

    pub fn parse(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|stage| stage.to_string() == text).ok_or_else(|| {
            let names = Self::ALL.map(|stage| format!("\"{stage}\""));
            format!("there is no stage \"{text}\", only {}", names.join(", "))
        })
    }
}

/// As it is written in a site's file.
impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Test => "test",
            Self::Demo => "demo",
            Self::Production => "production",
        })
    }
}
