//! The paths that a source file names, `use` trees spread out, without comments, strings and unit tests.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A path such as `crate::ssh::Connect`; relative ones are made absolute.
#[derive(Debug, Clone)]
pub(super) struct NamedPath {
    pub line: usize,
    pub segments: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    line: usize,
    text: String,
}

/// All paths in the text of the module `module`.
pub(super) fn named_paths(text: &str, module: &[String]) -> Vec<NamedPath> {
    let mut tokens = Vec::new();
    flatten(text.parse().unwrap(), &mut tokens);
    let tokens = without_unit_tests(tokens);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let before = at.checked_sub(1).map_or("", |i| tokens[i].text.as_str());
        if is_name(&tokens[at].text) && !matches!(before, "::" | ".") {
            let was = found.len();
            let end = read_path(&tokens, at, &[], &mut found);
            if before != "use" {
                // A lone name is a variable or a field; only `use x;` makes a path of it.
                let longer: Vec<NamedPath> =
                    found.drain(was..).filter(|path: &NamedPath| path.segments.len() > 1).collect();
                found.extend(longer);
            }
            at = end;
        } else {
            at += 1;
        }
    }
    for path in &mut found {
        path.segments = absolute(&path.segments, module);
    }
    found
}

/// Reads `a::b::{c, d::e}` from `at`, puts all paths of it into `found`, and tells where it ends.
fn read_path(tokens: &[Token], mut at: usize, base: &[String], found: &mut Vec<NamedPath>) -> usize {
    let text = |i: usize| tokens.get(i).map_or("", |token| token.text.as_str());
    let mut segments = base.to_vec();
    let line = tokens[at].line;
    loop {
        if text(at) == "{" {
            at += 1;
            while !matches!(text(at), "}" | "") {
                at =
                    if is_name(text(at)) || text(at) == "*" { read_path(tokens, at, &segments, found) } else { at + 1 };
            }
            return at + 1;
        }
        segments.push(text(at).to_owned());
        at += 1;
        if text(at) != "::" || !(is_name(text(at + 1)) || matches!(text(at + 1), "{" | "*")) {
            break;
        }
        at += 1;
    }
    if text(at) == "as" {
        at += 2;
    }
    found.push(NamedPath { line, segments });
    at
}

fn absolute(segments: &[String], module: &[String]) -> Vec<String> {
    let supers = segments.iter().take_while(|segment| *segment == "super").count();
    let to_self = usize::from(supers == 0 && segments.first().is_some_and(|first| first == "self"));
    if supers == 0 && to_self == 0 {
        return segments.to_vec();
    }
    let kept = module.len().saturating_sub(supers);
    std::iter::once("crate".to_owned())
        .chain(module[..kept].iter().cloned())
        .chain(segments[supers + to_self..].iter().cloned())
        .collect()
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::`, brackets and other signs, one after another; a literal is a quotation mark.
fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let mut push = |line: usize, text: &str| tokens.push(Token { line, text: text.to_owned() });
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                push(line, open);
                flatten(group.stream(), tokens);
                tokens.push(Token { line: group.span_close().start().line, text: close.to_owned() });
            }
            TokenTree::Ident(name) => push(line, &name.to_string()),
            TokenTree::Literal(_) => push(line, "\""),
            TokenTree::Punct(sign) => {
                match tokens.last_mut().filter(|last| last.text == ":" && sign.as_char() == ':') {
                    Some(last) => last.text.push(':'),
                    None => tokens.push(Token { line, text: sign.as_char().to_string() }),
                }
            }
        }
    }
}

fn without_unit_tests(tokens: Vec<Token>) -> Vec<Token> {
    let mut kept: Vec<Token> = Vec::new();
    let mut rest = tokens.into_iter().peekable();
    let mut in_test = false;
    while let Some(token) = rest.next() {
        let attribute: Vec<&str> = kept.iter().rev().take(6).map(|t| t.text.as_str()).collect();
        in_test |= token.text == "]" && attribute == [")", "test", "(", "cfg", "[", "#"];
        if in_test && token.text == ";" {
            in_test = false;
        }
        if in_test && token.text == "{" {
            let mut depth = 1;
            while depth > 0
                && let Some(token) = rest.next()
            {
                depth += i32::from(token.text == "{") - i32::from(token.text == "}");
            }
            in_test = false;
            continue;
        }
        kept.push(token);
    }
    kept
}
