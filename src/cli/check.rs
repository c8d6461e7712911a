//! `fleet check`: read everything, plan everything, contact nothing.

use std::collections::BTreeSet;

use super::access;
use super::context::{self, Context, say};
use super::failure::Failure;
use crate::model::config::advice;
use crate::model::config::diagnostic::Diagnostic;
use crate::model::plan::planner::{self, PlanError, Request};
use crate::model::recipe::recipe::Task;
use crate::model::run::exit;
use crate::model::text::hint::Advise as _;
use crate::model::text::name::{HostName, TaskName};
use crate::model::text::printable::printable;
use crate::report::words::counted;

/// Every file was read already; what is left is to plan every task of every site, and to say how it went.
pub fn check(context: &Context<'_>) -> Result<u8, Failure> {
    let broken = context.project.errors();
    if !broken.is_empty() {
        return Err(Failure::Diagnostics(broken));
    }
    let sites = &context.project.inventory.sites;
    let mut diagnostics: Vec<Diagnostic> = Vec::new();
    let (mut errors, mut notes) = (BTreeSet::new(), BTreeSet::new());
    notes.extend(context.project.recipes.values().flat_map(advice::of_recipe));
    for site in sites.values().filter(|site| site.recipe.is_some()) {
        let recipe = context.recipe(site)?;
        notes.extend(advice::of_site(site, recipe));
        // A task that others are made of may need what they register, and is planned with them.
        let parts: BTreeSet<&TaskName> = recipe.tasks.iter().flat_map(Task::uses).map(|used| &used.value).collect();
        let hosts: Vec<HostName> = site.hosts.iter().map(|host| host.name.clone()).collect();
        let (overrides, login) = (context.flags.overrides(), context::login_user()?);
        let request = Request::without_run((site, &hosts, recipe), &overrides, &login);
        for task in recipe.tasks.iter().filter(|task| !parts.contains(&task.name)) {
            match planner::plan(Request { tasks: std::slice::from_ref(&task.name), ..request }) {
                // What is not proven yet will be; a task may be for sites with other roles.
                Ok(_) | Err(PlanError::Unproven { .. } | PlanError::OtherProven { .. } | PlanError::Empty(_)) => {}
                // It may be set with each run.
                Err(unset @ (PlanError::Unset { .. } | PlanError::Open(_))) => {
                    let hints = unset.hints().into_iter().map(|hint| format!("; hint: {hint}"));
                    notes.insert(hints.fold(unset.to_string(), |note, hint| note + &hint));
                }
                Err(PlanError::Roles(roles)) => {
                    notes.extend(roles.into_iter().map(|role| format!("task `{}`: {}", task.name, role.message)));
                }
                Err(PlanError::Diagnostics(found)) => {
                    let new = found.into_iter().filter(|d| !diagnostics.contains(d));
                    diagnostics.extend(new.collect::<Vec<_>>());
                }
                Err(error) => drop(errors.insert(error.to_string())),
            }
        }
    }
    access::known_hosts(context)?;
    for note in &notes {
        say(&format!("note: {}", printable(note.as_bytes())));
    }
    if !diagnostics.is_empty() {
        return Err(Failure::Diagnostics(diagnostics));
    }
    if !errors.is_empty() {
        return Err(Failure::new(exit::INVALID, errors.into_iter().collect::<Vec<_>>().join("\n")));
    }
    let hosts: usize = sites.values().map(|site| site.hosts.len()).sum();
    let recipes = counted(context.project.recipes.len(), "recipe");
    say(&format!("{} with {}, {recipes}: no errors", counted(sites.len(), "site"), counted(hosts, "host")));
    Ok(exit::SUCCESS)
}
