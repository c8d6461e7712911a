//! The variables of one host, and where each value came from.
//!
//! Precedence: command line > proven on the followed site > host > site > defaults > recipe.

use std::collections::{BTreeMap, BTreeSet};

use super::Request;
use crate::model::config::diagnostic::nearest;
use crate::model::config::setting::{Origin, Setting};
use crate::model::inventory::inventory::{Host, Site};
use crate::model::recipe::recipe::Recipe;
use crate::model::text::name::{SiteName, VarName};

/// The variables of one host.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    values: BTreeMap<VarName, Setting<String>>,
    registered: BTreeSet<VarName>,
}

/// A variable that the command line sets and that nothing in the recipe or the inventory knows, and the one that was perhaps meant.
/// To plan all the same would deploy the default revision to who misspelt `revision`.
pub fn misspelt(request: Request<'_>) -> Option<(&VarName, Option<&str>)> {
    let Request { site, recipe, overrides, .. } = request;
    let inventory = || site.vars.keys().chain(site.hosts.iter().flat_map(|host| host.vars.keys()));
    let unknown = overrides.vars.keys().find(|name| !recipe.uses(name) && !inventory().any(|known| known == *name))?;
    let known = recipe.vars.keys().chain(inventory()).map(VarName::as_str);
    Some((unknown, nearest(unknown.as_str(), known)))
}

/// Variables in the site's own file that nothing in the recipe uses and that look like one that it declares: a misspelt `restart`
/// would deploy without one.
pub fn misspelt_in_site(site: &Site, recipe: &Recipe) -> Vec<String> {
    let settings = site.vars.iter().chain(site.hosts.iter().flat_map(|host| &host.vars));
    let unused = settings.filter(|(name, _)| !recipe.uses(name));
    let told = unused.filter_map(|(name, setting)| {
        let own = matches!(&setting.origin, Origin::File { path, .. } if *path == site.source.path);
        let meant = nearest(name.as_str(), recipe.vars.keys().map(VarName::as_str)).filter(|_| own)?;
        Some(format!(
            "{}: recipe `{}` knows no variable `{name}`; did you mean `{meant}`?",
            setting.origin, recipe.name
        ))
    });
    told.collect::<BTreeSet<_>>().into_iter().collect()
}

impl Variables {
    /// All variables of a host, defaults expanded.
    pub fn new(request: Request<'_>, host: &Host) -> Result<Self, String> {
        let site = request.site;
        let mut values = site.vars.clone();
        values.extend(host.vars.clone());
        if let Some(proof) = request.proof {
            let origin = Origin::Proven(proof.run.to_string());
            values.insert(proof.name.clone(), Setting { value: proof.value.clone(), origin });
        }
        for (name, value) in &request.overrides.vars {
            values.insert(name.clone(), Setting { value: value.clone(), origin: Origin::CommandLine("--set") });
        }
        let own = [
            ("fleet.run", request.run.to_string()),
            ("fleet.site", site.name.to_string()),
            ("fleet.host", host.name.to_string()),
            ("fleet.address", host.address.value.to_string()),
            ("fleet.stage", site.stage.as_ref().map(|stage| stage.value.to_string()).unwrap_or_default()),
        ];
        for (name, value) in own {
            let name = VarName::parse(name).map_err(|e| e.to_string())?;
            values.insert(name, Setting { value, origin: Origin::Default });
        }
        let mut variables = Self { values, registered: BTreeSet::new() };
        for name in request.recipe.vars.keys() {
            variables.expand(name, request, host)?;
        }
        Ok(variables)
    }

    /// Gives the recipe's default to a variable that has no value yet. A recipe whose defaults go in a circle was not read at all.
    fn expand(&mut self, name: &VarName, request: Request<'_>, host: &Host) -> Result<(), String> {
        if self.values.contains_key(name) {
            return Ok(());
        }
        let Some(declared) = request.recipe.vars.get(name) else { return Ok(()) };
        let Some(default) = &declared.default else {
            if declared.required {
                let site = &request.site.name;
                return Err(format!(
                    "recipe `{}` needs the variable `{name}` ({}), and host `{}` of site `{site}` has none\n\
                     hint: set it in hosts/{site}.toml, below [vars]: {name} = \"...\"",
                    request.recipe.name, declared.doc, host.name
                ));
            }
            return Ok(());
        };
        for used in default.names() {
            self.expand(used, request, host)?;
        }
        let value = default.bind(|name| self.value(name)).finish().map_err(|open| {
            format!("the default of `{name}` in recipe `{}` uses `{open}`, which has no value", request.recipe.name)
        })?;
        let line =
            request.recipe.source.text.get(..declared.span.start).map_or(1, |before| before.matches('\n').count() + 1);
        let origin = Origin::File { path: request.recipe.source.path.clone(), line };
        self.values.insert(name.clone(), Setting { value, origin });
        Ok(())
    }

    /// Shows what comes from the followed site as such, without asking its hosts.
    pub fn await_proof(&mut self, recipe: &Recipe, followed: &SiteName) {
        for name in recipe.tasks.iter().filter_map(|task| task.proves.as_ref()) {
            let setting = Setting { value: "-".to_owned(), origin: Origin::Followed(followed.clone()) };
            match self.values.get(name).map(|setting| &setting.origin) {
                Some(Origin::CommandLine(_)) => {}
                _ => drop(self.values.insert(name.clone(), setting)),
            }
        }
    }

    /// The value, unless an earlier step registers one.
    pub fn value(&self, name: &VarName) -> Option<String> {
        if self.registered.contains(name) {
            return None;
        }
        self.values.get(name).map(|setting| setting.value.clone())
    }

    /// From here on an earlier step's output is the value.
    pub(super) fn register(&mut self, name: VarName) {
        self.registered.insert(name);
    }

    pub(super) fn is_registered(&self, name: &VarName) -> bool {
        self.registered.contains(name)
    }

    pub(super) fn known(&self) -> impl Iterator<Item = &str> {
        self.values.keys().chain(&self.registered).map(VarName::as_str)
    }

    /// All variables with a value, and where it came from.
    pub fn iter(&self) -> impl Iterator<Item = (&VarName, &Setting<String>)> {
        self.values.iter()
    }
}
