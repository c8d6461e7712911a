//! `fleet generate-keys` and `fleet SITE distribute-keys`.

use std::path::Path;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::sync::CancellationToken;

use super::args::{Flags, SiteArgs};
use super::context::{self, Context, print, say};
use super::failure::Failure;
use super::{access, ask, interrupts, trust};
use crate::keys::rollout::{Distribution, HostKeyOutcome, HostKeyResult, distribute_to_all};
use crate::keys::store::generate_pair;
use crate::model::event::Signal;
use crate::model::exit;
use crate::model::printable::printable;
use crate::report::columns::{Cell, columns};
use crate::report::paint::Tone;
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
    let pair = generate_pair(&folder, &comment, passphrase.as_ref()).map_err(Failure::environment)?;
    say(&format!("made {} (stays here) and {}", pair.private.display(), pair.public.display()));
    print(&format!("{}\n", pair.fingerprint))?;
    say("next: fleet SITE trust, then fleet SITE distribute-keys");
    Ok(exit::SUCCESS)
}

fn new_passphrase(flags: &Flags) -> Result<SecretString, Failure> {
    let first = ask::secret(flags, "New passphrase:", "--new-passphrase-file FILE")?;
    if first.expose_secret().is_empty() {
        return Err(Failure::refused(
            "the passphrase is empty; no key was made\nhint: without --passphrase, the key has none",
        ));
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
    let key = PublicKeyLine::load(&public).map_err(Failure::environment)?;
    let distribution = Distribution {
        proof: Arc::new(access::for_proof(context).await?),
        login: Arc::new(access::for_distribution(context, &hosts).await?),
        key: Arc::new(key),
    };
    let stop = CancellationToken::new();
    let (mut signals, _listening) = interrupts::listen()?;
    let width = context.width(hosts.len());
    let distributing = distribute_to_all(&distribution, &hosts, width, &stop);
    tokio::pin!(distributing);
    let mut interrupted = None;
    let outcomes = loop {
        tokio::select! {
            outcomes = &mut distributing => break outcomes,
            Some(signal) = signals.recv() => {
                interrupted = Some(signal);
                stop.cancel();
            }
        }
    };
    let rows = outcomes.iter().map(|outcome| {
        let result = outcome.result.to_string();
        let tone = if outcome.result.is_success() { Tone::Good } else { Tone::Bad };
        let result = printable(result.lines().next().unwrap_or_default().as_bytes());
        vec![Cell::plain(outcome.host.to_string()), Cell::toned(tone, result)]
    });
    // Whoever closed standard output does not change how it ended.
    let _ = print(&columns(&rows.collect::<Vec<_>>(), context::stdout_colour(context.flags)));
    for outcome in &outcomes {
        for hint in outcome.result.to_string().lines().skip(1) {
            say(&format!("{}: {}", outcome.host, printable(hint.as_bytes())));
        }
        for warning in &outcome.warnings {
            say(&format!("{}: warning: {}", outcome.host, printable(warning.to_string().as_bytes())));
        }
    }
    let no_login =
        |outcome: &HostKeyOutcome| matches!(&outcome.result, HostKeyResult::NoLogin(ConnectError::Auth { .. }));
    if outcomes.iter().any(no_login) {
        say("hint: a way in that works now: -i KEY, --ask-pass, --password-file FILE, or an agent (ssh-add)");
    }
    Ok(match interrupted {
        Some(Signal::Int | Signal::Cancel) => exit::INTERRUPTED,
        Some(Signal::Term) => exit::TERMINATED,
        None => exit::worst(outcomes.iter().map(|o| exit_code(&o.result))),
    })
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
