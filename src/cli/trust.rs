//! `fleet SITE trust`: fetch all host keys, show them once, pin them.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::stream;
use tracing::{Instrument as _, info_span};

use super::args::SiteArgs;
use super::context::{self, Context, advise, print, say};
use super::failure::Failure;
use super::{access, ask};
use crate::files;
use crate::keys::fingerprints::Fingerprints;
use crate::keys::offered::Offered;
use crate::keys::pin::{self, Pin};
use crate::keys::trust::{Decision, TrustDecision, decide};
use crate::model::inventory::ssh::Endpoint;
use crate::model::plan::plan::PlanHost;
use crate::model::plan::planner;
use crate::model::run::exit;
use crate::model::text::fold::fold_names;
use crate::model::text::hint::Hint;
use crate::model::text::name::HostLabel;
use crate::model::text::printable::printable;
use crate::report::columns::{Cell, columns};
use crate::report::paint::Tone;
use crate::report::words::counted;
use crate::ssh::{Admission, Backoff, ConnectError, HostKey, KnownHosts, Timeouts, scan_host_key};

/// Fetches, shows, asks, pins. A key that contradicts a pinned one is refused, whatever the flags.
pub async fn trust(context: &Context<'_>, args: &SiteArgs) -> Result<u8, Failure> {
    let listed = args.fingerprints.as_deref().map(read_fingerprints).transpose()?;
    let hosts = hosts(context, &args.selector)?;
    let known = &*access::known_hosts(context)?;
    // Sites share servers, and sshd blocks an address that connects again and again without a login (`PerSourcePenalties`, sshd_config(5)).
    let mut places = BTreeMap::new();
    for host in &hosts {
        places.entry((&host.endpoint.address, host.endpoint.port)).or_insert(&host.endpoint);
    }
    let width = context.width(places.len());
    let admission = &Admission::default();
    let scans = places.into_iter().map(|(place, host)| async move { (place, scan(host, known, admission).await) });
    let scans: BTreeMap<_, _> = stream::iter(scans.collect::<Vec<_>>()).buffer_unordered(width).collect().await;

    let mut offered = Vec::new();
    let mut failed = Vec::new();
    for host in &hosts {
        match scans.get(&(&host.endpoint.address, host.endpoint.port)) {
            Some(Ok(key)) => offered.push(Offered::new(host, key, known)),
            Some(Err(error)) => failed.push((host, error)),
            None => {}
        }
    }
    let decision = decide(&offered, listed.as_ref());
    // A closed pipe is not success here: what nobody saw is not pinned.
    print(&table(&decision, context.color()))
        .map_err(|_| Failure::environment("cannot show the keys on standard output; nothing was pinned"))?;
    for (host, error) in &failed {
        say(&format!("{}: {}", host.label, printable(error.to_string().as_bytes())));
    }
    for (host, refusal) in &decision.refused {
        advise(&format!("{host}: not pinned: {refusal}"), &[Hint::Advice(refusal.hint())]);
    }
    pin(context, &decision.pin, listed.is_some())?;
    let trusted = failed.is_empty() && decision.refused.is_empty();
    Ok(if trusted { exit::SUCCESS } else { exit::UNREACHABLE })
}

fn pin(context: &Context<'_>, pins: &[Pin], verified: bool) -> Result<(), Failure> {
    if pins.is_empty() {
        return Ok(());
    }
    let many = if pins.len() == 1 { "this key".to_owned() } else { format!("these {} keys", pins.len()) };
    // Who gave a list of fingerprints has answered already. `FLEET_YES` is no answer: it was set for other questions, maybe long ago.
    if !verified && !context.flags.yes_typed {
        let question = format!("Pin {many} in keys/known_hosts?");
        ask::yes_or_no(context.flags, &question, "--fingerprints FILE, or a typed --yes")?;
    }
    let path = context.known_hosts();
    if let Some(folder) = path.parent() {
        let failed = |e| Failure::environment(format!("cannot make {}: {e}", folder.display()));
        files::private_dir(folder).map_err(failed)?;
    }
    pin::pin(&path, pins).map_err(Failure::environment)?;
    say(&format!("pinned {} in keys/known_hosts", counted(pins.len(), "key")));
    Ok(())
}

/// All targeted hosts of all sites, as a run would reach them.
pub fn hosts(context: &Context<'_>, selector: &str) -> Result<Vec<PlanHost>, Failure> {
    let sites = context.targets(selector)?;
    planner::plan_hosts(&sites, &context.flags.overrides(), &context::login_user()?)
        .map_err(|e| Failure::new(exit::INVALID, e.to_string()))
}

async fn scan(host: &Endpoint, known: &KnownHosts, admission: &Admission) -> Result<HostKey, ConnectError> {
    let prefer = known.pinned_types(host.address.as_str(), host.port);
    let timeouts = Timeouts::default();
    let span = info_span!("host", address = %host.address, port = host.port);
    Backoff::retry(host.connect_retry, || scan_host_key(host, &timeouts, &prefer, admission)).instrument(span).await
}

fn table(decision: &TrustDecision, color: bool) -> String {
    let rows = decision.rows.iter().map(|row| {
        let fate = match &row.decision {
            Decision::Pinned => "pinned already",
            Decision::Pin => "new",
            Decision::Refused(_) => "REFUSED",
        };
        let hosts = fold_names(row.hosts.iter().map(HostLabel::as_str));
        let tone = if matches!(row.decision, Decision::Refused(_)) { Tone::Bad } else { Tone::Plain };
        let cells = [hosts, row.key.key_type().to_owned(), row.key.fingerprint()].map(Cell::plain);
        cells.into_iter().chain([Cell::toned(tone, fate)]).collect()
    });
    columns(&rows.collect::<Vec<Vec<_>>>(), color)
}

fn read_fingerprints(path: &std::path::Path) -> Result<Fingerprints, Failure> {
    let bytes =
        std::fs::read(path).map_err(|e| Failure::environment(format!("cannot read {}: {e}", path.display())))?;
    Fingerprints::parse(&bytes).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(|e| format!("{}: {e}", path.display())).collect();
        Failure::new(exit::INVALID, lines.join("\n"))
    })
}
