//! Text that only looks like the text that is meant: other encodings than UTF-8, and characters that look like a blank, or like nothing.

use crate::model::text::printable::is_invisible;

/// What an editor or a shell on Windows writes instead of UTF-8, with a byte order mark or without: `UTF-16`, `UTF-32`.
pub fn wide_encoding(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] | [1..=0xff, 0, 0, 0, ..] | [0, 0, 0, 1..=0xff, ..] => {
            Some("UTF-32")
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [1..=0xff, 0, 1..=0xff, 0, ..] | [0, 1..=0xff, 0, 1..=0xff, ..] => {
            Some("UTF-16")
        }
        _ => None,
    }
}

/// A character that a person takes for a blank, or does not see at all, and that a parser or a shell takes for a part of a word: what to
/// call it, and what to do with it.
pub fn false_blank(c: char) -> Option<(&'static str, &'static str)> {
    let name = match c {
        '\u{a0}' => "a non-breaking space",
        '\u{202f}' => "a narrow non-breaking space",
        '\u{3000}' => "an ideographic space",
        '\u{200b}' => "a zero-width space",
        '\u{feff}' => "a byte order mark",
        c if c.is_ascii() => return None,
        c if is_invisible(c) => "an invisible character",
        c if c.is_whitespace() => "a blank that is no plain space",
        _ => return None,
    };
    Some((name, if is_invisible(c) { "delete it" } else { "type a plain space here" }))
}

/// How it is written in a message: `U+00A0`.
pub fn code_point(c: char) -> String {
    format!("U+{:04X}", u32::from(c))
}
