//! What is measured: fleet, and others that do the same on the same hosts.

mod fleet;
mod openssh;
mod others;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::options::Options;
use crate::support::files;
use crate::workspace::{Workspace, addresses, lines};

pub use fleet::{Version, planned};

/// Something to measure: a command, in a folder of its own.
#[derive(Debug)]
pub struct Contender {
    pub name: String,
    pub role: Role,
    pub command: Vec<OsString>,
    pub room: PathBuf,
}

/// What is compared with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A version of fleet, by its place on the command line.
    Fleet(usize),
    Other,
}

/// What has to be done on each host.
#[derive(Debug, Clone)]
pub struct Work {
    pub command: String,
    /// How often, one after the other.
    pub steps: usize,
    /// What fleet does instead of `run`, which takes no steps.
    pub task: Option<&'static str>,
    /// Output is kept, in a file for each host.
    pub keep: bool,
}

/// Where it has to be done.
pub struct Scene<'a> {
    pub options: &'a Options,
    pub workspace: &'a Workspace,
    /// Of this row; part of the names of its rooms.
    pub row: String,
    /// Only fleet and the bare client.
    pub alone: bool,
    pub port: u16,
    pub hosts: usize,
}

impl Scene<'_> {
    fn room(&self, name: &str) -> PathBuf {
        self.workspace.room(&format!("{}-{name}", self.row))
    }

    fn parallel(&self) -> String {
        self.options.parallel.to_string()
    }

    /// A file with an address a line.
    fn list(&self, room: &Path) -> PathBuf {
        let file = room.join("list");
        files::write(&file, lines(&addresses(0, self.hosts)), 0o644);
        file
    }
}

/// Everybody who can do the work, and who cannot and why.
pub fn all(scene: &Scene, versions: &[Version], work: &Work) -> (Vec<Contender>, Vec<String>) {
    let mut contenders: Vec<Contender> = versions
        .iter()
        .enumerate()
        .flat_map(|(place, version)| fleet::contenders(scene, place, version, work))
        .collect();
    contenders.push(bare(scene, work));
    let mut left_out = Vec::new();
    if !scene.alone {
        contenders.push(openssh::contender(scene, work));
        for other in [others::pssh(scene, work), others::ansible(scene, work)] {
            match other {
                Ok(other) => contenders.push(other),
                Err(reason) => left_out.push(reason),
            }
        }
    }
    (contenders, left_out)
}

/// The bare client.
pub fn bare(scene: &Scene, work: &Work) -> Contender {
    let room = scene.room("bare");
    let mut command = words(["client", "--user", scene.workspace.user(), "--port", &scene.port.to_string()]);
    command.insert(0, std::env::current_exe().unwrap().into());
    command.extend(words(["--parallel", &scene.parallel(), "--steps", &work.steps.to_string()]));
    command.extend(["--hosts".into(), scene.list(&room).into(), "--key".into(), scene.workspace.key().into()]);
    command.extend(["--host-key".into(), scene.workspace.host_key().with_extension("pub").into()]);
    if work.keep {
        command.extend(["--output".into(), scene.room("bare/output").into()]);
    }
    command.extend(words(["--", &work.command]));
    Contender { name: "bare client".to_owned(), role: Role::Other, command, room }
}

fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<OsString> {
    words.into_iter().map(OsString::from).collect()
}
