//! Commands that only read: `list`, `tasks`, `runs`, `show`, `logs`.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};

use jiff::tz::TimeZone;

use super::context::{self, Context, print};
use super::failure::Failure;
use crate::model::inventory::inventory::{Inventory, Site};
use crate::model::plan::planner::{Request, Variables};
use crate::model::run::exit;
use crate::model::text::name::HostName;
use crate::record::store::Store as _;
use crate::report::logs::{LogQuery, LogStyle};
use crate::report::{findings_text, inventory_text, listing, logs, recipe_text};

pub fn list(context: &Context<'_>, selector: Option<&str>) -> Result<u8, Failure> {
    let inventory = &context.project.inventory;
    // Who names no site gets what can be shown. The errors of the others and the exit code say that these are missing, so that no script
    // takes a part for the whole.
    let targets = match selector {
        None if inventory.defaults.is_empty() && !inventory.broken.is_empty() && !inventory.sites.is_empty() => {
            context.targets_among(&Inventory { broken: BTreeMap::new(), ..inventory.clone() }, "all")?
        }
        selector => context.targets(selector.unwrap_or("all"))?,
    };
    print(&inventory_text::sites(&targets, context.color()))?;
    if selector.is_none() && !inventory.broken.is_empty() {
        return Err(Failure::Diagnostics(inventory.errors()));
    }
    Ok(exit::SUCCESS)
}

pub fn explain(context: &Context<'_>, selector: &str) -> Result<u8, Failure> {
    let sites = context.targets(selector)?.into_iter().map(|(site, names)| explain_site(context, site, &names));
    print(&sites.collect::<Result<Vec<_>, _>>()?.join("\n"))?;
    Ok(exit::SUCCESS)
}

fn explain_site(context: &Context<'_>, site: &Site, names: &[HostName]) -> Result<String, Failure> {
    let recipe = site.recipe.as_ref().map(|_| context.recipe(site)).transpose()?;
    let (overrides, login) = (context.flags.overrides(), context::login_user()?);
    let mut hosts = Vec::new();
    for host in site.hosts.iter().filter(|host| names.contains(&host.name)) {
        let variables = match recipe {
            Some(recipe) => {
                let request = Request::without_run((site, names, recipe), &overrides, &login);
                let mut variables = Variables::of_host(request, host)?;
                if let Some(followed) = &site.follows {
                    variables.await_proof(recipe, &followed.value);
                }
                variables
            }
            None => Variables::default(),
        };
        hosts.push((host, variables));
    }
    Ok(inventory_text::explain(site, &hosts, context.color()))
}

pub fn tasks(context: &Context<'_>, selector: &str, origin: bool) -> Result<u8, Failure> {
    let mut shown = Vec::new();
    for (site, _) in context.targets(selector)? {
        let recipe = context.recipe(site)?;
        if !shown.contains(&&recipe.name) {
            shown.push(&recipe.name);
            print(&recipe_text::tasks(recipe, origin, context.color()))?;
        }
    }
    Ok(exit::SUCCESS)
}

pub fn runs(context: &Context<'_>) -> Result<u8, Failure> {
    print(&listing::runs(&context.store().list()?, &TimeZone::system(), context.color()))?;
    Ok(exit::SUCCESS)
}

pub fn show(context: &Context<'_>, run: &str, findings: bool) -> Result<u8, Failure> {
    let (plan, summary) = context.store().shown(run)?;
    if findings {
        print(&findings_text::findings(&summary, context.color()))?;
        return Ok(exit::SUCCESS);
    }
    print(&listing::show(&plan.into(), &summary, &TimeZone::system(), context.color()))?;
    Ok(exit::SUCCESS)
}

pub fn logs(context: &Context<'_>, run: &str, host: Option<&str>, step: Option<&str>) -> Result<u8, Failure> {
    let style = if io::stdout().is_terminal() { LogStyle::Terminal(TimeZone::system()) } else { LogStyle::Raw };
    logs::logs(&context.store(), LogQuery { run, host, step }, &style, &mut io::stdout().lock())?;
    Ok(exit::SUCCESS)
}
