//! One value, and what it can be read as.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::Range;
use std::time::Duration;

use toml::de::DeValue;

use super::{Document, Table};
use crate::model::config::setting::Spanned;
use crate::model::text::duration::parse_duration;

pub struct Item<'d> {
    pub document: &'d Document<'d>,
    /// Its key; of an array's element the array's.
    pub key: &'d str,
    pub key_span: Range<usize>,
    /// Where the value stands; of `[table]` its header.
    pub span: Range<usize>,
    pub(super) value: &'d DeValue<'d>,
    pub(super) element: bool,
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
        self.document.tell(self.span.clone(), message, label);
    }

    pub fn tell_key(&self, message: impl Into<String>, label: impl Into<String>) {
        self.document.tell(self.key_span.clone(), message, label);
    }

    /// Reports something about the key. Always `None`.
    pub fn refuse_key<T>(&self, message: impl Into<String>) -> Option<T> {
        self.document.report(self.key_span.clone(), message);
        None
    }

    /// The name that its key is, or is a part of, as `parse` understands it.
    pub fn parsed_key<T, E: Display>(&self, name: &str, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        parse(name).map_or_else(|error| self.refuse_key(error.to_string()), Some)
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
        let parsed = parse(self.string()?.value).inspect_err(|error| self.report(error.to_string()));
        Some(self.spanned(parsed.ok()?))
    }

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

    pub fn table(&self) -> Option<Table<'d>> {
        match self.value {
            DeValue::Table(entries) => {
                Some(Table { document: self.document, entries, span: self.span.clone(), asked: RefCell::default() })
            }
            _ => self.expected("a table"),
        }
    }

    pub fn is_table(&self) -> bool {
        self.value.is_table()
    }

    pub fn is_array(&self) -> bool {
        self.value.is_array()
    }

    pub fn is_string(&self) -> bool {
        self.value.is_str()
    }

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

    /// The tables of `[[key]]`.
    pub fn tables(&self) -> Option<Vec<Table<'d>>> {
        if !self.value.is_array() {
            return self.expected(&format!("an array of tables, `[[{}]]`", self.key));
        }
        Some(self.array()?.iter().filter_map(Self::table).collect())
    }

    /// A variable's value as text. Numbers stay as they are written: `1.10` is not `1.1`.
    pub fn text(&self) -> Option<Spanned<String>> {
        let text = match self.value {
            DeValue::String(_) => self.string()?.value.to_owned(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
            DeValue::Integer(number) => {
                self.tell(
                    format!("`{}` is a number that commands may read otherwise", self.key),
                    format!("write \"{number}\", or the decimal number"),
                );
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
