//! Quoting for the POSIX shell, in one place.
//!
//! [`quote`] makes one word of any text. [`Scanner`] reads a command's own text and tells where a quoted word may stand:
//! a placeholder inside quotes, a here-document, a comment or backquotes would come out of its quotes again, and the value
//! would run as a command. Such a place is refused when the recipe is read.
//!
//! Rejected: values as positional parameters or environment variables. They are as safe, but what `--dry-run` shows would
//! no longer be what a person can paste into a shell.

/// One shell word that stands for exactly `text`.
///
/// ```
/// assert_eq!(fleet::model::shell::quote("it's"), r"'it'\''s'");
/// assert_eq!(fleet::model::shell::quote("web1.example.org"), "web1.example.org");
/// ```
pub fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+:,./-".contains(c);
    // `=` would make an assignment of the first word; `~` and everything else a shell may touch is quoted.
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Where in a shell command a position stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// Outside all quotes: a quoted word may stand here.
    Plain,
    /// Inside `'…'`.
    SingleQuotes,
    /// Inside `"…"`.
    DoubleQuotes,
    /// Inside `` `…` ``, where backslashes are read twice.
    Backquotes,
    /// In the body of a here-document.
    HereDocument,
    /// After `#`.
    Comment,
    /// After something that shells read differently, such as `$'…'`, or `case` inside `$(…)`.
    Ambiguous,
}

impl Context {
    /// The context in words, for an error: `inside double quotes`.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Plain => "outside quotes",
            Self::SingleQuotes => "inside single quotes",
            Self::DoubleQuotes => "inside double quotes",
            Self::Backquotes => "inside backquotes",
            Self::HereDocument => "inside a here-document",
            Self::Comment => "inside a comment",
            Self::Ambiguous => "after quotes that shells read differently",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    Single,
    Double,
    Back,
    /// `$(` or `(`.
    Parens {
        substitution: bool,
        saw_case: bool,
    },
    /// `${` inside double quotes.
    BraceInDouble,
    Comment,
}

#[derive(Debug, Clone, Default)]
struct HereDocument {
    delimiter: String,
    strip_tabs: bool,
}

/// Reads the text of a shell command piece by piece and knows the [`Context`] at its end.
///
/// It errs on the safe side: what it cannot tell is [`Context::Ambiguous`].
#[derive(Debug, Clone, Default)]
pub struct Scanner {
    frames: Vec<Frame>,
    /// The two characters before the current one.
    before: [Option<char>; 2],
    escaped: bool,
    word: String,
    /// A `<<` whose delimiter is being read.
    opening: Option<HereDocument>,
    /// Here-documents whose bodies start after this line.
    pending: Vec<HereDocument>,
    /// The line of the here-document that is being read.
    line: Option<String>,
    ambiguous: bool,
}

impl Scanner {
    /// The context at the end of what was read so far.
    pub fn context(&self) -> Context {
        if self.ambiguous || self.opening.is_some() {
            return Context::Ambiguous;
        }
        if self.line.is_some() {
            return Context::HereDocument;
        }
        if self.frames.contains(&Frame::Back) {
            return Context::Backquotes;
        }
        match self.frames.last() {
            None | Some(Frame::Parens { .. }) if self.escaped => Context::Ambiguous,
            None | Some(Frame::Parens { .. }) => Context::Plain,
            Some(Frame::Single) => Context::SingleQuotes,
            Some(Frame::Double | Frame::BraceInDouble) => Context::DoubleQuotes,
            Some(Frame::Back) => Context::Backquotes,
            Some(Frame::Comment) => Context::Comment,
        }
    }

    /// Reads a quoted word that stands where [`Scanner::context`] is plain.
    pub fn read_word(&mut self) {
        self.before = [Some('x'), Some('x')];
        self.word.push('x');
    }

    /// Reads literal text of the command.
    pub fn read(&mut self, text: &str) {
        for c in text.chars() {
            self.read_char(c);
            self.before = [self.before[1], Some(c)];
        }
    }

    fn read_char(&mut self, c: char) {
        if let Some(line) = &mut self.line {
            if c == '\n' {
                let line = std::mem::take(line);
                self.end_of_document_line(&line);
            } else {
                line.push(c);
            }
            return;
        }
        if self.opening.is_some() && self.read_delimiter(c) {
            return;
        }
        if std::mem::take(&mut self.escaped) {
            return;
        }
        match self.frames.last().copied() {
            Some(Frame::Single) => {
                if c == '\'' {
                    self.frames.pop();
                }
            }
            Some(Frame::Comment) => {
                if c == '\n' {
                    self.frames.pop();
                    self.read_plain(c);
                }
            }
            Some(Frame::Double) => self.read_double(c),
            Some(Frame::BraceInDouble) => match c {
                '}' => drop(self.frames.pop()),
                '"' | '\'' | '`' => self.ambiguous = true,
                '\\' => self.escaped = true,
                _ => {}
            },
            Some(Frame::Back) => match c {
                '`' => drop(self.frames.pop()),
                '\\' => self.escaped = true,
                _ => {}
            },
            None | Some(Frame::Parens { .. }) => self.read_plain(c),
        }
    }

    fn read_double(&mut self, c: char) {
        match (self.before[1], c) {
            (_, '"') => drop(self.frames.pop()),
            (_, '\\') => self.escaped = true,
            (_, '`') => self.frames.push(Frame::Back),
            (Some('$'), '(') => self.open_substitution(),
            (Some('$'), '{') => self.frames.push(Frame::BraceInDouble),
            _ => {}
        }
    }

    fn open_substitution(&mut self) {
        self.word.clear();
        self.frames.push(Frame::Parens { substitution: true, saw_case: false });
    }

    fn read_plain(&mut self, c: char) {
        let starts_word = self.before[1].is_none_or(|b| b.is_whitespace() || ";&|()".contains(b));
        if c.is_alphanumeric() {
            self.word.push(c);
            return;
        }
        if std::mem::take(&mut self.word) == "case"
            && let Some(Frame::Parens { saw_case, .. }) = self.frames.last_mut()
        {
            *saw_case = true;
        }
        match c {
            '\'' if self.before[1] == Some('$') => self.ambiguous = true,
            '\'' => self.frames.push(Frame::Single),
            '"' => self.frames.push(Frame::Double),
            '`' => self.frames.push(Frame::Back),
            '\\' => self.escaped = true,
            '#' if starts_word => self.frames.push(Frame::Comment),
            '(' if self.before[1] == Some('$') => self.open_substitution(),
            '(' => self.frames.push(Frame::Parens { substitution: false, saw_case: false }),
            ')' => {
                // A pattern of `case` also ends in `)`, so below `$(case` nobody can tell which parenthesis closes.
                if let Some(Frame::Parens { saw_case, substitution }) = self.frames.pop()
                    && saw_case
                    && (substitution || !self.frames.is_empty())
                {
                    self.ambiguous = true;
                }
            }
            '<' if self.before == [Some('<'), Some('<')] => self.opening = None,
            '<' if self.before[1] == Some('<') => self.opening = Some(HereDocument::default()),
            '\n' if !self.pending.is_empty() => self.line = Some(String::new()),
            _ => {}
        }
    }

    /// Reads one character of a here-document's delimiter. False: the character does not belong to it.
    fn read_delimiter(&mut self, c: char) -> bool {
        let Some(opening) = &mut self.opening else { return false };
        match c {
            '<' if opening.delimiter.is_empty() && self.before[1] == Some('<') => {
                self.opening = None;
                true
            }
            '-' if opening.delimiter.is_empty() && self.before[1] == Some('<') => {
                opening.strip_tabs = true;
                true
            }
            ' ' | '\t' if opening.delimiter.is_empty() => true,
            '\'' | '"' | '\\' => true,
            c if c.is_whitespace() || ";&|()<>".contains(c) => {
                let document = self.opening.take().unwrap_or_default();
                self.pending.push(document);
                false
            }
            c => {
                opening.delimiter.push(c);
                true
            }
        }
    }

    fn end_of_document_line(&mut self, line: &str) {
        let ended = self.pending.first().is_some_and(|document| {
            let line = if document.strip_tabs { line.trim_start_matches('\t') } else { line };
            line == document.delimiter
        });
        if ended {
            self.pending.remove(0);
        }
        self.line = if self.pending.is_empty() { None } else { Some(String::new()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context_after(text: &str) -> Context {
        let mut scanner = Scanner::default();
        scanner.read(text);
        scanner.context()
    }

    #[test]
    fn quoting_is_left_off_only_where_a_shell_changes_nothing() {
        assert_eq!(quote(""), "''");
        assert_eq!(quote("/srv/my-site_1.2"), "/srv/my-site_1.2");
        assert_eq!(quote("~"), "'~'");
        assert_eq!(quote("A=b"), "'A=b'");
        assert_eq!(quote("a\nb"), "'a\nb'");
    }

    #[test]
    fn context_is_known_at_every_place_where_a_value_may_stand() {
        let cases = [
            ("cd ", Context::Plain),
            ("echo '", Context::SingleQuotes),
            ("echo 'it'", Context::Plain),
            ("echo \"", Context::DoubleQuotes),
            ("echo \"a\\\"", Context::DoubleQuotes),
            ("echo \"$(cat ", Context::Plain),
            ("echo \"$(cat x)", Context::DoubleQuotes),
            ("echo \"$(cat \"", Context::DoubleQuotes),
            ("echo \"${x:-", Context::DoubleQuotes),
            ("echo \"${x:-\"a", Context::Ambiguous),
            ("echo `", Context::Backquotes),
            ("echo `'", Context::Backquotes),
            ("# don't ", Context::Comment),
            ("# don't\ncd ", Context::Plain),
            ("echo a#b ", Context::Plain),
            ("echo ${#x} ", Context::Plain),
            ("cat <<EOF\n", Context::HereDocument),
            ("cat <<-'EOF' | sort\na\n\tEOF\ncd ", Context::Plain),
            ("cat <<EOF\nEOF \n", Context::HereDocument),
            ("cat <<< a\ncd ", Context::Plain),
            ("cat << ", Context::Ambiguous),
            ("echo $'", Context::Ambiguous),
            ("echo \\", Context::Ambiguous),
            ("echo $(case a in a) \"", Context::Ambiguous),
            ("case $1 in a) cd ", Context::Plain),
            ("(cd ", Context::Plain),
        ];
        for (text, expected) in cases {
            assert_eq!(context_after(text), expected, "after {text:?}");
        }
    }
}
