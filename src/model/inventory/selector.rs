//! Selectors: what was asked for, and the hosts that this means.
//!
//! A selector is a list of terms: `mysite`, `mysite:web`, `shop-*:db[01-03],!mysite:web2`. A term names sites by name or glob, `all`
//! for every site, and after a colon hosts by role, name, glob or range. `!` takes away, wherever it stands in the list.
//!
//! Every term must match something: a name with a slip of the pen never shrinks what a run works on, and never grows it, unnoticed.
//! Nor does a site whose file is broken: a term that names it, `all` and a glob too, is refused with the errors of that file, unless all of
//! that site is taken away again.

mod pattern;

use std::collections::BTreeSet;

use self::pattern::Pattern;
use crate::model::config::diagnostic::{Diagnostic, in_order, nearest};
use crate::model::inventory::inventory::{Host, Inventory, Site};
use crate::model::text::hint::{Advise, Hint};
use crate::model::text::name::{HostName, RoleName, SiteName};
use crate::model::text::range::RangeError;

#[derive(Debug, Clone)]
pub struct Selector {
    terms: Vec<Term>,
}

#[derive(Debug, Clone)]
struct Term {
    text: String,
    negative: bool,
    first: Pattern,
    hosts: Option<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    #[error("{}", if .0.is_empty() { "the selector is empty".to_owned() } else { format!("`{}` has an empty term", .0) })]
    Empty(String),
    #[error("`{term}` is no glob: {reason}")]
    Glob { term: String, reason: String },
    #[error(transparent)]
    Range(#[from] RangeError),
    #[error("`{0}` is neither `SITE` nor `SITE:HOST`")]
    Form(String),
    #[error("no {kind} matches `{name}`{}", part(of.as_deref()))]
    Unmatched {
        /// `site`, `host or role of site mysite`, …
        kind: String,
        name: String,
        near: Option<String>,
        /// The range that it is a part of.
        of: Option<String>,
    },
    #[error("`{0}` only takes away")]
    OnlyNegative(String),
    #[error("`{0}` leaves no host")]
    NothingLeft(String),
    /// What it names, or may name, is in files with errors.
    #[error("{} errors in the project's files", .0.len())]
    Broken(Vec<Diagnostic>),
}

fn part(of: Option<&str>) -> String {
    of.map(|of| format!(", a part of `{of}`")).unwrap_or_default()
}

impl Advise for SelectorError {
    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Unmatched { near, .. } => near.iter().map(Hint::did_you_mean).collect(),
            Self::OnlyNegative(typed) => vec![Hint::Advice(format!("`all,{typed}`"))],
            Self::Empty(_)
            | Self::Glob { .. }
            | Self::Range(_)
            | Self::Form(_)
            | Self::NothingLeft(_)
            | Self::Broken(_) => Vec::new(),
        }
    }
}

/// The hosts that a selector means: never none, sites and hosts in the order of the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    sites: Vec<(SiteName, Vec<HostName>)>,
}

impl Targets {
    pub fn sites(&self) -> &[(SiteName, Vec<HostName>)] {
        &self.sites
    }

    pub fn hosts(&self) -> impl Iterator<Item = (&SiteName, &HostName)> {
        self.sites.iter().flat_map(|(site, hosts)| hosts.iter().map(move |host| (site, host)))
    }

    /// Puts the chosen hosts into the inventory's order; `None` when there are none.
    fn of(inventory: &Inventory, chosen: &Chosen<'_>) -> Option<Self> {
        let hosts = |site: &Site| -> Vec<HostName> {
            let chosen = site.hosts.iter().filter(|host| chosen.contains(&(site.name.as_str(), host.name.as_str())));
            chosen.map(|host| host.name.clone()).collect()
        };
        let sites: Vec<_> = inventory
            .sites
            .values()
            .map(|site| (site.name.clone(), hosts(site)))
            .filter(|(_, hosts)| !hosts.is_empty())
            .collect();
        (!sites.is_empty()).then_some(Self { sites })
    }
}

/// Hosts by the names of their sites and their own.
type Chosen<'a> = BTreeSet<(&'a str, &'a str)>;

impl Selector {
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let terms =
            pattern::split(text, ',').into_iter().map(|term| Term::parse(text, term)).collect::<Result<_, _>>()?;
        Ok(Self { terms })
    }

    /// The hosts that it means. Here a term without a colon names sites. `exclude` is what [`restrict`] will take away.
    pub fn resolve(&self, inventory: &Inventory, exclude: Option<&Self>) -> Result<Targets, SelectorError> {
        if self.terms.iter().all(|term| term.negative) {
            return Err(SelectorError::OnlyNegative(self.to_string()));
        }
        if !inventory.defaults.is_empty() {
            return Err(SelectorError::Broken(inventory.errors()));
        }
        let excluded = exclude.iter().flat_map(|exclude| &exclude.terms).filter(|term| !term.negative);
        let taken_away: Vec<&Term> = self.terms.iter().filter(|term| term.negative).chain(excluded).collect();
        let is_taken_away = |stem: &str| taken_away.iter().any(|term| term.hosts.is_none() && term.first.matches(stem));
        let is_named = |stem: &str| self.terms.iter().any(|term| term.first.matches(stem)) && !is_taken_away(stem);
        let broken =
            in_order(inventory.broken.iter().filter(|(stem, _)| is_named(stem)).flat_map(|(_, errors)| errors));
        if !broken.is_empty() {
            return Err(SelectorError::Broken(broken));
        }
        let (chosen, removed) = self.chosen_and_removed(|term| term.hosts_by_site(inventory))?;
        let mut chosen = chosen.unwrap_or_default();
        chosen.retain(|host| !removed.contains(host));
        Targets::of(inventory, &chosen).ok_or_else(|| SelectorError::NothingLeft(self.to_string()))
    }

    /// The hosts of its terms, by what these mean; the first is none when all terms take away.
    fn chosen_and_removed<'a>(
        &self,
        hosts: impl Fn(&Term) -> Result<Chosen<'a>, SelectorError>,
    ) -> Result<(Option<Chosen<'a>>, Chosen<'a>), SelectorError> {
        let mut chosen = None;
        let mut removed = Chosen::new();
        for term in &self.terms {
            let hosts = hosts(term)?;
            if term.negative {
                removed.extend(hosts);
            } else {
                chosen.get_or_insert_with(Chosen::new).extend(hosts);
            }
        }
        Ok((chosen, removed))
    }
}

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let terms: Vec<_> = self.terms.iter().map(|term| term.text.as_str()).collect();
        f.write_str(&terms.join(","))
    }
}

/// Hosts to choose from, and what to call them when nothing matches.
struct Pool<'a> {
    hosts: Vec<(&'a Site, &'a Host)>,
    /// Sites whose hosts are unknown.
    broken: Vec<&'a str>,
    called: &'static str,
}

/// Narrows targets: what `--limit` names, without what `--exclude` names.
///
/// What is limited to must be among the targets; what is excluded must be in the inventory, so that one list of
/// hosts to leave alone can serve for all sites.
pub fn restrict(
    targets: &Targets,
    inventory: &Inventory,
    limit: Option<&Selector>,
    exclude: Option<&Selector>,
) -> Result<Targets, SelectorError> {
    let targeted: Chosen<'_> = targets.hosts().map(|(site, host)| (site.as_str(), host.as_str())).collect();
    let mut chosen = targeted.clone();
    if let Some(limit) = limit {
        let is_target = |(site, host): &(&Site, &Host)| targeted.contains(&(site.name.as_str(), host.name.as_str()));
        let pool = Pool {
            hosts: all_hosts(inventory).filter(is_target).collect(),
            broken: Vec::new(),
            called: "targeted host, role or site",
        };
        let (kept, removed) = limit.chosen_and_removed(|term| term.hosts_within(&pool))?;
        chosen.retain(|host| kept.as_ref().is_none_or(|kept| kept.contains(host)) && !removed.contains(host));
    }
    if let Some(exclude) = exclude {
        let broken = inventory.broken.keys().map(String::as_str).collect();
        let pool = Pool { hosts: all_hosts(inventory).collect(), broken, called: "host, role or site" };
        // A host of a site that is broken cannot be known.
        let (excluded, spared) =
            exclude.chosen_and_removed(|term| term.hosts_within(&pool)).map_err(|error| match error {
                SelectorError::Unmatched { .. } if !inventory.broken.is_empty() => {
                    SelectorError::Broken(inventory.errors())
                }
                error => error,
            })?;
        let excluded = excluded.ok_or_else(|| SelectorError::OnlyNegative(exclude.to_string()))?;
        chosen.retain(|host| !excluded.contains(host) || spared.contains(host));
    }
    let told = || [limit, exclude].into_iter().flatten().map(ToString::to_string).collect::<Vec<_>>().join(" without ");
    Targets::of(inventory, &chosen).ok_or_else(|| SelectorError::NothingLeft(told()))
}

impl Term {
    fn parse(whole: &str, text: &str) -> Result<Self, SelectorError> {
        let text = text.trim();
        let (negative, names) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest.trim()));
        let mut parts = pattern::split(names, ':').into_iter().map(str::trim);
        let (first, hosts, more) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
        if names.is_empty() {
            return Err(SelectorError::Empty(whole.to_owned()));
        }
        if first.is_empty() || hosts.is_some_and(str::is_empty) || more.is_some() {
            return Err(SelectorError::Form(names.to_owned()));
        }
        Ok(Self {
            text: text.to_owned(),
            negative,
            first: Pattern::parse(first)?,
            hosts: hosts.map(Pattern::parse).transpose()?,
        })
    }

    /// `SITES` or `SITES:HOSTS`.
    fn hosts_by_site<'a>(&self, inventory: &'a Inventory) -> Result<Chosen<'a>, SelectorError> {
        let names = || inventory.sites.keys().map(SiteName::as_str).chain(inventory.broken.keys().map(String::as_str));
        self.first.check("site", names).map_err(|error| self.with_site(error, inventory))?;
        self.hosts_of_sites(all_hosts(inventory), "host or role")
    }

    /// A host's name typed for a site's: says how to name the host.
    fn with_site(&self, error: SelectorError, inventory: &Inventory) -> SelectorError {
        let SelectorError::Unmatched { kind, name, near: None, of } = error else { return error };
        let mut hosts = all_hosts(inventory).filter(|_| self.hosts.is_none());
        let host = hosts.find(|(_, host)| host.name.as_str() == name);
        let near = host.map(|(site, _)| format!("{}:{name}", site.name));
        SelectorError::Unmatched { kind, name, near, of }
    }

    /// Of these hosts, those of the sites before the colon that the part after it names.
    fn hosts_of_sites<'a>(
        &self,
        hosts: impl Iterator<Item = (&'a Site, &'a Host)>,
        called: &str,
    ) -> Result<Chosen<'a>, SelectorError> {
        let hosts = hosts.filter(|(site, _)| self.first.matches(site.name.as_str()));
        let Some(pattern) = &self.hosts else { return Ok(names_of(hosts)) };
        let hosts: Vec<_> = hosts.collect();
        let names = || hosts.iter().flat_map(|(_, host)| own_names(host));
        pattern.check(&format!("{called} of `{}`", self.first), names)?;
        Ok(names_of(hosts.iter().copied().filter(|(_, host)| own_names(host).any(|name| pattern.matches(name)))))
    }

    /// As `--limit` or `--exclude`: `SITES:HOSTS`, or `NAMES` of hosts, roles or sites.
    fn hosts_within<'a>(&self, pool: &Pool<'a>) -> Result<Chosen<'a>, SelectorError> {
        if self.hosts.is_some() {
            self.first.check("site", || pool.hosts.iter().map(|(site, _)| site.name.as_str()))?;
            return self.hosts_of_sites(pool.hosts.iter().copied(), pool.called);
        }
        let names = |(site, host): &(&'a Site, &'a Host)| own_names(host).chain([site.name.as_str()]);
        self.first.check(pool.called, || pool.hosts.iter().flat_map(names).chain(pool.broken.iter().copied()))?;
        let matching = |pair: &(&'a Site, &'a Host)| names(pair).any(|name| self.first.matches(name));
        Ok(names_of(pool.hosts.iter().copied().filter(matching)))
    }
}

fn all_hosts(inventory: &Inventory) -> impl Iterator<Item = (&Site, &Host)> {
    inventory.sites.values().flat_map(|site| site.hosts.iter().map(move |host| (site, host)))
}

/// What a host may be called by: its name and its roles.
fn own_names(host: &Host) -> impl Iterator<Item = &str> {
    std::iter::once(host.name.as_str()).chain(host.roles.iter().map(RoleName::as_str))
}

fn names_of<'a>(hosts: impl Iterator<Item = (&'a Site, &'a Host)>) -> Chosen<'a> {
    hosts.map(|(site, host)| (site.name.as_str(), host.name.as_str())).collect()
}

impl Pattern {
    /// Every name that it spells out must exist; a glob must match something.
    fn check<'a, I: Iterator<Item = &'a str>>(&self, kind: &str, names: impl Fn() -> I) -> Result<(), SelectorError> {
        match self.unmatched(names()) {
            None => Ok(()),
            Some(name) => {
                // A number beyond the last host is no slip of the pen.
                let of = (name != self.text).then(|| self.text.clone());
                let near = if of.is_none() { nearest(&name, names()).map(ToOwned::to_owned) } else { None };
                Err(SelectorError::Unmatched { kind: kind.to_owned(), name, near, of })
            }
        }
    }
}

#[cfg(test)]
mod tests;
