//! Reads `hosts/*.toml` into an [`Inventory`], and tells all that is wrong with the files.

mod accept;
mod host;
mod secrets;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::config::diagnostic::{Diagnostic, Source};
use crate::model::config::document::{Document, Item, Table};
use crate::model::config::graph::{chain, walk};
use crate::model::config::setting::{Setting, Spanned};
use crate::model::inventory::inventory::{Inventory, Rollout, SecretSource, Site};
use crate::model::inventory::share::{batches, share};
use crate::model::inventory::ssh::SshSettings;
use crate::model::inventory::stage::Stage;
use crate::model::recipe::recipe::settable;
use crate::model::text::name::{RecipeName, SiteName, VarName};

pub const MOST_HOSTS: usize = 100_000;

/// What the inventory is checked against.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// Words of the command line, which no site may be called.
    pub verbs: &'a [&'a str],
    /// Names of all recipes; `None` leaves the sites' recipes unchecked.
    pub recipes: Option<&'a [&'a str]>,
    /// Sites whose files could not be read, so that others may follow them without a further error.
    pub unread: &'a [&'a str],
}

/// Reads all sites. `sites` are the files by their names without `.toml`.
pub fn read_inventory(defaults: Option<&Arc<Source>>, sites: &[(String, Arc<Source>)], known: Known<'_>) -> Inventory {
    let mut inventory = Inventory::default();
    let mut shared = Common::default();
    if let Some(source) = defaults {
        (shared, inventory.defaults) = Document::read(source, |document| read_defaults(document, known));
    }
    let stems: Vec<&str> = sites.iter().map(|(stem, _)| stem.as_str()).chain(known.unread.iter().copied()).collect();
    let mut follows = Vec::new();
    let mut left = MOST_HOSTS;
    for (stem, source) in sites {
        let ((site, followed), errors) = Document::read(source, |document| {
            SiteReader { document, stem, stems: &stems, known }.read(&shared, &mut left)
        });
        follows.extend(followed.map(|target| (stem.as_str(), target, source)));
        if !errors.is_empty() {
            inventory.leave_out(stem, errors);
        } else if let Some(site) = site {
            inventory.sites.insert(site.name.clone(), site);
        }
    }
    for (stem, diagnostic) in cycles(&stems, &follows) {
        inventory.leave_out(stem, [diagnostic]);
    }
    inventory
}

/// A site, the one that it follows, and where it says so.
type Follows<'a> = (&'a str, Spanned<SiteName>, &'a Arc<Source>);

/// Sites in a circle, each with what is wrong: the error is in one file, but no site of the circle has anything to follow.
fn cycles<'a>(stems: &[&'a str], follows: &[Follows<'a>]) -> Vec<(&'a str, Diagnostic)> {
    let number = |name: &str| stems.iter().position(|stem| *stem == name);
    let mut edges = vec![Vec::new(); stems.len()];
    for (site, target, _) in follows {
        if let (Some(from), Some(to)) = (number(site), number(target.value.as_str()))
            && let Some(edge) = edges.get_mut(from)
        {
            edge.push(to);
        }
    }
    let name = |node: usize| stems.get(node).copied().unwrap_or_default();
    let told = |cycle: &Vec<usize>| -> Option<Diagnostic> {
        let first = name(*cycle.first()?);
        let (_, target, source) = follows.iter().find(|(site, ..)| *site == first)?;
        let message = match cycle.as_slice() {
            [_] => format!("site `{first}` follows itself"),
            _ => format!("sites follow each other in a circle: {}", chain(cycle, name)),
        };
        Some(Diagnostic::new(source, target.span.clone(), message))
    };
    let of_each = |cycle: &Vec<usize>| {
        let diagnostic = told(cycle);
        cycle.iter().filter_map(|node| Some((name(*node), diagnostic.clone()?))).collect::<Vec<_>>()
    };
    walk(&edges).cycles.iter().flat_map(of_each).collect()
}

/// What `hosts/defaults.toml` and a site's file have in common.
#[derive(Debug, Clone, Default)]
struct Common {
    recipe: Option<Setting<RecipeName>>,
    ssh: SshSettings,
    vars: BTreeMap<VarName, Setting<String>>,
    secrets: BTreeMap<VarName, Setting<SecretSource>>,
    rollout: Rollout,
}

impl Common {
    /// What a file says, over what holds where it says nothing.
    fn read(root: &Table<'_>, known: Known<'_>, below: &Self) -> Self {
        let mut common = below.clone();
        if let Some(recipe) = root.read("recipe", |item| recipe(item, known)) {
            common.recipe = Some(recipe);
        }
        if let Some(ssh) = root.table("ssh") {
            common.ssh = SshSettings::read(&ssh).over(&below.ssh);
            ssh.finish();
        }
        if let Some(vars) = root.table("vars") {
            common.vars.extend(read_vars(&vars));
        }
        if let Some(sources) = root.table("secrets") {
            common.secrets.extend(secrets::read_sources(&sources));
        }
        if let Some(rollout) = root.table("rollout") {
            let Rollout { batches: sizes, max_failures, soak } = common.rollout;
            common.rollout = Rollout {
                batches: rollout.read("batches", batches).unwrap_or(sizes),
                max_failures: rollout.read("max-failures", share).unwrap_or(max_failures),
                soak: rollout.read("soak", Item::duration).unwrap_or(soak),
            };
            rollout.finish();
        }
        common
    }
}

fn recipe(item: &Item<'_>, known: Known<'_>) -> Option<Spanned<RecipeName>> {
    let name = item.parsed(RecipeName::parse)?;
    if let Some(recipes) = known.recipes
        && !recipes.contains(&name.value.as_str())
    {
        let message = format!("there is no recipe `{}`", name.value);
        let known = format!("there are: {}", recipes.join(", "));
        let unknown = Diagnostic::new(item.document.source, name.span.clone(), message).label(known);
        item.document.push(unknown.did_you_mean(name.value.as_str(), recipes.iter().copied()));
    }
    Some(name)
}

/// Reads variables; `[vars.backup] dir = …` makes `backup.dir`.
fn read_vars(table: &Table<'_>) -> BTreeMap<VarName, Setting<String>> {
    let mut found: BTreeMap<VarName, Spanned<String>> = BTreeMap::new();
    let mut open: Vec<(String, Item<'_>)> = table.items().into_iter().map(|item| (item.key.to_owned(), item)).collect();
    open.reverse();
    while let Some((name, item)) = open.pop() {
        if item.is_table() {
            let inner = item.table().map(|inner| inner.items()).unwrap_or_default();
            open.extend(inner.into_iter().rev().map(|item| (format!("{name}.{}", item.key), item)));
            continue;
        }
        let Some(name) = item.parsed_key(&name, settable) else { continue };
        let Some(value) = item.text() else { continue };
        if let Some(first) = found.get(&name) {
            let message = format!("variable `{name}` is set twice");
            table.document.report_again(item.span, &first.span, message);
        } else {
            found.insert(name, value);
        }
    }
    found.into_iter().map(|(name, value)| (name, table.setting(value))).collect()
}

fn read_defaults(document: &Document<'_>, known: Known<'_>) -> Common {
    let root = document.root();
    let common = Common::read(&root, known, &Common::default());
    for key in ["host", "stage", "follows", "accept"] {
        if let Some(item) = root.item(key) {
            item.refuse_key::<()>(format!("`{key}` belongs in the file of a site, not in the defaults of all"));
        }
    }
    root.finish();
    common
}

struct SiteReader<'a> {
    document: &'a Document<'a>,
    stem: &'a str,
    stems: &'a [&'a str],
    known: Known<'a>,
}

impl SiteReader<'_> {
    /// The site, and the one that it says it follows.
    fn read(&self, shared: &Common, left: &mut usize) -> (Option<Site>, Option<Spanned<SiteName>>) {
        let table = self.document.root();
        let name = self.name();
        let common = Common::read(&table, self.known, shared);
        let stage = table.read("stage", |item| item.parsed(Stage::parse));
        let follows = table.parsed("follows", SiteName::parse);
        if let Some(target) = &follows
            && !self.stems.contains(&target.value.as_str())
        {
            let message = format!("there is no site `{}`", target.value);
            let diagnostic = Diagnostic::new(self.document.source, target.span.clone(), message);
            self.document.push(diagnostic.did_you_mean(target.value.as_str(), self.stems.iter().copied()));
        }
        let accept = table.table("accept").map(|accept| accept::read_accept(&accept)).unwrap_or_default();
        let hosts = host::read_hosts(&table, &common.ssh, left);
        table.finish();
        let site = name.map(|name| Site {
            name,
            source: Arc::clone(self.document.source),
            recipe: common.recipe,
            stage,
            follows: follows.clone().map(|target| table.setting(target)),
            rollout: common.rollout,
            vars: common.vars,
            secrets: common.secrets,
            accept,
            hosts,
        });
        (site, follows)
    }

    fn name(&self) -> Option<SiteName> {
        // Old fingers type `generate_keys` for `generate-keys`, so neither may be a site.
        let as_verb = self.stem.replace('_', "-");
        if as_verb == "all" || self.known.verbs.contains(&as_verb.as_str()) {
            let message = format!("a site cannot be called `{}`: that is a word of the command line", self.stem);
            self.document.tell(0..0, message, "rename the file");
            return None;
        }
        let label = "the file's name is the site's: rename the file";
        SiteName::parse(self.stem).inspect_err(|error| self.document.tell(0..0, error.to_string(), label)).ok()
    }
}

#[cfg(test)]
mod tests;
