//! Text with placeholders: `cd {{home}}`.
//!
//! `{{name}}` is quoted for the shell, `{{name|raw}}` is not, `\{{` is a literal `{{`. A placeholder that stands where quoting
//! would not hold (inside quotes, a here-document, …) is refused when the recipe is read.
//!
//! Rejected: a template engine for commands. The plan must hold every command final except for values that a step registers,
//! so half of the placeholders are bound hours before the others, and that is not what engines do. There are no conditions and
//! loops either: the shell has them.

use serde::{Deserialize, Serialize};

use crate::model::recipe::shell::{self, Context, Scanner};
use crate::model::text::name::{NameError, VarName};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Piece {
    Text(String),
    /// A value, quoted for the shell.
    Quoted(VarName),
    /// A value as it is.
    Raw(VarName),
}

/// Stands for a neighbour whose value is not known: a value beside it is quoted in any case.
const UNKNOWN: char = '\0';

impl Piece {
    fn known_text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Quoted(_) | Self::Raw(_) => "",
        }
    }
}

/// What a template's text is read by, hence how values are put into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// A shell command: values are quoted unless `|raw` says otherwise.
    Shell,
    /// Plain text, such as a folder's name: values stand as they are.
    Plain,
}

/// Why a template was refused, and at which byte of its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct TemplateError {
    /// Offset in bytes.
    pub offset: usize,
    pub problem: TemplateProblem,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateProblem {
    #[error("`{{{{` without `}}}}`; a literal `{{{{` is written `\\{{{{`")]
    Unclosed,
    #[error("{0}; a literal `{{{{` is written `\\{{{{`")]
    Name(#[from] NameError),
    #[error("unknown filter `{0}`; the only one is `raw`")]
    Filter(String),
    #[error("`{{{{{name}}}}}` stands {}, where its own quotes would not hold; it is quoted by itself, so move it out", .context.describe())]
    Context { name: VarName, context: Context },
}

impl Template {
    pub fn parse(text: &str, language: Language) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut scanner = Scanner::default();
        let mut offset = 0;
        while let Some(found) = text.get(offset..).and_then(|rest| rest.find("{{")) {
            let start = offset + found;
            let before = text.get(offset..start).unwrap_or_default();
            let backslashes = before.len() - before.trim_end_matches('\\').len();
            if backslashes % 2 == 1 {
                literal.push_str(before.get(..before.len() - 1).unwrap_or_default());
                literal.push_str("{{");
                offset = start + 2;
                continue;
            }
            literal.push_str(before);
            let error = |problem| TemplateError { offset: start, problem };
            let inside = text.get(start + 2..).and_then(|rest| rest.split_once("}}"));
            let (inside, _) = inside.ok_or_else(|| error(TemplateProblem::Unclosed))?;
            let (name, filter) = inside.split_once('|').map_or((inside, None), |(name, filter)| (name, Some(filter)));
            let name = VarName::parse(name.trim()).map_err(|e| error(e.into()))?;
            let raw = match filter.map(str::trim) {
                None => language == Language::Plain,
                Some("raw") => true,
                Some(other) => return Err(error(TemplateProblem::Filter(other.to_owned()))),
            };
            scanner.read(&literal);
            let context = scanner.context();
            if !raw && context != Context::Plain {
                return Err(error(TemplateProblem::Context { name, context }));
            }
            scanner.read_word();
            push_text(&mut pieces, &std::mem::take(&mut literal));
            pieces.push(if raw { Piece::Raw(name) } else { Piece::Quoted(name) });
            offset = start + 2 + inside.len() + 2;
        }
        literal.push_str(text.get(offset..).unwrap_or_default());
        push_text(&mut pieces, &literal);
        Ok(Self { pieces })
    }

    /// Does that stand in the text itself?
    pub fn mentions(&self, words: &str) -> bool {
        self.pieces.iter().any(|piece| piece.known_text().contains(words))
    }

    /// A template without placeholders.
    pub fn literal(text: &str) -> Self {
        let mut pieces = Vec::new();
        push_text(&mut pieces, text);
        Self { pieces }
    }

    /// The variables that are still open, in the order of the text.
    pub fn names(&self) -> impl Iterator<Item = &VarName> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Quoted(name) | Piece::Raw(name) => Some(name),
        })
    }

    /// Those of them that stand for text of the same language, not for a word of it.
    pub fn raw_names(&self) -> impl Iterator<Item = &VarName> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) | Piece::Quoted(_) => None,
            Piece::Raw(name) => Some(name),
        })
    }

    /// Puts in the values that `value` knows; the other placeholders stay.
    #[must_use]
    pub fn bind(&self, value: impl Fn(&VarName) -> Option<String>) -> Self {
        let mut pieces = Vec::new();
        for (at, piece) in self.pieces.iter().enumerate() {
            let bound = match piece {
                Piece::Text(text) => Some(text.clone()),
                Piece::Quoted(name) => value(name).map(|v| {
                    let before = at.checked_sub(1).and_then(|i| self.pieces.get(i)).map(Piece::known_text);
                    let after = self.pieces.get(at + 1).map(Piece::known_text);
                    let before = before.map(|text| text.chars().next_back().unwrap_or(UNKNOWN));
                    shell::quote_beside(before, &v, after.map(|text| text.chars().next().unwrap_or(UNKNOWN)))
                }),
                Piece::Raw(name) => value(name),
            };
            match bound {
                Some(text) => push_text(&mut pieces, &text),
                None => pieces.push(piece.clone()),
            }
        }
        Self { pieces }
    }

    /// The text, when no placeholder is open; else the first open variable.
    pub fn finish(&self) -> Result<String, &VarName> {
        match self.names().next() {
            Some(open) => Err(open),
            None => Ok(self.to_string()),
        }
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if let Some(Piece::Text(last)) = pieces.last_mut() {
        last.push_str(text);
    } else if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

impl std::fmt::Display for Template {
    /// The text as far as it is known; open placeholders are shown as `{{name}}`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => f.write_str(text)?,
                Piece::Quoted(name) => write!(f, "{{{{{name}}}}}")?,
                Piece::Raw(name) => write!(f, "{{{{{name}|raw}}}}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(text: &str) -> Template {
        Template::parse(text, Language::Shell).unwrap()
    }

    #[test]
    fn values_are_quoted_by_default_and_raw_on_demand() {
        let template = shell("cd {{home}} && {{ migrate | raw }} --to {{revision}}");
        let bound = template.bind(|name| match name.as_str() {
            "home" => Some("/srv/it's".to_owned()),
            "migrate" => Some("./migrate --all".to_owned()),
            _ => None,
        });
        assert_eq!(bound.to_string(), r"cd '/srv/it'\''s' && ./migrate --all --to {{revision}}");
        assert_eq!(bound.finish(), Err(&VarName::parse("revision").unwrap()));
    }

    #[test]
    fn a_literal_double_brace_is_escaped() {
        assert_eq!(shell(r"docker ps --format \{{.Names}}").finish().unwrap(), "docker ps --format {{.Names}}");
        let error = Template::parse("docker ps --format {{.Names}}", Language::Shell).unwrap_err();
        assert_eq!(error.offset, 19);
        assert!(error.to_string().contains(r"\{{"), "{error}");
    }

    #[test]
    fn a_placeholder_inside_quotes_is_refused_because_its_value_would_run() {
        let error = Template::parse("echo '{{x}}'", Language::Shell).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`{{x}}` stands inside single quotes, where its own quotes would not hold; it is quoted by itself, so move it out"
        );
        assert!(Template::parse("echo '{{x|raw}}'", Language::Shell).is_ok());
        assert!(Template::parse("it's {{x}}", Language::Plain).is_ok());
    }

    #[test]
    fn a_value_that_touches_other_text_is_quoted_even_when_it_is_plain() {
        let bound = shell("cp $SRC{{a}} /x/{{a}}/y; echo {{a}}>f; echo {{a}}{{b}}").bind(|_| Some("2".to_owned()));
        assert_eq!(bound.to_string(), "cp $SRC'2' /x/2/y; echo '2'>f; echo '2''2'");
    }

    #[test]
    fn a_bound_value_is_never_read_as_a_placeholder_again() {
        let bound = shell("echo {{a}}").bind(|_| Some("{{b}}".to_owned()));
        assert_eq!(bound.finish().unwrap(), "echo '{{b}}'");
    }
}
