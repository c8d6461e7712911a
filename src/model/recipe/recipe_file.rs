//! Reads a recipe's file into a [`Recipe`], or tells all that is wrong with it.
//!
//! A task or phase with errors is kept, with what could be read, so that others that name it are not told to name nothing.

mod check;
mod step;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::model::config::diagnostic::{Diagnostic, Source};
use crate::model::config::document::{Document, Item, Table};
use crate::model::config::file_error::FileError;
use crate::model::plan::plan::OnFailure;
use crate::model::recipe::recipe::{Body, Phase, Recipe, RecipeVar, Spanned, Step, Task, TaskBody, settable};
use crate::model::recipe::template::{Language, Template};
use crate::model::text::name::{PhaseName, RecipeName, RoleName, StepName, TaskName, VarName};

/// Words after a site's name on the command line: no task may be called so.
pub const SITE_VERBS: [&str; 8] =
    ["run", "trust", "distribute-keys", "rotate-keys", "revoke-keys", "status", "check", "unlock"];

/// Fetches a script by its path, relative to the recipe's folder.
pub type FetchScript<'a> = &'a dyn Fn(&str) -> Result<String, FileError>;

pub fn read_recipe(name: RecipeName, source: &Arc<Source>, script: FetchScript<'_>) -> Result<Recipe, Vec<Diagnostic>> {
    let (recipe, diagnostics) = Document::read(source, |document| {
        let reader = Reader { document, script, later: RefCell::default() };
        let recipe = reader.read(name, source);
        check::check(document, &recipe, &reader.later.take());
        recipe
    });
    if diagnostics.is_empty() { Ok(recipe) } else { Err(diagnostics) }
}

struct Reader<'a> {
    document: &'a Document<'a>,
    script: FetchScript<'a>,
    later: RefCell<Later>,
}

/// Names whose targets can be checked only when all of the file is read.
#[derive(Default)]
struct Later {
    proves: Vec<Spanned<VarName>>,
    ends: Vec<Spanned<StepName>>,
}

impl<'a> Reader<'a> {
    fn read(&self, name: RecipeName, source: &Arc<Source>) -> Recipe {
        let root = self.document.root();
        let mut recipe = Recipe {
            name,
            source: Arc::clone(source),
            doc: String::new(),
            lock: None,
            vars: BTreeMap::new(),
            tasks: Vec::new(),
        };
        if let Some(table) = root.table("recipe") {
            recipe.doc = doc(&table);
            recipe.lock = table.item("lock").and_then(|lock| template(&lock, Language::Plain));
            table.finish();
        }
        if let Some(vars) = root.table("vars") {
            self.vars(&mut recipe.vars, &vars, "");
        }
        for item in root.table("task").map(|tasks| tasks.items()).unwrap_or_default() {
            recipe.tasks.extend(self.task(&item));
        }
        if root.item("task").is_none() {
            let diagnostic = Diagnostic::new(source, 0..0, "the recipe has no tasks");
            self.document.push_absence(diagnostic.label("add a table `[task.NAME]`"));
        }
        root.finish();
        recipe
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
                self.document.report_again(item.key_span, &first.span, message);
                continue;
            }
            vars.insert(name, Self::var(&inner, item.key_span));
        }
    }

    fn var(table: &Table<'_>, span: Range<usize>) -> RecipeVar {
        let required = table.boolean("required");
        let default = table.item("default");
        if let (Some(Spanned { value: true, .. }), Some(default)) = (&required, &default) {
            default.report("a required variable has no default");
        }
        let var = RecipeVar {
            doc: doc(table),
            required: required.is_some_and(|required| required.value),
            default: default.and_then(|item| plain(&item)).map(|template| template.value),
            span,
        };
        table.finish();
        var
    }

    fn task(&self, item: &Item<'a>) -> Option<Task> {
        let name = item.parsed_key(item.key, TaskName::parse)?;
        if SITE_VERBS.contains(&item.key.replace('_', "-").as_str()) {
            return item.refuse_key(format!("a task can not be called `{name}`: that is a word of the command line"));
        }
        let table = item.table()?;
        let on_failure = table.parsed("on-failure", |text| match text {
            "undo" => Ok(OnFailure::Undo),
            "hold" => Ok(OnFailure::Hold),
            _ => Err(format!("`on-failure` is \"undo\" or \"hold\", not \"{text}\"")),
        });
        let proves = table.parsed("proves", VarName::parse);
        self.later.borrow_mut().proves.extend(proves.clone());
        let (phases, steps, tasks) = (table.item("phase"), table.item("step"), table.item("tasks"));
        self.exactly_one(&item.key_span, &[("phase", &phases), ("step", &steps), ("tasks", &tasks)]);
        let body = if let Some(phases) = phases {
            TaskBody::Phases(self.phases(&phases))
        } else {
            TaskBody::Plain(self.body(tasks, steps))
        };
        let task = Task {
            name,
            doc: doc(&table),
            on_failure: on_failure.map(|on_failure| on_failure.value),
            proves: proves.map(|proves| proves.value),
            body,
            span: item.key_span.clone(),
        };
        table.finish();
        Some(task)
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

    fn phases(&self, item: &Item<'a>) -> Vec<Phase> {
        let two = "the task has two phases";
        self.named(item, |table| self.phase(table), |phase| (phase.name.as_str(), &phase.span), two)
    }

    fn phase(&self, table: &Table<'a>) -> Option<Phase> {
        let name = table.parsed("name", PhaseName::parse);
        table.missing("name");
        let on = table.parsed("on", RoleName::parse).map(|on| on.value);
        let (once, rolling) = (table.boolean("once"), table.boolean("rolling"));
        if let (Some(Spanned { value: true, .. }), Some(Spanned { value: true, span })) = (&once, &rolling) {
            let message = "a phase that runs `once`, on one host, has no batches to roll in";
            self.document.report(span.clone(), message);
        }
        let (steps, tasks) = (table.item("step"), table.item("tasks"));
        self.exactly_one(&table.span(), &[("step", &steps), ("tasks", &tasks)]);
        let body = self.body(tasks, steps);
        // Read all of it before a bad name ends the reading.
        table.finish();
        let name = name?;
        Some(Phase {
            name: name.value,
            on,
            once: once.is_some_and(|once| once.value),
            rolling: rolling.is_some_and(|rolling| rolling.value),
            body,
            span: name.span,
        })
    }

    fn body(&self, tasks: Option<Item<'a>>, steps: Option<Item<'a>>) -> Body {
        match tasks {
            Some(tasks) => Body::Tasks(task_names(&tasks)),
            None => Body::Steps(steps.map(|steps| self.steps(&steps)).unwrap_or_default()),
        }
    }

    fn steps(&self, item: &Item<'a>) -> Vec<Step> {
        self.named(item, |table| self.step(table), |step| (step.name.as_str(), &step.span), "two steps are")
    }

    fn exactly_one(&self, span: &Range<usize>, keys: &[(&'static str, &Option<Item<'a>>)]) {
        let given: Vec<_> = keys.iter().filter_map(|(_, item)| item.as_ref()).collect();
        let names: Vec<_> = keys.iter().map(|(name, _)| format!("`{name}`")).collect();
        match given.as_slice() {
            [_] => {}
            [] => {
                let diagnostic = Diagnostic::new(self.document.source, span.clone(), "nothing to do here");
                self.document.push_absence(diagnostic.label(format!("it needs {}", names.join(" or "))));
            }
            [first, second, ..] => {
                let message = format!("`{}` and `{}` exclude each other", first.key, second.key);
                self.document.report_again(second.key_span.clone(), &first.key_span, message);
            }
        }
    }
}

fn task_names(item: &Item<'_>) -> Vec<Spanned<TaskName>> {
    let Some(elements) = item.array() else { return Vec::new() };
    if elements.is_empty() {
        item.report(format!("`{}` is empty", item.key));
    }
    elements.iter().filter_map(|element| element.parsed(TaskName::parse)).collect()
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
fn template(item: &Item<'_>, language: Language) -> Option<Spanned<Template>> {
    let parsed = Template::parse(item.string()?.value, language)
        .inspect_err(|error| item.document.report(item.place(error.offset), error.problem.to_string()));
    Some(Spanned { value: parsed.ok()?, span: item.span.clone() })
}

/// A text of which no shell reads anything: a template, a number or a boolean.
fn plain(item: &Item<'_>) -> Option<Spanned<Template>> {
    if item.is_string() {
        return template(item, Language::Plain);
    }
    item.text().map(|text| Spanned { value: Template::literal(&text.value), span: text.span })
}

#[cfg(test)]
mod tests;
