//! A repository to deploy from. git sees no configuration but what is given here, so commits have the same ids everywhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::files;
use super::process::{run, stdout_of};
use super::tools::{PATH, tool};

/// A bare repository, and a checkout to commit in.
#[derive(Debug)]
pub struct Upstream {
    folder: TempDir,
}

impl Upstream {
    /// A repository without a commit.
    pub fn new() -> Self {
        let upstream = Self { folder: tempfile::tempdir().unwrap() };
        run(git(upstream.folder.path()).args(["init", "-q", "--bare", "-b", "main", "upstream.git"]));
        run(git(upstream.folder.path()).args(["init", "-q", "-b", "main", "work"]));
        run(git(&upstream.work()).args(["remote", "add", "origin"]).arg(upstream.path()));
        upstream
    }

    /// The bare repository: what a host clones.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("upstream.git")
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Commits these files on `main`, pushes, and tells the commit's id.
    pub fn commit(&self, message: &str, content: &[(&str, &str)]) -> String {
        for (path, text) in content {
            files::write(&self.work().join(path), text, 0o755);
        }
        run(git(&self.work()).args(["add", "-A"]));
        run(git(&self.work()).args(["commit", "-q", "--allow-empty", "-m", message]));
        run(git(&self.work()).args(["push", "-q", "origin", "HEAD:refs/heads/main"]));
        self.head()
    }

    /// Tags the last commit, and pushes the tag.
    pub fn tag(&self, name: &str) {
        run(git(&self.work()).args(["tag", name]));
        run(git(&self.work()).args(["push", "-q", "origin", name]));
    }

    /// The id of the last commit.
    pub fn head(&self) -> String {
        stdout_of(git(&self.work()).args(["rev-parse", "HEAD"]))
    }

    /// Clones the repository, as a host would.
    pub fn clone_to(&self, folder: &Path) {
        run(git(Path::new("/")).args(["clone", "-q"]).arg(self.path()).arg(folder));
    }
}

/// The commit that is checked out in a folder.
pub fn checked_out(folder: &Path) -> String {
    stdout_of(git(folder).args(["rev-parse", "HEAD"]))
}

/// git, hermetic.
pub fn git(folder: &Path) -> Command {
    let mut command = Command::new(tool("git"));
    command.current_dir(folder).env_clear().env("PATH", PATH).env("HOME", "/nonexistent").env("LC_ALL", "C.UTF-8");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Test").env(format!("GIT_{who}_EMAIL"), "test@example.org");
        command.env(format!("GIT_{who}_DATE"), "2026-01-02T03:04:05Z");
    }
    command
}
