//! What reads, and does hardly what its author meant: notes of `fleet check`. Nothing here is an error, since all of it can be meant.

use std::collections::BTreeSet;

use crate::model::config::diagnostic::{Place, line_at};
use crate::model::config::setting::Setting;
use crate::model::inventory::inventory::Site;
use crate::model::recipe::recipe::{Action, Recipe, Step, Surroundings, Text};
use crate::model::recipe::shell::{Context, Scanner};
use crate::model::recipe::template::Template;
use crate::model::text::encoding::{code_point, false_blank};
use crate::model::text::name::VarName;

/// What there is to say of a recipe, in the order of its file.
pub fn of_recipe(recipe: &Recipe) -> Vec<String> {
    let mut notes = Notes::default();
    if let Some(lock) = &recipe.lock {
        notes.folder("lock", lock);
    }
    let texts = shell_variables(recipe);
    for (name, var) in &recipe.vars {
        let Some(default) = var.default.as_ref().map(Template::to_string) else { continue };
        let note = of_value(name, &default, texts.contains(name));
        notes.found.extend(note.map(|note| (var.place.clone(), note)));
    }
    notes.surroundings(&recipe.surroundings);
    recipe.all_tasks().for_each(|task| notes.surroundings(&task.surroundings));
    for step in recipe.steps() {
        notes.surroundings(&step.surroundings);
        for (key, text) in step.shell_texts() {
            let command = text.value.to_string();
            if let Some((offset, note)) = blank_in_command(&command) {
                notes.found.push((place(&text.place, &command, offset), format!("`{key}` {note}")));
            }
        }
        if let Some(Action::Script { path, place, content }) = &step.action
            && is_shell(content)
            && let Some((offset, note)) = blank_in_command(content)
        {
            notes.found.push((place.clone(), format!("line {} of `{path}` {note}", line_at(content, offset))));
        }
    }
    notes.told()
}

/// What there is to say of the values that a site gives to the variables of its recipe.
pub fn of_site(site: &Site, recipe: &Recipe) -> Vec<String> {
    let texts = shell_variables(recipe);
    let settings = site.vars.iter().chain(site.hosts.iter().flat_map(|host| &host.vars));
    let note = |(name, setting): (&VarName, &Setting<String>)| {
        Some(format!("{}: {}", setting.origin, of_value(name, &setting.value, texts.contains(name))?))
    };
    settings.filter(|(name, _)| recipe.uses(name)).filter_map(note).collect()
}

#[derive(Default)]
struct Notes {
    found: Vec<(Place, String)>,
}

impl Notes {
    fn folder(&mut self, key: &str, folder: &Text) {
        if let Some(home) = literal_home(&folder.value.to_string()) {
            self.found.push((folder.place.clone(), not_expanded(home.word, key, &home.instead())));
        }
    }

    fn surroundings(&mut self, surroundings: &Surroundings) {
        if let Some(cwd) = &surroundings.cwd {
            self.folder("cwd", cwd);
        }
        for (name, value) in &surroundings.env {
            if let Some(home) = literal_home(&value.value.to_string()) {
                let instead = format!("write an absolute path, or set `{name}` in the command itself");
                self.found.push((value.place.clone(), not_expanded(home.word, &format!("env.{name}"), &instead)));
            }
        }
    }

    /// In the order of the files and their lines.
    fn told(mut self) -> Vec<String> {
        self.found.sort_by(|(a, note), (b, other)| {
            (&a.source.path, a.span.start, note).cmp(&(&b.source.path, b.span.start, other))
        });
        self.found.iter().map(|(place, note)| format!("{}:{}: {note}", place.source.path, place.line())).collect()
    }
}

/// The place of a character of the text in the file; the beginning of its string, when it is written with an escape.
fn place(whole: &Place, text: &str, offset: usize) -> Place {
    let written = whole.source.text.get(whole.span.clone()).unwrap_or_default();
    let (before, rest) = text.split_at_checked(offset).unwrap_or_default();
    let same = rest.chars().next().and_then(|c| written.match_indices(c).nth(before.matches(c).count()));
    let start = whole.span.start + same.map_or(0, |(at, _)| at);
    Place { source: whole.source.clone(), span: start..whole.span.end }
}

fn of_value(name: &VarName, value: &str, is_shell_text: bool) -> Option<String> {
    if is_shell_text {
        return blank_in_command(value).map(|(_, note)| format!("`{name}` {note}"));
    }
    // A path has no blank before its home folder: that is a command, which a file of the recipe runs.
    let home = literal_home(value).filter(|home| value.starts_with(home.word) || !value.contains(' '))?;
    // What other paths start from, only the recipe knows.
    let instead = if name.as_str() == "home" { home.instead() } else { "write an absolute path".to_owned() };
    Some(not_expanded(home.word, name.as_str(), &instead))
}

fn not_expanded(word: &str, key: &str, instead: &str) -> String {
    format!("`{word}` in `{key}` is not expanded, because fleet quotes the value; {instead}")
}

/// The home folder, as only a shell would understand it.
struct Home<'a> {
    word: &'a str,
    /// What follows it, where it is the login user's and the path begins with it.
    rest: Option<&'a str>,
}

impl Home<'_> {
    fn instead(&self) -> String {
        match self.rest.map(|rest| rest.trim_start_matches('/')) {
            Some("") => "write \".\" for the login folder, or an absolute path".to_owned(),
            Some(rest) => format!("write \"{rest}\", which starts in the login folder, or an absolute path"),
            None => "write an absolute path".to_owned(),
        }
    }
}

fn literal_home(text: &str) -> Option<Home<'_>> {
    if text.starts_with('~') {
        let (word, rest) = text.split_at(text.find('/').unwrap_or(text.len()));
        let is_user = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        return word.chars().skip(1).all(is_user).then_some(Home { word, rest: (word == "~").then_some(rest) });
    }
    let (at, word) = text.match_indices("$HOME").chain(text.match_indices("${HOME}")).find(|(at, word)| {
        let after = text.get(at + word.len()..).and_then(|rest| rest.chars().next());
        word.ends_with('}') || !after.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
    })?;
    let rest = text.get(word.len()..).filter(|rest| at == 0 && (rest.is_empty() || rest.starts_with('/')));
    Some(Home { word, rest })
}

/// Where in a command the first character stands that looks like a blank and is none, and that nothing quotes; and what to say of it.
fn blank_in_command(text: &str) -> Option<(usize, String)> {
    let mut scanner = Scanner::default();
    let mut read = 0;
    for (offset, c) in text.char_indices() {
        let Some((name, advice)) = false_blank(c) else { continue };
        scanner.read(text.get(read..offset).unwrap_or_default());
        read = offset;
        match scanner.context() {
            // There it is a text's.
            Context::SingleQuotes | Context::DoubleQuotes | Context::HereDocument | Context::Comment => {}
            Context::Plain | Context::Backquotes | Context::Expansion | Context::Ambiguous => {
                let code = code_point(c);
                let note = format!("holds {name} ({code}), which a shell takes for a part of the word; {advice}");
                return Some((offset, note));
            }
        }
    }
    None
}

fn is_shell(script: &str) -> bool {
    let first = script.lines().next().unwrap_or_default();
    let Some(interpreter) = first.strip_prefix("#!") else { return true };
    interpreter.split([' ', '/']).any(|word| ["sh", "dash", "bash", "ksh", "zsh", "ash"].contains(&word))
}

/// The variables that hold shell text: a command takes them `|raw`, or one that it takes is made of them. All others are words.
fn shell_variables(recipe: &Recipe) -> BTreeSet<VarName> {
    let of_steps = recipe.steps().flat_map(Step::shell_texts).flat_map(|(_, text)| text.value.raw_names());
    let mut open: Vec<&VarName> = of_steps.collect();
    let mut found = BTreeSet::new();
    while let Some(name) = open.pop() {
        if found.insert(name.clone()) {
            open.extend(
                recipe.vars.get(name).and_then(|var| var.default.as_ref()).into_iter().flat_map(Template::names),
            );
        }
    }
    found
}
