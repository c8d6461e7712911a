//! The books of sites, asked on their hosts: who works there, what is in force, what was proven.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;
use tracing::{Instrument as _, debug, info_span};

use super::planning::{self, PlanningError};
use crate::files::project::Project;
use crate::model::inventory::inventory::Site;
use crate::model::inventory::ssh::SshValues;
use crate::model::plan::book::{Book, Proof};
use crate::model::plan::plan::PlanHost;
use crate::model::plan::planner::{self, Overrides, Request};
use crate::model::run::exit;
use crate::model::run::reason::Reason;
use crate::model::text::name::{HostLabel, HostName, UserName, VarName};
use crate::remote::{Connect, HostProof, HostReport, InForce, Question, Session};
use crate::ssh::Backoff;

pub struct Place {
    pub host: PlanHost,
    pub book: Book,
}

/// A host, and what it says of itself, or why it says nothing.
pub type Answer<'a> = (&'a Place, Result<HostReport, Reason>);

/// Hosts of a site as a plan has them, with the folder of the book.
pub fn site_hosts(
    project: &Project,
    (site, names): (&Site, &[HostName]),
    overrides: &Overrides,
    login: &UserName,
) -> Result<Vec<PlanHost>, PlanningError> {
    let request = Request::without_run((site, names, planning::recipe(project, site)?), overrides, login);
    Ok(planner::site_hosts(request, true)?)
}

pub async fn inspect<'a>(connector: &Arc<dyn Connect>, places: &'a [Place], width: usize) -> Vec<Answer<'a>> {
    let asked = places.iter().map(async |place| {
        let look = async |session: &mut dyn Session| inspected(place, session).await;
        (place, connected(connector, &place.host, look).await)
    });
    stream::iter(asked).buffered(width).collect().await
}

/// What a host says of itself.
pub(super) async fn inspected(place: &Place, session: &mut dyn Session) -> Result<HostReport, Reason> {
    let answer = Question::inspect(&place.book).ask(session).await.map_err(|no| no.reason)?;
    let mut report = HostReport::parse(&answer);
    report.see_all(session).await;
    Ok(report)
}

pub async fn tell(connector: &Arc<dyn Connect>, host: &PlanHost, question: Question) -> Result<String, Reason> {
    connected(connector, host, async |session: &mut dyn Session| question.ask(session).await.map_err(|no| no.reason))
        .await
}

/// Does something over a connection of its own.
pub(super) async fn connected<T>(
    connector: &Arc<dyn Connect>,
    host: &PlanHost,
    talk: impl AsyncFnOnce(&mut dyn Session) -> Result<T, Reason>,
) -> Result<T, Reason> {
    let talked = async {
        let connecting = Backoff::retry(host.endpoint.connect_retry, || connector.connect(&host.label, &host.endpoint));
        let mut session = connecting.await.map_err(|error| error.reason(&host.site))?;
        let answer = talk(session.as_mut()).await;
        session.close().await;
        answer
    };
    talked.instrument(info_span!("host", host = %host.label)).await
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

/// The hosts of the site that this one follows, by that site's own way in; the command line names keys for all hosts.
pub fn followed(
    project: &Project,
    site: &Site,
    overrides: &Overrides,
    login: &UserName,
) -> Result<Vec<PlanHost>, PlanningError> {
    let Some(name) = &site.follows else { return Ok(Vec::new()) };
    let Some(followed) = planning::site(project, &name.value)? else { return Ok(Vec::new()) };
    let names: Vec<HostName> = followed.hosts.iter().map(|host| host.name.clone()).collect();
    let ssh = SshValues { identity: overrides.ssh.identity.clone(), ..SshValues::default() };
    let own = Overrides { ssh, ..Overrides::default() };
    site_hosts(project, (followed, &names), &own, login)
}

/// What the hosts of a followed site say of what was proven there.
pub struct Proven {
    pub proof: Option<Proof>,
    /// Those that could not be asked, and why.
    pub silent: Vec<(HostLabel, Reason)>,
    /// Is nobody left who could know?
    pub nobody: bool,
}

/// Asks what was proven of the variable. A local record proves nothing: who else deployed there since is not in it.
pub async fn proven(connector: &Arc<dyn Connect>, hosts: Vec<PlanHost>, variable: &VarName, width: usize) -> Proven {
    let places: Vec<Place> = hosts.into_iter().map(|host| Place { book: host.site_book(), host }).collect();
    let answers = inspect(connector, &places, width).await;
    let is_silent = |(place, answer): &Answer<'_>| Some((place.host.label.clone(), answer.as_ref().err()?.clone()));
    let silent: Vec<_> = answers.iter().filter_map(is_silent).collect();
    let nobody = silent.len() == places.len();
    let proofs: Vec<HostProof> = answers.into_iter().filter_map(|(_, answer)| answer.ok()?.proof).collect();
    let proof = HostProof::newest(proofs).filter(|proof| proof.get(variable).is_some());
    let found = proof.as_ref().map(|proof| (proof.run.as_str(), proof.sequence));
    debug!(%variable, ?found, ?silent, "what the followed site has proven");
    Proven { proof, silent, nobody }
}
