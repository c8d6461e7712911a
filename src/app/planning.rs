//! What was asked for, planned with the files as they are now.

use crate::files::project::Project;
use crate::model::config::diagnostic::Diagnostic;
use crate::model::inventory::inventory::Site;
use crate::model::plan::plan::Plan;
use crate::model::plan::planner::{self, Asked, PlanError, Request};
use crate::model::recipe::recipe::Recipe;
use crate::model::text::hint::{Advise, Hint};
use crate::model::text::name::{HostName, RecipeName, RunId, SiteName, VarName};

#[derive(Debug, thiserror::Error)]
pub enum PlanningError {
    #[error("there is no site `{0}` any more")]
    NoSite(SiteName),
    /// It is described in that file.
    #[error("site `{site}` has no recipe, so it has no tasks")]
    NoRecipe { site: SiteName, file: String },
    #[error("{} errors in files", .0.len())]
    Broken(Vec<Diagnostic>),
    #[error("--set {name}: neither recipe `{recipe}` nor site `{site}` knows such a variable")]
    UnknownVariable { name: VarName, meant: Option<String>, recipe: RecipeName, site: SiteName },
    #[error("`{follower}` gets what is proven on `{followed}`, so they cannot go together")]
    Together { follower: SiteName, followed: SiteName },
    #[error(transparent)]
    Plan(#[from] PlanError),
}

impl PlanningError {
    /// Its first line, or that of the first diagnostic.
    pub fn in_short(&self) -> String {
        match self {
            Self::Broken(errors) | Self::Plan(PlanError::Diagnostics(errors) | PlanError::Roles(errors)) => {
                let place = |error: &Diagnostic| format!("{}:{}", error.source.path, error.line_and_column().0);
                errors.first().map(|error| format!("{}: {}", place(error), error.message)).unwrap_or_default()
            }
            error => error.to_string().lines().next().unwrap_or_default().to_owned(),
        }
    }
}

impl Advise for PlanningError {
    fn hints(&self) -> Vec<Hint> {
        let hint = match self {
            Self::NoRecipe { site, file } => {
                Hint::Advice(format!("recipe = \"git-site\" in {file}, or: fleet {site} run -- COMMAND"))
            }
            Self::UnknownVariable { meant: Some(meant), .. } => Hint::did_you_mean(meant),
            Self::UnknownVariable { site, .. } => Hint::Advice(format!("fleet tasks {site} shows its variables")),
            Self::Together { follower, followed } => Hint::Advice(format!("first `{followed}`, then `{follower}`")),
            Self::Plan(error) => return error.hints(),
            Self::NoSite(_) | Self::Broken(_) => return Vec::new(),
        };
        vec![hint]
    }
}

/// What a site gets from the one that it follows is decided when it is planned, so both cannot be in one command.
pub fn refuse_followers(sites: &[(&Site, Vec<HostName>)]) -> Result<(), PlanningError> {
    for (site, _) in sites {
        let followed = site.follows.as_ref().map(|follows| &follows.value);
        if let Some(followed) = followed.filter(|name| sites.iter().any(|(other, _)| other.name == **name)) {
            return Err(PlanningError::Together { follower: site.name.clone(), followed: followed.clone() });
        }
    }
    Ok(())
}

/// The errors that are in the way of some; all that there are, where these are in what all sites share.
pub fn in_the_way(project: &Project, errors: Vec<Diagnostic>) -> Vec<Diagnostic> {
    if project.inventory.defaults.is_empty() { errors } else { project.errors() }
}

/// The site of that name, when there is one.
pub fn site<'p>(project: &'p Project, name: &SiteName) -> Result<Option<&'p Site>, PlanningError> {
    let found = project.inventory.site(name.as_str());
    found.map_err(|errors| PlanningError::Broken(in_the_way(project, errors)))
}

pub fn recipe<'p>(project: &'p Project, site: &Site) -> Result<&'p Recipe, PlanningError> {
    let Some(name) = site.recipe.as_ref().map(|recipe| &recipe.value) else {
        return Err(PlanningError::NoRecipe { site: site.name.clone(), file: site.source.path.clone() });
    };
    // A site names no recipe that is not there, so one that is missing here has errors.
    let errors = || project.broken_recipes.get(name.as_str()).cloned().unwrap_or_default();
    project.recipes.get(name).ok_or_else(|| PlanningError::Broken(errors()))
}

pub fn plan(project: &Project, asked: &Asked, run: &RunId) -> Result<Plan, PlanningError> {
    let Asked { site: name, hosts, tasks, overrides, login, proof, unproven } = asked;
    let site = site(project, name)?.ok_or_else(|| PlanningError::NoSite(name.clone()))?;
    let recipe = recipe(project, site)?;
    let (run, proof, unproven) = (Some(run), proof.as_ref(), *unproven);
    let request = Request { site, hosts, recipe, tasks, overrides, run, login, proof, unproven };
    if let Some((name, meant)) = planner::misspelt(request) {
        let (recipe, site) = (recipe.name.clone(), site.name.clone());
        let (name, meant) = (name.clone(), meant.map(str::to_owned));
        return Err(PlanningError::UnknownVariable { name, meant, recipe, site });
    }
    Ok(planner::plan(request)?)
}
