//! `fleet check`: read everything, plan everything, contact nothing.

use super::access;
use super::context::{self, Context, say};
use super::failure::Failure;
use crate::app::checking::Findings;
use crate::model::config::advice;
use crate::model::run::exit;
use crate::model::run::reason::Reason;
use crate::model::text::printable::printable;
use crate::report::words::counted;

/// Every file was read already; what is left is to plan every task of every site, and to say how it went.
pub fn check(context: &Context<'_>) -> Result<u8, Failure> {
    let broken = context.project.errors();
    if !broken.is_empty() {
        return Err(Failure::Diagnostics(broken));
    }
    let sites = &context.project.inventory.sites;
    let mut findings = Findings::default();
    findings.note(context.project.recipes.values().flat_map(advice::of_recipe));
    for site in sites.values().filter(|site| site.recipe.is_some()) {
        findings.plan(site, context.recipe(site)?, &context.flags.overrides(), &context::login_user()?);
    }
    access::known_hosts(context)?;
    let Findings { diagnostics, errors, notes } = findings;
    for (note, hints) in notes {
        let line = Reason { hints, ..Reason::from(note) }.in_one_line();
        say(&format!("note: {}", printable(line.as_bytes())));
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
