//! The project folder: found upward from the working directory, read as a whole.
//!
//! What reads and what is wrong are kept apart, so that one broken file stops only those who need it; the errors, as [`Diagnostic`]s, are
//! all that there are: also that a file cannot be read or is no text.
//!
//! Lines end with LF, whatever the file says: an editor or a checkout on another system ends them with CRLF, and a shell on a host reads
//! the CR as a part of the last word, so that `set -eu` fails, a guard is false and an undo removes nothing. Rejected: refusing such files
//! (a whole checkout would have to be converted), and dealing with it where commands are sent (a value of a site's file ends in a command,
//! too). Who needs a CR in a command writes `\r` in a TOML string, or `printf '\r\n'`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::recipe_folder::{Folder, Own};
use super::text;
use crate::model::config::diagnostic::{Diagnostic, Source, in_order};
use crate::model::inventory::inventory::Inventory;
use crate::model::inventory::inventory_file::{Known, read_inventory};
use crate::model::recipe::files::RecipeFolder;
use crate::model::recipe::inherit::inherit;
use crate::model::recipe::recipe::Recipe;
use crate::model::recipe::recipe_file::read_recipe;
use crate::model::recipe::shell::quote;
use crate::model::text::hint::{Advise, Hint};
use crate::model::text::name::RecipeName;

/// A project: what of it reads, and what is wrong with the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    pub root: PathBuf,
    pub inventory: Inventory,
    /// Its own recipes, and the built-in ones that it does not replace, also not by a broken one.
    pub recipes: BTreeMap<RecipeName, Recipe>,
    /// The errors of each broken recipe, by its name.
    pub broken_recipes: BTreeMap<String, Vec<Diagnostic>>,
}

impl Project {
    /// All errors, in the order of the files.
    pub fn errors(&self) -> Vec<Diagnostic> {
        let mut errors = self.inventory.errors();
        errors.extend(in_order(self.broken_recipes.values().flatten()));
        errors
    }
}

/// A recipe in the binary.
#[derive(Debug, Clone, Copy)]
pub struct BuiltIn<'a> {
    pub name: &'a str,
    pub text: &'a str,
    /// What it brings along: paths and bytes. What begins with the line of an interpreter can be run.
    pub files: &'a [(&'a str, &'a [u8])],
}

#[derive(Debug, Clone, Copy, Default)]
pub struct LoadOptions<'a> {
    pub built_in: &'a [BuiltIn<'a>],
    /// Words of the command line, which no site may be called.
    pub verbs: &'a [&'a str],
}

#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    #[error("no project here: neither {start} nor a folder above it has `hosts/`")]
    NotFound { start: String },
    #[error("{folder} is no project: it has no folder `hosts/`")]
    NoHosts { folder: String },
    #[error(
        "{folder} belongs to user {owner}: fleet does not use it, because the recipes of a project run with your keys"
    )]
    Foreign { folder: String, owner: u32 },
    #[error(
        "everybody may write to {folder}: fleet does not use it, because the recipes of a project run with your keys"
    )]
    Open { folder: String },
    #[error("cannot read the folder {folder}")]
    Folder {
        folder: String,
        #[source]
        source: io::Error,
    },
}

impl Advise for ProjectError {
    fn hints(&self) -> Vec<Hint> {
        vec![Hint::Advice(match self {
            Self::NotFound { .. } => "`fleet init` makes a project, `--project DIR` names one".to_owned(),
            Self::NoHosts { .. } => "`fleet init` makes a project".to_owned(),
            Self::Foreign { owner, .. } => format!("use a copy of your own, or sudo -u '#{owner}' fleet ..."),
            Self::Open { folder } => format!("check its files, then chmod o-w {}", quote(folder)),
            Self::Folder { .. } => return Vec::new(),
        })]
    }
}

/// The project folder: `named`, or the first from `start` upward that has `hosts/`.
pub fn find(start: &Path, named: Option<&Path>) -> Result<PathBuf, ProjectError> {
    let is_project = |folder: &Path| folder.join("hosts").is_dir();
    if let Some(folder) = named {
        if is_project(folder) {
            return Ok(folder.to_owned());
        }
        return Err(ProjectError::NoHosts { folder: shown(folder) });
    }
    let found = start.ancestors().find(|folder| is_project(folder));
    found.map(Path::to_owned).ok_or_else(|| ProjectError::NotFound { start: shown(start) })
}

pub fn load(root: &Path, options: LoadOptions<'_>) -> Result<Project, ProjectError> {
    let mut sites = read_folder(root, "hosts")?;
    let own = if root.join("recipes").exists() { read_folder(root, "recipes")? } else { Vec::new() };
    let defaults = sites.iter().position(|file| file.stem == "defaults").map(|place| sites.remove(place));

    // What can not be read is still there: a site that names it is not wrong.
    let names: BTreeSet<_> = own
        .iter()
        .map(|file| file.stem.as_str())
        .chain(options.built_in.iter().map(|built_in| built_in.name))
        .collect();
    let names: Vec<_> = names.into_iter().collect();
    let unread: Vec<_> = sites.iter().filter(|file| file.source.is_none()).map(|file| file.stem.as_str()).collect();
    let known = Known { verbs: options.verbs, recipes: Some(&names), unread: &unread };
    let readable: Vec<_> = sites.iter().filter_map(|file| Some((file.stem.clone(), file.source.clone()?))).collect();
    let mut inventory = read_inventory(defaults.as_ref().and_then(|file| file.source.as_ref()), &readable, known);
    inventory.defaults.extend(defaults.and_then(|file| file.error));
    for (stem, error) in sites.into_iter().filter_map(|file| Some((file.stem, file.error?))) {
        inventory.leave_out(&stem, [error]);
    }

    let mut project =
        Project { root: root.to_owned(), inventory, recipes: BTreeMap::new(), broken_recipes: BTreeMap::new() };
    let recipes = root.join("recipes");
    for file in &own {
        project.read_recipe(file, &Folder { project: root, own: Own::Path(&recipes) });
    }
    for BuiltIn { name, text, files } in
        options.built_in.iter().filter(|of| own.iter().all(|file| file.stem != of.name))
    {
        let source = Arc::new(Source { path: format!("recipe {name} (built in)"), text: (*text).to_owned() });
        let file = ReadFile { stem: (*name).to_owned(), source: Some(source), error: None };
        project.read_recipe(&file, &Folder { project: root, own: Own::BuiltIn(files) });
    }
    inherit(&mut project.recipes, &mut project.broken_recipes);
    // A built-in recipe that extends one which the project has replaced may not fit it: the error of those alone who use it.
    let sites = project.inventory.sites.values();
    let used: BTreeSet<_> = sites.filter_map(|site| site.recipe.as_ref()).map(|recipe| recipe.value.as_str()).collect();
    let is_own = |name: &String| own.iter().any(|file| file.stem == *name);
    project.broken_recipes.retain(|name, _| is_own(name) || used.contains(name.as_str()));
    Ok(project)
}

impl Project {
    /// Reads a recipe, and keeps it or what is wrong with it and its file.
    fn read_recipe(&mut self, ReadFile { stem, source, error }: &ReadFile, folder: &dyn RecipeFolder) {
        let label = "the file's name is the recipe's: rename the file";
        let recipe = source.as_ref().map(|source| match RecipeName::parse(stem) {
            Ok(name) => read_recipe(name, source, folder),
            Err(error) => Err(vec![Diagnostic::new(source, 0..0, error.to_string()).label(label)]),
        });
        match (recipe, error) {
            (Some(Ok(recipe)), None) => drop(self.recipes.insert(recipe.name.clone(), recipe)),
            (recipe, error) => {
                let errors = recipe.and_then(Result::err).unwrap_or_default();
                self.broken_recipes.insert(stem.clone(), error.iter().cloned().chain(errors).collect());
            }
        }
    }
}

/// A file of a folder. Where it could not be read, or is no text, there is an error; where something of it could, a source all the same.
struct ReadFile {
    stem: String,
    source: Option<Arc<Source>>,
    error: Option<Diagnostic>,
}

/// Reads `FOLDER/*.toml`, in the order of their names. Hidden files are an editor's.
fn read_folder(root: &Path, folder: &str) -> Result<Vec<ReadFile>, ProjectError> {
    let path = root.join(folder);
    let error = |source| ProjectError::Folder { folder: shown(&path), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(&path).map_err(error)? {
        names.push(entry.map_err(error)?.file_name());
    }
    names.sort();
    let mut files = Vec::new();
    for name in names {
        // A name that is no UTF-8 is no site's name, which is told when the name is parsed.
        let text = name.to_string_lossy();
        let Some((stem, end)) = text.split_at_checked(text.len().saturating_sub(".toml".len())) else { continue };
        if stem.starts_with('.') || !end.eq_ignore_ascii_case(".toml") {
            continue;
        }
        let shown = format!("{folder}/{text}");
        let (source, error) = if end == ".toml" {
            read_source(&path.join(&name), &shown)
        } else {
            // Else its site would be missing unnoticed.
            let source = Arc::new(Source { path: shown, text: String::new() });
            (None, Some(Diagnostic::new(&source, 0..0, format!("the name ends in `{end}`: it must end in `.toml`"))))
        };
        files.push(ReadFile { stem: stem.to_owned(), source, error });
    }
    Ok(files)
}

fn read_source(path: &Path, shown: &str) -> (Option<Arc<Source>>, Option<Diagnostic>) {
    let source = |text| Arc::new(Source { path: shown.to_owned(), text });
    let bytes = match text::read(path) {
        Ok(bytes) => bytes,
        Err(reason) => {
            let diagnostic = Diagnostic::new(&source(String::new()), 0..0, format!("cannot read {shown}: {reason}"));
            return (None, Some(diagnostic));
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => (Some(source(text)), None),
        Err(error) => {
            // The rest of the file is read all the same, to tell what else is wrong.
            let good = error.utf8_error().valid_up_to();
            let byte = error.as_bytes().get(good).copied().unwrap_or_default();
            let source = source(String::from_utf8_lossy(error.as_bytes()).into_owned());
            let span = good..good + char::REPLACEMENT_CHARACTER.len_utf8();
            let diagnostic = Diagnostic::new(&source, span, format!("the file is not UTF-8: byte 0x{byte:02x}"));
            (Some(source), Some(diagnostic.label("save the file as UTF-8")))
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests;
