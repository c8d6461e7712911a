//! fleet: one version, or two.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::contender::{Contender, Role, Scene, Work, words};
use crate::options::Options;
use crate::support::files;
use crate::workspace::{Workspace, addresses};

/// A binary.
#[derive(Debug)]
pub struct Version {
    pub name: String,
    pub program: PathBuf,
}

impl Version {
    /// As the command line has them.
    pub fn all(options: &Options) -> Vec<Self> {
        match options.fleet.as_slice() {
            [] => vec![Self { name: "fleet".to_owned(), program: env!("CARGO_BIN_EXE_fleet").into() }],
            [one] => vec![Self { name: "fleet".to_owned(), program: absolute(one) }],
            more => ('A'..='Z')
                .zip(more)
                .map(|(letter, program)| Self { name: format!("fleet {letter}"), program: absolute(program) })
                .collect(),
        }
    }
}

fn absolute(program: &Path) -> PathBuf {
    std::fs::canonicalize(program).unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

/// With output there are two: one that shows only the final table, and one that prints every line.
pub fn contenders(scene: &Scene, place: usize, version: &Version, work: &Work) -> Vec<Contender> {
    let room = scene.room(&version.name.replace(' ', "-"));
    project(scene, place, &room);
    let contender = |name: String, quiet: bool| {
        let mut command = vec![version.program.clone().into_os_string()];
        command.extend(words(["bench", work.task.unwrap_or("run"), "--no-input", "-P", &scene.parallel()]));
        if quiet {
            command.push("-q".into());
        }
        if work.task.is_none() {
            command.extend(words(["--", &work.command]));
        }
        Contender { name, role: Role::Fleet(place), command, room: room.clone() }
    };
    if work.keep {
        vec![contender(format!("{} -q", version.name), true), contender(format!("{}, all lines", version.name), false)]
    } else {
        vec![contender(version.name.clone(), true)]
    }
}

/// The site `bench` on the hosts of the version's own lane, keys pinned.
fn project(scene: &Scene, lane: usize, room: &Path) {
    let mut site = format!("recipe = \"bench\"\n[ssh]\nuser = \"{}\"\nport = {}\n", scene.workspace.user(), scene.port);
    let (mut pins, pin) = (String::new(), scene.workspace.pin());
    for (number, address) in addresses(lane, scene.hosts).iter().enumerate() {
        let _ = writeln!(site, "[[host]]\nname = \"h{number}\"\naddress = \"{address}\"");
        let _ = writeln!(pins, "[{address}]:{} {pin}", scene.port);
    }
    files::write(&room.join("hosts/bench.toml"), site, 0o644);
    files::write(&room.join("keys/known_hosts"), pins, 0o644);
    files::write(&room.join("keys/fleet"), files::read(&scene.workspace.key()), 0o600);
    files::write(&room.join("keys/fleet.pub"), files::read(&scene.workspace.key().with_extension("pub")), 0o644);
    let mut recipe = "[recipe]\ndoc = \"steps that do nothing\"\n".to_owned();
    for (task, steps, line) in [("step", 1, ""), ("ten", 10, ""), ("plain", 10, "durable = false\n")] {
        for step in 0..steps {
            let _ = writeln!(recipe, "[[task.{task}.step]]\nname = \"s{step}\"\nrun = \"true\"\n{line}");
        }
    }
    files::write(&room.join("recipes/bench.toml"), recipe, 0o644);
}

/// fleet alone, with a site of the built-in recipe on hosts that nobody calls.
pub fn planned(
    workspace: &Workspace,
    versions: &[Version],
    hosts: usize,
    name: &str,
    arguments: &[&str],
) -> Vec<Contender> {
    let contender = |(place, version): (usize, &Version)| {
        let room = workspace.room(&format!("{name}-{place}"));
        let site = format!(
            "recipe = \"git-site\"\n[vars]\nhome = \"/srv/bench\"\nbackup = 'pg_dump -Fc bench >\"$BACKUP/bench\"'\n\
             migrate = \"./manage.py migrate\"\nrestart = \"sudo systemctl restart bench\"\n\
             [[host]]\nname = \"db1\"\naddress = \"db1.example.org\"\nroles = [\"web\", \"db\"]\n\
             [[host]]\nname = \"web[2-{hosts}]\"\naddress = \"web[2-{hosts}].example.org\"\nroles = [\"web\"]\n"
        );
        files::write(&room.join("hosts/bench.toml"), site, 0o644);
        let mut command = vec![version.program.clone().into_os_string()];
        command.extend(words(arguments.iter().copied()));
        Contender { name: version.name.clone(), role: Role::Fleet(place), command, room }
    };
    versions.iter().enumerate().map(contender).collect()
}
