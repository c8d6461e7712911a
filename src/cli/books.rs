//! The books of sites: of which hosts they are asked, and what is asked of people where they say nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::context::{self, Context, say};
use super::failure::Failure;
use super::{access, ask, trust};
use crate::app::books::{self, Answer, Place, Proven};
use crate::model::inventory::inventory::Site;
use crate::model::plan::book::{Book, Proof};
use crate::model::plan::plan::{Plan, PlanHost};
use crate::model::plan::planner::{Asked, PlanError};
use crate::model::text::hint::Hint;
use crate::model::text::printable::one_line;
use crate::remote::Connect;

/// The targeted hosts of all sites. Where a recipe is broken, nobody knows where the book is; that is said, and the host is asked for
/// the one that its last run had.
pub fn places(context: &Context<'_>, selector: &str) -> Result<Vec<Place>, Failure> {
    let targets = context.targets(selector)?;
    let (overrides, login) = (context.flags.overrides(), context::login_user()?);
    let (mut folders, mut lost) = (BTreeMap::new(), BTreeSet::new());
    for (site, names) in targets.iter().filter(|(site, _)| site.recipe.is_some()) {
        match books::site_hosts(&context.project, (site, names), &overrides, &login) {
            Ok(hosts) => folders.extend(hosts.into_iter().map(|host| ((host.site, host.name), host.book))),
            Err(error) => {
                say(&format!("warning: where the lock of `{}` lies is not known: {}", site.name, error.in_short()));
                lost.insert(&site.name);
            }
        }
    }
    let places = trust::hosts(context, selector)?.into_iter().map(|host| {
        let folder = folders.remove(&(host.site.clone(), host.name.clone())).flatten();
        let book = Book { folder, lost: lost.contains(&host.site), ..host.site_book() };
        Place { host, book }
    });
    Ok(places.collect())
}

/// The hosts of the site that this one follows.
pub fn followed(context: &Context<'_>, site: &Site) -> Result<Vec<PlanHost>, Failure> {
    Ok(books::followed(&context.project, site, &context.flags.overrides(), &context::login_user()?)?)
}

/// What the hosts say, and the way in to them.
pub async fn inspect<'a>(
    context: &Context<'_>,
    places: &'a [Place],
) -> Result<(Vec<Answer<'a>>, Arc<dyn Connect>), Failure> {
    let connector = way_to(context, places).await?;
    Ok((books::inspect(&connector, places, context.width(places.len())).await, connector))
}

/// The way in to them.
pub async fn way_to(context: &Context<'_>, places: &[Place]) -> Result<Arc<dyn Connect>, Failure> {
    let hosts: Vec<PlanHost> = places.iter().map(|place| place.host.clone()).collect();
    access::for_runs(context, &hosts).await
}

/// What the hosts of a follower's plan have proven themselves: from which release it comes. Nothing depends on it.
pub async fn proven_here(context: &Context<'_>, connector: &Arc<dyn Connect>, plan: &Plan) -> Option<Proof> {
    let variable = &plan.basis.as_ref()?.name;
    books::proven(connector, plan.hosts.clone(), variable, context.width(plan.hosts.len())).await.proof
}

/// Finds what the followed site has proven of the variable, in the books of its hosts, and has it asked for.
pub async fn prove(
    context: &Context<'_>,
    connector: &Arc<dyn Connect>,
    site: &Site,
    (asked, unproven): (&mut Asked, PlanError),
) -> Result<(), Failure> {
    let PlanError::Unproven { followed: name, variable, .. } = &unproven else { return Err(unproven.into()) };
    let hosts = followed(context, site)?;
    let width = context.width(hosts.len());
    let Proven { proof, silent, nobody } = books::proven(connector, hosts, variable, width).await;
    let mut silent = silent.iter().map(|(host, reason)| format!("{host}: {}", one_line(&reason.in_one_line())));
    asked.proof = proof;
    if asked.proof.is_some() {
        silent.for_each(|reason| say(&format!("note: asked for what `{name}` has proven, {reason}")));
        return Ok(());
    }
    let why = if nobody {
        let silent = silent.by_ref().collect::<Vec<_>>().join("; ");
        format!("no host of `{name}` could be asked what was proven there: {silent}")
    } else {
        format!("no whole run has proven a {variable} on `{name}`")
    };
    match asked.overrides.vars.get(variable) {
        Some(_) if context.flags.dry_run => say(&format!("note: {why}")),
        Some(given) => {
            say(&format!("warning: {why}"));
            // `--yes` does not answer this one: whoever has it in a script has not thought of this.
            let site = site.name.as_str();
            let question = format!("{variable} {given} is not proven. Type `{site}` to go on with it all the same:");
            ask::insist_on(context.flags, &question, site)?;
        }
        None if nobody => {
            let hint = format!("-e {variable}=..., which is then on record as not proven");
            return Err(Failure::refused(why).hint(Hint::Advice(hint)));
        }
        None => return Err(unproven.into()),
    }
    asked.unproven = true;
    Ok(())
}
