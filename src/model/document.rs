//! A strict reader of TOML: every error of a file is told, at its place, and unknown keys are errors.
//!
//! A getter that finds nothing usable reports why and returns `None`; the reader goes on, so that one look shows everything.
//! A table reports the keys that nobody asked for when it is [finished](Table::finish).
//!
//! Rejected: serde. It stops at the first error, and its unknown-field errors know no nearest name.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Source, nearest};
use super::duration::parse_duration;
use super::inventory::Origin;
use super::recipe::Spanned;

/// A file that is being read.
pub struct Document<'t> {
    source: &'t Arc<Source>,
    root: DeTable<'t>,
    line_starts: Vec<usize>,
    syntax: Vec<Diagnostic>,
    problems: RefCell<Vec<Problem>>,
}

struct Problem {
    diagnostic: Diagnostic,
    /// Something is missing, perhaps only because a syntax error swallowed it.
    absence: bool,
}

impl Document<'_> {
    /// Reads a file with `read` and tells all that is wrong with it, in the file's order.
    pub fn read<T>(source: &Arc<Source>, read: impl FnOnce(&Document<'_>) -> T) -> (T, Vec<Diagnostic>) {
        let (root, errors) = DeTable::parse_recoverable(&source.text);
        let syntax: Vec<_> = errors
            .iter()
            .map(|error| Diagnostic::new(source, error.span().unwrap_or_default(), error.message()))
            .collect();
        if syntax.is_empty() {
            return Self::read_parsed(source, root.into_inner(), syntax, read);
        }
        // The parser gives up the rest of the file after some errors. Without the lines in error it may read all of it.
        let blanked = without_lines(&source.text, &syntax);
        let (rest, errors) = DeTable::parse_recoverable(&blanked);
        let root = if errors.is_empty() { rest } else { root };
        Self::read_parsed(source, root.into_inner(), syntax, read)
    }

    fn read_parsed<T>(
        source: &Arc<Source>,
        root: DeTable<'_>,
        syntax: Vec<Diagnostic>,
        read: impl FnOnce(&Document<'_>) -> T,
    ) -> (T, Vec<Diagnostic>) {
        let line_starts = std::iter::once(0).chain(source.text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let document = Document { source, root, line_starts, syntax, problems: RefCell::default() };
        let value = read(&document);
        (value, document.finish())
    }

    /// The table that is the file.
    pub fn root(&self) -> Table<'_> {
        Table { document: self, entries: &self.root, span: 0..0, asked: RefCell::default() }
    }

    /// The file.
    pub fn source(&self) -> &Arc<Source> {
        self.source
    }

    /// Reports an error.
    pub fn report(&self, span: Range<usize>, message: impl Into<String>) {
        self.push(Diagnostic::new(self.source, span, message));
    }

    /// Reports an error.
    pub fn push(&self, diagnostic: Diagnostic) {
        self.problems.borrow_mut().push(Problem { diagnostic, absence: false });
    }

    /// Reports that something is missing: not told when syntax errors may have swallowed it.
    pub fn push_absence(&self, diagnostic: Diagnostic) {
        self.problems.borrow_mut().push(Problem { diagnostic, absence: true });
    }

    fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// File and line of a place.
    pub fn origin(&self, span: &Range<usize>) -> Origin {
        Origin::File { path: self.source.path.clone(), line: self.line(span.start) }
    }

    /// All that is wrong. An error that stands on the line of a syntax error is its echo and left out.
    fn finish(self) -> Vec<Diagnostic> {
        let broken: BTreeSet<_> = self.syntax.iter().map(|diagnostic| self.line(diagnostic.span.start)).collect();
        let problems = self.problems.take();
        let told = problems.into_iter().filter(|problem| {
            broken.is_empty() || !problem.absence && !broken.contains(&self.line(problem.diagnostic.span.start))
        });
        let mut all: Vec<_> = self.syntax.iter().cloned().chain(told.map(|problem| problem.diagnostic)).collect();
        all.sort_by_key(|diagnostic| diagnostic.span.start);
        all.dedup();
        all
    }
}

/// The text with blanks for the lines in which the errors stand, so that all other offsets stay.
fn without_lines(text: &str, errors: &[Diagnostic]) -> String {
    let mut broken = errors.iter().map(|error| error.span.start).collect::<Vec<_>>();
    broken.sort_unstable();
    let mut broken = broken.into_iter().peekable();
    let mut start = 0;
    let mut kept = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        let mut whole = true;
        // An error at the end of the text stands behind its last line.
        while broken.next_if(|at| *at < end || end == text.len()).is_some() {
            whole = false;
        }
        if whole {
            kept.push_str(line);
        } else {
            kept.extend(line.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        }
        start = end;
    }
    kept
}

/// A table of a [`Document`].
pub struct Table<'d> {
    document: &'d Document<'d>,
    entries: &'d DeTable<'d>,
    span: Range<usize>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'d> Table<'d> {
    /// The document.
    pub fn document(&self) -> &'d Document<'d> {
        self.document
    }

    /// The table's header, or all of an inline table.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Is nothing in it?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a key, when it is there.
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

    /// A string.
    pub fn string(&self, key: &'static str) -> Option<Spanned<&'d str>> {
        self.item(key)?.string()
    }

    /// A string that `parse` understands.
    pub fn parsed<T, E: Display>(&self, key: &'static str, parse: impl Fn(&str) -> Result<T, E>) -> Option<Spanned<T>> {
        self.item(key)?.parsed(parse)
    }

    /// `true` or `false`.
    pub fn boolean(&self, key: &'static str) -> Option<Spanned<bool>> {
        self.item(key)?.boolean()
    }

    /// A table.
    pub fn table(&self, key: &'static str) -> Option<Table<'d>> {
        self.item(key)?.table()
    }

    /// An array's elements.
    pub fn array(&self, key: &'static str) -> Option<Vec<Item<'d>>> {
        self.item(key)?.array()
    }

    /// The tables of `[[key]]`.
    pub fn tables(&self, key: &'static str) -> Option<Vec<Table<'d>>> {
        let elements = self.item(key)?.array()?;
        Some(elements.iter().filter_map(Item::table).collect())
    }

    /// Reports that a key is missing.
    pub fn missing(&self, key: &'static str, label: &str) {
        // A key that is there but wrong was reported already.
        if !self.entries.contains_key(key) {
            let diagnostic = Diagnostic::new(self.document.source, self.span(), format!("`{key}` is missing"));
            self.document.push_absence(if label.is_empty() { diagnostic } else { diagnostic.label(label) });
        }
    }

    /// Reports the keys that nobody asked for: the last thing to do with a table.
    pub fn finish(&self) {
        let asked = self.asked.take();
        for item in self.items() {
            if !asked.contains(item.key) {
                let label = match nearest(item.key, asked.iter().copied()) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("known here: {}", asked.iter().copied().collect::<Vec<_>>().join(", ")),
                };
                let message = format!("unknown key `{}`", item.key);
                self.document.push(Diagnostic::new(self.document.source, item.key_span, message).label(label));
            }
        }
    }
}

/// A value of a [`Document`].
pub struct Item<'d> {
    document: &'d Document<'d>,
    /// Its key; of an array's element the array's.
    pub key: &'d str,
    /// Where the key stands.
    pub key_span: Range<usize>,
    /// Where the value stands; of `[table]` its header.
    pub span: Range<usize>,
    value: &'d DeValue<'d>,
    element: bool,
}

impl<'d> Item<'d> {
    /// What it is, in words: `a string`.
    pub fn kind(&self) -> &'static str {
        match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        }
    }

    fn what(&self) -> String {
        format!("{}`{}`", if self.element { "an element of " } else { "" }, self.key)
    }

    /// Reports something about the value.
    pub fn report(&self, message: impl Into<String>) {
        self.document.report(self.span.clone(), message);
    }

    /// Reports that it should have been something else. Always `None`.
    pub fn expected<T>(&self, what: &str) -> Option<T> {
        self.report(format!("{} must be {what}, not {}", self.what(), self.kind()));
        None
    }

    /// Reports that the value itself, or its kind, is wrong. Always `None`.
    pub fn expected_value<T>(&self, what: &str) -> Option<T> {
        if !matches!(self.value, DeValue::Integer(_)) {
            return self.expected(what);
        }
        self.report(format!("{} must be {what}", self.what()));
        None
    }

    /// Reports something about the value, with a text beside the caret.
    pub fn tell(&self, message: impl Into<String>, label: impl Into<String>) {
        self.document.push(Diagnostic::new(self.document.source, self.span.clone(), message).label(label));
    }

    /// Reports something about a part of the value, or another place that has to do with it.
    pub fn report_at(&self, span: Range<usize>, message: impl Into<String>) {
        self.document.report(span, message);
    }

    /// Reports something about the key, with a text beside the caret.
    pub fn tell_key(&self, message: impl Into<String>, label: impl Into<String>) {
        self.document.push(Diagnostic::new(self.document.source, self.key_span.clone(), message).label(label));
    }

    /// Reports something about the key. Always `None`.
    pub fn refuse_key<T>(&self, message: impl Into<String>) -> Option<T> {
        self.document.report(self.key_span.clone(), message);
        None
    }

    fn spanned<T>(&self, value: T) -> Spanned<T> {
        Spanned { value, span: self.span.clone() }
    }

    /// A string without NUL, which nothing on a host could take.
    pub fn string(&self) -> Option<Spanned<&'d str>> {
        match self.value {
            DeValue::String(text) if text.contains('\0') => {
                self.report(format!("`{}` holds a NUL character", self.key));
                None
            }
            DeValue::String(text) => Some(self.spanned(text.as_ref())),
            _ => self.expected("a string"),
        }
    }

    /// A string that `parse` understands.
    pub fn parsed<T, E: Display>(&self, parse: impl Fn(&str) -> Result<T, E>) -> Option<Spanned<T>> {
        let text = self.string()?;
        match parse(text.value) {
            Ok(value) => Some(Spanned { value, span: text.span }),
            Err(error) => {
                self.report(error.to_string());
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Option<Spanned<bool>> {
        match self.value {
            DeValue::Boolean(value) => Some(self.spanned(*value)),
            _ => self.expected("`true` or `false`"),
        }
    }

    /// An integer that fits. Anything else is not reported here, because what is allowed instead only the caller knows.
    pub fn integer<T: TryFrom<i128>>(&self) -> Option<T> {
        match self.value {
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix()).ok()?.try_into().ok(),
            _ => None,
        }
    }

    /// A length of time: `"30s"`, or an integer of seconds.
    pub fn duration(&self) -> Option<Spanned<Duration>> {
        match self.value {
            DeValue::String(_) => self.parsed(parse_duration),
            DeValue::Integer(number) => match parse_duration(number.as_str()) {
                Ok(duration) if number.radix() == 10 => Some(self.spanned(duration)),
                _ => self.expected("a length of time such as \"30s\", or a number of seconds up to a year"),
            },
            _ => self.expected("a length of time such as \"30s\", or a number of seconds"),
        }
    }

    /// A limit: a length of time above zero.
    pub fn limit(&self) -> Option<Spanned<Duration>> {
        let duration = self.duration()?;
        if duration.value.is_zero() {
            self.report(format!("`{}` must be longer than zero", self.key));
            return None;
        }
        Some(duration)
    }

    /// A table.
    pub fn table(&self) -> Option<Table<'d>> {
        match self.value {
            DeValue::Table(entries) => {
                Some(Table { document: self.document, entries, span: self.span.clone(), asked: RefCell::default() })
            }
            _ => self.expected("a table"),
        }
    }

    /// Is it a table?
    pub fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// Is it a string?
    pub fn is_string(&self) -> bool {
        self.value.is_str()
    }

    /// An array's elements.
    pub fn array(&self) -> Option<Vec<Self>> {
        let DeValue::Array(elements) = self.value else { return self.expected("an array") };
        let element = |value: &'d toml::Spanned<DeValue<'d>>| Self {
            document: self.document,
            key: self.key,
            key_span: self.key_span.clone(),
            span: value.span(),
            value: value.get_ref(),
            element: true,
        };
        Some(elements.iter().map(element).collect())
    }

    /// A variable's value as text. Numbers stay as they are written: `1.10` is not `1.1`.
    pub fn text(&self) -> Option<Spanned<String>> {
        let text = match self.value {
            DeValue::String(_) => self.string()?.value.to_owned(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
            DeValue::Integer(number) => {
                let diagnostic = Diagnostic::new(
                    self.document.source,
                    self.span.clone(),
                    format!("`{}` is a number that commands may read otherwise", self.key),
                );
                self.document.push(diagnostic.label(format!("write \"{number}\", or the decimal number")));
                return None;
            }
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                return self.expected("a string, a number or a boolean");
            }
        };
        Some(self.spanned(text))
    }

    /// The place in the file of a byte of the decoded string, or all of the value where escapes hide it.
    pub fn place(&self, offset: usize) -> Range<usize> {
        let whole = self.span.clone();
        let (DeValue::String(decoded), Some(raw)) = (self.value, self.document.source.text.get(whole.clone())) else {
            return whole;
        };
        let quotes = if raw.starts_with("'''") || raw.starts_with("\"\"\"") { 3 } else { 1 };
        // A newline right after the opening quotes belongs to them.
        let content = raw.get(quotes..).unwrap_or_default();
        let newline = if quotes == 3 { content.len() - content.trim_start_matches('\r').len() } else { 0 };
        let skip = match content.get(newline..) {
            Some(rest) if quotes == 3 && rest.starts_with('\n') => quotes + newline + 1,
            _ => quotes,
        };
        let same = decoded.get(..offset).is_some_and(|before| raw.get(skip..skip + offset) == Some(before));
        if !same {
            return whole;
        }
        let start = skip + offset;
        let rest = raw.get(start..).unwrap_or_default();
        let line = rest.lines().next().unwrap_or_default();
        let length = line.find("}}").map_or(line.len().min(2), |end| end + 2);
        whole.start + start..whole.start + start + length
    }
}
