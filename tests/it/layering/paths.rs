//! The paths that a source file names, `use` trees spread out, without comments, strings and unit tests.

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
    let tokens = without_unit_tests(tokens(&code_only(text)));
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

fn tokens(code: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut line = 1;
    let mut before = ' ';
    for c in code.chars() {
        let name = |c: char| c.is_alphanumeric() || c == '_';
        match tokens.last_mut() {
            Some(last) if (name(c) && name(before)) || (c == ':' && before == ':' && last.text == ":") => {
                last.text.push(c);
            }
            _ if c.is_whitespace() => line += usize::from(c == '\n'),
            _ => tokens.push(Token { line, text: c.to_string() }),
        }
        before = c;
    }
    tokens
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

/// The text with comments, strings and characters blanked out, line for line.
fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut code = String::new();
    let mut i = 0;
    while i < chars.len() {
        let end = match (at(i), at(i + 1)) {
            ('/', '/') => (i..chars.len()).find(|&j| at(j) == '\n').unwrap_or(chars.len()),
            ('/', '*') => block_comment_end(&chars, i),
            ('r', '"' | '#') if raw_string_end(&chars, i).is_some() => raw_string_end(&chars, i).unwrap_or(i + 1),
            ('"', _) => string_end(&chars, i, '"'),
            ('\'', '\\') => string_end(&chars, i, '\''),
            ('\'', _) if at(i + 2) == '\'' => i + 3,
            (c, _) => {
                code.push(c);
                i += 1;
                continue;
            }
        };
        code.push(' ');
        code.extend(chars[i..end].iter().filter(|c| **c == '\n'));
        i = end;
    }
    code
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let (mut depth, mut i) = (0, start);
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') if depth == 1 => return i + 2,
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
    }
    chars.len()
}

fn string_end(chars: &[char], start: usize, quote: char) -> usize {
    let mut i = start + 1;
    while i < chars.len() && chars[i] != quote {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

/// The end of `r"…"` or `r#"…"#`; none for a raw name such as `r#type`.
fn raw_string_end(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    if chars.get(open) != Some(&'"')
        || start.checked_sub(1).is_some_and(|i| chars[i].is_alphanumeric() || chars[i] == '_')
    {
        return None;
    }
    let closes =
        |i: usize| chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    let end = (open + 1..chars.len()).find(|&i| closes(i))?;
    Some(end + 1 + hashes)
}
