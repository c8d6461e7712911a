//! A strict reader of TOML: every error of a file is told, at its place, and unknown keys are errors.
//!
//! A getter that finds nothing usable reports why and returns `None`; the reader goes on, so that one look shows everything.
//! A table reports the keys that nobody asked for when it is [finished](Table::finish).
//!
//! Rejected: serde. It stops at the first error, and its unknown-field errors know no nearest name.

mod blanks;
mod item;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use self::blanks::with_plain_blanks;
pub use self::item::Item;
use crate::model::config::diagnostic::{Diagnostic, Place, Source};
use crate::model::config::setting::{Origin, Setting, Spanned};

/// A file that is being read.
pub struct Document<'t> {
    pub source: &'t Arc<Source>,
    root: DeTable<'t>,
    line_starts: Vec<usize>,
    syntax: Vec<Diagnostic>,
    problems: RefCell<Vec<Diagnostic>>,
}

impl Document<'_> {
    /// Reads a file with `read` and tells all that is wrong with it, in the file's order.
    pub fn read<T>(source: &Arc<Source>, read: impl FnOnce(&Document<'_>) -> T) -> (T, Vec<Diagnostic>) {
        let (text, blanks) = with_plain_blanks(source);
        let blanked;
        let (mut root, errors) = DeTable::parse_recoverable(&text);
        let parser = errors
            .iter()
            .map(|error| Diagnostic::new(source, error.span().unwrap_or_default(), error.message()))
            .collect::<Vec<_>>();
        let line_starts: Vec<usize> =
            std::iter::once(0).chain(source.text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        // What the parser says of a line with such a character comes of it.
        let line = |diagnostic: &Diagnostic| line_at(&line_starts, diagnostic.span.start);
        let lines: BTreeSet<usize> = blanks.iter().map(line).collect();
        let own = parser.iter().filter(|error| !lines.contains(&line(error))).cloned();
        let syntax: Vec<_> = blanks.iter().cloned().chain(own).collect();
        if !parser.is_empty() {
            // The parser gives up the rest of the file after some errors. Without the lines in error it may read all of it.
            // An error at the end of the text stands behind its last line.
            let at = |error: &Diagnostic| error.span.start.min(text.len().saturating_sub(1));
            blanked = without_lines(&text, &parser.iter().map(|error| line_at(&line_starts, at(error))).collect());
            let (rest, errors) = DeTable::parse_recoverable(&blanked);
            if errors.is_empty() {
                root = rest;
            }
        }
        let document = Document { source, root: root.into_inner(), line_starts, syntax, problems: RefCell::default() };
        let value = read(&document);
        (value, document.finish())
    }

    pub fn root(&self) -> Table<'_> {
        Table { document: self, entries: &self.root, span: 0..0, asked: RefCell::default() }
    }

    pub fn report(&self, span: Range<usize>, message: impl Into<String>) {
        self.push(Diagnostic::new(self.source, span, message));
    }

    /// Reports an error with a text beside the caret.
    pub fn tell(&self, span: Range<usize>, message: impl Into<String>, label: impl Into<String>) {
        self.push(Diagnostic::new(self.source, span, message).label(label));
    }

    /// Reports that something is there again.
    pub fn report_again(&self, span: Range<usize>, first: &Range<usize>, message: impl Into<String>) {
        self.push(Diagnostic::new(self.source, span, message).first_at(&self.place(first.clone())));
    }

    pub fn push(&self, diagnostic: Diagnostic) {
        self.problems.borrow_mut().push(diagnostic);
    }

    pub fn place(&self, span: Range<usize>) -> Place {
        Place { source: Arc::clone(self.source), span }
    }

    fn line(&self, offset: usize) -> usize {
        line_at(&self.line_starts, offset)
    }

    pub fn origin(&self, span: &Range<usize>) -> Origin {
        Origin::File { path: self.source.path.clone(), line: self.line(span.start) }
    }

    /// All that is wrong. An error that stands on the line of a syntax error is its echo and left out.
    fn finish(self) -> Vec<Diagnostic> {
        let broken: BTreeSet<_> = self.syntax.iter().map(|diagnostic| self.line(diagnostic.span.start)).collect();
        let problems = self.problems.take();
        let told = problems.into_iter().filter(|problem| {
            broken.is_empty() || !problem.absence && !broken.contains(&self.line(problem.span.start))
        });
        let mut all: Vec<_> = self.syntax.iter().cloned().chain(told).collect();
        all.sort_by_key(|diagnostic| diagnostic.span.start);
        all.dedup();
        all
    }
}

/// The line of a byte, from 1.
fn line_at(line_starts: &[usize], offset: usize) -> usize {
    line_starts.partition_point(|start| *start <= offset)
}

/// The text with blanks for these lines, so that all other offsets stay.
fn without_lines(text: &str, broken: &BTreeSet<usize>) -> String {
    let mut kept = String::with_capacity(text.len());
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        if broken.contains(&number) {
            kept.extend(line.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        } else {
            kept.push_str(line);
        }
    }
    kept
}

pub struct Table<'d> {
    pub document: &'d Document<'d>,
    entries: &'d DeTable<'d>,
    span: Range<usize>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'d> Table<'d> {
    /// The table's header, or all of an inline table.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The value of a key, as `read` understands it.
    pub fn read<T>(&self, key: &'static str, read: impl FnOnce(&Item<'d>) -> Option<Spanned<T>>) -> Option<Setting<T>> {
        Some(self.setting(read(&self.item(key)?)?))
    }

    pub fn setting<T>(&self, spanned: Spanned<T>) -> Setting<T> {
        Setting { origin: self.document.origin(&spanned.span), value: spanned.value }
    }

    pub fn item(&self, key: &'static str) -> Option<Item<'d>> {
        self.asked.borrow_mut().insert(key);
        let (name, value) = self.entries.get_key_value(key)?;
        self.item_of(name.get_ref(), name.span(), value)
    }

    /// All entries, in the order of the file.
    pub fn items(&self) -> Vec<Item<'d>> {
        let mut items: Vec<_> =
            self.entries.iter().filter_map(|(name, value)| self.item_of(name.get_ref(), name.span(), value)).collect();
        items.sort_by_key(|item| item.key_span.start);
        items
    }

    fn item_of(&self, key: &'d str, key_span: Range<usize>, value: &'d toml::Spanned<DeValue<'d>>) -> Option<Item<'d>> {
        // What the parser puts in the place of a missing value.
        let placeholder = value.span() == (0..0) && !self.document.syntax.is_empty();
        let item =
            Item { document: self.document, key, key_span, value: value.get_ref(), span: value.span(), element: false };
        (!placeholder).then_some(item)
    }

    pub fn parsed<T, E: Display>(&self, key: &'static str, parse: impl Fn(&str) -> Result<T, E>) -> Option<Spanned<T>> {
        self.item(key)?.parsed(parse)
    }

    pub fn boolean(&self, key: &'static str) -> Option<Spanned<bool>> {
        self.item(key)?.boolean()
    }

    pub fn table(&self, key: &'static str) -> Option<Table<'d>> {
        self.item(key)?.table()
    }

    pub fn array(&self, key: &'static str) -> Option<Vec<Item<'d>>> {
        self.item(key)?.array()
    }

    pub fn tables(&self, key: &'static str) -> Option<Vec<Table<'d>>> {
        self.item(key)?.tables()
    }

    pub fn missing(&self, key: &'static str) {
        // A key that is there but wrong was reported already.
        if !self.entries.contains_key(key) {
            let message = format!("`{key}` is missing");
            self.document.push(Diagnostic::new(self.document.source, self.span(), message).absent());
        }
    }

    /// Reports the keys that nobody asked for: the last thing to do with a table.
    pub fn finish(&self) {
        let asked = self.asked.take();
        for item in self.items() {
            if !asked.contains(item.key) {
                let known = format!("known here: {}", asked.iter().copied().collect::<Vec<_>>().join(", "));
                let message = format!("unknown key `{}`", item.key);
                let unknown = Diagnostic::new(self.document.source, item.key_span, message).label(known);
                self.document.push(unknown.did_you_mean(item.key, asked.iter().copied()));
            }
        }
    }
}
