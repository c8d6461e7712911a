//! Reads the text of a shell command and knows where it stands.
//!
//! Invariant: where [`Scanner::context`] says [`Context::Plain`], every shell that may be a host's `/bin/sh` reads a quoted word as
//! that word. What cannot be told, or what shells read differently, is [`Context::Ambiguous`], and stays so to the end of the text.

use super::here_document::{HereDocument, LineEnd, Opening, OpeningEnd, RAW_VALUE};

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
    /// Inside `${…}`, `$((…))` or `name[…]`, or right after `$`: quotes mean something else there, or a value is computed with.
    Expansion,
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
            Self::Expansion => "inside an expansion that begins with `$` or `[`",
            Self::HereDocument => "inside a here-document",
            Self::Comment => "inside a comment",
            Self::Ambiguous => "after something that shells read differently",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    Single,
    Double,
    /// The body of a here-document with expansions: double quotes that `"` does not end.
    Document,
    Back,
    /// `$(` or `(`.
    Parens {
        substitution: bool,
        saw_case: bool,
    },
    /// `$((`: how many parentheses are open.
    Arithmetic {
        depth: usize,
    },
    /// `${` outside double quotes.
    Brace,
    /// `${` inside double quotes.
    BraceInDouble,
    /// `name[` or `$[`: bash computes what is in there.
    Subscript,
    Comment,
}

/// A character that is only a part of a word, whatever it was written as.
const WORD: char = 'x';

/// Reads the text of a shell command piece by piece and knows the [`Context`] at its end.
///
/// It errs on the safe side: what it cannot tell is [`Context::Ambiguous`].
#[derive(Debug, Clone, Default)]
pub struct Scanner {
    frames: Vec<Frame>,
    /// The two characters before the current one; those without a special meaning because of a backslash are [`WORD`].
    before: [Option<char>; 2],
    escaped: bool,
    /// The letters and digits before the current character.
    word: String,
    /// A `<<` whose delimiter is being read.
    opening: Option<Opening>,
    /// Here-documents whose bodies start after this line.
    pending: Vec<HereDocument>,
    /// The line of the here-document that is being read.
    line: Option<String>,
    /// Reads the expansions in its body.
    body: Option<Box<Scanner>>,
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
            // The value's quotes would make `$'…'` of it.
            None | Some(Frame::Parens { .. }) if self.before[1] == Some('$') => Context::Expansion,
            None | Some(Frame::Parens { .. }) => Context::Plain,
            Some(Frame::Single) => Context::SingleQuotes,
            Some(Frame::Double) => Context::DoubleQuotes,
            Some(Frame::Back) => Context::Backquotes,
            Some(Frame::Brace | Frame::BraceInDouble | Frame::Arithmetic { .. } | Frame::Subscript) => {
                Context::Expansion
            }
            Some(Frame::Document) => Context::HereDocument,
            Some(Frame::Comment) => Context::Comment,
        }
    }

    /// Reads a value: quoted where [`Scanner::context`] is plain, or raw, which whoever wrote the command answers for.
    pub fn read_word(&mut self) {
        if let Some(line) = &mut self.line {
            line.push(RAW_VALUE);
        }
        if self.opening.is_some() {
            self.ambiguous = true;
        }
        self.before = [Some(WORD), Some(WORD)];
        self.word.push(WORD);
    }

    /// Reads literal text of the command.
    pub fn read(&mut self, text: &str) {
        for c in text.chars() {
            if let Some(line) = &mut self.line {
                if c == '\n' {
                    let line = std::mem::take(line);
                    self.end_of_document_line(&line);
                    self.before = [None, Some('\n')];
                } else {
                    line.push(c);
                }
                continue;
            }
            if let Some(seen) = self.read_char(c) {
                self.before = [self.before[1], Some(seen)];
            }
        }
    }

    /// Reads a character outside here-documents. What the next one sees of it; none for a backslash and for a line that goes on.
    fn read_char(&mut self, c: char) -> Option<char> {
        if let Some(opening) = &mut self.opening {
            match opening.read(self.before[1], c) {
                OpeningEnd::Inside => return Some(c),
                OpeningEnd::HereString => {
                    self.opening = None;
                    return Some(c);
                }
                OpeningEnd::Document(document) => {
                    self.opening = None;
                    self.ambiguous |= document.is_none();
                    self.pending.extend(document);
                }
            }
        }
        if std::mem::take(&mut self.escaped) {
            if c == '\n' {
                return None;
            }
            self.word.push(WORD);
            return Some(WORD);
        }
        let top = self.frames.last().copied();
        if c == '\\' && !matches!(top, Some(Frame::Single | Frame::Comment)) {
            self.escaped = true;
            return None;
        }
        match (top, c) {
            (Some(Frame::Single), '\'')
            | (Some(Frame::Double), '"')
            | (Some(Frame::Back), '`')
            | (Some(Frame::Brace | Frame::BraceInDouble), '}')
            | (Some(Frame::Subscript), ']') => drop(self.frames.pop()),
            (Some(Frame::Comment), '\n') => {
                self.frames.pop();
                self.read_plain(c);
            }
            (Some(Frame::Single | Frame::Back | Frame::Comment), _) => {}
            (Some(Frame::Double | Frame::Document), c) => self.read_double(c),
            (Some(Frame::BraceInDouble), c) => match c {
                '"' | '\'' | '{' if self.before[1] != Some('$') || c != '{' => self.ambiguous = true,
                c => self.read_double(c),
            },
            (Some(Frame::Brace), c) => match c {
                '\'' if self.before[1] == Some('$') => self.ambiguous = true,
                '\'' => self.frames.push(Frame::Single),
                '"' => self.frames.push(Frame::Double),
                // `${ …;}` and `${|…;}` are commands in some shells.
                c if self.before == [Some('$'), Some('{')] && (c.is_whitespace() || c == '|') => self.ambiguous = true,
                c => self.read_dollar(c, Frame::Brace),
            },
            (Some(Frame::Arithmetic { depth }), c) => self.read_arithmetic(c, depth),
            (Some(Frame::Subscript), c) => self.read_subscript(c),
            (None | Some(Frame::Parens { .. }), c) => self.read_plain(c),
        }
        // The second of `$$` begins nothing.
        Some(if c == '$' && self.before[1] == Some('$') { WORD } else { c })
    }

    fn read_double(&mut self, c: char) {
        if c == '[' && self.before[1] == Some('$') {
            self.ambiguous = true;
        }
        self.read_dollar(c, Frame::BraceInDouble);
    }

    /// What begins a substitution, in and outside quotes. `brace` is what `${` begins here.
    fn read_dollar(&mut self, c: char, brace: Frame) {
        match (self.before[1], c) {
            (_, '`') => self.open_substitution(Frame::Back),
            (Some('$'), '(') => self.open_substitution(Frame::Parens { substitution: true, saw_case: false }),
            (Some('$'), '{') => self.frames.push(brace),
            _ => {}
        }
    }

    fn open_substitution(&mut self, frame: Frame) {
        // Where does the body of a here-document begin that was announced outside?
        self.ambiguous |= !self.pending.is_empty();
        self.word.clear();
        self.frames.push(frame);
    }

    fn read_plain(&mut self, c: char) {
        let starts_word = self.before[1].is_none_or(|b| " \t\n;&|()".contains(b));
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
            '#' if starts_word => self.frames.push(Frame::Comment),
            '#' if self.before[1].is_some_and(|b| b.is_whitespace() || "<>".contains(b)) => self.ambiguous = true,
            '(' if self.before[1] == Some('(') => self.open_second_parenthesis(),
            '(' if self.before[1] != Some('$') => {
                self.frames.push(Frame::Parens { substitution: false, saw_case: false });
            }
            ')' => self.close_parenthesis(),
            '[' if self.before[1].is_some_and(|b| b.is_alphanumeric() || "_$".contains(b)) => {
                self.frames.push(Frame::Subscript);
            }
            '<' if self.before[1] == Some('<') && self.before[0] != Some('<') => {
                self.opening = Some(Opening::default());
            }
            '\n' if !self.pending.is_empty() => self.line = Some(String::new()),
            c => self.read_dollar(c, Frame::Brace),
        }
    }

    fn open_second_parenthesis(&mut self) {
        match self.frames.last_mut() {
            Some(top @ Frame::Parens { substitution: true, .. }) if self.before[0] == Some('$') => {
                *top = Frame::Arithmetic { depth: 2 };
            }
            // Arithmetic in bash, a subshell in a subshell elsewhere.
            _ => self.ambiguous = true,
        }
    }

    fn close_parenthesis(&mut self) {
        // A pattern of `case` also ends in `)`, so below `$(case` nobody can tell which parenthesis closes.
        if let Some(Frame::Parens { saw_case, substitution }) = self.frames.pop() {
            let unclear_case = saw_case && (substitution || !self.frames.is_empty());
            let unread_document = substitution && !self.pending.is_empty();
            self.ambiguous |= unclear_case || unread_document;
        }
    }

    fn read_arithmetic(&mut self, c: char, depth: usize) {
        let depth = match c {
            '(' if self.before[1] == Some('$') => return self.read_dollar(c, Frame::BraceInDouble),
            '(' => depth + 1,
            ')' => depth - 1,
            '\'' | '"' | ';' => return self.ambiguous = true,
            '#' if !self.before[1].is_some_and(char::is_alphanumeric) => return self.ambiguous = true,
            c => return self.read_double(c),
        };
        self.frames.pop();
        if depth > 0 {
            self.frames.push(Frame::Arithmetic { depth });
        } else if self.before[1] != Some(')') {
            // It was a subshell in a substitution: arithmetic ends in `))`.
            self.ambiguous = true;
        }
    }

    fn read_subscript(&mut self, c: char) {
        match c {
            '[' => self.frames.push(Frame::Subscript),
            '\'' if self.before[1] != Some('$') => self.frames.push(Frame::Single),
            '"' => self.frames.push(Frame::Double),
            '(' if self.before[1] == Some('$') => self.read_dollar(c, Frame::Brace),
            // The end of the word, except in bash where the subscript goes on.
            '\'' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => self.ambiguous = true,
            c if c.is_whitespace() => self.ambiguous = true,
            c => self.read_dollar(c, Frame::Brace),
        }
    }

    fn end_of_document_line(&mut self, line: &str) {
        let Some(document) = self.pending.first_mut() else { return };
        match document.read_line(line) {
            LineEnd::Inside => {}
            LineEnd::Expanded => self.read_document(line),
            LineEnd::Delimiter => {
                self.pending.remove(0);
                self.body = None;
            }
            LineEnd::Ambiguous => self.ambiguous = true,
        }
        self.line = if self.pending.is_empty() { None } else { Some(String::new()) };
    }
    fn read_document(&mut self, line: &str) {
        let in_document = || Box::new(Self { frames: vec![Frame::Document], ..Self::default() });
        let body = self.body.get_or_insert_with(in_document);
        body.read(line);
        body.read("\n");
        // dash reads on to the end of a substitution before it looks for the delimiter, bash looks for the delimiter first.
        self.ambiguous |= body.ambiguous || body.frames != [Frame::Document];
    }
}
