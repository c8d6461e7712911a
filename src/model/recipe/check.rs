//! What can be judged only when all of a recipe is there, with what it inherits: do the names it uses exist, and does it end?

use std::collections::{BTreeMap, HashMap};

use crate::model::config::diagnostic::{Diagnostic, Place};
use crate::model::config::graph::{chain, walk};
use crate::model::recipe::files::MOST_BYTES;
use crate::model::recipe::recipe::{
    Body, LOOKING_TASKS, Recipe, RecipeVar, Rolling, Spanned, Step, Task, TaskBody, TaskRef,
};
use crate::model::recipe::secrets::misplaced;
use crate::model::recipe::template::Template;
use crate::model::text::name::{RecipeName, VarName};

/// How many steps a task may have with those of all the tasks that it is made of. A few tasks that each name
/// the one before ten times over would make a plan of any size.
const MOST_STEPS: usize = 10_000;

/// How deep tasks may be made of tasks, and defaults of variables.
const DEEPEST: usize = 32;

/// All that is wrong with it, each at its place in the file that it was written in.
pub fn check(recipe: &Recipe) -> Vec<Diagnostic> {
    let tasks: Vec<&Task> = recipe.all_tasks().collect();
    let number = |named: &TaskRef| {
        let target = recipe.resolve(named)?;
        tasks.iter().position(|task| std::ptr::eq(*task, target))
    };
    let targets = |task: &&Task| task.uses().filter_map(|used| number(&used.value)).collect();
    let edges: Vec<Vec<usize>> = tasks.iter().map(targets).collect();
    let mut found = twins(recipe);
    found.extend(large_files(recipe));
    found.extend(file_and_folder(recipe));
    found.extend(misplaced(recipe));
    found.extend(unknown_tasks(recipe));
    found.extend(phases_in_phases(&tasks, &edges, number));
    found.extend(nesting(&tasks, &edges));
    found.extend(defaults(recipe));
    found.extend(tasks.iter().flat_map(|task| unknown_names(recipe, task)));
    found.extend(endless_effects(recipe));
    found.extend(tasks.iter().filter_map(|task| previews(recipe, task)));
    found.extend(LOOKING_TASKS.iter().filter_map(|name| changes(recipe, recipe.task(name)?)));
    found
}

fn at(task: &Task, span: &std::ops::Range<usize>) -> Place {
    Place { source: task.place.source.clone(), span: span.clone() }
}

/// The variables that a task proves, or is summed up by, and the steps that others end.
fn unknown_names(recipe: &Recipe, task: &Task) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for Spanned { value: proves, span } in &task.proves {
        // A value that was only given proves nothing: it may be a branch, and mean something else tomorrow.
        let registered = || recipe.steps().filter_map(|step| step.register.as_ref());
        if !registered().any(|name| name == proves) {
            let message = format!("no step registers the variable `{proves}`, so no run can prove its value");
            let diagnostic = at(task, span).diagnostic(message).absent();
            found.push(diagnostic.did_you_mean(proves.as_str(), registered().map(VarName::as_str)));
        }
    }
    if let Some(Spanned { value: summary, span }) = &task.summary {
        let registered =
            || recipe.reached([task]).into_iter().flat_map(Task::steps).filter_map(|s| s.register.as_ref());
        if !registered().any(|name| name == summary) {
            let message = format!("no step of task `{}` registers the variable `{summary}`", task.name);
            let diagnostic = at(task, span).diagnostic(message).absent();
            found.push(diagnostic.did_you_mean(summary.as_str(), registered().map(VarName::as_str)));
        }
    }
    for Spanned { value: end, span } in task.steps().flat_map(|step| &step.ends) {
        if !recipe.steps().any(|step| step.name == *end) {
            let names = recipe.steps().map(|step| step.name.as_str());
            let diagnostic = at(task, span).diagnostic(format!("there is no step `{end}`")).absent();
            found.push(diagnostic.did_you_mean(end.as_str(), names));
        }
    }
    found
}

/// A task that may only look, and changes something: itself, or by a task that it is made of.
fn changes(recipe: &Recipe, task: &Task) -> Option<Diagnostic> {
    let step = changing_step(recipe, task)?;
    let message = format!("task `{}` may only look, and step `{}` is not `read-only`", task.name, step.name);
    let of = format!("in task `{}`, which `fleet SITE {0}` runs", task.name);
    Some(step.place.diagnostic(message).label(of))
}

fn changing_step<'a>(recipe: &'a Recipe, task: &'a Task) -> Option<&'a Step> {
    let changing = |step: &&Step| step.undo.is_some() || (step.action.is_some() && !step.read_only);
    recipe.reached([task]).into_iter().flat_map(Task::steps).find(changing)
}

/// What runs before somebody has agreed may only look.
fn previews(recipe: &Recipe, task: &Task) -> Option<Diagnostic> {
    let Spanned { value: name, span } = task.preview.as_ref()?;
    let Some(preview) = recipe.task(name.as_str()) else {
        let names = recipe.tasks.iter().map(|task| task.name.as_str());
        let diagnostic = at(task, span).diagnostic(format!("there is no task `{name}`")).absent();
        return Some(diagnostic.did_you_mean(name.as_str(), names));
    };
    let step = changing_step(recipe, preview)?;
    let message = format!("a preview may only look, and step `{}` of task `{name}` is not `read-only`", step.name);
    let label = format!("written in {}:{}", step.place.source.path, step.place.line());
    Some(at(task, span).diagnostic(message).label(label))
}

/// What nobody ends would be called in force for ever, after a success, too.
fn endless_effects(recipe: &Recipe) -> Vec<Diagnostic> {
    let is_ended = |step: &&Step| recipe.steps().any(|other| other.ends.iter().any(|end| end.value == step.name));
    let endless = recipe.steps().filter(|step| step.in_force.is_some() && !is_ended(step));
    let diagnostic = |step: &Step| {
        let words = step.in_force.as_deref().unwrap_or_default();
        let diagnostic = step.place.diagnostic(format!("no step ends what `{}` leaves in force: {words}", step.name));
        diagnostic.label(format!("add `ends = [\"{}\"]` to the step that does", step.name)).absent()
    };
    endless.map(diagnostic).collect()
}

/// The command line takes `a_b` for `a-b`.
fn twins(recipe: &Recipe) -> Vec<Diagnostic> {
    let (mut seen, mut found) = (BTreeMap::<String, &Task>::new(), Vec::new());
    for task in &recipe.tasks {
        if let Some(first) = seen.insert(task.name.as_str().replace('_', "-"), task) {
            let message = format!("tasks `{}` and `{}` are the same on the command line", first.name, task.name);
            found.push(task.place.diagnostic(message).first_at(&first.place));
        }
    }
    found
}

/// `lib` as a file, and `lib/x`.
fn file_and_folder(recipe: &Recipe) -> Option<Diagnostic> {
    let is_folder = |path: &str| recipe.files.iter().any(|other| other.path.starts_with(&format!("{path}/")));
    let file = recipe.files.iter().find(|file| is_folder(&file.path))?;
    Some(file.place.diagnostic(format!("`{}` is a file, and a folder of other files", file.path)))
}

/// Each is sent to every host, for each user.
fn large_files(recipe: &Recipe) -> Option<Diagnostic> {
    let mut bytes = 0;
    let over = recipe.files.iter().find(|file| {
        bytes += file.content.len();
        bytes > MOST_BYTES
    })?;
    let message = format!("the files of the recipe are larger than {} MiB together", MOST_BYTES >> 20);
    Some(over.place.diagnostic(message).label(format!("with `{}`", over.path)))
}

fn unknown_tasks(recipe: &Recipe) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for task in recipe.all_tasks() {
        for Spanned { value: used, span } in task.uses().filter(|used| recipe.resolve(&used.value).is_none()) {
            let place = at(task, span);
            let diagnostic = match &used.recipe {
                Some(parent) if !recipe.lineage.contains(parent) => {
                    let message = format!("`{parent}` is no recipe that `{}` extends", recipe.name);
                    place
                        .diagnostic(message)
                        .did_you_mean(parent.as_str(), recipe.lineage.iter().map(RecipeName::as_str))
                }
                _ => {
                    let names = recipe.tasks.iter().map(|task| task.name.as_str());
                    place.diagnostic(format!("there is no task `{used}`")).did_you_mean(used.task.as_str(), names)
                }
            };
            found.push(diagnostic.absent());
        }
    }
    found
}

/// A phase has hosts of its own, so it has no room in another one.
fn phases_in_phases(
    tasks: &[&Task],
    edges: &[Vec<usize>],
    number: impl Fn(&TaskRef) -> Option<usize>,
) -> Vec<Diagnostic> {
    let with_batches = batched(tasks, edges);
    let mut found = Vec::new();
    for task in tasks {
        let TaskBody::Phases(phases) = &task.body else { continue };
        for phase in phases {
            let Body::Tasks(named) = &phase.body else { continue };
            for (index, Spanned { value: used, span }) in named.iter().enumerate() {
                let place = at(task, span);
                if let Some((culprit, of)) = number(used).and_then(|number| with_batches.get(&number)) {
                    let message =
                        format!("task `{used}` cannot be part of a phase: phase `{culprit}` has hosts of its own");
                    found.push(if of.source == place.source {
                        place.diagnostic(message).also(of.span.clone(), "is `once` or `rolling`")
                    } else {
                        // Whoever replaces a task has to fit in where the recipe that it extends puts it.
                        of.diagnostic(format!("`{used}` cannot have a phase that is `once` or `rolling`")).label(
                            format!(
                                "phase `{}` of task `{}` is made of it ({}:{})",
                                phase.name,
                                task.name,
                                place.source.path,
                                place.line()
                            ),
                        )
                    });
                }
                if let Some(first) = named.iter().take(index).find(|other| other.value == *used) {
                    let diagnostic = place.diagnostic(format!("task `{used}` is listed twice in the phase"));
                    found.push(diagnostic.first_at(&at(task, &first.span)));
                }
            }
        }
    }
    found
}

/// The tasks that have, or lead to, a phase that is `once` or `rolling`: that phase's name and place.
fn batched<'a>(tasks: &[&'a Task], edges: &[Vec<usize>]) -> HashMap<usize, (&'a str, &'a Place)> {
    let mut found: HashMap<usize, (&str, &Place)> = HashMap::new();
    for number in walk(edges).order {
        let own = tasks.get(number).and_then(|task| match &task.body {
            TaskBody::Phases(phases) => phases.iter().find(|phase| phase.once || phase.rolling != Rolling::No),
            TaskBody::Plain(_) => None,
        });
        let own = own.map(|phase| (phase.name.as_str(), &phase.place));
        let below = || edges.get(number)?.iter().find_map(|target| found.get(target).copied());
        if let Some(phase) = own.or_else(below) {
            found.insert(number, phase);
        }
    }
    found
}

/// Tasks in a circle never end; tasks nested too deep or too often make no plan that anyone could read.
fn nesting(tasks: &[&Task], edges: &[Vec<usize>]) -> Vec<Diagnostic> {
    let name = |number: usize| tasks.get(number).map_or("", |task| task.name.as_str());
    // Shown where the circle closes: the last task names the first.
    let closes = |cycle: &[usize]| {
        let (first, last) = (name(*cycle.first()?), tasks.get(*cycle.last()?)?);
        let used = last.uses().find(|used| used.value.task.as_str() == first)?;
        Some(at(last, &used.span))
    };
    let own: Vec<_> = tasks.iter().map(|task| task.steps().count()).collect();
    let (mut found, too_big) = graph((edges, &own), "tasks", name, closes);
    if let Some((number, size)) = too_big
        && let Some(task) = tasks.get(number)
    {
        found.push(task.place.diagnostic(match size {
            Size::Deep => format!("tasks are nested more than {DEEPEST} deep"),
            Size::Large => format!("the task has more than {MOST_STEPS} steps"),
        }));
    }
    found
}

/// Defaults in a circle have no value.
fn defaults(recipe: &Recipe) -> Vec<Diagnostic> {
    let vars: Vec<_> = recipe.vars.iter().collect();
    let numbers: HashMap<_, _> = vars.iter().enumerate().map(|(number, (name, _))| (*name, number)).collect();
    let targets = |(_, var): &(&VarName, &RecipeVar)| {
        let names = var.default.iter().flat_map(Template::names);
        names.filter_map(|name| numbers.get(name).copied()).collect()
    };
    let edges: Vec<Vec<usize>> = vars.iter().map(targets).collect();
    let name = |number: usize| vars.get(number).map_or("", |(name, _)| name.as_str());
    let place = |number: usize| vars.get(number).map(|(_, var)| var.place.clone());
    let closes = |cycle: &[usize]| place(*cycle.first()?);
    let (mut found, too_big) = graph((&edges, &vec![1; vars.len()]), "defaults", name, closes);
    let place = too_big.and_then(|(number, _)| place(number));
    found.extend(place.map(|place| place.diagnostic("the default is made of too many other variables")));
    found
}

/// Each circle, at the place that `closes` it; and without any, the first node that is too big.
fn graph<'a>(
    (edges, own): (&[Vec<usize>], &[usize]),
    what: &str,
    name: impl Fn(usize) -> &'a str,
    closes: impl Fn(&[usize]) -> Option<Place>,
) -> (Vec<Diagnostic>, Option<(usize, Size)>) {
    let walked = walk(edges);
    let circle =
        |cycle: &Vec<usize>| Some(closes(cycle)?.diagnostic(format!("{what} in a circle: {}", chain(cycle, &name))));
    let circles = walked.cycles.iter().filter_map(circle).collect();
    let too_big = if walked.cycles.is_empty() { too_big(edges, &walked.order, own) } else { None };
    (circles, too_big)
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
