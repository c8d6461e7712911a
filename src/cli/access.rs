//! How this controller gets into hosts: pinned host keys, private keys, agent, password.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _, TryFutureExt as _};
use secrecy::SecretString;

use super::args::Flags;
use super::ask;
use super::context::{Context, say};
use super::failure::Failure;
use crate::model::plan::PlanHost;
use crate::ssh::key::{self, KeyError, PublicKeyLine};
use crate::ssh::known_hosts::KnownHosts;
use crate::ssh::{
    Connect, ConnectError, Credentials, Identity, PasswordGate, Session, SshConnector, Timeouts, agent_has,
};

/// The key pair of a project.
pub const KEY: &str = "keys/fleet";

/// Reads private keys, and asks for a passphrase at most once.
struct KeyRing<'a> {
    flags: &'a Flags,
    passphrase: Option<SecretString>,
    /// Its keys may be used as well, so a key that it has needs no passphrase.
    agent: Option<PathBuf>,
    in_agent: Vec<PublicKeyLine>,
    identities: Vec<Identity>,
}

impl<'a> KeyRing<'a> {
    fn new(flags: &'a Flags, agent: Option<PathBuf>) -> Result<Self, Failure> {
        let passphrase = flags.passphrase_file.as_deref().map(ask::secret_file).transpose()?;
        Ok(Self { flags, passphrase, agent, in_agent: Vec::new(), identities: Vec::new() })
    }

    /// Does the agent hold the key of this file? Its public half is beside it.
    async fn agent_has(&mut self, path: &Path) -> bool {
        let mut public = path.as_os_str().to_owned();
        public.push(".pub");
        match (&self.agent, PublicKeyLine::load(Path::new(&public))) {
            (Some(agent), Ok(key)) if agent_has(agent, &key).await => {
                self.in_agent.push(key);
                true
            }
            _ => false,
        }
    }

    /// Adds the key, under the name by which hosts ask for it.
    async fn add(&mut self, name: &str, path: &Path) -> Result<(), Failure> {
        let key = match key::load(path, self.passphrase.as_ref()) {
            Err(KeyError::Encrypted { .. }) if self.agent_has(path).await => return Ok(()),
            Err(KeyError::Encrypted { path: encrypted }) if ask::is_interactive(self.flags) => {
                let question = format!("Passphrase of {}:", encrypted.display());
                let passphrase = ask::secret(self.flags, &question, "--passphrase-file")?;
                let key = key::load(path, Some(&passphrase)).map_err(Failure::environment)?;
                self.passphrase = Some(passphrase);
                key
            }
            Err(KeyError::Encrypted { path }) => {
                let why = ask::why_not(self.flags);
                // Where a key alone is to be proven, the agent is left out.
                let agent =
                    if self.agent.is_some() { format!("ssh-add {}, or ", path.display()) } else { String::new() };
                return Err(Failure::environment(format!(
                    "the private key {} has a passphrase, and {why}\nhint: {agent}--passphrase-file FILE",
                    path.display()
                )));
            }
            loaded => loaded.map_err(Failure::environment)?,
        };
        self.identities.push(Identity { name: name.to_owned(), key });
        Ok(())
    }
}

/// The agent's socket, when there is one.
fn agent() -> Option<PathBuf> {
    std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn password(flags: &Flags, question: &str) -> Result<Option<SecretString>, Failure> {
    match &flags.password_file {
        Some(file) => ask::secret_file(file).map(Some),
        None if flags.ask_pass => ask::secret(flags, question, "--password-file FILE").map(Some),
        None => Ok(None),
    }
}

fn credentials(ring: KeyRing<'_>, password: Option<SecretString>) -> Arc<Credentials> {
    let KeyRing { identities, agent, in_agent: agent_first, .. } = ring;
    Arc::new(Credentials { identities, agent, agent_first, password: password.map(PasswordGate::new) })
}

/// The keys that the hosts or the command line name.
async fn named_keys(context: &Context<'_>, hosts: &[PlanHost], ring: &mut KeyRing<'_>) -> Result<(), Failure> {
    let names: BTreeSet<&str> = hosts.iter().filter_map(|host| host.identity.as_deref()).collect();
    for name in names {
        // A path on the command line is from where the person stands, one in a file from the project.
        let from_flag = context.flags.identity.as_deref().is_some_and(|path| path == Path::new(name));
        let path = if from_flag { PathBuf::from(name) } else { context.project.root.join(home(name)) };
        ring.add(name, &path).await?;
    }
    Ok(())
}

/// `~/x` in a site's file means the home of the person who runs fleet.
fn home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

/// The pinned host keys.
pub fn known_hosts(context: &Context<'_>) -> Result<Arc<KnownHosts>, Failure> {
    let path = context.known_hosts();
    let known_hosts = KnownHosts::load(&path).map_err(Failure::environment)?;
    for (line, reason) in known_hosts.skipped() {
        say(&format!("warning: {}:{line} is not used: {reason}", path.display()));
    }
    Ok(Arc::new(known_hosts))
}

/// Says what to type when a login fails for want of a key.
struct WithHint(SshConnector);

impl Connect for WithHint {
    fn connect<'a>(&'a self, host: &'a PlanHost) -> BoxFuture<'a, Result<Box<dyn Session>, ConnectError>> {
        let hint = |error| match error {
            ConnectError::Auth { user, reason, refused } if !reason.contains("\nhint: ") => {
                let site = &host.site;
                let hint = format!("`fleet {site} distribute-keys` brings the project's key to hosts that lack it");
                ConnectError::Auth { user, reason: format!("{reason}\nhint: {hint}"), refused }
            }
            other => other,
        };
        self.0.connect(host).map_err(hint).boxed()
    }
}

/// The project's private key, when it is there. Only a key that somebody names may come from a pipe, for which it is waited.
fn own_key(context: &Context<'_>) -> Result<Option<PathBuf>, Failure> {
    let path = context.project.root.join(KEY);
    if path.exists() && !path.is_file() {
        return Err(Failure::environment(format!("cannot read the key {}: not a regular file", path.display())));
    }
    Ok(path.exists().then_some(path))
}

/// The way in for runs: the named key, the project's own, the agent, a password on demand.
pub async fn for_runs(context: &Context<'_>, hosts: &[PlanHost]) -> Result<impl Connect + use<>, Failure> {
    let mut ring = KeyRing::new(context.flags, agent())?;
    named_keys(context, hosts, &mut ring).await?;
    if let Some(own) = own_key(context)? {
        ring.add(KEY, &own).await?;
    }
    let password = password(context.flags, "Password:")?;
    if ring.identities.is_empty() && password.is_none() && agent().is_none() {
        return Err(Failure::environment(
            "there is no key to log in with: no keys/fleet, no agent, no identity\n\
             hint: fleet generate-keys, then fleet SITE distribute-keys",
        ));
    }
    connector(context, credentials(ring, password)).map(WithHint)
}

/// The way in before the project's key is there: whatever the person has now.
pub async fn for_distribution(context: &Context<'_>, hosts: &[PlanHost]) -> Result<SshConnector, Failure> {
    let mut ring = KeyRing::new(context.flags, agent())?;
    named_keys(context, hosts, &mut ring).await?;
    let own = context.project.root.join(KEY);
    let users = ["id_ed25519", "id_ecdsa", "id_rsa"].map(|name| home(&format!("~/.ssh/{name}")));
    for path in own_key(context)?.iter().chain(&users).filter(|path| path.is_file()) {
        // Nobody named these: one that cannot be used is passed over, and no passphrase is asked for.
        if let Ok(key) = key::load(path, ring.passphrase.as_ref()) {
            ring.identities.push(Identity { name: path.display().to_string(), key });
        }
    }
    let mut password = password(context.flags, "Password:")?;
    let only_own = ring.identities.iter().all(|identity| Path::new(&identity.name) == own);
    if password.is_none() && only_own && agent().is_none() && ask::is_interactive(context.flags) {
        let user = hosts.first().map(|host| host.user.to_string()).unwrap_or_default();
        password = Some(ask::secret(context.flags, &format!("Password of {user}:"), "--password-file FILE")?);
    }
    connector(context, credentials(ring, password))
}

/// The way in with the project's key and nothing else.
pub async fn for_proof(context: &Context<'_>) -> Result<SshConnector, Failure> {
    let mut ring = KeyRing::new(context.flags, None)?;
    ring.add(KEY, &own_key(context)?.unwrap_or_else(|| context.project.root.join(KEY))).await?;
    connector(context, credentials(ring, None))
}

fn connector(context: &Context<'_>, credentials: Arc<Credentials>) -> Result<SshConnector, Failure> {
    let known_hosts = known_hosts(context)?;
    Ok(SshConnector { known_hosts, credentials, timeouts: Timeouts::default() })
}
