//! From a task and its targets to a [`Plan`]: every command final but for the values of `register`.
//!
//! Everything that can be wrong with it is told here, before any host is contacted.
//!
//! A task on several sites is several plans, one after another, and not one plan over all: each site has its own recipe, batches,
//! budget and `once` steps, and a failure on one must not undo another.

mod build;
mod classes;
mod error;
mod phases;
mod promotion;
mod request;
mod takes;
mod variables;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::model::inventory::inventory::{Host, Share, Site};
use crate::model::plan::blob::Blobs;
pub use crate::model::plan::book::Proof;
use crate::model::plan::command::CommandTemplate;
use crate::model::plan::operation::Operation;
use crate::model::plan::plan::{AD_HOC, HostIndex, OnFailure, PLAN_VERSION, Plan, PlanHost, PlanPhase, PlanStep};
use crate::model::plan::values::Values;
use crate::model::recipe::recipe::{Recipe, SettingError, Text, settable};
use crate::model::recipe::template::Template;
use crate::model::text::name::{HostLabel, HostName, NameError, PhaseName, StepPath, UserName, VarName};
pub use error::PlanError;
pub use request::{Asked, Overrides, Request, StepSelection};
use variables::secret_on_command_line;
pub use variables::{Variables, misspelt};

/// How many hosts work at the same time when nobody says otherwise.
pub const DEFAULT_PARALLEL: usize = 32;

/// All hosts of a site, as they are asked how things stand there. The recipe says where the site's book is; without one, or when a
/// variable has no value, that is not known, and the reason is told.
pub fn site_hosts(request: Request<'_>, single: bool) -> Result<Vec<PlanHost>, PlanError> {
    let plan = |host| {
        let variables = Variables::of_host_so_far(request, host)?;
        let book = bind_book(request.recipe, &variables, host)?;
        Ok(PlanHost { book, ..plan_host(request.site, host, request.overrides, request.login, single)? })
    };
    targeted(request.site, request.hosts).map(plan).collect()
}

fn targeted<'a>(site: &'a Site, names: &[HostName]) -> impl Iterator<Item = &'a Host> {
    let names: BTreeSet<&HostName> = names.iter().collect();
    site.hosts.iter().filter(move |host| names.contains(&host.name))
}

/// The folder of the site's book on a host.
fn bind_book(recipe: &Recipe, variables: &Variables, host: &Host) -> Result<Option<String>, PlanError> {
    let bind = |lock: &Text| {
        variables
            .finish(&lock.value, host)
            .map_err(|name| PlanError::Open(format!("`lock` of recipe `{}` uses `{name}`", recipe.name)))
    };
    recipe.lock.as_ref().map(bind).transpose()
}

pub fn plan(request: Request<'_>) -> Result<Plan, PlanError> {
    let mut flat = phases::flatten(phases::Of { recipe: request.recipe, site: request.site }, request.tasks)?;
    phases::select(&mut flat, &request.overrides.steps)?;
    if let Some(name) = secret_on_command_line(request) {
        return Err(PlanError::SecretGiven(name.clone()));
    }
    build::Builder::new(request, &flat)?.build(&flat)
}

/// The hosts of all sites, as a run would reach them.
pub fn plan_hosts(
    targets: &[(&Site, Vec<HostName>)],
    overrides: &Overrides,
    login: &UserName,
) -> Result<Vec<PlanHost>, NameError> {
    let single = targets.len() == 1;
    let hosts = targets.iter().flat_map(|(site, names)| targeted(site, names).map(move |host| (site, host)));
    hosts.map(|(site, host)| plan_host(site, host, overrides, login, single)).collect()
}

/// Plans one command on all hosts of all sites: what `fleet SITE run -- CMD` does.
pub fn plan_command(
    targets: &[(&Site, Vec<HostName>)],
    command: &str,
    overrides: &Overrides,
    login: &UserName,
) -> Result<Plan, NameError> {
    let hosts = plan_hosts(targets, overrides, login)?;
    let all: Vec<HostIndex> = (0..hosts.len()).map(HostIndex).collect();
    let step = PlanStep {
        run: Some(Operation::Command(CommandTemplate::shell(Template::literal(command)))),
        timeout: overrides.timeout,
        durable: false,
        ..PlanStep::new(StepPath::parse("run/command")?, all.iter().copied().collect())
    };
    let soak = targets.first().map_or(Duration::ZERO, |(site, _)| site.rollout.soak.value);
    let batches = match &overrides.serial {
        Some(sizes) => batches(&all, sizes),
        None => vec![all],
    };
    Ok(Plan {
        v: PLAN_VERSION,
        sites: targets.iter().map(|(site, _)| site.name.clone()).collect(),
        task: AD_HOC.to_owned(),
        max_failures: overrides.max_fail.map_or(hosts.len(), |share| share.of(hosts.len())),
        parallel: width(overrides, hosts.len()),
        phases: vec![PlanPhase { name: PhaseName::parse("run")?, once: false, batches, soak, steps: vec![step] }],
        // An ad-hoc command has no undo.
        on_failure: OnFailure::Hold,
        proves: Vec::new(),
        summary: None,
        previews: Vec::new(),
        basis: None,
        secrets: BTreeSet::new(),
        accept: BTreeMap::new(),
        left_out: Vec::new(),
        values: Values::new(),
        hosts,
        files: Vec::new(),
        blobs: Blobs::default(),
    })
}

fn width(overrides: &Overrides, hosts: usize) -> usize {
    match overrides.parallel {
        Some(0) => hosts,
        Some(n) => n,
        None => DEFAULT_PARALLEL,
    }
}

fn plan_host(
    site: &Site,
    host: &Host,
    overrides: &Overrides,
    login: &UserName,
    single: bool,
) -> Result<PlanHost, NameError> {
    let label = if single { host.name.to_string() } else { format!("{}:{}", site.name, host.name) };
    Ok(PlanHost {
        label: HostLabel::parse(&label)?,
        site: site.name.clone(),
        name: host.name.clone(),
        endpoint: overrides.ssh.clone().over(host.ssh.values()).endpoint(host.address.value.clone(), login),
        roles: host.roles.clone(),
        book: None,
        values: Arc::default(),
    })
}

/// Cuts hosts into batches. The last size repeats until all hosts have their place; no batch is empty.
pub fn batches(hosts: &[HostIndex], sizes: &[Share]) -> Vec<Vec<HostIndex>> {
    let mut rest = hosts;
    let mut sizes = sizes.iter();
    let mut size = Share::Percent(100);
    let mut cut = Vec::new();
    while !rest.is_empty() {
        size = sizes.next().copied().unwrap_or(size);
        let (batch, after) = rest.split_at(size.of(hosts.len()).clamp(1, rest.len()));
        cut.push(batch.to_vec());
        rest = after;
    }
    cut
}

/// Reads the value of `-e K=V`.
pub fn parse_assignment(text: &str) -> Result<(VarName, String), SettingError> {
    let (name, value) = text.split_once('=').ok_or_else(|| SettingError::Form(text.to_owned()))?;
    Ok((settable(name)?, value.to_owned()))
}
