//! Here-documents: which lines of a command are their bodies.
//!
//! Only delimiters that all shells read alike are known: a plain word, bare, in one pair of quotes, or after one backslash.

/// Stands in a line for a raw value, which nobody knows yet.
pub(super) const RAW_VALUE: char = '\u{ffff}';

/// A here-document that was announced on a line.
#[derive(Debug, Clone)]
pub(super) struct HereDocument {
    delimiter: String,
    strip_tabs: bool,
    /// In the body `$(…)` is a command; not when the delimiter is quoted, and the body plain text.
    expands: bool,
    /// What came before in this logical line: lines that end in a backslash go on.
    continued: String,
}

/// What the end of a body's line means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineEnd {
    /// The body goes on.
    Inside,
    /// The body goes on, and what the line holds is expanded.
    Expanded,
    Delimiter,
    /// Shells differ.
    Ambiguous,
}

impl HereDocument {
    /// Reads a delimiter as it was written, or none if shells may differ about it.
    pub(super) fn parse(written: &str, strip_tabs: bool) -> Option<Self> {
        let unquoted = ['\'', '"']
            .iter()
            .find_map(|&q| written.strip_prefix(q)?.strip_suffix(q))
            .or_else(|| written.strip_prefix('\\'));
        let delimiter = unquoted.unwrap_or(written);
        let plain = !delimiter.is_empty() && delimiter.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        plain.then(|| Self {
            delimiter: delimiter.to_owned(),
            strip_tabs,
            expands: unquoted.is_none(),
            continued: String::new(),
        })
    }

    pub(super) fn read_line(&mut self, line: &str) -> LineEnd {
        let strip = |line: &str| if self.strip_tabs { line.trim_start_matches('\t') } else { line }.to_owned();
        let whole = strip(line);
        if whole.contains(RAW_VALUE) && whole.replace(RAW_VALUE, "") == self.delimiter {
            return LineEnd::Ambiguous;
        }
        let ends = whole == self.delimiter;
        // bash takes `EOF)` and `` EOF` `` inside a substitution for the end, with a warning.
        if whole.strip_prefix(&self.delimiter).is_some_and(|rest| rest.starts_with([')', '`'])) {
            return LineEnd::Ambiguous;
        }
        if self.expands {
            let joined = format!("{}{line}", self.continued);
            if !self.continued.is_empty() && (ends || strip(&joined) == self.delimiter) {
                return LineEnd::Ambiguous;
            }
            let backslashes = line.len() - line.trim_end_matches('\\').len();
            self.continued = match joined.strip_suffix('\\') {
                Some(start) if backslashes % 2 == 1 => start.to_owned(),
                _ => String::new(),
            };
        }
        match (ends, self.expands) {
            (true, _) => LineEnd::Delimiter,
            (false, true) => LineEnd::Expanded,
            (false, false) => LineEnd::Inside,
        }
    }
}

/// A `<<` whose delimiter is being read.
#[derive(Debug, Clone, Default)]
pub(super) struct Opening {
    written: String,
    strip_tabs: bool,
}

/// What a character after `<<` means.
#[derive(Debug)]
pub(super) enum OpeningEnd {
    /// It belongs to the delimiter.
    Inside,
    /// It was the third `<` of a here-string: there is no document.
    HereString,
    /// It ends the delimiter, and is to be read as what follows it. None: shells may differ about the delimiter.
    Document(Option<HereDocument>),
}

impl Opening {
    /// Reads one character; `before` is the one before it.
    pub(super) fn read(&mut self, before: Option<char>, c: char) -> OpeningEnd {
        let is_third = self.written.is_empty() && !self.strip_tabs && before == Some('<');
        match c {
            '<' if is_third => OpeningEnd::HereString,
            '-' if is_third => {
                self.strip_tabs = true;
                OpeningEnd::Inside
            }
            ' ' | '\t' if self.written.is_empty() => OpeningEnd::Inside,
            ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => {
                OpeningEnd::Document(HereDocument::parse(&self.written, self.strip_tabs))
            }
            c => {
                self.written.push(c);
                OpeningEnd::Inside
            }
        }
    }
}
