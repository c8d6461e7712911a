//! A server's own words in our messages.

use crate::model::text::printable::printable;

/// Characters that are shown: a packet holds 256 KiB of them.
const MAX_SHOWN: usize = 400;

/// What a server said, on one line, not too long, and fit for a terminal.
pub(super) fn server_words(said: &str) -> String {
    let words: Vec<&str> = said.split_whitespace().collect();
    let words: String = words.join(" ").chars().take(MAX_SHOWN).collect();
    printable(words.trim_end_matches('.').as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_s_words_are_one_short_line_that_does_nothing_to_a_terminal() {
        assert_eq!(server_words(" Ask \x1b[1mthe NOC\r\n\n first. \n"), r"Ask \x1b[1mthe NOC first");
        assert_eq!(server_words(&"word ".repeat(100_000)).len(), MAX_SHOWN);
    }
}
