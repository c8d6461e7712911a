//! What is wrong with a file, and where.

use std::ops::Range;
use std::sync::Arc;

/// A file that was read: its name for people, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The path as a person would type it, from the project folder: `hosts/mysite.toml`.
    pub path: String,
    pub text: String,
}

/// A place in a file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub source: Arc<Source>,
    /// Bytes of its text.
    pub span: Range<usize>,
}

impl Place {
    pub fn diagnostic(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(&self.source, self.span.clone(), message)
    }

    /// From 1.
    pub fn line(&self) -> usize {
        line_at(&self.source.text, self.span.start)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub source: Arc<Source>,
    /// The bytes that the message is about.
    pub span: Range<usize>,
    pub message: String,
    /// What stands beside the caret: `did you mean `address`?`
    pub label: Option<String>,
    /// Another place of the same file that has to do with it, and what stands beside that.
    pub also: Option<(Range<usize>, String)>,
    /// Something is missing, perhaps only because a syntax error swallowed it.
    pub absence: bool,
}

impl Diagnostic {
    pub fn new(source: &Arc<Source>, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { source: Arc::clone(source), span, message: message.into(), label: None, also: None, absence: false }
    }

    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The same with the nearest of these names beside the caret, when one is near enough to be meant.
    #[must_use]
    pub fn did_you_mean<'a>(self, typed: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(typed, names) {
            Some(near) => self.label(format!("did you mean `{near}`?")),
            None => self,
        }
    }

    /// The same, about something that is missing: not shown when a syntax error may have swallowed it.
    #[must_use]
    pub fn absent(mut self) -> Self {
        self.absence = true;
        self
    }

    #[must_use]
    pub fn also(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.also = Some((span, label.into()));
        self
    }

    /// The same, about something that is there again; where the first one is in another file, nothing points to it.
    #[must_use]
    pub fn first_at(self, first: &Place) -> Self {
        if first.source == self.source { self.also(first.span.clone(), "first here") } else { self }
    }

    /// Line and column, from 1; the column counts characters.
    pub fn line_and_column(&self) -> (usize, usize) {
        let start = (0..=self.span.start.min(self.source.text.len()))
            .rev()
            .find(|&i| self.source.text.is_char_boundary(i))
            .unwrap_or(0);
        let before = self.source.text.get(..start).unwrap_or_default();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line_at(&self.source.text, start), column)
    }
}

/// The line of a byte of the text, from 1.
pub fn line_at(text: &str, offset: usize) -> usize {
    text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1)
}

/// Diagnostics in the order of the files and of their lines, each once: one that is about several files is kept with each.
pub fn in_order<'a>(diagnostics: impl IntoIterator<Item = &'a Diagnostic>) -> Vec<Diagnostic> {
    let mut all: Vec<_> = diagnostics.into_iter().cloned().collect();
    all.sort_by(|a, b| (&a.source.path, a.span.start).cmp(&(&b.source.path, b.span.start)));
    all.dedup();
    all
}

/// The candidate nearest to what was typed, when it is near enough to be meant.
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(typed, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance < typed.chars().count()
                && *distance <= 1 + candidate.chars().count().min(typed.chars().count()) / 4
        })
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_is_silent_when_nothing_is_near() {
        assert_eq!(nearest("adress", ["address", "user"]), Some("address"));
        assert_eq!(nearest("xyz", ["address", "user"]), None);
    }
}
