//! `extends`: a recipe takes over all of another one but for the tasks and variables that it has itself.
//!
//! What an inherited task names is looked up in the recipe that inherits it: whoever replaces `restart` changes every task that restarts.
//! `RECIPE:TASK` is the way to the inherited one, to wrap it.
//!
//! Rejected: to change single steps of an inherited task. It would tie a recipe to the steps of another one, which are its own affair; a
//! task is what has a name for others.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::config::diagnostic::{Diagnostic, nearest};
use crate::model::config::graph::{chain, walk};
use crate::model::recipe::check::check;
use crate::model::recipe::recipe::{Recipe, Task};
use crate::model::text::name::{RecipeName, TaskName};

/// How many recipes may extend one another in a row.
const DEEPEST: usize = 16;

/// Gives all recipes what they inherit. Those that cannot have it are taken out, and what is wrong with them is added to `broken`, the errors of
/// recipes by name.
pub fn inherit(read: &mut BTreeMap<RecipeName, Recipe>, broken: &mut BTreeMap<String, Vec<Diagnostic>>) {
    let names: Vec<RecipeName> = read.keys().cloned().collect();
    let parent = |name: &RecipeName| read.get(name).and_then(|recipe| recipe.extends.as_ref());
    let place_of = |wanted: &RecipeName| names.iter().position(|name| name == wanted);
    let edges: Vec<Vec<usize>> =
        names.iter().map(|name| parent(name).and_then(|of| place_of(&of.value)).into_iter().collect()).collect();
    let walked = walk(&edges);
    for cycle in &walked.cycles {
        let circle = chain(cycle, |number| names.get(number).map_or("", RecipeName::as_str));
        for name in cycle.iter().filter_map(|number| names.get(*number)) {
            refuse(read, broken, name, format!("recipes extend each other in a circle: {circle}"));
        }
    }
    // Those that others extend come first.
    for name in walked.order.iter().filter_map(|number| names.get(*number)) {
        let Some((of, recipe)) =
            read.get(name).and_then(|recipe| Some((recipe.extends.as_ref()?.value.clone(), recipe)))
        else {
            continue;
        };
        let Some(parent) = read.get(&of) else {
            let known = read.keys().chain(&names).map(RecipeName::as_str).filter(|other| *other != name.as_str());
            let near = nearest(of.as_str(), known).map(str::to_owned);
            let is_broken = broken.contains_key(of.as_str());
            let message = match (is_broken, near) {
                (true, _) => format!("recipe `{of}` has errors"),
                (false, Some(near)) => format!("there is no recipe `{of}`; did you mean `{near}`?"),
                (false, None) => format!("there is no recipe `{of}`"),
            };
            refuse(read, broken, name, message);
            continue;
        };
        if parent.lineage.len() >= DEEPEST {
            refuse(read, broken, name, format!("more than {DEEPEST} recipes extend one another"));
            continue;
        }
        let whole = merged(recipe, parent);
        let errors = check(&whole);
        if errors.is_empty() {
            read.insert(name.clone(), whole);
        } else {
            read.remove(name);
            broken.entry(name.to_string()).or_default().extend(errors);
        }
    }
}

/// Takes a recipe out, with an error at its `extends`.
fn refuse(
    read: &mut BTreeMap<RecipeName, Recipe>,
    broken: &mut BTreeMap<String, Vec<Diagnostic>>,
    name: &RecipeName,
    message: String,
) {
    let Some(recipe) = read.remove(name) else { return };
    let span = recipe.extends.as_ref().map(|of| of.span.clone()).unwrap_or_default();
    let error = Diagnostic::new(&recipe.source, span, message);
    broken.entry(name.to_string()).or_default().push(error);
}

/// The recipe with what it inherits.
fn merged(recipe: &Recipe, parent: &Recipe) -> Recipe {
    let mut whole = recipe.clone();
    whole.lineage.extend(parent.lineage.iter().cloned());
    if whole.doc.is_empty() {
        whole.doc.clone_from(&parent.doc);
    }
    whole.lock = whole.lock.or_else(|| parent.lock.clone());
    whole.surroundings = recipe.surroundings.over(&parent.surroundings);
    for (name, var) in &parent.vars {
        whole.vars.entry(name.clone()).or_insert_with(|| var.clone());
    }
    let own: BTreeSet<&str> = recipe.files.iter().map(|file| file.path.as_str()).collect();
    whole.files.extend(parent.files.iter().filter(|file| !own.contains(file.path.as_str())).cloned());
    whole.files.sort_by(|a, b| a.path.cmp(&b.path));
    let is_own = |task: &Task| recipe.task(task.name.as_str()).is_some();
    let inherited = parent.tasks.iter().map(|task| recipe.task(task.name.as_str()).unwrap_or(task));
    whole.tasks = inherited.cloned().collect();
    // A new task is listed before the replaced one that follows it in its own file.
    for (at, new) in recipe.tasks.iter().enumerate().filter(|(_, task)| parent.task(task.name.as_str()).is_none()) {
        let next = recipe.tasks.iter().skip(at).find(|task| parent.task(task.name.as_str()).is_some());
        let place = next.and_then(|next| whole.tasks.iter().position(|task| task.name == next.name));
        whole.tasks.insert(place.unwrap_or(whole.tasks.len()), new.clone());
    }
    whole.replaced = parent.replaced.iter().chain(parent.tasks.iter().filter(|task| is_own(task))).cloned().collect();
    // A replaced task that nobody wraps is not there any more, nor are the effects of its steps.
    let used: BTreeSet<(RecipeName, TaskName)> =
        whole.reached(&whole.tasks).into_iter().map(|task| (task.recipe.clone(), task.name.clone())).collect();
    whole.replaced.retain(|task| used.contains(&(task.recipe.clone(), task.name.clone())));
    whole
}
