//! One `[[…step]]`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::phase::role;
use super::{Reader, plain, surroundings, template};
use crate::model::config::document::{Item, Table};
use crate::model::plan::plan::{Retry, Watch};
use crate::model::recipe::files::{VARIABLE, inside};
use crate::model::recipe::recipe::{Action, Spanned, Step, StepGuard, Text, settable};
use crate::model::recipe::template::{Language, Template};
use crate::model::text::name::StepName;
use crate::model::text::printable::printable;

/// Further attempts that a step may have.
const MOST_RETRIES: u32 = 1000;

/// Between two attempts, when the step does not say.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// What a step that is only an `undo` cannot have.
const NEED_RUN: [&str; 10] =
    ["unless", "only-if", "register", "retry", "idempotent", "read-only", "ends", "in-force", "durable", "watch"];

/// Failures in a row that fail the host, when the watch does not say.
const WATCH_FAILURES: u32 = 2;

/// The most that it may say.
const MAX_WATCH_FAILURES: u32 = 1000;

/// What a step that runs where fleet runs cannot have.
const NOT_LOCAL: [&str; 7] = ["undo", "as", "durable", "in-force", "ends", "unless", "only-if"];

impl<'a> Reader<'a> {
    pub(super) fn step(&self, table: &Table<'a>) -> Option<Step> {
        let name = table.parsed("name", StepName::parse);
        table.missing("name");
        let (run, script, local) = (table.item("run"), table.item("script"), table.item("local"));
        let only_undo = run.is_none() && script.is_none() && local.is_none() && table.item("undo").is_some();
        if only_undo {
            for item in NEED_RUN.iter().filter_map(|key| table.item(key)) {
                item.tell_key(
                    format!("`{}` needs a `run`", item.key),
                    "this step is only an `undo`: nothing runs until it is undone",
                );
            }
        } else {
            self.exactly_one(&table.span(), &[("run", &run), ("script", &script), ("local", &local)]);
        }
        let run = run.map(|run| Action::Run(shell(&run)));
        let is_local = local.is_some();
        if let Some(local) = &local {
            check_local(table, local);
        }
        let local = local.map(|local| Action::Local(shell(&local)));
        let action = run.or(local).or_else(|| script.map(|script| self.script(&script)));
        let (unless, only_if) = (table.item("unless"), table.item("only-if"));
        if unless.is_some() && only_if.is_some() {
            self.exactly_one(&table.span(), &[("unless", &unless), ("only-if", &only_if)]);
        }
        let unless = unless.map(|unless| StepGuard::Unless(shell(&unless)));
        let guard = unless.or_else(|| only_if.map(|only_if| StepGuard::OnlyIf(shell(&only_if))));
        let may_repeat = table.item("idempotent");
        let idempotent = may_repeat.as_ref().and_then(Item::boolean).map(|idempotent| idempotent.value);
        let retry = table.item("retry");
        // A value of `idempotent` that is no boolean was told already.
        if let (Some(retry), false) = (&retry, only_undo || idempotent.unwrap_or(may_repeat.is_some())) {
            retry.tell_key("`retry` is only for steps that may run twice", "add `idempotent = true` if this one may");
        }
        let in_force = table.parsed("in-force", one_line).map(|words| words.value);
        let limit = |key| table.item(key).and_then(|item| item.limit()).map(|limit| limit.value);
        let ends = table.array("ends").unwrap_or_default();
        let ends: Vec<_> = ends.iter().filter_map(|item| item.parsed(StepName::parse)).collect();
        let undo = table.item("undo").map(|undo| shell(&undo));
        let (on, optional) = role(table);
        let surroundings = surroundings(table);
        let (timeout, idle_timeout) = (limit("timeout"), limit("idle-timeout"));
        let retry = retry.and_then(|retry| read_retry(&retry));
        let register = table.parsed("register", settable).map(|register| register.value);
        let key = table.item("read-only");
        let read_only = key.as_ref().and_then(Item::boolean).is_some_and(|read_only| read_only.value);
        if let (Some(key), true) = (&key, read_only && !only_undo && table.item("undo").is_some()) {
            key.tell_key("a step that is `read-only` has nothing to undo", "leave out one of the two");
        }
        if let (Some(key), true) = (table.item("in-force"), read_only) {
            key.tell_key("a step that is `read-only` leaves nothing in force", "leave out one of the two");
        }
        let watch = table.item("watch");
        if let (Some(watch), false) = (&watch, read_only || only_undo) {
            watch.tell_key(
                "`watch` is only for steps that change nothing",
                "add `read-only = true` if this one does not",
            );
        }
        let watch = watch.and_then(|watch| read_watch(&watch));
        let durable = table.boolean("durable").is_none_or(|durable| durable.value) && !is_local;
        let secret_output = table.boolean("secret-output").is_some_and(|secret| secret.value);
        table.finish();
        // Only now: a step with a bad name is read to its end too.
        let Spanned { value: name, span } = name?;
        Some(Step {
            name,
            action,
            undo,
            guard,
            on,
            optional,
            surroundings,
            timeout,
            idle_timeout,
            idempotent: idempotent.unwrap_or_default(),
            retry,
            register,
            durable,
            read_only,
            secret_output,
            watch,
            in_force,
            ends,
            place: self.document.place(span),
        })
    }

    fn script(&self, item: &Item<'a>) -> Action {
        let path = item.parsed(script_path).map(|path| path.value).unwrap_or_default();
        let mut content = String::new();
        if !path.is_empty() {
            match self.folder.script(&path) {
                Ok(text) if text.contains('\0') => item.report(format!("script `{path}` holds a NUL byte")),
                Ok(text) => content = text,
                Err(reason) => item.report(format!("script `{path}`: {reason}")),
            }
        }
        Action::Script { path, place: self.document.place(item.span.clone()), content }
    }
}

/// A command where fleet runs is lost with fleet: so nothing can depend on its being undone, or on its running only once.
fn check_local(table: &Table<'_>, local: &Item<'_>) {
    for item in NOT_LOCAL.iter().filter_map(|key| table.item(key)) {
        item.tell_key(
            format!("a `local` step has no `{}`", item.key),
            "it runs where fleet runs, and is not there any more when fleet is gone",
        );
    }
    if let Some(text) = local.string().filter(|text| text.value.contains(VARIABLE)) {
        let message = format!("`${VARIABLE}` is a folder on the hosts");
        local.document.tell(text.span, message, "a `local` step begins in the project's folder: name the file there");
    }
    let says = |key| table.item(key).as_ref().and_then(Item::boolean).is_some_and(|yes| yes.value);
    if !says("read-only") && !says("idempotent") {
        local.tell_key("a `local` step may run again", "add `read-only = true`, or `idempotent = true`");
    }
}

fn one_line(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || printable(text.as_bytes()) != text {
        return Err("`in-force` says on one line what the step leaves, such as \"closed for visitors\"".to_owned());
    }
    Ok(text.trim().to_owned())
}

fn script_path(path: &str) -> Result<String, String> {
    if inside(path) {
        return Ok(path.to_owned());
    }
    Err(format!("script `{}` is not a path inside the recipe's folder", path.escape_debug()))
}

/// Shell text. An empty command does nothing, and says nothing about it: a mistake.
fn shell(item: &Item<'_>) -> Text {
    let template = template(item, Language::Shell);
    if template.as_ref().is_some_and(|template| template.value.to_string().trim().is_empty()) {
        item.report(format!("`{}` is empty", item.key));
    }
    template.unwrap_or_else(|| Text { value: Template::default(), place: item.document.place(item.span.clone()) })
}

pub fn read_env(table: &Table<'_>) -> BTreeMap<String, Text> {
    let mut env = BTreeMap::new();
    for item in table.items() {
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        let is_name = item.key.starts_with(first) && item.key.chars().all(|c| first(c) || c.is_ascii_digit());
        if !is_name {
            item.refuse_key::<()>(format!(
                "`{}` is no name for an environment variable: letters, digits and _, no digit first",
                item.key
            ));
        }
        env.extend(plain(&item).map(|value| (item.key.to_owned(), value)));
    }
    env
}

/// `retry = 3`, or `retry = { times = 3, delay = "2s" }`.
fn read_retry(item: &Item<'_>) -> Option<Retry> {
    let times = |item: &Item<'_>| match item.integer::<u32>() {
        Some(times) if (1..=MOST_RETRIES).contains(&times) => Some(times),
        _ => item.expected_value(&format!("a number of further attempts, 1 to {MOST_RETRIES}")),
    };
    if !item.is_table() {
        return times(item).map(|times| Retry { times, delay: RETRY_DELAY });
    }
    let table = item.table()?;
    let count = table.item("times").and_then(|item| times(&item));
    table.missing("times");
    let delay = table.item("delay").and_then(|item| item.duration());
    table.finish();
    Some(Retry { times: count?, delay: delay.map_or(RETRY_DELAY, |delay| delay.value) })
}

/// `watch = { every = "5s", failures = 2 }`.
fn read_watch(item: &Item<'_>) -> Option<Watch> {
    let table = item.table()?;
    let every = table.item("every").and_then(|item| item.limit());
    table.missing("every");
    let failures = table.item("failures").map(|item| match item.integer::<u32>() {
        Some(failures) if (1..=MAX_WATCH_FAILURES).contains(&failures) => Some(failures),
        _ => item.expected_value(&format!("a number of failures in a row, 1 to {MAX_WATCH_FAILURES}")),
    });
    table.finish();
    Some(Watch { every: every?.value, failures: failures.unwrap_or(Some(WATCH_FAILURES))? })
}
