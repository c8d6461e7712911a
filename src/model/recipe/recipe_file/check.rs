//! What can be judged only when all of a recipe is read: do the names it uses exist, and does it end?

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::Later;
use crate::model::config::diagnostic::Diagnostic;
use crate::model::config::document::Document;
use crate::model::config::graph::{chain, walk};
use crate::model::recipe::recipe::{Body, Recipe, RecipeVar, Task, TaskBody};
use crate::model::recipe::template::Template;
use crate::model::text::name::VarName;

/// How many steps a task may have with those of all the tasks that it is made of. A few tasks that each name
/// the one before ten times over would make a plan of any size.
const MOST_STEPS: usize = 10_000;

/// How deep tasks may be made of tasks, and defaults of variables.
const DEEPEST: usize = 32;

pub(super) fn check(document: &Document<'_>, recipe: &Recipe, later: &Later) {
    let numbered = recipe.tasks.iter().enumerate().map(|(number, task)| (task.name.as_str(), number));
    let numbers: HashMap<&str, usize> = numbered.collect();
    let targets = |task: &Task| task.uses().filter_map(|used| numbers.get(used.value.as_str()).copied()).collect();
    let edges: Vec<Vec<usize>> = recipe.tasks.iter().map(targets).collect();
    check_twins(document, recipe);
    check_refs(document, recipe, &numbers, &edges);
    check_nesting(document, recipe, &edges);
    check_defaults(document, recipe);
    for proves in &later.proves {
        // A value that was only given proves nothing: it may be a branch, and mean something else tomorrow.
        let registered = || recipe.steps().filter_map(|step| step.register.as_ref());
        if !registered().any(|name| *name == proves.value) {
            let message = format!("no step registers the variable `{}`, so no run can prove its value", proves.value);
            let diagnostic = Diagnostic::new(document.source, proves.span.clone(), message);
            let names = registered().map(VarName::as_str);
            document.push_absence(diagnostic.did_you_mean(proves.value.as_str(), names));
        }
    }
    for end in &later.ends {
        if !recipe.steps().any(|step| step.name == end.value) {
            let names = recipe.steps().map(|step| step.name.as_str());
            let message = format!("there is no step `{}`", end.value);
            let diagnostic = Diagnostic::new(document.source, end.span.clone(), message);
            document.push_absence(diagnostic.did_you_mean(end.value.as_str(), names));
        }
    }
}

/// The command line takes `a_b` for `a-b`.
fn check_twins(document: &Document<'_>, recipe: &Recipe) {
    let mut seen: BTreeMap<String, &Task> = BTreeMap::new();
    for task in &recipe.tasks {
        if let Some(first) = seen.insert(task.name.as_str().replace('_', "-"), task) {
            let message = format!("tasks `{}` and `{}` are the same on the command line", first.name, task.name);
            document.report_again(task.span.clone(), &first.span, message);
        }
    }
}

/// Do all named tasks exist, and may they stand where they are named?
fn check_refs(document: &Document<'_>, recipe: &Recipe, numbers: &HashMap<&str, usize>, edges: &[Vec<usize>]) {
    let with_batches = batched(recipe, edges);
    for task in &recipe.tasks {
        for used in task.uses() {
            if !numbers.contains_key(used.value.as_str()) {
                let message = format!("there is no task `{}`", used.value);
                let diagnostic = Diagnostic::new(document.source, used.span.clone(), message);
                document.push_absence(diagnostic.did_you_mean(used.value.as_str(), numbers.keys().copied()));
            }
        }
        let TaskBody::Phases(phases) = &task.body else { continue };
        for phase in phases {
            let Body::Tasks(tasks) = &phase.body else { continue };
            for (place, used) in tasks.iter().enumerate() {
                if let Some((culprit, span)) = numbers.get(used.value.as_str()).and_then(|n| with_batches.get(n)) {
                    let message = format!(
                        "task `{}` can not be part of a phase: phase `{culprit}` has hosts of its own",
                        used.value
                    );
                    let diagnostic = Diagnostic::new(document.source, used.span.clone(), message);
                    document.push(diagnostic.also(span.clone(), "is `once` or `rolling`"));
                }
                if let Some(first) = tasks.iter().take(place).find(|other| other.value == used.value) {
                    let message = format!("task `{}` stands twice in the phase", used.value);
                    document.report_again(used.span.clone(), &first.span, message);
                }
            }
        }
    }
}

/// The tasks that have, or lead to, a phase that is `once` or `rolling`: that phase's name and place.
fn batched<'a>(recipe: &'a Recipe, edges: &[Vec<usize>]) -> HashMap<usize, (&'a str, Range<usize>)> {
    let mut found: HashMap<usize, (&str, Range<usize>)> = HashMap::new();
    for number in walk(edges).order {
        let own = recipe.tasks.get(number).and_then(|task| match &task.body {
            TaskBody::Phases(phases) => phases.iter().find(|phase| phase.once || phase.rolling),
            TaskBody::Plain(_) => None,
        });
        let own = own.map(|phase| (phase.name.as_str(), phase.span.clone()));
        let below = || edges.get(number)?.iter().find_map(|target| found.get(target).cloned());
        if let Some(phase) = own.or_else(below) {
            found.insert(number, phase);
        }
    }
    found
}

/// Tasks in a circle never end; tasks nested too deep or too often make no plan that anyone could read.
fn check_nesting(document: &Document<'_>, recipe: &Recipe, edges: &[Vec<usize>]) {
    let task = |number: usize| recipe.tasks.get(number);
    let name = |number: usize| task(number).map_or("", |task| task.name.as_str());
    // Told where the circle closes: the last task names the first.
    let closes = |cycle: &[usize]| {
        let first = name(*cycle.first()?);
        let used = task(*cycle.last()?)?.uses().find(|used| used.value.as_str() == first)?;
        Some(used.span.clone())
    };
    let own: Vec<_> = recipe.tasks.iter().map(|task| task.steps().count()).collect();
    if let Some((number, size)) = check_graph(document, (edges, &own), "tasks", name, closes)
        && let Some(task) = task(number)
    {
        let message = match size {
            Size::Deep => format!("tasks are nested more than {DEEPEST} deep"),
            Size::Large => format!("the task has more than {MOST_STEPS} steps"),
        };
        document.report(task.span.clone(), message);
    }
}

/// Defaults in a circle have no value.
fn check_defaults(document: &Document<'_>, recipe: &Recipe) {
    let vars: Vec<_> = recipe.vars.iter().collect();
    let numbers: HashMap<_, _> = vars.iter().enumerate().map(|(number, (name, _))| (*name, number)).collect();
    let targets = |(_, var): &(&VarName, &RecipeVar)| {
        let names = var.default.iter().flat_map(Template::names);
        names.filter_map(|name| numbers.get(name).copied()).collect()
    };
    let edges: Vec<Vec<usize>> = vars.iter().map(targets).collect();
    let name = |number: usize| vars.get(number).map_or("", |(name, _)| name.as_str());
    let span = |number: usize| vars.get(number).map(|(_, var)| var.span.clone());
    let closes = |cycle: &[usize]| span(*cycle.first()?);
    if let Some((number, _)) = check_graph(document, (&edges, &vec![1; vars.len()]), "defaults", name, closes)
        && let Some(span) = span(number)
    {
        document.report(span, "the default is made of too many other variables");
    }
}

/// Reports each circle at the place that `closes` it. Without any, gives the first node that is too big.
fn check_graph<'a>(
    document: &Document<'_>,
    (edges, own): (&[Vec<usize>], &[usize]),
    what: &str,
    name: impl Fn(usize) -> &'a str,
    closes: impl Fn(&[usize]) -> Option<Range<usize>>,
) -> Option<(usize, Size)> {
    let found = walk(edges);
    for cycle in &found.cycles {
        if let Some(span) = closes(cycle) {
            document.report(span, format!("{what} in a circle: {}", chain(cycle, &name)));
        }
    }
    if found.cycles.is_empty() { too_big(edges, &found.order, own) } else { None }
}

enum Size {
    Deep,
    Large,
}

/// The first node that is nested too deep or unfolds to too much. `order` is that of [`walk`], without cycles.
fn too_big(edges: &[Vec<usize>], order: &[usize], own: &[usize]) -> Option<(usize, Size)> {
    let mut sizes: Vec<(usize, usize)> = vec![(0, 0); edges.len()];
    for &number in order {
        let below = edges.get(number).into_iter().flatten().filter_map(|target| sizes.get(*target));
        let own = own.get(number).copied().unwrap_or_default();
        // A task without steps still costs its unfolding.
        let size = below.fold((0, own.max(1)), |(depth, steps), (below_depth, below_steps)| {
            (depth.max(below_depth + 1), steps.saturating_add(*below_steps))
        });
        if size.0 > DEEPEST {
            return Some((number, Size::Deep));
        }
        if size.1 > MOST_STEPS {
            return Some((number, Size::Large));
        }
        if let Some(slot) = sizes.get_mut(number) {
            *slot = size;
        }
    }
    None
}
