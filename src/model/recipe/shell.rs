//! Quoting for the POSIX shell, in one place.
//!
//! [`quote`] makes one word of any text. [`Scanner`] reads a command's own text and tells where a quoted word may stand:
//! a placeholder inside quotes, a here-document, a comment or backquotes would come out of its quotes again, and the value
//! would run as a command. Such a place is refused when the recipe is read.
//!
//! Rejected: values as positional parameters or environment variables. They are as safe, but what `--dry-run` shows would
//! no longer be what a person can paste into a shell.

mod here_document;
mod scanner;
#[cfg(test)]
mod tests;

pub use scanner::{Context, Scanner};

/// Words that a shell reads as syntax where a command may start; `select`, `function`, `time` and `coproc` only in some shells.
const RESERVED: [&str; 17] = [
    "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in", "select", "then",
    "time", "until", "while",
];

/// One shell word that stands for exactly `text`, when it stands alone between blanks.
///
/// ```
/// assert_eq!(fleet::model::recipe::shell::quote("it's"), r"'it'\''s'");
/// assert_eq!(fleet::model::recipe::shell::quote("web1.example.org"), "web1.example.org");
/// ```
pub fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+:./-".contains(c);
    // `=` would make an assignment of the first word, `,` parts a brace expansion; `~` and everything else a shell may touch is quoted.
    if !text.is_empty() && text.chars().all(plain) && !RESERVED.contains(&text) {
        return text.to_owned();
    }
    quote_always(text)
}

/// A quoted piece of a shell word: like [`quote`], but safe beside any other text of the word, where bare text would melt into
/// its neighbours. In `$HOME{{x}}` it would change the variable's name, in `{{x}}>log` a number would become a file descriptor.
pub fn quote_beside(before: Option<char>, text: &str, after: Option<char>) -> String {
    let apart = |c: Option<char>, marks: &str| c.is_none_or(|c| " \t\n/=:;&|@%+.-".contains(c) || marks.contains(c));
    if apart(before, "(<>") && apart(after, ")") { quote(text) } else { quote_always(text) }
}

fn quote_always(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
