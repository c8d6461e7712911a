//! How this controller gets into hosts: pinned host keys, private keys, agent, password.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;
use tracing::debug;

use super::args::Flags;
use super::ask;
use super::context::{Context, say};
use super::failure::Failure;
use crate::model::plan::plan::PlanHost;
use crate::model::recipe::shell::quote;
use crate::model::text::hint::Hint;
use crate::remote::Connect;
use crate::ssh::key::{self, KeyError, PublicKeyLine};
use crate::ssh::known_hosts::KnownHosts;
use crate::ssh::{
    AgentKey, Certificate, Credentials, Identity, PasswordGate, PrivateKey, SshConnector, Timeouts, agent_has,
};

/// The key pair of a project.
pub const KEY: &str = "keys/fleet";

/// Reads private keys, and asks for a passphrase at most once.
struct KeyRing<'a> {
    flags: &'a Flags,
    passphrase: Option<SecretString>,
    /// What it has found. The agent's keys may be used as well, so a key that it has needs no passphrase.
    found: Credentials,
}

impl<'a> KeyRing<'a> {
    fn new(flags: &'a Flags, agent: Option<PathBuf>) -> Result<Self, Failure> {
        let passphrase = flags.passphrase_file.as_deref().map(ask::secret_file).transpose()?;
        Ok(Self { flags, passphrase, found: Credentials { agent, ..Credentials::default() } })
    }

    /// Does the agent hold the private half of this public one? The certificate lies beside the private one's file.
    async fn agent_has(&mut self, public: &Path, private: &Path) -> bool {
        match (&self.found.agent, PublicKeyLine::load(public)) {
            (Some(agent), Ok(key)) if agent_has(agent, &key).await => {
                let certificate = certificate(private, &key);
                self.found.agent_first.push(AgentKey { key, certificate });
                true
            }
            _ => false,
        }
    }

    /// Adds the key, under the name by which hosts ask for it. As with `ssh`, the public half names a key of the agent.
    async fn add(&mut self, name: &str, path: &Path) -> Result<(), Failure> {
        let beside = key::added(path, ".pub");
        if PublicKeyLine::load(path).is_ok() {
            let private = path.with_extension("");
            if self.agent_has(path, &private).await {
                return Ok(());
            }
            let named = path.extension().is_some_and(|extension| extension == "pub");
            let private = if named { quote(&private.to_string_lossy()) } else { "FILE".to_owned() };
            return Err(KeyError::Public { path: path.to_owned(), private }.into());
        }
        if let Some(key) = path.to_str().and_then(|path| path.strip_suffix("-cert.pub")) {
            let hint = Hint::Advice(format!("name its key, beside which it is found: -i {}", quote(key)));
            return Err(Failure::environment(format!("{} is a certificate", path.display())).hint(hint));
        }
        let key = match key::load(path, self.passphrase.as_ref()) {
            Err(KeyError::Encrypted { .. }) if self.agent_has(&beside, path).await => return Ok(()),
            Err(KeyError::Encrypted { path: encrypted }) if ask::is_interactive(self.flags) => {
                let question = format!("Passphrase of {}:", encrypted.display());
                let passphrase = ask::secret(self.flags, &question, "--passphrase-file")?;
                let key = key::load(path, Some(&passphrase))?;
                self.passphrase = Some(passphrase);
                key
            }
            Err(KeyError::Encrypted { path }) => {
                let why = ask::why_not(self.flags);
                // Where a key alone is to be proven, the agent is left out.
                let agent =
                    if self.found.agent.is_some() { format!("ssh-add {}, or ", path.display()) } else { String::new() };
                let failure =
                    Failure::environment(format!("the private key {} has a passphrase, and {why}", path.display()));
                return Err(failure.hint(Hint::Advice(format!("{agent}--passphrase-file FILE"))));
            }
            loaded => loaded?,
        };
        self.have(name, path, key);
        Ok(())
    }

    fn have(&mut self, name: &str, path: &Path, key: Arc<PrivateKey>) {
        let public = PublicKeyLine::of(key.public_key()).ok();
        let certificate = public.and_then(|public| certificate(path, &public));
        self.found.identities.push(Identity { name: name.to_owned(), key, certificate });
    }
}

/// The certificate beside a key. Without a usable one there is a warning, and the key is used alone.
fn certificate(path: &Path, key: &PublicKeyLine) -> Option<Certificate> {
    key::certificate(path, key).unwrap_or_else(|error| {
        say(&format!("warning: {error}; the key is used without it"));
        None
    })
}

/// The agent's socket, when there is one.
fn agent() -> Option<PathBuf> {
    std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The password, when a flag says that there is one.
fn password(flags: &Flags) -> Result<Option<Arc<PasswordGate>>, Failure> {
    let password = match &flags.password_file {
        Some(file) => ask::secret_file(file)?,
        None if flags.ask_pass => ask_password(flags, "Password:")?,
        None => return Ok(None),
    };
    Ok(Some(Arc::new(PasswordGate::new(password))))
}

pub fn ask_password(flags: &Flags, question: &str) -> Result<SecretString, Failure> {
    ask::secret(flags, question, "--password-file FILE")
}

/// The keys that the hosts or the command line name.
async fn named_keys(context: &Context<'_>, hosts: &[PlanHost], ring: &mut KeyRing<'_>) -> Result<(), Failure> {
    let names: BTreeSet<&str> = hosts.iter().filter_map(|host| host.endpoint.identity.as_deref()).collect();
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

pub fn known_hosts(context: &Context<'_>) -> Result<Arc<KnownHosts>, Failure> {
    let path = context.known_hosts();
    let known_hosts = KnownHosts::load(&path).map_err(Failure::environment)?;
    for (line, reason) in known_hosts.skipped() {
        say(&format!("warning: {}:{line} is not used: {reason}", path.display()));
    }
    Ok(Arc::new(known_hosts))
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
pub async fn for_runs(context: &Context<'_>, hosts: &[PlanHost]) -> Result<Arc<dyn Connect>, Failure> {
    let mut ring = KeyRing::new(context.flags, agent())?;
    named_keys(context, hosts, &mut ring).await?;
    if let Some(own) = own_key(context)? {
        ring.add(KEY, &own).await?;
    }
    let mut found = ring.found;
    found.password = password(context.flags)?;
    if found.identities.is_empty() && found.password.is_none() && found.agent.is_none() {
        let failure = Failure::environment("there is no key to log in with: no keys/fleet, no agent, no identity");
        return Err(failure.hint(Hint::advice("fleet generate-keys, then fleet SITE distribute-keys")));
    }
    Ok(Arc::new(connector(context, found)?))
}

/// The ways in while the project's key is brought to hosts.
pub struct Distributing {
    /// Whatever the person has now.
    pub login: SshConnector,
    /// The project's key. A password may complete the login where a server wants both, and never stands for the key.
    pub proof: SshConnector,
    pub has_password: bool,
}

impl Distributing {
    /// The same, with a password besides.
    pub fn with_password(&self, password: SecretString) -> Self {
        let gate = Arc::new(PasswordGate::new(password));
        let (login, proof) = (self.login.with_password(&gate), self.proof.with_password(&gate));
        Self { login, proof, has_password: true }
    }
}

/// The ways in before the project's key is there.
pub async fn for_distribution(context: &Context<'_>, hosts: &[PlanHost]) -> Result<Distributing, Failure> {
    let password = password(context.flags)?;
    let mut own = KeyRing::new(context.flags, None)?;
    own.add(KEY, &own_key(context)?.unwrap_or_else(|| context.project.root.join(KEY))).await?;

    let mut ring = KeyRing::new(context.flags, agent())?;
    named_keys(context, hosts, &mut ring).await?;
    ring.found.identities.extend(own.found.identities.iter().cloned());
    let users = ["id_ed25519", "id_ecdsa", "id_rsa"].map(|name| home(&format!("~/.ssh/{name}")));
    for path in users.iter().filter(|path| path.is_file()) {
        // Nobody named these: one that cannot be used is passed over, and no passphrase is asked for.
        if let Ok(key) = key::load(path, ring.passphrase.as_ref()) {
            ring.have(&path.display().to_string(), path, key);
        }
    }
    let login = connector(context, Credentials { password: password.clone(), ..ring.found })?;
    // The key itself is to be proven: a certificate opens hosts that do not have it.
    own.found.identities.iter_mut().for_each(|identity| identity.certificate = None);
    let proof = Credentials { key_required: true, password: password.clone(), ..own.found };
    let proof = SshConnector { credentials: Arc::new(proof), ..login.clone() };
    Ok(Distributing { login, proof, has_password: password.is_some() })
}

fn connector(context: &Context<'_>, credentials: Credentials) -> Result<SshConnector, Failure> {
    let known_hosts = known_hosts(context)?;
    let Credentials { identities, agent, password, .. } = &credentials;
    let names: Vec<&str> = identities.iter().map(|identity| identity.name.as_str()).collect();
    debug!(identities = ?names, ?agent, password = password.is_some(), "ways to log in");
    let credentials = Arc::new(credentials);
    Ok(SshConnector { known_hosts, credentials, timeouts: Timeouts::default(), admission: Arc::default() })
}
