//! Characters of a TOML file that look like blanks and are none, as text from a web page or a word processor brings them. The parser's words
//! for them are about what it expected there.

use std::sync::Arc;

use crate::model::config::diagnostic::{Diagnostic, Source};
use crate::model::text::encoding::{code_point, false_blank};

/// The text with plain spaces for such characters outside strings and comments, every offset as it was; and the first of each line, told.
/// A byte order mark at the beginning is what it is called.
pub(super) fn with_plain_blanks(source: &Arc<Source>) -> (String, Vec<Diagnostic>) {
    let mut text = String::with_capacity(source.text.len());
    let mut told = Vec::new();
    let mut state = State::Outside;
    let mut line_told = false;
    let mut rest = source.text.as_str();
    while let Some(c) = rest.chars().next() {
        let at = text.len();
        let (next, length) = state.step(c, rest);
        let (token, after) = rest.split_at(length);
        line_told &= c != '\n';
        match false_blank(c) {
            Some((name, advice)) if state == State::Outside && (at > 0 || c != '\u{feff}') => {
                if !std::mem::replace(&mut line_told, true) {
                    let message = format!("{name} ({}) outside a string", code_point(c));
                    told.push(Diagnostic::new(source, at..at + length, message).label(advice));
                }
                text.extend(std::iter::repeat_n(' ', length));
            }
            _ => text.push_str(token),
        }
        (state, rest) = (next, after);
    }
    (text, told)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Outside,
    Comment,
    /// In a string that this ends: `"`, `'`, or three of them.
    String(&'static str),
}

impl State {
    /// What follows the token that the rest begins with, and the token's length.
    fn step(self, c: char, rest: &str) -> (Self, usize) {
        let quotes = ["\"\"\"", "'''", "\"", "'"];
        match self {
            Self::Outside => match quotes.into_iter().find(|quotes| rest.starts_with(quotes)) {
                Some(quotes) => (Self::String(quotes), quotes.len()),
                None => (if c == '#' { Self::Comment } else { self }, c.len_utf8()),
            },
            Self::Comment => (if c == '\n' { Self::Outside } else { self }, c.len_utf8()),
            Self::String(end) => {
                let escaped = || rest.chars().nth(1).filter(|c| *c != '\n');
                match c {
                    '\\' if end.starts_with('"') => (self, 1 + escaped().map_or(0, char::len_utf8)),
                    // Left open: the parser tells that, and the next line is none of it.
                    '\n' if end.len() == 1 => (Self::Outside, 1),
                    _ if rest.starts_with(end) => {
                        // `""""` is one quote, and the end.
                        let all = rest.len() - rest.trim_start_matches(c).len();
                        (Self::Outside, if end.len() == 3 { all.min(5) } else { 1 })
                    }
                    _ => (self, c.len_utf8()),
                }
            }
        }
    }
}
