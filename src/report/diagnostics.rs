//! Shows what is wrong with the project's files: file, line, column, the line itself, a caret.
//!
//! A file may hold anything, so nothing of it reaches the terminal but visible characters.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::words::counted;
use crate::model::config::diagnostic::{Diagnostic, Source};
use crate::model::text::printable::is_invisible;

/// Errors of one file that are shown; the rest is counted. A file that is no TOML at all has one in each line.
const MOST_SHOWN: usize = 100;

/// All diagnostics, in their order, and how many there are.
pub fn render(diagnostics: &[Diagnostic], colour: bool, width: usize) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.term_width(width);
    let mut lines = HashMap::new();
    let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
    let mut text = String::new();
    for diagnostic in diagnostics {
        let path = diagnostic.source.path.as_str();
        let count = shown.entry(path).or_default();
        *count += 1;
        if *count <= MOST_SHOWN {
            let starts = lines.entry(path).or_insert_with(|| line_starts(&diagnostic.source));
            text.push_str(&renderer.render(&[group(diagnostic, starts)]));
            text.push_str("\n\n");
        }
    }
    for (path, count) in &shown {
        if let Some(more) = count.checked_sub(MOST_SHOWN).filter(|more| *more > 0) {
            let _ = writeln!(text, "{}: {}", visible(path), counted(more, "more error"));
        }
    }
    let errors = counted(diagnostics.len(), "error");
    let files = counted(shown.len(), "file");
    let _ = writeln!(text, "{errors} in {files}; nothing was contacted");
    text
}

fn line_starts(source: &Source) -> Vec<usize> {
    std::iter::once(0).chain(source.text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

fn group<'a>(diagnostic: &'a Diagnostic, starts: &[usize]) -> Group<'a> {
    let title = Level::ERROR.primary_title(visible(&diagnostic.message));
    let path = visible(&diagnostic.source.path);
    if diagnostic.source.text.trim().is_empty() {
        let origin = title.element(Origin::path(path));
        return match &diagnostic.label {
            Some(label) => origin.element(Level::HELP.message(visible(label))),
            None => origin,
        };
    }
    let annotation = |excerpt: &Excerpt, span: &Range<usize>, kind: AnnotationKind, label: Option<&str>| {
        kind.span(excerpt.inside(span)).label(label.map(visible))
    };
    let text = &diagnostic.source.text;
    let label = diagnostic.label.as_deref();
    let main = Lines::of(text, starts, &diagnostic.span);
    let Some((also, also_label)) = &diagnostic.also else {
        let excerpt = Excerpt::new(text, starts, main);
        let primary = annotation(&excerpt, &diagnostic.span, AnnotationKind::Primary, label);
        return title.element(excerpt.snippet(path).annotation(primary));
    };
    let other = Lines::of(text, starts, also);
    // Close together they share an excerpt, in which the lines between are left out.
    if main.first.abs_diff(other.first) <= NEAR {
        let both = Lines { first: main.first.min(other.first), last: main.last.max(other.last) };
        let excerpt = Excerpt::new(text, starts, both);
        let primary = annotation(&excerpt, &diagnostic.span, AnnotationKind::Primary, label);
        let context = annotation(&excerpt, also, AnnotationKind::Context, Some(also_label));
        return title.element(excerpt.snippet(path).annotation(primary).annotation(context));
    }
    let (excerpt, far) = (Excerpt::new(text, starts, main), Excerpt::new(text, starts, other));
    let primary = annotation(&excerpt, &diagnostic.span, AnnotationKind::Primary, label);
    let context = annotation(&far, also, AnnotationKind::Context, Some(also_label));
    title.element(excerpt.snippet(path.clone()).annotation(primary)).element(far.snippet(path).annotation(context))
}

/// Lines of a long string that are shown.
const MOST_LINES: usize = 6;

/// Places that are so many lines apart are shown together.
const NEAR: usize = 30;

/// Lines of a file, from 0, the last one included.
#[derive(Clone, Copy)]
struct Lines {
    first: usize,
    last: usize,
}

impl Lines {
    fn of(text: &str, starts: &[usize], span: &Range<usize>) -> Self {
        let line = |offset: usize| starts.partition_point(|start| *start <= offset).saturating_sub(1);
        let start = floor(text, span.start);
        let first = line(start);
        let last = line(floor(text, span.end).saturating_sub(1)).clamp(first, first + MOST_LINES - 1);
        Self { first, last }
    }
}

/// Some lines of a file, as they are shown.
struct Excerpt<'a> {
    whole: &'a str,
    text: &'a str,
    from: usize,
    first_line: usize,
}

impl<'a> Excerpt<'a> {
    fn new(whole: &'a str, starts: &[usize], lines: Lines) -> Self {
        let from = starts.get(lines.first).copied().unwrap_or_default();
        let to = starts.get(lines.last + 1).copied().unwrap_or(whole.len());
        Self { whole, text: whole.get(from..to).unwrap_or_default(), from, first_line: lines.first + 1 }
    }

    /// The part of the span that is shown, counted from the excerpt's start.
    fn inside(&self, span: &Range<usize>) -> Range<usize> {
        let inside = |offset: usize| floor(self.whole, offset).saturating_sub(self.from).min(self.text.len());
        let start = inside(span.start);
        start..inside(span.end).max(start)
    }

    fn snippet<'s>(&self, path: String) -> Snippet<'s, annotate_snippets::Annotation<'s>> {
        Snippet::source(same_length(self.text)).path(path).line_start(self.first_line)
    }
}

fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// Text in which such characters are written out.
fn visible(text: &str) -> String {
    let write = |c: char| if is_invisible(c) { c.escape_unicode().to_string() } else { c.to_string() };
    text.chars().map(write).collect()
}

/// Text of the same length in bytes, so that spans stay right, in which such characters are replaced. The renderer shows the
/// one-byte ones, by their own pictures.
fn same_length(text: &str) -> String {
    let replace = |c: char| match c.len_utf8() {
        2 if is_invisible(c) => '¿',
        3 if is_invisible(c) => char::REPLACEMENT_CHARACTER,
        4 if is_invisible(c) => '\u{1f6c7}',
        _ => c,
    };
    text.chars().map(replace).collect()
}

#[cfg(test)]
mod tests;
