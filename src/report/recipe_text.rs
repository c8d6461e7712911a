//! A recipe in words: what can be done with a site, and where that is written.

use std::fmt::Write as _;

use super::columns::{Cell, columns};
use super::paint::Tone;
use super::words::counted;
use crate::model::config::diagnostic::Place;
use crate::model::inventory::share::Share;
use crate::model::inventory::stage::Stage;
use crate::model::recipe::recipe::{
    Body, Phase, Recipe, RecipeVar, Rolling, Spanned, Step, Surroundings, Task, TaskBody, TaskRef,
};
use crate::model::text::name::RecipeName;
use crate::model::text::printable::one_line;

/// Environment variables that are shown, and not only counted.
const MAX_ENV: usize = 6;

/// `fleet tasks SITE`: tasks, phases and steps of a recipe, and its variables.
pub fn tasks(recipe: &Recipe, origin: bool, color: bool) -> String {
    Text { out: String::new(), origin, color }.of(recipe)
}

/// Nobody types it first: other tasks are made of it, and it has no `doc`, or is named after one of them, as `deploy-check` is. Many parts are
/// typed as well, such as `restart`. Rejected: a key that says so. The author of a recipe would have to know of it, and the name says it.
fn is_part(recipe: &Recipe, task: &Task) -> bool {
    let uses = |other: &&Task| {
        let previews = other.preview.iter().any(|preview| preview.value == task.name);
        previews || other.uses().any(|used| used.value.task == task.name)
    };
    let is_of = |other: &Task| task.name.as_str().strip_prefix(other.name.as_str()).is_some_and(|s| s.starts_with('-'));
    recipe.all_tasks().filter(uses).any(|other| task.doc.is_empty() || is_of(other))
}

struct Text {
    out: String,
    /// Say where each task and step is written.
    origin: bool,
    color: bool,
}

impl Text {
    fn of(mut self, recipe: &Recipe) -> String {
        let name = Tone::Heading.paint(recipe.name.as_str(), self.color);
        let _ = writeln!(self.out, "{name}: {}", one_line(&recipe.doc));
        if let [_, parents @ ..] = recipe.lineage.as_slice()
            && !parents.is_empty()
        {
            let parents: Vec<&str> = parents.iter().map(RecipeName::as_str).collect();
            let _ = writeln!(self.out, "  extends {}", parents.join(", which extends "));
        }
        self.surroundings(&recipe.surroundings);
        if !recipe.files.is_empty() {
            let files: Vec<&str> = recipe.files.iter().map(|file| file.path.as_str()).collect();
            let _ = writeln!(self.out, "  files {}", one_line(&files.join(", ")));
        }
        let (parts, tasks): (Vec<&Task>, Vec<&Task>) = recipe.tasks.iter().partition(|task| is_part(recipe, task));
        for task in tasks {
            self.task(task);
        }
        if !parts.is_empty() {
            let _ = write!(self.out, "\n{}\n", Tone::Heading.paint("parts of these tasks:", self.color));
            for task in parts {
                self.task(task);
            }
        }
        for task in &recipe.replaced {
            let _ = write!(self.out, "\n{}", Tone::Dim.paint(&format!("{}:", task.recipe), self.color));
            self.body(task);
        }
        let rows: Vec<Vec<Cell>> = recipe.vars.iter().map(|(name, var)| self.variable(name.as_str(), var)).collect();
        if !rows.is_empty() {
            let heading = Tone::Heading.paint("variables", self.color);
            let _ = write!(self.out, "\n{heading}\n{}", columns(&rows, self.color));
        }
        self.out
    }

    fn task(&mut self, task: &Task) {
        self.out.push('\n');
        self.body(task);
    }

    fn body(&mut self, task: &Task) {
        let mut about = vec![one_line(&task.doc)];
        about.extend((!task.stages.is_empty()).then(|| {
            let stages: Vec<String> = task.stages.iter().map(Stage::to_string).collect();
            format!("(only on stage {})", stages.join(", "))
        }));
        about.extend((!task.proves.is_empty()).then(|| {
            let names: Vec<&str> = task.proves.iter().map(|proves| proves.value.as_str()).collect();
            format!("(proves {})", names.join(", "))
        }));
        about.retain(|text| !text.is_empty());
        let (name, origin) = (Tone::Heading.paint(task.name.as_str(), self.color), self.origin_of(&task.place));
        let _ = writeln!(self.out, "{}{origin}", format!("{name}  {}", about.join(" ")).trim_end());
        self.surroundings(&task.surroundings);
        match &task.body {
            TaskBody::Plain(Body::Tasks(tasks)) => _ = writeln!(self.out, "  tasks {}", names(tasks)),
            TaskBody::Plain(Body::Steps(steps)) => self.steps("  ", steps),
            TaskBody::Phases(phases) => phases.iter().for_each(|phase| self.phase(phase)),
        }
    }

    fn phase(&mut self, phase: &Phase) {
        let mut how = Vec::new();
        let needed = if phase.optional { ", optional" } else { "" };
        how.extend(phase.on.as_ref().map(|role| format!("on {role}{needed}")));
        how.extend(phase.once.then(|| "once".to_owned()));
        how.extend(match &phase.rolling {
            Rolling::No => None,
            Rolling::AsSite => Some("rolling".to_owned()),
            Rolling::Batches(sizes) => {
                let sizes: Vec<String> = sizes.iter().map(Share::to_string).collect();
                Some(format!("rolling {}", sizes.join(", ")))
            }
        });
        let how = if how.is_empty() { String::new() } else { format!(" ({})", how.join(", ")) };
        match &phase.body {
            Body::Tasks(tasks) => _ = writeln!(self.out, "  phase {}{how}: {}", phase.name, names(tasks)),
            Body::Steps(steps) => {
                let _ = writeln!(self.out, "  phase {}{how}", phase.name);
                self.steps("    ", steps);
            }
        }
    }

    fn steps(&mut self, indent: &str, steps: &[Step]) {
        for step in steps {
            let undo = match (&step.action, &step.undo) {
                (None, _) => Some("undo only".to_owned()),
                (Some(_), Some(_)) => Some("with undo".to_owned()),
                (Some(_), None) => None,
            };
            let mut about: Vec<String> = undo.into_iter().collect();
            about.extend(step.is_local().then(|| "local".to_owned()));
            about.extend(step.read_only.then(|| "read-only".to_owned()));
            about.extend(step.watch.map(|watch| format!("watched every {} s", watch.every.as_secs_f32())));
            about.extend(step.in_force.as_ref().map(|words| format!("in force: {words}")));
            let undo = if about.is_empty() { String::new() } else { format!("  ({})", one_line(&about.join(", "))) };
            let origin = self.origin_of(&step.place);
            let _ = writeln!(self.out, "{indent}step {}{undo}{origin}", step.name);
        }
    }

    fn surroundings(&mut self, Surroundings { as_user, cwd, env }: &Surroundings) {
        let mut how = Vec::new();
        how.extend(as_user.as_ref().map(|user| format!("as {}", user.value)));
        how.extend(cwd.as_ref().map(|cwd| format!("in {}", cwd.value)));
        // A dry run shows them all, with their values.
        if env.len() > MAX_ENV {
            how.push(format!("with {} in the environment", counted(env.len(), "variable")));
        } else {
            how.extend(env.iter().map(|(name, value)| format!("{name}={}", value.value)));
        }
        if !how.is_empty() {
            let _ = writeln!(self.out, "  {}", one_line(&how.join(" ")));
        }
    }

    fn origin_of(&self, place: &Place) -> String {
        if !self.origin {
            return String::new();
        }
        format!("  [{}:{}]", one_line(&place.source.path), place.line())
    }

    fn variable(&self, name: &str, var: &RecipeVar) -> Vec<Cell> {
        let default = match (&var.default, var.required) {
            _ if var.secret => "secret".to_owned(),
            (Some(default), _) => format!("[{}]", first_line(&default.to_string())),
            (None, true) => "required".to_owned(),
            (None, false) => String::new(),
        };
        let doc = format!("{}{}", one_line(&var.doc), self.origin_of(&var.place));
        vec![Cell::plain(format!("  {name}")), Cell::plain(default), Cell::plain(doc)]
    }
}

/// A default may be a whole script; its first line tells enough.
fn first_line(text: &str) -> String {
    let mut lines = text.trim().lines();
    let first = one_line(lines.next().unwrap_or_default());
    if lines.next().is_some() { format!("{first} …") } else { first }
}

fn names(tasks: &[Spanned<TaskRef>]) -> String {
    tasks.iter().map(|task| task.value.to_string()).collect::<Vec<_>>().join(", ")
}
