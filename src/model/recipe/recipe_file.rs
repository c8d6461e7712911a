//! Reads a recipe's file into a [`Recipe`], or tells all that is wrong with it.
//!
//! A task or phase with errors is kept, with what could be read, so that others that name it are not told to name nothing.

mod phase;
mod step;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::model::config::diagnostic::{Diagnostic, Source};
use crate::model::config::document::{Document, Item, Table};
use crate::model::config::file_error::FileError;
use crate::model::inventory::stage::Stage;
use crate::model::plan::plan::OnFailure;
use crate::model::recipe::check::check;
use crate::model::recipe::files::{Found, OF_PROJECT, RecipeFile, RecipeFolder, inside};
use crate::model::recipe::recipe::{
    Body, LOOKING_TASKS, Recipe, RecipeVar, Spanned, Step, Surroundings, Task, TaskBody, TaskRef, Text, settable,
};
use crate::model::recipe::template::{Language, Template};
use crate::model::text::name::{RecipeName, TaskName, UserName, VarName};

/// Words after a site's name on the command line: no task may be called so.
pub const SITE_VERBS: [&str; 8] =
    ["run", "trust", "distribute-keys", "rotate-keys", "revoke-keys", "status", "check", "unlock"];

pub fn read_recipe(
    name: RecipeName,
    source: &Arc<Source>,
    folder: &dyn RecipeFolder,
) -> Result<Recipe, Vec<Diagnostic>> {
    let (recipe, diagnostics) = Document::read(source, |document| {
        let recipe = Reader { document, folder }.read(name, source);
        // What it inherits is known when all recipes are read.
        if recipe.extends.is_none() {
            for diagnostic in check(&recipe) {
                document.push(diagnostic);
            }
        }
        recipe
    });
    if diagnostics.is_empty() { Ok(recipe) } else { Err(diagnostics) }
}

struct Reader<'a> {
    document: &'a Document<'a>,
    folder: &'a dyn RecipeFolder,
}

impl<'a> Reader<'a> {
    fn read(&self, name: RecipeName, source: &Arc<Source>) -> Recipe {
        let root = self.document.root();
        let mut recipe = Recipe {
            lineage: vec![name.clone()],
            name,
            source: Arc::clone(source),
            doc: String::new(),
            extends: None,
            lock: None,
            surroundings: Surroundings::default(),
            files: Vec::new(),
            vars: BTreeMap::new(),
            tasks: Vec::new(),
            replaced: Vec::new(),
        };
        if let Some(table) = root.table("recipe") {
            recipe.doc = doc(&table);
            recipe.extends = table.parsed("extends", RecipeName::parse);
            recipe.lock = table.item("lock").and_then(|lock| template(&lock, Language::Plain));
            recipe.surroundings = surroundings(&table);
            recipe.files = self.files(&table);
            table.finish();
        }
        if let Some(vars) = root.table("vars") {
            self.vars(&mut recipe.vars, &vars, "");
        }
        for item in root.table("task").map(|tasks| tasks.items()).unwrap_or_default() {
            recipe.tasks.extend(self.task(&item, &recipe.name));
        }
        if root.item("task").is_none() && recipe.extends.is_none() {
            let diagnostic = Diagnostic::new(source, 0..0, "the recipe has no tasks");
            self.document.push(diagnostic.label("add a table `[task.NAME]`").absent());
        }
        root.finish();
        recipe
    }

    /// Reads `files`: paths of files and folders, relative to the recipe's folder, or to the project's by `@/`.
    fn files(&self, table: &Table<'a>) -> Vec<RecipeFile> {
        let mut files: Vec<RecipeFile> = Vec::new();
        for item in table.array("files").unwrap_or_default() {
            let Some(path) = item.string().map(|path| path.value) else { continue };
            let of_project = path.strip_prefix(OF_PROJECT);
            if !inside(of_project.unwrap_or(path)) {
                item.report(format!("`{}` is not a path inside the recipe's folder", path.escape_debug()));
                continue;
            }
            let found = match self.folder.files(path) {
                Ok(found) => found,
                // Fixes that nobody has written yet.
                Err(FileError::Missing) if of_project.is_some() => continue,
                Err(reason) => {
                    item.report(format!("`{path}`: {reason}"));
                    continue;
                }
            };
            for Found { path, content, executable } in found {
                let place = self.document.place(item.span.clone());
                let file = RecipeFile { path, content: content.into(), executable, place };
                match files.iter().find(|other| other.path == file.path) {
                    Some(other) if other.content == file.content && other.executable == file.executable => {}
                    Some(_) => item.report(format!("there are two files `{}`, and they differ", file.path)),
                    None => files.push(file),
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    }

    /// Reads `[vars.NAME]`. A table that holds only tables groups variables: `[vars.backup.dir]` declares `backup.dir`.
    /// As deep as the parser allows tables to nest, which is far from the stack's end.
    fn vars(&self, vars: &mut BTreeMap<VarName, RecipeVar>, table: &Table<'a>, prefix: &str) {
        for item in table.items() {
            let name = format!("{prefix}{}", item.key);
            if !item.is_table() {
                item.tell(
                    format!("variable `{name}` must be a table, not {}", item.kind()),
                    format!("write it as `[vars.{name}]` with `doc`, and `default` or `required`"),
                );
                continue;
            }
            let Some(inner) = item.table() else { continue };
            let items = inner.items();
            if !items.is_empty() && items.iter().all(Item::is_table) {
                self.vars(vars, &inner, &format!("{name}."));
                continue;
            }
            let Some(name) = item.parsed_key(&name, settable) else { continue };
            if let Some(first) = vars.get(&name) {
                let message = format!("variable `{name}` is declared twice");
                self.document.report_again(item.key_span, &first.place.span, message);
                continue;
            }
            vars.insert(name, self.var(&inner, item.key_span));
        }
    }

    fn var(&self, table: &Table<'_>, span: Range<usize>) -> RecipeVar {
        let required = table.boolean("required");
        let default = table.item("default");
        if let (Some(Spanned { value: true, .. }), Some(default)) = (&required, &default) {
            default.report("a required variable has no default");
        }
        let secret = table.boolean("secret").is_some_and(|secret| secret.value);
        if let (true, Some(default)) = (secret, &default) {
            default.tell_key("a secret has no default: it would be in git", "leave out one of the two");
        }
        let var = RecipeVar {
            doc: doc(table),
            secret,
            required: required.is_some_and(|required| required.value),
            default: default.and_then(|item| plain(&item)).map(|template| template.value),
            place: self.document.place(span),
        };
        table.finish();
        var
    }

    fn task(&self, item: &Item<'a>, recipe: &RecipeName) -> Option<Task> {
        let name = item.parsed_key(item.key, TaskName::parse)?;
        let looks = LOOKING_TASKS.contains(&name.as_str());
        if !looks && SITE_VERBS.contains(&item.key.replace('_', "-").as_str()) {
            return item.refuse_key(format!("a task cannot be called `{name}`: that is a word of the command line"));
        }
        let table = item.table()?;
        let on_failure = table.parsed("on-failure", |text| match text {
            "undo" => Ok(OnFailure::Undo),
            "hold" => Ok(OnFailure::Hold),
            _ => Err(format!("`on-failure` is \"undo\" or \"hold\", not \"{text}\"")),
        });
        let proves = table.item("proves").map(|proves| self.proves(&proves)).unwrap_or_default();
        let summary = table.parsed("summary", VarName::parse);
        let preview = table.parsed("preview", TaskName::parse);
        let stages = table.array("stages").unwrap_or_default();
        let stages: Vec<_> = stages.iter().filter_map(|stage| stage.parsed(Stage::parse)).collect();
        let surroundings = surroundings(&table);
        let (phases, steps, tasks) = (table.item("phase"), table.item("step"), table.item("tasks"));
        self.exactly_one(&item.key_span, &[("phase", &phases), ("step", &steps), ("tasks", &tasks)]);
        let body = if let Some(phases) = phases {
            TaskBody::Phases(self.phases(&phases))
        } else {
            TaskBody::Plain(self.body(tasks, steps))
        };
        let task = Task {
            name,
            recipe: recipe.clone(),
            doc: doc(&table),
            on_failure: on_failure.map(|on_failure| on_failure.value),
            proves,
            summary,
            preview,
            stages: stages.into_iter().map(|stage| stage.value).collect(),
            surroundings,
            body,
            place: self.document.place(item.key_span.clone()),
        };
        if let (0, Some(text)) = (task.steps().count(), task.surroundings.texts().next()) {
            let message = "`as`, `cwd` and `env` are for the task's own steps, and it has none";
            self.document.tell(text.place.span.clone(), message, "set them in the tasks that it names");
        }
        table.finish();
        Some(task)
    }

    /// `"revision"`, or `["revision", "fixes"]`.
    fn proves(&self, item: &Item<'a>) -> Vec<Spanned<VarName>> {
        let elements = if item.is_string() { None } else { item.array() };
        let names: Vec<_> = match &elements {
            Some(elements) => elements.iter().filter_map(|element| element.parsed(VarName::parse)).collect(),
            None if item.is_string() => item.parsed(VarName::parse).into_iter().collect(),
            None => return Vec::new(),
        };
        if elements.is_some_and(|elements| elements.is_empty()) {
            item.report("`proves` is empty");
        }
        for (place, name) in names.iter().enumerate() {
            if let Some(first) = names.iter().take(place).find(|other| other.value == name.value) {
                self.document.report_again(name.span.clone(), &first.span, format!("`{}` is listed twice", name.value));
            }
        }
        names
    }

    /// The tables of `[[key]]`, each of which has a name of its own; `two` says what another one of that name is.
    fn named<T>(
        &self,
        item: &Item<'a>,
        read: impl Fn(&Table<'a>) -> Option<T>,
        name: impl Fn(&T) -> (&str, &Range<usize>),
        two: &str,
    ) -> Vec<T> {
        let tables = item.tables();
        if tables.as_ref().is_some_and(Vec::is_empty) {
            item.report(format!("`{}` is empty", item.key));
        }
        let mut all: Vec<T> = Vec::new();
        for one in tables.iter().flatten().filter_map(read) {
            let (own, span) = name(&one);
            if let Some((_, first)) = all.iter().map(&name).find(|(other, _)| *other == own) {
                self.document.report_again(span.clone(), first, format!("{two} called `{own}`"));
            }
            all.push(one);
        }
        all
    }

    fn body(&self, tasks: Option<Item<'a>>, steps: Option<Item<'a>>) -> Body {
        match tasks {
            Some(tasks) => Body::Tasks(task_names(&tasks)),
            None => Body::Steps(steps.map(|steps| self.steps(&steps)).unwrap_or_default()),
        }
    }

    fn steps(&self, item: &Item<'a>) -> Vec<Step> {
        self.named(item, |table| self.step(table), |step| (step.name.as_str(), &step.place.span), "two steps are")
    }

    fn exactly_one(&self, span: &Range<usize>, keys: &[(&'static str, &Option<Item<'a>>)]) {
        let given: Vec<_> = keys.iter().filter_map(|(_, item)| item.as_ref()).collect();
        let names: Vec<_> = keys.iter().map(|(name, _)| format!("`{name}`")).collect();
        match given.as_slice() {
            [_] => {}
            [] => {
                let diagnostic = Diagnostic::new(self.document.source, span.clone(), "nothing to do here");
                self.document.push(diagnostic.label(format!("it needs {}", names.join(" or "))).absent());
            }
            [first, second, ..] => {
                let message = format!("`{}` and `{}` exclude each other", first.key, second.key);
                self.document.report_again(second.key_span.clone(), &first.key_span, message);
            }
        }
    }
}

fn task_names(item: &Item<'_>) -> Vec<Spanned<TaskRef>> {
    let Some(elements) = item.array() else { return Vec::new() };
    if elements.is_empty() {
        item.report(format!("`{}` is empty", item.key));
    }
    elements.iter().filter_map(|element| element.parsed(TaskRef::parse)).collect()
}

/// `as`, `cwd` and `env`, of a recipe, a task or a step.
fn surroundings(table: &Table<'_>) -> Surroundings {
    let as_user = table.item("as").and_then(|item| as_user(&item));
    let cwd = table.item("cwd").and_then(|cwd| template(&cwd, Language::Plain));
    let env = table.table("env").map(|env| step::read_env(&env)).unwrap_or_default();
    Surroundings { as_user, cwd, env }
}

/// A user's name, or what becomes one.
fn as_user(item: &Item<'_>) -> Option<Text> {
    let text = template(item, Language::Plain)?;
    if let Ok(name) = text.value.finish()
        && !name.is_empty()
        && let Err(error) = UserName::parse(&name)
    {
        item.report(error.to_string());
        return None;
    }
    Some(text)
}

/// One line of text about something; empty when there is none.
fn doc(table: &Table<'_>) -> String {
    let one_line = |text: &str| match text.chars().find(|c| c.is_control()) {
        Some(found) => Err(format!("`doc` is one line of text, without {found:?}")),
        None => Ok(text.to_owned()),
    };
    table.parsed("doc", one_line).map(|doc| doc.value).unwrap_or_default()
}

/// Reads a template; what is wrong in it is told at its own place.
fn template(item: &Item<'_>, language: Language) -> Option<Text> {
    let parsed = Template::parse(item.string()?.value, language)
        .inspect_err(|error| item.document.report(item.place(error.offset), error.problem.to_string()));
    Some(Text { value: parsed.ok()?, place: item.document.place(item.span.clone()) })
}

/// A text of which no shell reads anything: a template, a number or a boolean.
fn plain(item: &Item<'_>) -> Option<Text> {
    if item.is_string() {
        return template(item, Language::Plain);
    }
    item.text().map(|text| Text { value: Template::literal(&text.value), place: item.document.place(text.span) })
}

#[cfg(test)]
mod tests;
