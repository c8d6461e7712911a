//! A value out of a file, and where it stands there; a value of one of several layers, and where it came from.

use std::fmt;
use std::ops::Range;

use crate::model::text::name::SiteName;

/// A value and where it stands in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    pub value: T,
    /// Bytes in the file.
    pub span: Range<usize>,
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    pub value: T,
    pub origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said otherwise.
    Default,
    /// A file of the project or a recipe: path and line.
    File {
        /// `hosts/mysite.toml`.
        path: String,
        /// From 1.
        line: usize,
    },
    /// A flag: `--user`.
    CommandLine(&'static str),
    /// A run that proved it on the site that this one follows.
    Proven(String),
    /// Whatever is proven on this site when it is deployed.
    Followed(SiteName),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::CommandLine(flag) => write!(f, "command line ({flag})"),
            Self::Proven(run) => write!(f, "proven by run {run}"),
            Self::Followed(site) => write!(f, "what is proven on {site} by then"),
        }
    }
}

impl<T> Setting<T> {
    pub fn default_of(value: T) -> Self {
        Self { value, origin: Origin::Default }
    }
}
