//! One name, glob or range of a selector.

use std::collections::BTreeSet;
use std::fmt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::SelectorError;
use crate::model::inventory::inventory_file::MOST_HOSTS;
use crate::model::text::range;

/// Names that a range inside a glob may stand for: each is a glob of its own.
const MOST_GLOBS: usize = 1000;

#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pub(super) text: String,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    /// A name, or a range of them.
    Names(BTreeSet<String>),
    Globs(GlobSet),
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, SelectorError> {
        let pattern = |form| Ok(Self { text: text.to_owned(), form });
        let names = range::Pattern::parse_glob(if text == "all" { "*" } else { text })?;
        // `web[1-3]` is a range, of which every host must exist; `web[ab]` and `web[!1-3]` are globs.
        let spelt_out = !names.texts().any(|text| text.contains(['*', '?', '[', ']', '{', '}', '\\']));
        let names = names.names(if spelt_out { MOST_HOSTS } else { MOST_GLOBS })?;
        if spelt_out {
            return pattern(Form::Names(names.into_iter().collect()));
        }
        let glob_error =
            |error: globset::Error| SelectorError::Glob { term: text.to_owned(), reason: error.kind().to_string() };
        let mut globs = GlobSetBuilder::new();
        for name in names {
            globs.add(GlobBuilder::new(&name).backslash_escape(true).build().map_err(glob_error)?);
        }
        pattern(Form::Globs(globs.build().map_err(glob_error)?))
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        match &self.form {
            Form::Names(names) => names.contains(name),
            Form::Globs(globs) => globs.is_match(name),
        }
    }

    /// What of it matches none of the names.
    pub(super) fn unmatched<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> Option<String> {
        match &self.form {
            Form::Globs(globs) => (!names.any(|name| globs.is_match(name))).then(|| self.text.clone()),
            Form::Names(wanted) => {
                let there: BTreeSet<&str> = names.collect();
                wanted.iter().find(|name| !there.contains(name.as_str())).cloned()
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Splits at a character, but not inside `[…]` and `{…}`: `web[1:20]` is one name.
pub(super) fn split(text: &str, at: char) -> Vec<&str> {
    let mut depth = 0_usize;
    let outside = |c: char| {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && c == at
    };
    text.split(outside).collect()
}
