//! The hosts of a plan in `plan.json`: what several have in common stands there once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::plan::plan_host::PlanHost;
use crate::model::plan::values::Values;
use crate::model::text::name::{Address, HostLabel, HostName, RoleName, SiteName, UserName};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct HostList {
    classes: Vec<HostClass>,
    list: Vec<HostEntry>,
}

/// What hosts have in common.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct HostClass {
    site: SiteName,
    port: u16,
    user: UserName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    connect_timeout: Duration,
    connect_retry: Duration,
    reconnect_timeout: Duration,
    keepalive: Duration,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    roles: Vec<RoleName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    book: Option<String>,
    #[serde(default, skip_serializing_if = "is_empty")]
    values: Arc<Values>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct HostEntry {
    name: HostName,
    /// Its name, when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<HostLabel>,
    /// Its name, when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<Address>,
    class: usize,
}

fn is_empty(values: &Arc<Values>) -> bool {
    values.is_empty()
}

impl HostClass {
    fn of(host: &PlanHost) -> Self {
        Self {
            site: host.site.clone(),
            port: host.port,
            user: host.user.clone(),
            identity: host.identity.clone(),
            connect_timeout: host.connect_timeout,
            connect_retry: host.connect_retry,
            reconnect_timeout: host.reconnect_timeout,
            keepalive: host.keepalive,
            roles: host.roles.clone(),
            book: host.book.clone(),
            values: Arc::clone(&host.values),
        }
    }
}

pub fn serialize<S: Serializer>(hosts: &[PlanHost], serializer: S) -> Result<S::Ok, S::Error> {
    let mut classes: BTreeMap<HostClass, usize> = BTreeMap::new();
    let entry = |host: &PlanHost| {
        let next = classes.len();
        let name = host.name.as_str();
        HostEntry {
            name: host.name.clone(),
            label: (host.label.as_str() != name).then(|| host.label.clone()),
            address: (host.address.as_str() != name).then(|| host.address.clone()),
            class: *classes.entry(HostClass::of(host)).or_insert(next),
        }
    };
    let list = hosts.iter().map(entry).collect();
    let mut classes: Vec<(HostClass, usize)> = classes.into_iter().collect();
    classes.sort_unstable_by_key(|(_, at)| *at);
    HostList { classes: classes.into_iter().map(|(class, _)| class).collect(), list }.serialize(serializer)
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PlanHost>, D::Error> {
    let HostList { classes, list } = HostList::deserialize(deserializer)?;
    let host = |entry: HostEntry| {
        let class = classes.get(entry.class).ok_or_else(|| D::Error::custom("a host of no class"))?;
        let name = entry.name.as_str();
        let label = entry.label.map_or_else(|| HostLabel::parse(name), Ok).map_err(D::Error::custom)?;
        let address = entry.address.map_or_else(|| Address::parse(name), Ok).map_err(D::Error::custom)?;
        let class = class.clone();
        Ok(PlanHost {
            label,
            name: entry.name,
            address,
            site: class.site,
            port: class.port,
            user: class.user,
            identity: class.identity,
            connect_timeout: class.connect_timeout,
            connect_retry: class.connect_retry,
            reconnect_timeout: class.reconnect_timeout,
            keepalive: class.keepalive,
            roles: class.roles,
            book: class.book,
            values: class.values,
        })
    };
    list.into_iter().map(host).collect()
}
