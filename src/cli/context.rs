//! What every command needs: the project, its inventory and recipes, and how to write to people.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write as _};
use std::path::PathBuf;
use std::sync::{LazyLock, Once};

use clap::ColorChoice;

use super::args::Flags;
use super::command_line::reserved_names;
use super::descriptors;
use super::failure::Failure;
use crate::app::planning;
use crate::files::owner;
use crate::files::project::{self, BuiltIn, LoadOptions, Project};
use crate::model::inventory::inventory::{Inventory, Site};
use crate::model::inventory::selector::{Selector, SelectorError, restrict};
use crate::model::plan::planner::DEFAULT_PARALLEL;
use crate::model::recipe::recipe::Recipe;
use crate::model::run::exit;
use crate::model::text::hint::Hint;
use crate::model::text::name::{HostName, UserName};
use crate::model::text::printable::printable;
use crate::record::folder::store::FolderStore;
use crate::record::store::Store;
use crate::report::words::{counted, hint_lines};

/// A recipe inside the binary, with the files of its folder.
macro_rules! built_in {
    ($recipe:literal: $($file:literal)*) => {
        BuiltIn {
            name: $recipe,
            text: include_str!(concat!("../../recipes/", $recipe, ".toml")),
            files: &[$((
                concat!($recipe, "/", $file),
                include_bytes!(concat!("../../recipes/", $recipe, "/", $file)),
            )),*],
        }
    };
}

/// The recipes inside the binary.
const BUILT_IN: [BuiltIn<'_>; 2] = [
    built_in!(
        "git-site":
        "backup.sh" "checkout.sh" "common.sh" "cron.sh" "deployments.sh" "site.sh"
        "database.sh" "database-mariadb.sh" "database-postgresql.sh" "database-sqlite.sh"
    ),
    built_in!(
        "eden":
        "eden.sh" "eden.py" "database" "archive.py" "checking.py" "code_changes.py" "comparison.py" "config.py" "connection.py"
        "cron.py" "cronlines.py" "database.py" "eden_site.py" "failure.py" "files.py" "fingerprint.py" "fixes.py" "fixnew.py" "fixrun.py"
        "inside.py" "jobs.py" "migration.py" "preview.py" "preview_folder.py" "reading.py" "scheduler.py" "smoke.py"
    ),
];

/// Targeted sites with their targeted hosts.
pub type Targets<'a> = Vec<(&'a Site, Vec<HostName>)>;

/// A loaded project and the flags.
///
/// The project may hold broken files. What they are needed for is refused with their errors where it is asked for: [`Context::targets`],
/// [`Context::recipe`]. So a file that somebody is still writing stops only the commands that need it.
pub struct Context<'a> {
    pub flags: &'a Flags,
    pub project: Project,
    told: Once,
    capped: Once,
}

impl<'a> Context<'a> {
    pub fn load(flags: &'a Flags) -> Result<Self, Failure> {
        let reserved = reserved_names();
        let verbs: Vec<&str> = reserved.iter().map(String::as_str).collect();
        let options = LoadOptions { built_in: &BUILT_IN, verbs: &verbs };
        Ok(Self { flags, project: project::load(&root(flags)?, options)?, told: Once::new(), capped: Once::new() })
    }

    /// The sites and hosts that the selector, `--limit` and `--exclude` name. Which broken files have nothing to do with them is said once.
    pub fn targets(&self, selector: &str) -> Result<Targets<'_>, Failure> {
        let targets = self.targets_among(&self.project.inventory, selector)?;
        self.told.call_once(|| self.say_left_out(&targets));
        Ok(targets)
    }

    /// The same for a part of the inventory.
    pub fn targets_among(&self, inventory: &Inventory, selector: &str) -> Result<Targets<'_>, Failure> {
        if inventory.sites.is_empty() && inventory.broken.is_empty() && inventory.defaults.is_empty() {
            let failure =
                Failure::new(exit::NO_MATCH, format!("{} has no sites", self.project.root.join("hosts").display()));
            return Err(failure.hint(Hint::advice("`fleet init` in an empty folder writes one to begin with")));
        }
        let refused = |error| match error {
            SelectorError::Broken(errors) => Failure::Diagnostics(planning::in_the_way(&self.project, errors)),
            error => error.into(),
        };
        let selector = Selector::parse(selector)?;
        let parse = |text: &Option<String>| text.as_deref().map(Selector::parse).transpose();
        let (limit, exclude) = (parse(&self.flags.limit)?, parse(&self.flags.exclude)?);
        let targets = selector.resolve(inventory, exclude.as_ref()).map_err(refused)?;
        let targets = restrict(&targets, inventory, limit.as_ref(), exclude.as_ref()).map_err(refused)?;
        let known = &self.project.inventory.sites;
        Ok(targets.sites().iter().filter_map(|(name, hosts)| Some((known.get(name)?, hosts.clone()))).collect())
    }

    /// A recipe that a target has is not left out: who needs it is refused.
    fn say_left_out(&self, targets: &[(&Site, Vec<HostName>)]) {
        let used: BTreeSet<&str> =
            targets.iter().filter_map(|(site, _)| Some(site.recipe.as_ref()?.value.as_str())).collect();
        let sites = self.project.inventory.broken.keys().map(|stem| format!("hosts/{stem}.toml"));
        let recipes = self.project.broken_recipes.keys().filter(|name| !used.contains(name.as_str()));
        let files: Vec<String> = sites.chain(recipes.map(|name| format!("recipes/{name}.toml"))).collect();
        let what = match files.len() {
            0 => return,
            1 => "has errors and is",
            _ => "have errors and are",
        };
        let warning = format!("warning: {} {what} left out", printable(files.join(", ").as_bytes()));
        advise(&warning, &[Hint::command("fleet check")]);
    }

    pub fn recipe(&self, site: &Site) -> Result<&Recipe, Failure> {
        Ok(planning::recipe(&self.project, site)?)
    }

    /// How many of these hosts are worked on at the same time, where no plan says it.
    pub fn width(&self, hosts: usize) -> usize {
        let width = match self.flags.parallel.unwrap_or(DEFAULT_PARALLEL) {
            0 => hosts,
            width => width.min(hosts),
        };
        let most = descriptors::most_hosts();
        if width > most {
            let limit = descriptors::limit();
            self.capped.call_once(|| {
                say(&format!("{} at a time, not {width}: the limit is {limit} open files", counted(most, "host")));
            });
        }
        width.clamp(1, most)
    }

    pub fn store(&self) -> impl Store {
        FolderStore::new(&self.project.root.join(".fleet/runs"))
    }

    /// Is standard output to be coloured?
    pub fn color(&self) -> bool {
        colour(self.flags, &io::stdout())
    }

    pub fn known_hosts(&self) -> PathBuf {
        self.project.root.join("keys/known_hosts")
    }
}

pub fn root(flags: &Flags) -> Result<PathBuf, Failure> {
    let start = std::env::current_dir().map_err(Failure::environment)?;
    let root = project::find(&start, flags.project.as_deref())?;
    owner::refuse_foreign(&root, &owner::trusted_users(std::env::var("SUDO_UID").ok().as_deref()))?;
    Ok(root)
}

/// Is what is written there to be coloured?
pub fn colour(flags: &Flags, out: &impl IsTerminal) -> bool {
    match flags.color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => out.is_terminal() && !is_dumb() && std::env::var_os("NO_COLOR").is_none(),
    }
}

/// Is it a terminal that can only print? Emacs and simple consoles say so with `TERM=dumb`; no `TERM` counts as the same, as in git.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

/// Columns to write in: the terminal's, or `COLUMNS`, or 100.
pub fn width() -> usize {
    let set = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = || console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    set.or_else(terminal).unwrap_or(100)
}

/// Writes data to standard output.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Says something to the person. Whoever closed standard error does not want to hear it.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Says something, and below it what helps.
pub fn advise(text: &str, hints: &[Hint]) {
    let lines: Vec<String> = [text.to_owned()].into_iter().chain(hint_lines(hints)).collect();
    say(&lines.join("\n"));
}

pub fn say_hint(hint: &Hint) {
    say(&hint_lines(std::slice::from_ref(hint)).join("\n"));
}

/// The user who runs fleet, by `USER`, `LOGNAME` or `id -un`.
pub fn login_user() -> Result<UserName, Failure> {
    let set = |name: &'static str| Some((name, std::env::var(name).ok().filter(|value| !value.is_empty())?));
    let asked = || Some(("`id -un`", WHOAMI.clone()?));
    let unknown = |why: String| {
        let hint = Hint::advice("set ssh.user in hosts/defaults.toml, or use --user");
        Failure::environment(format!("who are you? {why}")).hint(hint)
    };
    let Some((from, name)) = set("USER").or_else(|| set("LOGNAME")).or_else(asked) else {
        return Err(unknown("USER is not set, and `id -un` does not tell".to_owned()));
    };
    UserName::parse(&name).map_err(|error| unknown(format!("{from} is no login user: {error}")))
}

/// What `id -un` says. Asked once: a process for each site would cost more than reading its files.
static WHOAMI: LazyLock<Option<String>> = LazyLock::new(|| {
    let output = std::process::Command::new("id").arg("-un").output().ok()?;
    let name = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!name.is_empty()).then_some(name)
});

/// `user@controller`, for the record.
pub fn operator() -> String {
    let user = login_user().map_or_else(|_| "unknown".to_owned(), |user| user.to_string());
    let host =
        std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    format!("{user}@{}", host.as_deref().map_or("localhost", str::trim))
}
