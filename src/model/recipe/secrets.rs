//! Where a secret variable may stand: in the `env` of a step, and nowhere else.
//!
//! A shell text is what its children get as arguments, which everybody on the host can read; a folder's name, a default or a registered value
//! ends up in plans, records and books. The environment of a process is seen by its own user only.

use std::collections::BTreeMap;

use crate::model::config::diagnostic::{Diagnostic, Place};
use crate::model::recipe::recipe::{Recipe, Surroundings, Text};
use crate::model::recipe::template::Template;
use crate::model::text::name::VarName;
use crate::model::text::secret::environment_name;

/// All placeholders of secrets in places where none is allowed.
pub fn misplaced(recipe: &Recipe) -> Vec<Diagnostic> {
    let secrets = || recipe.vars.iter().filter(|(_, var)| var.secret);
    let mut found = Vec::new();
    if secrets().next().is_none() {
        return found;
    }
    let mut known: BTreeMap<String, (&VarName, &Place)> = BTreeMap::new();
    for (name, var) in secrets() {
        let variable = environment_name(name);
        if let Some((first, place)) = known.get(&variable) {
            let message = format!("secrets `{first}` and `{name}` would both be given by {variable}");
            found.push(var.place.diagnostic(message).first_at(place));
        }
        known.insert(variable, (name, &var.place));
    }
    let texts = recipe.lock.iter().map(|lock| ("lock", lock)).chain(folders(&recipe.surroundings));
    let texts = texts.chain(recipe.all_tasks().flat_map(|task| folders(&task.surroundings)));
    let of_steps = recipe.steps().flat_map(|step| step.shell_texts().chain(folders(&step.surroundings)));
    for (key, text) in texts.chain(of_steps) {
        for name in text.value.names().filter(|name| recipe.is_secret(name)) {
            let diagnostic = placeholder(&text.place, name)
                .diagnostic(format!("`{name}` is a secret, and `{key}` is no place for one"));
            found.push(diagnostic.label("use it in the `env` of a step, and the variable in its command"));
        }
    }
    for step in recipe.steps() {
        if let Some(name) = step.register.as_ref().filter(|name| recipe.is_secret(name)) {
            let message = format!("`{name}` is a secret that is asked for, so no step can register it");
            let label = "register another variable, with `secret-output = true`";
            found.push(step.place.diagnostic(message).label(label));
        }
    }
    for (of, var) in &recipe.vars {
        for name in var.default.iter().flat_map(Template::names).filter(|name| recipe.is_secret(name)) {
            let message = format!("`{name}` is a secret, and the default of `{of}` is no place for one");
            found.push(var.place.diagnostic(message).label("use it in the `env` of a step"));
        }
    }
    found
}

/// The texts of the user and the folder.
fn folders(surroundings: &Surroundings) -> impl Iterator<Item = (&'static str, &Text)> {
    let as_user = surroundings.as_user.iter().map(|user| ("as", user));
    as_user.chain(surroundings.cwd.iter().map(|cwd| ("cwd", cwd)))
}

/// The place of the placeholder within the text; all of the text, when an escape hides it.
fn placeholder(text: &Place, name: &VarName) -> Place {
    let Place { source, span } = text;
    let written = source.text.get(span.clone()).unwrap_or_default();
    let is_name = |inside: &str| inside.split('|').next().is_some_and(|found| found.trim() == name.as_str());
    let mut places = written.match_indices("{{").filter_map(|(at, _)| {
        let inside = written.get(at + 2..)?.split_once("}}")?.0;
        is_name(inside).then(|| span.start + at..span.start + at + inside.len() + 4)
    });
    Place { source: source.clone(), span: places.next().unwrap_or_else(|| span.clone()) }
}
