//! The hosts of a site by class: those that share roles and variables get the same steps with the same values, so one is planned for all.

use std::collections::{BTreeMap, BTreeSet};

use super::phases::{FlatPhase, FlatStep};
use crate::model::inventory::inventory::{Host, Site};
use crate::model::text::name::{HostName, RoleName, VarName};

pub struct Classes<'a> {
    site: &'a Site,
    /// The class of each host of the site.
    class_of: Vec<usize>,
    /// Is each host of the site targeted?
    targeted: Vec<bool>,
    /// The roles of each class.
    roles: Vec<&'a [RoleName]>,
}

impl<'a> Classes<'a> {
    pub fn of(site: &'a Site, targeted: &BTreeSet<&HostName>) -> Self {
        type Key<'a> = (&'a [RoleName], Vec<(&'a VarName, &'a str)>);
        let mut known: BTreeMap<Key<'_>, usize> = BTreeMap::new();
        let (mut class_of, mut roles) = (Vec::new(), Vec::new());
        for host in &site.hosts {
            let vars = host.vars.iter().map(|(name, setting)| (name, setting.value.as_str())).collect();
            let class = *known.entry((host.roles.as_slice(), vars)).or_insert_with(|| {
                roles.push(host.roles.as_slice());
                roles.len() - 1
            });
            class_of.push(class);
        }
        let targeted = site.hosts.iter().map(|host| targeted.contains(&host.name)).collect();
        Self { site, class_of, targeted, roles }
    }

    pub fn len(&self) -> usize {
        self.roles.len()
    }

    /// The hosts of the site, each with its class.
    pub fn hosts(&self) -> impl Iterator<Item = (&'a Host, usize)> {
        self.site.hosts.iter().zip(self.class_of.iter().copied())
    }

    pub fn has(&self, class: usize, step: &FlatStep<'_>) -> bool {
        self.roles.get(class).is_some_and(|roles| step.is_for(roles))
    }

    /// The places among the site's hosts of those that a phase is for, or why there is none.
    ///
    /// A phase that runs once on a role runs on the first host of the site that has it, or not at all: another one, such as the replica of a
    /// database, is no substitute for a host that is not targeted.
    pub fn choose(&self, phase: &FlatPhase<'_>) -> Result<impl Iterator<Item = usize>, String> {
        let is_for = |roles: &&[RoleName]| {
            phase.on.as_ref().is_none_or(|role| roles.contains(role))
                && phase.steps.iter().any(|step| step.is_for(roles))
        };
        let fits: Vec<bool> = self.roles.iter().map(is_for).collect();
        let fitting = self.class_of.iter().enumerate().filter(|(_, class)| fits.get(**class).is_some_and(|fits| *fits));
        let is_targeted = |place: &usize| self.targeted.get(*place).is_some_and(|targeted| *targeted);
        let mut places = fitting.map(|(place, _)| place);
        let chosen: Vec<usize> = match phase.once {
            false => places.filter(is_targeted).collect(),
            true if phase.roles().is_empty() => places.find(is_targeted).into_iter().collect(),
            true => match places.next() {
                Some(first) if !is_targeted(&first) => {
                    let name = self.site.hosts.get(first).map(|host| host.name.as_str()).unwrap_or_default();
                    return Err(format!("it runs once, on {name}, which is not targeted"));
                }
                first => first.into_iter().collect(),
            },
        };
        if chosen.is_empty() { Err("no targeted host has its roles".to_owned()) } else { Ok(chosen.into_iter()) }
    }
}
