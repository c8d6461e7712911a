//! The variables of hosts, and where each value came from.
//!
//! Precedence: command line > proven on the followed site > host > site > defaults > recipe.

use std::collections::{BTreeMap, BTreeSet};

use super::error::PlanError;
use super::request::Request;
use crate::model::config::diagnostic::nearest;
use crate::model::config::setting::{Origin, Setting};
use crate::model::inventory::inventory::{Host, Site};
use crate::model::plan::values::{ADDRESS, HOST, Values};
use crate::model::recipe::recipe::Recipe;
use crate::model::recipe::template::Template;
use crate::model::text::name::{RunId, SiteName, VarName};
use crate::model::text::secret::environment_name;

/// The variables of one host, or of hosts that have the same but for their names and addresses: these two are then open, and what is made of them
/// is a text with placeholders.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    values: BTreeMap<VarName, Setting<Template>>,
    registered: BTreeSet<VarName>,
    /// Their values are asked for when a run begins.
    secrets: BTreeSet<VarName>,
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
    let mut uses = BTreeMap::new();
    let unused = settings.filter(|(name, _)| !*uses.entry(*name).or_insert_with(|| recipe.uses(name)));
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

/// What is wrong with how secrets of the recipe are given: a value on the command line can be seen by every user of the machine and is kept
/// in the record, one in a file of the inventory is in git.
pub fn misgiven_secrets(site: &Site, recipe: &Recipe) -> Vec<String> {
    let settings = site.vars.iter().chain(site.hosts.iter().flat_map(|host| &host.vars));
    let in_the_clear = settings.filter(|(name, _)| recipe.is_secret(name)).map(|(name, setting)| {
        format!(
            "{}: `{name}` is a secret of recipe `{}`: its value has no place in a file that git keeps; \
             change it, and give it by [secrets] or {}",
            setting.origin,
            recipe.name,
            environment_name(name)
        )
    });
    let own = |origin: &Origin| matches!(origin, Origin::File { path, .. } if *path == site.source.path);
    let known = || recipe.vars.iter().filter(|(_, var)| var.secret).map(|(name, _)| name.as_str());
    let unknown = site.secrets.iter().filter(|(name, source)| !recipe.is_secret(name) && own(&source.origin));
    let unknown = unknown.map(|(name, source)| {
        let meant = nearest(name.as_str(), known()).map(|meant| format!("; did you mean `{meant}`?"));
        let meant = meant.unwrap_or_default();
        format!("{}: recipe `{}` has no secret `{name}`{meant}", source.origin, recipe.name)
    });
    in_the_clear.chain(unknown).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The first secret that the command line sets.
pub fn secret_on_command_line(request: Request<'_>) -> Option<&VarName> {
    request.overrides.vars.keys().find(|name| request.recipe.is_secret(name))
}

impl Variables {
    /// All variables of a host, defaults expanded.
    pub fn of_host(request: Request<'_>, host: &Host) -> Result<Self, PlanError> {
        let own = [(HOST, host.name.as_str()), (ADDRESS, host.address.value.as_str())];
        Self::new(request, host, &own)?.expanded(request, host)
    }

    /// The same, without those that nobody has set yet: what does not use them can be known all the same.
    pub fn of_host_so_far(request: Request<'_>, host: &Host) -> Result<Self, PlanError> {
        let mut variables = Self::new(request, host, &[])?;
        for name in request.recipe.vars.keys().filter(|name| !request.recipe.is_secret(name)) {
            match variables.expand(name, request, host) {
                Ok(()) | Err(PlanError::Unset { .. } | PlanError::Open(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(variables)
    }

    /// Those of all hosts that share the roles and the variables of this one.
    pub fn of_class(request: Request<'_>, host: &Host) -> Result<Self, PlanError> {
        Self::new(request, host, &[])?.expanded(request, host)
    }

    fn new(request: Request<'_>, host: &Host, own: &[(&str, &str)]) -> Result<Self, PlanError> {
        let site = request.site;
        let literal = |value: &str, origin: Origin| Setting { value: Template::literal(value), origin };
        let settings = site.vars.iter().chain(&host.vars);
        let mut values: BTreeMap<VarName, Setting<Template>> =
            settings.map(|(name, set)| (name.clone(), literal(&set.value, set.origin.clone()))).collect();
        for (proof, (name, value)) in request.proof.iter().flat_map(|proof| proof.values().map(move |v| (proof, v))) {
            values.insert(name.clone(), literal(value, Origin::Proven(proof.run.to_string())));
        }
        for (name, value) in &request.overrides.vars {
            values.insert(name.clone(), literal(value, Origin::CommandLine("--set")));
        }
        let stage = site.stage.as_ref().map(|stage| stage.value.to_string()).unwrap_or_default();
        let of_site = [
            ("fleet.run", request.run.map_or("RUN", RunId::as_str)),
            ("fleet.site", site.name.as_str()),
            ("fleet.stage", &stage),
        ];
        for (name, value) in of_site.iter().chain(own) {
            let name = VarName::parse(name)?;
            values.insert(name, literal(value, Origin::Default));
        }
        let secrets = request.recipe.vars.keys().filter(|name| request.recipe.is_secret(name)).cloned().collect();
        let mut variables = Self { values, registered: BTreeSet::new(), secrets };
        // One that somebody has put there in the clear is refused where a run is planned.
        variables.values.retain(|name, _| !variables.secrets.contains(name));
        Ok(variables)
    }

    /// With the defaults of the recipe.
    fn expanded(mut self, request: Request<'_>, host: &Host) -> Result<Self, PlanError> {
        for name in request.recipe.vars.keys().filter(|name| !request.recipe.is_secret(name)) {
            self.expand(name, request, host)?;
        }
        Ok(self)
    }

    /// Gives the recipe's default to a variable that has no value yet. A recipe whose defaults go in a circle was not read at all.
    fn expand(&mut self, name: &VarName, request: Request<'_>, host: &Host) -> Result<(), PlanError> {
        if self.values.contains_key(name) {
            return Ok(());
        }
        let Some(declared) = request.recipe.vars.get(name) else { return Ok(()) };
        let Some(default) = &declared.default else {
            if declared.required {
                return Err(PlanError::Unset {
                    recipe: request.recipe.name.to_string(),
                    name: name.clone(),
                    doc: declared.doc.clone(),
                    host: host.name.clone(),
                    site: request.site.name.clone(),
                });
            }
            return Ok(());
        };
        for used in default.names() {
            self.expand(used, request, host)?;
        }
        let value = self.bind(default).map_err(|open| {
            PlanError::Open(format!("the default of `{name}` in recipe `{}` uses `{open}`", request.recipe.name))
        })?;
        let place = &declared.place;
        let origin = Origin::File { path: place.source.path.clone(), line: place.line() };
        self.values.insert(name.clone(), Setting { value, origin });
        Ok(())
    }

    /// Shows what comes from the followed site as such, without asking its hosts.
    pub fn await_proof(&mut self, recipe: &Recipe, followed: &SiteName) {
        for name in recipe.tasks.iter().flat_map(|task| &task.proves).map(|proves| &proves.value) {
            let setting = Setting { value: Template::literal("-"), origin: Origin::Followed(followed.clone()) };
            match self.values.get(name).map(|setting| &setting.origin) {
                Some(Origin::CommandLine(_)) => {}
                _ => drop(self.values.insert(name.clone(), setting)),
            }
        }
    }

    /// The text as far as it is the same for all these hosts; or the first variable in it that has no value.
    pub(super) fn bind(&self, text: &Template) -> Result<Template, VarName> {
        let bound = text.bind(|name| self.values.get(name)?.value.finish().ok());
        let open = bound.names().find(|name| !self.has(name)).cloned();
        open.map_or(Ok(bound), Err)
    }

    /// The text on one of these hosts; or the first variable in it that has no value.
    pub(super) fn finish(&self, text: &Template, host: &Host) -> Result<String, VarName> {
        let value = |name: &VarName| match name.as_str() {
            HOST => Some(host.name.to_string()),
            ADDRESS => Some(host.address.value.to_string()),
            _ => self.finish(&self.values.get(name)?.value, host).ok(),
        };
        text.bind(value).finish().map_err(Clone::clone)
    }

    /// Is there a value, or will there be one? One that an earlier step registers is not known yet.
    pub(super) fn has(&self, name: &VarName) -> bool {
        self.values.contains_key(name) || self.secrets.contains(name) || matches!(name.as_str(), HOST | ADDRESS)
    }

    pub fn secrets(&self) -> impl Iterator<Item = &VarName> {
        self.secrets.iter()
    }

    /// What it stands for, with the values within it.
    pub(super) fn collect(&self, name: &VarName, values: &mut Values) {
        let Some(setting) = self.values.get(name) else { return };
        if values.insert(name.clone(), setting.value.clone()).is_none() {
            setting.value.names().for_each(|inner| self.collect(inner, values));
        }
    }

    /// From here on an earlier step's output is the value.
    pub(super) fn register(&mut self, name: VarName) {
        self.registered.insert(name);
    }

    pub(super) fn is_registered(&self, name: &VarName) -> bool {
        self.registered.contains(name)
    }

    pub(super) fn known(&self) -> impl Iterator<Item = &str> {
        self.values.keys().chain(&self.registered).map(VarName::as_str).chain([HOST, ADDRESS])
    }

    /// All variables with a value, and where it came from.
    pub fn iter(&self) -> impl Iterator<Item = (&VarName, &Setting<Template>)> {
        self.values.iter()
    }
}
