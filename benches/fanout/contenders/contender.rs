//! Who is measured, and what has to be done.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::options::Options;
use crate::support::files;
use crate::workspace::{Workspace, addresses, lines};

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
    pub fn room(&self, name: &str) -> PathBuf {
        self.workspace.room(&format!("{}-{name}", self.row))
    }

    pub fn parallel(&self) -> String {
        self.options.parallel.to_string()
    }

    /// A file with an address a line.
    pub fn list(&self, room: &Path) -> PathBuf {
        let file = room.join("list");
        files::write(&file, lines(&addresses(0, self.hosts)), 0o644);
        file
    }
}

pub fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<OsString> {
    words.into_iter().map(OsString::from).collect()
}
