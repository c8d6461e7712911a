//! Text of a host made fit for a terminal: host output, error texts, banners, disconnect messages.
//!
//! Invariant: what comes out holds no control character but the tab, no escape sequence, and nothing that changes the
//! direction or the place of the text around it. What was there instead stays visible: `\x1b`, `\u{202e}`.
//! A backslash that the host printed itself is left alone, so the escapes are for the eye and cannot be read back; the
//! log on disk keeps the bytes.

use std::fmt::Write as _;

/// All of `bytes`, with everything escaped that a terminal could obey. A newline is escaped too: the caller splits lines.
pub fn printable(bytes: &[u8]) -> String {
    if let Ok(text) = str::from_utf8(bytes)
        && bytes.iter().all(|byte| (b' '..=b'~').contains(byte))
    {
        return text.to_owned();
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\t' => text.push(c),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                // Writing to a String does not fail.
                '\0'..='\x1f' | '\x7f' => _ = write!(text, "\\x{:02x}", u32::from(c)),
                c if is_invisible(c) => _ = write!(text, "\\u{{{:x}}}", u32::from(c)),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// One line of output. A progress bar redraws its line after a carriage return, so what follows the last one (but for those
/// at the very end) is what a terminal would show in the end, and is all that is kept.
pub fn printable_line(line: &[u8]) -> String {
    printable(last_drawn(line))
}

/// What a host says, or a reason with its hints, on one line.
pub fn one_line(text: &str) -> String {
    printable(text.as_bytes())
}

/// What a terminal would show in the end of a line that was drawn several times.
pub fn last_drawn(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let end = line.iter().rposition(|&b| b != b'\r').map_or(0, |last| last + 1);
    let line = line.get(..end).unwrap_or_default();
    line.rsplit(|&b| b == b'\r').next().unwrap_or(line)
}

/// Is it a character that a terminal may act on, or that cannot be seen and hides, joins or moves the text around it? The one list of
/// them: of hosts' output, of files' excerpts, and of what looks like a blank in a file. Variation selectors are not in it, which belong to
/// what is seen.
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{180e}' // soft hyphen, Mongolian vowel separator
            | '\u{200b}'..='\u{200f}' | '\u{61c}' // zero width, direction
            | '\u{2028}'..='\u{202e}' // line and paragraph separator, direction
            | '\u{2060}'..='\u{206f}' // word joiner, invisible operators, direction, deprecated formatting
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' // byte order mark, annotations
            | '\u{e0000}'..='\u{e007f}') // tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assert_harmless(text: &str) {
        for c in text.chars() {
            assert!(c == '\t' || c >= ' ', "control {c:?} in {text:?}");
            assert!(c == '\t' || !is_invisible(c), "{c:?} in {text:?}");
        }
    }

    /// Sequences that have done harm in terminals: titles and their report, clipboard, cursor report, screen change,
    /// DECRQSS, sixel, hyperlinks, bracketed paste end, C1 forms, trojan source.
    const CORPUS: &[&[u8]] = &[
        b"\x1b]0;owned\x07\x1b[21t",
        b"\x1b]52;c;cm0gLXJmIC8=\x07",
        b"\x1b[6n\x1b[c\x1bZ\x05",
        b"\x1b[?1049h\x1b[2J\x1b[H",
        b"\x1bP$q\"p\x1b\\",
        b"\x1bPq#0;2;0;0;0\x1b\\",
        b"\x1b]8;;http://example.org\x1b\\text\x1b]8;;\x1b\\",
        b"\x1b[201~rm -rf /\n",
        b"\x9b31m\x9d0;x\x9c",
        "\u{9b}31m".as_bytes(),
        "if access == \"user\u{202e} \u{2066}// admin\u{2069} \u{2066}".as_bytes(),
        b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x7f",
        b"\xff\xfe\xc3\x28\xe2\x82",
        b"ok\r\x1b[Kfailed\r\n",
    ];

    #[test]
    fn nothing_in_the_corpus_reaches_the_terminal() {
        for sample in CORPUS {
            assert_harmless(&printable(sample));
            assert_harmless(&printable_line(sample));
        }
    }

    #[test]
    fn what_was_there_stays_visible() {
        assert_eq!(printable(b"a\tb\x1b[1m\xff\x00"), "a\tb\\x1b[1m\\xff\\x00");
        assert_eq!(printable("grün \u{202e}x \u{9b}".as_bytes()), "grün \\u{202e}x \\u{9b}");
        assert_eq!(printable(b"one\ntwo\r\n"), "one\\ntwo\\r\\n");
    }

    #[test]
    fn the_last_drawing_of_a_progress_line_wins() {
        assert_eq!(printable_line(b"10 %\r55 %\r100 %\r\n"), "100 %");
        assert_eq!(printable_line(b"plain\r\n"), "plain");
        assert_eq!(printable_line(b"\r\r"), "");
        assert_eq!(printable_line(b""), "");
    }

    proptest! {
        #[test]
        fn any_bytes_become_harmless(bytes: Vec<u8>) {
            assert_harmless(&printable(&bytes));
            assert_harmless(&printable_line(&bytes));
        }

        #[test]
        fn any_text_becomes_harmless(text: String) {
            assert_harmless(&printable(text.as_bytes()));
        }
    }
}
