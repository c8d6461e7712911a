//! Sites and hosts in words.

use std::fmt::{Display, Write as _};

use super::columns::{Cell, columns, headings};
use super::paint::Tone;
use super::time::limit;
use crate::model::config::setting::Origin;
use crate::model::inventory::inventory::{Host, Site};
use crate::model::inventory::ssh::Shown;
use crate::model::plan::planner::Variables;
use crate::model::text::fold::fold_names;
use crate::model::text::name::{HostName, RoleName};
use crate::model::text::printable::one_line;
use crate::model::text::secret::{SHOWN, environment_name};

/// The table of `fleet list`.
pub fn sites(sites: &[(&Site, Vec<HostName>)], color: bool) -> String {
    let mut rows = vec![headings(&["SITE", "STAGE", "RECIPE", "FOLLOWS", "HOSTS"])];
    for (site, hosts) in sites {
        let or_dash = |text: Option<String>| Cell::plain(text.unwrap_or_else(|| "-".to_owned()));
        rows.push(vec![
            Cell::plain(site.name.to_string()),
            or_dash(site.stage.as_ref().map(|stage| stage.value.to_string())),
            or_dash(site.recipe.as_ref().map(|recipe| recipe.value.to_string())),
            or_dash(site.follows.as_ref().map(|follows| follows.value.to_string())),
            Cell::plain(fold_names(hosts.iter().map(HostName::as_str))),
        ]);
    }
    columns(&rows, color)
}

/// `fleet list --explain`: every value of a site, and where it came from.
pub fn explain(site: &Site, hosts: &[(&Host, Variables)], color: bool) -> String {
    let mut rows = Vec::new();
    rows.extend(site.recipe.as_ref().map(|s| row("recipe", &s.value, &s.origin)));
    rows.extend(site.stage.as_ref().map(|s| row("stage", &s.value, &s.origin)));
    rows.extend(site.follows.as_ref().map(|s| row("follows", &s.value, &s.origin)));
    let batches: Vec<String> = site.rollout.batches.value.iter().map(ToString::to_string).collect();
    rows.push(row("rollout.batches", &batches.join(", "), &site.rollout.batches.origin));
    rows.push(row("rollout.max-failures", &site.rollout.max_failures.value, &site.rollout.max_failures.origin));
    let soak = limit(site.rollout.soak.value);
    rows.push(row("rollout.soak", &soak, &site.rollout.soak.origin));
    let mut out = format!("{}\n{}", Tone::Heading.paint(site.name.as_str(), color), columns(&rows, color));
    for (host, variables) in hosts {
        let mut rows = vec![row("address", &host.address.value, &host.address.origin)];
        rows.extend(host.ssh.shown().map(|(name, value, origin)| match value {
            Shown::Text(text) => row(name, &text, origin),
            Shown::Time(time) => row(name, &limit(time), origin),
        }));
        for (name, setting) in variables.iter() {
            rows.push(row(&format!("vars.{name}"), &setting.value, &setting.origin));
        }
        for name in variables.secrets() {
            let variable = environment_name(name);
            let source = match site.secrets.get(name) {
                Some(source) => format!("{variable}, else {}", source.origin),
                None => format!("{variable}, else asked for"),
            };
            rows.push(vec![Cell::plain(format!("  vars.{name}")), Cell::plain(SHOWN), Cell::toned(Tone::Dim, source)]);
        }
        let roles: Vec<&str> = host.roles.iter().map(RoleName::as_str).collect();
        let name = Tone::Heading.paint(&format!("{}:{}", site.name, host.name), color);
        let roles = if roles.is_empty() { String::new() } else { format!(" ({})", roles.join(", ")) };
        let _ = write!(out, "\n{name}{roles}\n{}", columns(&rows, color));
    }
    out
}

fn row(name: &str, value: &impl Display, origin: &Origin) -> Vec<Cell> {
    let value = abbreviated(&value.to_string());
    vec![Cell::plain(format!("  {name}")), Cell::plain(value), Cell::toned(Tone::Dim, origin.to_string())]
}

/// A value in one line of the table: shell text of a recipe is long, and its place in the file stands beside it.
fn abbreviated(value: &str) -> String {
    const WIDEST: usize = 60;
    let mut lines = value.trim_end().lines();
    let first = one_line(lines.next().unwrap_or_default());
    let cut: String = first.chars().take(WIDEST).collect();
    let more = lines.count();
    match more {
        0 if cut.len() == first.len() => first,
        0 => format!("{cut}…"),
        1 => format!("{cut}… (1 more line)"),
        _ => format!("{cut}… ({more} more lines)"),
    }
}
