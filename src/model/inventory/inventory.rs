//! Sites and hosts, as the files in `hosts/` describe them, and where each value came from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::config::diagnostic::{Diagnostic, Source, in_order};
use crate::model::config::setting::Setting;
pub use crate::model::inventory::share::Share;
use crate::model::inventory::ssh::SshSettings;
pub use crate::model::inventory::stage::Stage;
use crate::model::text::name::{Address, FindingName, HostName, RecipeName, RoleName, SiteName, VarName};

/// All sites, and apart from them what is wrong with the files of others: one broken file stops its own site, not the project.
///
/// Invariant: a site is in `sites` only when nothing is wrong with its file. Whoever looks one up by [`Inventory::site`] or by a selector
/// gets the errors of one that is not, so no site is left out unnoticed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    pub sites: BTreeMap<SiteName, Site>,
    /// The errors of each broken site, by the name of its file without `.toml`.
    pub broken: BTreeMap<String, Vec<Diagnostic>>,
    /// The errors of `hosts/defaults.toml`. With any, no site has the values that it is meant to have.
    pub defaults: Vec<Diagnostic>,
}

impl Inventory {
    pub fn leave_out(&mut self, stem: &str, errors: impl IntoIterator<Item = Diagnostic>) {
        self.sites.remove(stem);
        self.broken.entry(stem.to_owned()).or_default().extend(errors);
    }

    /// The site of that name; `None` when there is none, and an error when it, or what all sites share, is broken.
    pub fn site(&self, name: &str) -> Result<Option<&Site>, Vec<Diagnostic>> {
        if !self.defaults.is_empty() {
            return Err(self.errors());
        }
        match self.broken.get(name) {
            Some(errors) => Err(errors.clone()),
            None => Ok(self.sites.get(name)),
        }
    }

    /// All errors, in the order of the files.
    pub fn errors(&self) -> Vec<Diagnostic> {
        in_order(self.defaults.iter().chain(self.broken.values().flatten()))
    }
}

/// One deployed application: one file in `hosts/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its name: the file's, without `.toml`.
    pub name: SiteName,
    pub source: Arc<Source>,
    /// Its recipe; without one only ad-hoc commands and keys work.
    pub recipe: Option<Setting<RecipeName>>,
    /// Production asks before it is touched; on test a failure holds instead of undoing.
    pub stage: Option<Setting<Stage>>,
    /// The site whose proven revision this one gets.
    pub follows: Option<Setting<SiteName>>,
    /// Variables of `hosts/defaults.toml` and of the site; the site's win.
    pub vars: BTreeMap<VarName, Setting<String>>,
    /// Where the values of the recipe's secrets come from.
    pub secrets: BTreeMap<VarName, Setting<SecretSource>>,
    /// The blocks that its steps may report without being refused, each with the reason.
    pub accept: BTreeMap<FindingName, Setting<String>>,
    pub rollout: Rollout,
    /// Its hosts, in the order of the file, ranges unfolded. Never empty.
    pub hosts: Vec<Host>,
}

/// Where the value of a secret comes from, on the machine where fleet runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// What a shell command prints.
    Exec { command: String, timeout: Duration },
    /// What is in a file; a path relative to the project, or `~/...`.
    File(String),
}

/// One machine (or address and port) reached by SSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    pub name: HostName,
    /// Where it is reached; its name when the file gives no address.
    pub address: Setting<Address>,
    /// How it is reached; what has a default is set.
    pub ssh: SshSettings,
    pub roles: Vec<RoleName>,
    pub vars: BTreeMap<VarName, Setting<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// Sizes of the batches; the last one repeats. Never empty.
    pub batches: Setting<Vec<Share>>,
    /// Failed hosts that the rollout bears.
    pub max_failures: Setting<Share>,
    /// Pause between batches.
    pub soak: Setting<Duration>,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            batches: Setting::default_of(vec![Share::Percent(100)]),
            max_failures: Setting::default_of(Share::Hosts(0)),
            soak: Setting::default_of(Duration::ZERO),
        }
    }
}
