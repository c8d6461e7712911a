//! The `[[host]]` tables of a site, ranges unfolded.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::ops::Range;

use super::{MOST_HOSTS, read_vars};
use crate::model::config::diagnostic::Diagnostic;
use crate::model::config::document::{Document, Item, Table};
use crate::model::config::setting::Spanned;
use crate::model::inventory::inventory::Host;
use crate::model::inventory::ssh::{SSH_PORT, SshSettings};
use crate::model::text::name::{Address, HostName, RoleName};
use crate::model::text::range::{Pattern, RangeError};

/// Reads the hosts. `left` is how many the inventory can still take.
pub(super) fn read_hosts(root: &Table<'_>, ssh: &SshSettings, left: &mut usize) -> Vec<Host> {
    let entries = root.tables("host");
    if entries.as_ref().is_some_and(Vec::is_empty) || entries.is_none() && root.item("host").is_none() {
        let span = root.item("host").map_or(0..0, |item| item.span);
        let diagnostic = Diagnostic::new(root.document.source, span, "the site has no hosts");
        root.document.push(diagnostic.label("add a table `[[host]]` with a `name`").absent());
    }
    let mut hosts = Vec::new();
    let mut seen = Seen::default();
    for entry in entries.unwrap_or_default() {
        hosts.extend(read_host(&entry, ssh, left, &mut seen).into_iter().flatten());
        entry.finish();
    }
    hosts
}

/// Where each host of the site was named first.
#[derive(Default)]
struct Seen {
    names: HashMap<String, Range<usize>>,
    addresses: HashMap<(String, u16), (HostName, Range<usize>)>,
}

fn read_host(entry: &Table<'_>, ssh: &SshSettings, left: &mut usize, seen: &mut Seen) -> Option<Vec<Host>> {
    let ssh = SshSettings::read(entry).over(ssh).over(&SshSettings::defaults());
    let roles = read_roles(entry);
    let vars = entry.table("vars").map(|vars| read_vars(&vars)).unwrap_or_default();
    let name = entry.item("name");
    entry.missing("name");
    let address = entry.item("address");
    let name = read_pattern(&name?)?;
    let address = match address {
        Some(item) => Some(read_pattern(&item)?),
        None => None,
    };
    let pairs = unfold(entry, &name, address.as_ref(), *left)?;
    *left = left.saturating_sub(pairs.len());

    let place = address.as_ref().unwrap_or(&name).span.clone();
    let port = ssh.port.as_ref().map_or(SSH_PORT, |port| port.value);
    report_twins(entry, &name, &place, &pairs, port, seen);
    let host = |(name, address)| Host {
        name,
        address: entry.setting(Spanned { value: address, span: place.clone() }),
        ssh: ssh.clone(),
        roles: roles.clone(),
        vars: vars.clone(),
    };
    Some(pairs.into_iter().map(host).collect())
}

fn read_roles(entry: &Table<'_>) -> Vec<RoleName> {
    let mut roles: Vec<Spanned<RoleName>> = Vec::new();
    for item in entry.array("roles").unwrap_or_default() {
        let Some(role) = item.parsed(RoleName::parse) else { continue };
        if roles.iter().any(|other| other.value == role.value) {
            item.report(format!("role `{}` stands twice", role.value));
        } else {
            roles.push(role);
        }
    }
    roles.into_iter().map(|role| role.value).collect()
}

fn read_pattern(item: &Item<'_>) -> Option<Spanned<Pattern>> {
    let text = item.string()?;
    match Pattern::parse(text.value) {
        Ok(pattern) => Some(Spanned { value: pattern, span: text.span }),
        Err(RangeError::Form(inside)) if inside.parse::<Ipv6Addr>().is_ok() => {
            item.tell("an IPv6 address has no brackets here", format!("write \"{inside}\", and `port` if it has one"));
            None
        }
        Err(error) => {
            item.report(error.to_string());
            None
        }
    }
}

/// Names and addresses of the hosts of one entry.
fn unfold(
    entry: &Table<'_>,
    name: &Spanned<Pattern>,
    address: Option<&Spanned<Pattern>>,
    left: usize,
) -> Option<Vec<(HostName, Address)>> {
    let document = entry.document;
    let (count, address_count) = (name.value.count(), address.map_or(1, |address| address.value.count()));
    if let Some(address) = address
        && count != address_count
    {
        let message = match (name.value.has_range(), address.value.has_range()) {
            (true, false) => format!("{count} hosts would share one address"),
            _ => format!("{count} {} but {address_count} addresses", if count == 1 { "name" } else { "names" }),
        };
        let label = "give it a range of the same length as the name's, or leave it out";
        document.tell(address.span.clone(), message, label);
        return None;
    }
    let host_names = parse_all(document, name, left, HostName::parse)?;
    let addresses = parse_all(document, address.unwrap_or(name), left, parse_address)?;
    Some(host_names.into_iter().zip(addresses).collect())
}

/// A colon is part of an IPv6 address and of nothing else.
fn parse_address(text: &str) -> Result<Address, String> {
    let without_zone = text.split('%').next().unwrap_or_default();
    if text.contains(':') && without_zone.parse::<std::net::Ipv6Addr>().is_err() {
        return Err(format!("address `{text}` is no IPv6 address; a port is a key of its own: port = 22"));
    }
    Address::parse(text).map_err(|error| error.to_string())
}

/// Parses all names that the pattern stands for; reports the first wrong one, as the others are wrong in the same way.
fn parse_all<T, E: ToString>(
    document: &Document<'_>,
    pattern: &Spanned<Pattern>,
    left: usize,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Option<Vec<T>> {
    let names = pattern.value.names(left).map_err(|error| match error {
        RangeError::Count { count, .. } => {
            format!("{count} more hosts; an inventory can have {MOST_HOSTS} and has room for {left}")
        }
        error => error.to_string(),
    });
    let parsed = names.and_then(|names| names.iter().map(|name| parse(name).map_err(|e| e.to_string())).collect());
    parsed.inspect_err(|message| document.report(pattern.span.clone(), message)).ok()
}

/// Reports the first name, and the first address and port, that another host of the site has already.
fn report_twins(
    entry: &Table<'_>,
    name: &Spanned<Pattern>,
    place: &Range<usize>,
    pairs: &[(HostName, Address)],
    port: u16,
    seen: &mut Seen,
) {
    let document = entry.document;
    let mut same_name = None;
    let mut same_address = None;
    for (host, address) in pairs {
        if let Some(first) = seen.names.insert(host.to_string(), name.span.clone()) {
            same_name.get_or_insert((host, first));
            continue;
        }
        // Names have no case; an address has one spelling already.
        let key = (address.as_str().to_ascii_lowercase(), port);
        if let Some(first) = seen.addresses.insert(key, (host.clone(), place.clone())) {
            same_address.get_or_insert((host, address, first));
        }
    }
    if let Some((host, first)) = same_name {
        let diagnostic =
            Diagnostic::new(document.source, name.span.clone(), format!("the site has two hosts called `{host}`"));
        document.push(also(diagnostic, first, name, "first here"));
    }
    if let Some((host, address, (other, first))) = same_address {
        let message = format!("hosts `{other}` and `{host}` are the same: {address} port {port}");
        let diagnostic = Diagnostic::new(document.source, place.clone(), message);
        document.push(also(diagnostic, first, name, &format!("`{other}`")));
    }
}

/// Shows the first place too, unless it is the same one: a range can repeat itself.
fn also(diagnostic: Diagnostic, first: Range<usize>, name: &Spanned<Pattern>, label: &str) -> Diagnostic {
    if first == diagnostic.span || first == name.span { diagnostic } else { diagnostic.also(first, label) }
}
