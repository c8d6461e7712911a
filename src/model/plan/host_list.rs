//! The hosts of a plan in `plan.json`: what several have in common stands there once.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::inventory::ssh::SshValues;
use crate::model::plan::plan_host::PlanHost;
use crate::model::plan::values::Values;
use crate::model::text::name::{Address, HostLabel, HostName, RoleName, SiteName};

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
    #[serde(flatten)]
    ssh: SshValues,
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

pub fn serialize<S: Serializer>(hosts: &[PlanHost], serializer: S) -> Result<S::Ok, S::Error> {
    let mut classes: BTreeMap<HostClass, usize> = BTreeMap::new();
    let entry = |host: &PlanHost| {
        let next = classes.len();
        let name = host.name.as_str();
        let class = HostClass {
            site: host.site.clone(),
            ssh: host.endpoint.values(),
            roles: host.roles.clone(),
            book: host.book.clone(),
            values: Arc::clone(&host.values),
        };
        HostEntry {
            name: host.name.clone(),
            label: (host.label.as_str() != name).then(|| host.label.clone()),
            address: (host.endpoint.address.as_str() != name).then(|| host.endpoint.address.clone()),
            class: *classes.entry(class).or_insert(next),
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
        let user = class.ssh.user.clone().ok_or_else(|| D::Error::missing_field("user"))?;
        Ok(PlanHost {
            label,
            name: entry.name,
            site: class.site,
            endpoint: class.ssh.endpoint(address, &user),
            roles: class.roles,
            book: class.book,
            values: class.values,
        })
    };
    list.into_iter().map(host).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::run::scripted;

    #[derive(Debug, Serialize, Deserialize)]
    struct Hosts(#[serde(with = "super")] Vec<PlanHost>);

    #[test]
    fn what_hosts_have_in_common_stands_there_once_and_nothing_unknown_beside_it() {
        let mut hosts = scripted::plan(&["web1", "web2", "db1"], &[]).hosts;
        hosts[2].endpoint.port = 2222;
        hosts[2].endpoint.keepalive = Duration::from_secs(4);
        let text = serde_json::to_string(&Hosts(hosts.clone())).unwrap();
        assert_eq!((text.matches("\"user\":\"release\"").count(), text.matches("2222").count()), (2, 1), "{text}");
        assert_eq!(serde_json::from_str::<Hosts>(&text).unwrap().0, hosts);
        let told = |text: &str| serde_json::from_str::<Hosts>(text).unwrap_err().to_string();
        assert!(told(&text.replacen("\"port\"", "\"jump\":1,\"port\"", 1)).contains("unknown field `jump`"));
        assert!(told(&text.replacen("\"user\":\"release\",", "", 1)).contains("missing field `user`"));
        assert!(told(&text.replacen("\"class\":1", "\"class\":2", 1)).contains("a host of no class"));
        // A plan from before the setting.
        let old = text.replace(r#""keepalive":{"secs":4,"nanos":0}"#, r#""keepalive":null"#);
        assert_eq!(serde_json::from_str::<Hosts>(&old).unwrap().0[2].endpoint.keepalive, Duration::from_secs(15));
    }
}
