//! `fleet check`: every task of every site is planned, for no run.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::config::advice;
use crate::model::config::diagnostic::Diagnostic;
use crate::model::inventory::inventory::Site;
use crate::model::plan::planner::{self, Overrides, PlanError, Request};
use crate::model::recipe::recipe::{Recipe, Task};
use crate::model::text::hint::{Advise as _, Hint};
use crate::model::text::name::{HostName, TaskName, UserName};

/// What is wrong with a project, and what is worth knowing.
#[derive(Debug, Default)]
pub struct Findings {
    pub diagnostics: Vec<Diagnostic>,
    /// Errors that have no place in a file.
    pub errors: BTreeSet<String>,
    pub notes: BTreeMap<String, Vec<Hint>>,
}

impl Findings {
    pub fn note(&mut self, notes: impl IntoIterator<Item = String>) {
        self.notes.extend(notes.into_iter().map(|note| (note, Vec::new())));
    }

    /// Plans the tasks of a site.
    pub fn plan(&mut self, site: &Site, recipe: &Recipe, overrides: &Overrides, login: &UserName) {
        self.note(advice::of_site(site, recipe));
        // A task that others are made of may need what they register, and is planned with them.
        let parts: BTreeSet<&TaskName> = recipe.all_tasks().flat_map(Task::uses).map(|used| &used.value.task).collect();
        let hosts: Vec<HostName> = site.hosts.iter().map(|host| host.name.clone()).collect();
        let request = Request::without_run((site, &hosts, recipe), overrides, login);
        for task in recipe.tasks.iter().filter(|task| !parts.contains(&task.name)) {
            match planner::plan(Request { tasks: std::slice::from_ref(&task.name), ..request }) {
                // What is not proven yet will be; a task may be for sites with other roles, or of another stage.
                Ok(_)
                | Err(
                    PlanError::Unproven { .. }
                    | PlanError::PartlyProven { .. }
                    | PlanError::OtherProven { .. }
                    | PlanError::Empty(_)
                    | PlanError::Stage { .. },
                ) => {}
                // It may be set with each run.
                Err(unset @ (PlanError::Unset { .. } | PlanError::Open(_))) => {
                    self.notes.insert(unset.to_string(), unset.hints());
                }
                Err(PlanError::Roles(roles)) => {
                    self.note(roles.into_iter().map(|role| format!("task `{}`: {}", task.name, role.message)));
                }
                Err(PlanError::Diagnostics(found)) => {
                    let new: Vec<_> = found.into_iter().filter(|found| !self.diagnostics.contains(found)).collect();
                    self.diagnostics.extend(new);
                }
                Err(error) => drop(self.errors.insert(error.to_string())),
            }
        }
    }
}
