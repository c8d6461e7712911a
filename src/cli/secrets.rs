//! The values of secret variables: asked for before any host is contacted, once for a run on a site.

use std::collections::BTreeSet;

use secrecy::ExposeSecret as _;

use super::context::Context;
use super::failure::Failure;
use super::{ask, interrupts};
use crate::app::secrets;
use crate::model::plan::plan::Plan;
use crate::model::run::event::Signal;
use crate::model::run::exit;
use crate::model::text::hint::Hint;
use crate::model::text::name::{SiteName, VarName};
use crate::model::text::secret::{Secret, Secrets, environment_name};
use crate::trace;

/// Those that a plan uses. A task has one site.
pub async fn of_plan(context: &Context<'_>, plan: &Plan) -> Result<Secrets, Failure> {
    match plan.sites.first() {
        Some(site) => of_site(context, site, &plan.secrets).await,
        None => Ok(Secrets::new()),
    }
}

pub async fn of_site(context: &Context<'_>, site: &SiteName, names: &BTreeSet<VarName>) -> Result<Secrets, Failure> {
    let (mut values, mut missing) = (Secrets::new(), Vec::new());
    for name in names {
        match from_source(context, site, name).await? {
            Some(secret) => drop(values.insert(name.clone(), secret)),
            None => missing.push(name),
        }
    }
    if !missing.is_empty() && !ask::is_interactive(context.flags) {
        return Err(no_source(context, site, &missing));
    }
    for name in missing {
        values.insert(name.clone(), asked(context, site, name)?);
    }
    values.values().for_each(trace::hide_secret);
    Ok(values)
}

/// What its source gives. Ctrl-C ends a command, too, which is not of the terminal's process group.
async fn from_source(context: &Context<'_>, site: &SiteName, name: &VarName) -> Result<Option<Secret>, Failure> {
    let (mut signals, _listening) = interrupts::listen()?;
    tokio::select! {
        read = secrets::read(&context.project, site, name) => Ok(read?),
        signal = signals.recv() => {
            Err(Failure::Told(if signal == Some(Signal::Term) { exit::TERMINATED } else { exit::INTERRUPTED }))
        }
    }
}

fn asked(context: &Context<'_>, site: &SiteName, name: &VarName) -> Result<Secret, Failure> {
    let question = format!("Secret `{name}` of {site}:");
    let answer = ask::secret(context.flags, &question, &environment_name(name))?;
    Secret::parse(answer.expose_secret()).map_err(|problem| Failure::environment(format!("secret `{name}`: {problem}")))
}

fn no_source(context: &Context<'_>, site: &SiteName, missing: &[&VarName]) -> Failure {
    let names: Vec<String> = missing.iter().map(|name| format!("`{name}`")).collect();
    let what = if missing.len() == 1 { "the secret" } else { "the secrets" };
    let why = ask::why_not(context.flags);
    let failure = Failure::environment(format!("{site} has no value for {what} {}, and {why}", names.join(", ")));
    missing.iter().fold(failure, |failure, name| {
        let variable = environment_name(name);
        let advice =
            format!("set {variable}; or below [secrets] in hosts/{site}.toml: {name} = {{ exec = \"pass show ...\" }}");
        failure.hint(Hint::Advice(advice))
    })
}
