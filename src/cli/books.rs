//! The books of sites, asked on their hosts: who works there, what is in force, what was proven.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;
use tracing::{Instrument as _, debug, info_span};

use super::context::{self, Context, say};
use super::failure::Failure;
use super::{ask, trust};
use crate::engine;
use crate::model::inventory::inventory::Site;
use crate::model::plan::book::{self, Book, HostProof, InForce, Proof};
use crate::model::plan::command::RemoteCommand;
use crate::model::plan::host_report::HostReport;
use crate::model::plan::plan::PlanHost;
use crate::model::plan::planner::{self, Asked, Overrides, PlanError, Request};
use crate::model::plan::spool;
use crate::model::run::exit;
use crate::model::text::name::{HostName, RunId, SiteName, VarName};
use crate::model::text::printable::printable;
use crate::ssh::{Backoff, Connect, Session};

/// A host with a site's book.
pub struct Place {
    pub host: PlanHost,
    pub book: Book,
}

/// A host, and what it says of itself, or why it says nothing.
pub type Answer<'a> = (&'a Place, Result<HostReport, String>);

/// The targeted hosts of all sites. Where a recipe is broken, nobody knows where the book is; that is said, and the host is asked for
/// the one that its last run had.
pub fn places(context: &Context<'_>, selector: &str) -> Result<Vec<Place>, Failure> {
    let targets = context.targets(selector)?;
    let mut books: BTreeMap<SiteName, Option<BTreeMap<HostName, Option<String>>>> = BTreeMap::new();
    for (site, names) in context.sites(&targets) {
        let planned = site_hosts(context, site, names, &context.flags.overrides());
        let known = match planned {
            _ if site.recipe.is_none() => Some(BTreeMap::new()),
            Ok(hosts) => Some(hosts.into_iter().map(|host| (host.name, host.book)).collect()),
            Err(failure) => {
                say(&format!("warning: where the lock of `{}` lies is not known: {}", site.name, failure.in_short()));
                None
            }
        };
        books.insert(site.name.clone(), known);
    }
    let places = trust::hosts(context, selector)?.into_iter().map(|host| {
        let known = books.get(&host.site).and_then(Option::as_ref);
        let folder = known.and_then(|books| books.get(&host.name).cloned()).flatten();
        let book = Book { folder, lost: known.is_none(), ..host.site_book() };
        Place { host, book }
    });
    Ok(places.collect())
}

fn site_hosts(
    context: &Context<'_>,
    site: &Site,
    names: &[HostName],
    overrides: &Overrides,
) -> Result<Vec<PlanHost>, Failure> {
    let run = RunId::parse("RUN").map_err(Failure::environment)?;
    let (recipe, login) = (context.recipe(site)?, context::login_user()?);
    let request = Request {
        site,
        hosts: names,
        recipe,
        tasks: &[],
        overrides,
        run: &run,
        login: &login,
        proof: None,
        unproven: false,
    };
    Ok(planner::site_hosts(request, true)?)
}

/// Asks how things stand.
pub async fn inspect<'a>(context: &Context<'_>, connector: &Arc<dyn Connect>, places: &'a [Place]) -> Vec<Answer<'a>> {
    let asked = places.iter().map(async |place| {
        let look = async |session: &mut dyn Session| {
            let answer = engine::ask(session, &spool::inspect(&place.book)).await?;
            let mut report = HostReport::parse(&answer);
            engine::see_all(session, &mut report).await;
            Ok(report)
        };
        (place, connected(connector, &place.host, look).await)
    });
    stream::iter(asked).buffered(context.width(places.len())).collect().await
}

/// Has a host do something, and gives its answer.
pub async fn tell(connector: &Arc<dyn Connect>, host: &PlanHost, command: RemoteCommand) -> Result<String, String> {
    connected(connector, host, async |session: &mut dyn Session| engine::ask(session, &command).await).await
}

/// Does something over a connection of its own.
async fn connected<T>(
    connector: &Arc<dyn Connect>,
    host: &PlanHost,
    talk: impl AsyncFnOnce(&mut dyn Session) -> Result<T, String>,
) -> Result<T, String> {
    let span = info_span!("host", host = %host.label);
    let connected = Backoff::retry(host.connect_retry, || connector.connect(host)).instrument(span);
    let mut session = connected.await.map_err(|error| error.to_string())?;
    let answer = talk(session.as_mut()).await;
    session.close().await;
    answer
}

pub fn reached(answers: &[Answer<'_>]) -> u8 {
    if answers.iter().all(|(_, answer)| answer.is_ok()) { exit::SUCCESS } else { exit::UNREACHABLE }
}

/// All that is in force on the hosts that answered.
pub fn in_force<'a>(answers: &'a [Answer<'a>]) -> impl Iterator<Item = (&'a Place, &'a InForce)> {
    let reports = answers.iter().filter_map(|(place, answer)| Some((*place, answer.as_ref().ok()?)));
    reports.flat_map(|(place, report): (&Place, &HostReport)| report.effects.iter().map(move |effect| (place, effect)))
}

/// Can the lock not be seen? What cannot be seen is not free.
pub fn is_unseen(place: &Place, report: &HostReport) -> bool {
    let lost = place.book.lost && report.last.is_none();
    report.holder.is_none() && (report.fault || report.no_book || lost)
}

/// What a host says, on one line and harmless on a terminal.
pub fn one_line(text: &str) -> String {
    printable(text.replace("\nhint: ", "; hint: ").as_bytes())
}

/// The hosts of the site that this one follows, by that site's own way in; the command line names keys for all hosts.
pub fn followed(context: &Context<'_>, site: &Site) -> Result<Vec<PlanHost>, Failure> {
    let Some(name) = &site.follows else { return Ok(Vec::new()) };
    let Some(followed) = context.site(&name.value)? else { return Ok(Vec::new()) };
    let names: Vec<HostName> = followed.hosts.iter().map(|host| host.name.clone()).collect();
    let own = Overrides { identity: context.flags.overrides().identity, ..Overrides::default() };
    site_hosts(context, followed, &names, &own)
}

/// Finds what the followed site has proven of the variable, in the books of its hosts, and has it asked for. A local record proves nothing:
/// who else deployed there since is not in it.
pub async fn prove(
    context: &Context<'_>,
    connector: &Arc<dyn Connect>,
    site: &Site,
    (asked, unproven): (&mut Asked, PlanError),
) -> Result<(), Failure> {
    let PlanError::Unproven { followed: name, variable, .. } = &unproven else { return Err(unproven.into()) };
    let places: Vec<Place> =
        followed(context, site)?.into_iter().map(|host| Place { book: host.site_book(), host }).collect();
    let answers = inspect(context, connector, &places).await;
    let silent: Vec<String> = answers
        .iter()
        .filter_map(|(place, answer)| Some((place, answer.as_ref().err()?)))
        .map(|(place, reason)| format!("{}: {}", place.host.label, one_line(reason)))
        .collect();
    let proofs: Vec<HostProof> = answers.into_iter().filter_map(|(_, answer)| answer.ok()?.proof).collect();
    asked.proof = book::newest(proofs).filter(|proof: &Proof| proof.name == *variable);
    let found = asked.proof.as_ref().map(|proof| (proof.run.as_str(), proof.sequence));
    debug!(site = %name, %variable, ?found, ?silent, "what the followed site has proven");
    if asked.proof.is_some() {
        for reason in silent {
            say(&format!("note: asked for what `{name}` has proven, {reason}"));
        }
        return Ok(());
    }
    let nobody = silent.len() == places.len();
    let given = asked.overrides.vars.get(variable);
    let why = if nobody {
        format!("no host of `{name}` could be asked what was proven there: {}", silent.join("; "))
    } else {
        format!("no whole run has proven a {variable} on `{name}`")
    };
    match given {
        Some(given) => accept_unproven(context, site, (variable, given), &why)?,
        None if nobody => {
            let hint = format!("-e {variable}=..., which is then on record as not proven");
            return Err(Failure::refused(format!("{why}\nhint: {hint}")));
        }
        None => return Err(unproven.into()),
    }
    asked.unproven = true;
    Ok(())
}

/// `--yes` does not answer this one: whoever has it in a script has not thought of this.
fn accept_unproven(
    context: &Context<'_>,
    site: &Site,
    (variable, given): (&VarName, &str),
    why: &str,
) -> Result<(), Failure> {
    if context.flags.dry_run {
        say(&format!("note: {why}"));
        return Ok(());
    }
    say(&format!("warning: {why}"));
    let question = format!("{variable} {given} is not proven. Type `{}` to go on with it all the same:", site.name);
    ask::insist_on(context.flags, &question, site.name.as_str())
}
