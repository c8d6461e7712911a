//! What a plan takes of the variables that a site may prove for others.

use std::collections::BTreeSet;

use crate::model::recipe::recipe::Recipe;
use crate::model::recipe::template::Template;
use crate::model::text::name::VarName;

/// The variables that some task of the recipe proves, and that a command of a plan uses as they were given, and not as a step of the plan
/// registers them.
#[derive(Default)]
pub struct Takes {
    /// In the order of their use.
    pub names: Vec<VarName>,
    /// Those that a step uses which changes something.
    pub changing: BTreeSet<VarName>,
}

impl Takes {
    /// A step uses the variable.
    pub fn add(&mut self, recipe: &Recipe, name: &VarName, read_only: bool) {
        if is_proven(recipe, name) && !self.names.contains(name) {
            self.names.push(name.clone());
        }
        // It may stand in the default of another one.
        let mut open = if read_only { Vec::new() } else { vec![name] };
        while let Some(name) = open.pop() {
            if is_proven(recipe, name) {
                self.changing.insert(name.clone());
            }
            open.extend(
                recipe.vars.get(name).and_then(|var| var.default.as_ref()).into_iter().flat_map(Template::names),
            );
        }
    }
}

pub fn is_proven(recipe: &Recipe, name: &VarName) -> bool {
    recipe.tasks.iter().any(|task| task.proves_value(name))
}
