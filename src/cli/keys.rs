//! `fleet generate-keys` and `fleet SITE distribute-keys`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::sync::CancellationToken;

use super::access::{self, Distributing};
use super::args::{Flags, SiteArgs};
use super::context::{self, Context, print, say, say_hint};
use super::failure::Failure;
use super::{ask, interrupts, trust};
use crate::keys::rollout::{Distribution, HostKeyOutcome, HostKeyResult, distribute_to_all};
use crate::keys::store::generate_pair;
use crate::model::plan::plan::PlanHost;
use crate::model::run::event::Signal;
use crate::model::run::exit;
use crate::model::text::hint::Hint;
use crate::model::text::printable::printable;
use crate::report::columns::{Cell, columns};
use crate::report::paint::Tone;
use crate::report::words::hint_lines;
use crate::ssh::ConnectError;
use crate::ssh::key::PublicKeyLine;

/// Makes the project's key pair.
pub fn generate(flags: &Flags, ask_passphrase: bool, file: Option<&Path>) -> Result<u8, Failure> {
    let folder = context::root(flags)?.join("keys");
    let passphrase = match file {
        Some(file) => Some(ask::secret_file(file)?),
        None if ask_passphrase => Some(new_passphrase(flags)?),
        None => None,
    };
    let comment = format!("fleet {}", context::operator());
    let pair = generate_pair(&folder, &comment, passphrase.as_ref());
    let pair = pair.map_err(|error| Failure::of(exit::ENVIRONMENT, &error))?;
    say(&format!("made {} (stays here) and {}", pair.private.display(), pair.public.display()));
    print(&format!("{}\n", pair.fingerprint))?;
    say("next: fleet SITE trust, then fleet SITE distribute-keys");
    Ok(exit::SUCCESS)
}

fn new_passphrase(flags: &Flags) -> Result<SecretString, Failure> {
    let first = ask::secret(flags, "New passphrase:", "--new-passphrase-file FILE")?;
    if first.expose_secret().is_empty() {
        let hint = Hint::advice("without --passphrase, the key has none");
        return Err(Failure::refused("the passphrase is empty; no key was made").hint(hint));
    }
    let second = ask::secret(flags, "Again:", "--new-passphrase-file FILE")?;
    if first.expose_secret() != second.expose_secret() {
        return Err(Failure::refused("the two passphrases differ; no key was made"));
    }
    Ok(first)
}

/// Brings the public key to the hosts and proves it by a second login.
pub async fn distribute(context: &Context<'_>, args: &SiteArgs) -> Result<u8, Failure> {
    let hosts = trust::hosts(context, &args.selector)?;
    let public = context.project.root.join("keys/fleet.pub");
    let key = Arc::new(PublicKeyLine::load(&public)?);
    let ways = access::for_distribution(context, &hosts).await?;
    let (mut outcomes, mut interrupted) = distributed(context, &ways, &key, &hosts).await?;
    let refused = hosts.iter().zip(&outcomes).filter(|(_, outcome)| is_refused(outcome));
    let refused: Vec<PlanHost> = refused.map(|(host, _)| host.clone()).collect();
    if !refused.is_empty() && interrupted.is_none() && !ways.has_password && ask::is_interactive(context.flags) {
        // The keys come first: most of the time, nobody has to type a password for a part of the hosts.
        let users: BTreeSet<&str> = refused.iter().map(|host| host.endpoint.user.as_str()).collect();
        let question = format!("Password of {}:", users.into_iter().collect::<Vec<_>>().join(", "));
        let password = access::ask_password(context.flags, &question).inspect_err(|_| show(context, &outcomes))?;
        let ways = ways.with_password(password);
        let (again, signal) = distributed(context, &ways, &key, &refused).await?;
        for (outcome, again) in outcomes.iter_mut().filter(|outcome| is_refused(outcome)).zip(again) {
            *outcome = again;
        }
        interrupted = signal;
    }
    show(context, &outcomes);
    if outcomes.iter().any(is_refused) {
        let hint = "a way in that works now: -i KEY, --ask-pass, --password-file FILE, or an agent (ssh-add)";
        say_hint(&Hint::advice(hint));
    }
    Ok(match interrupted {
        Some(Signal::Int | Signal::Cancel) => exit::INTERRUPTED,
        Some(Signal::Term) => exit::TERMINATED,
        None => exit::worst(outcomes.iter().map(|o| exit_code(&o.result))),
    })
}

fn is_refused(outcome: &HostKeyOutcome) -> bool {
    matches!(&outcome.result, HostKeyResult::NoLogin(ConnectError::Auth { .. }))
}

/// The outcomes, and the signal that ended it early.
async fn distributed(
    context: &Context<'_>,
    ways: &Distributing,
    key: &Arc<PublicKeyLine>,
    hosts: &[PlanHost],
) -> Result<(Vec<HostKeyOutcome>, Option<Signal>), Failure> {
    let distribution =
        Distribution { login: Arc::new(ways.login.clone()), proof: Arc::new(ways.proof.clone()), key: Arc::clone(key) };
    let stop = CancellationToken::new();
    let (mut signals, _listening) = interrupts::listen()?;
    let width = context.width(hosts.len());
    let distributing = distribute_to_all(&distribution, hosts, width, &stop);
    tokio::pin!(distributing);
    let mut interrupted = None;
    loop {
        tokio::select! {
            outcomes = &mut distributing => return Ok((outcomes, interrupted)),
            Some(signal) = signals.recv() => {
                interrupted = Some(signal);
                stop.cancel();
            }
        }
    }
}

fn show(context: &Context<'_>, outcomes: &[HostKeyOutcome]) {
    let rows = outcomes.iter().map(|outcome| {
        let result = printable(outcome.to_string().as_bytes());
        let tone = if outcome.result.is_success() { Tone::Good } else { Tone::Bad };
        vec![Cell::plain(outcome.host.to_string()), Cell::toned(tone, result)]
    });
    // Whoever closed standard output does not change how it ended.
    let _ = print(&columns(&rows.collect::<Vec<_>>(), context.color()));
    for outcome in outcomes {
        for hint in hint_lines(&outcome.hints()) {
            say(&format!("{}: {hint}", outcome.host));
        }
        for warning in &outcome.warnings {
            say(&format!("{}: warning: {}", outcome.host, printable(warning.to_string().as_bytes())));
        }
    }
}

fn exit_code(result: &HostKeyResult) -> u8 {
    match result {
        HostKeyResult::Proven(_) => exit::SUCCESS,
        HostKeyResult::NoLogin(_) => exit::UNREACHABLE,
        HostKeyResult::NotDistributed(_) | HostKeyResult::NotProven { .. } => exit::FAILED,
        HostKeyResult::Interrupted => exit::INTERRUPTED,
        HostKeyResult::Panicked => exit::BUG,
    }
}
