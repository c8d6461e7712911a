//! A file system of its own for a folder, which only root can make.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::process::run;
use super::tools::tool;
use super::user;

/// Mounted; unmounted on drop. Declare it after the fixture whose folder it is on: a folder cannot be removed below a mount.
#[derive(Debug)]
pub struct Mount {
    folder: PathBuf,
}

impl Mount {
    /// An empty file system in memory, mounted on a folder that is made if need be: `size=32m`, `nr_inodes=50`, `noexec`.
    pub fn memory(folder: &Path, options: &str) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        Self::new(folder, &["-t", "tmpfs", "-o", &format!("mode=700,{options}"), "tmpfs"])
    }

    /// The folder with what is in it, read-only.
    pub fn read_only(folder: &Path) -> Self {
        let mount = Self::new(folder, &["--bind", &folder.display().to_string()]);
        run(Command::new(tool("mount")).args(["-o", "remount,bind,ro"]).arg(folder));
        mount
    }

    fn new(folder: &Path, args: &[&str]) -> Self {
        user::only_root("mounts a file system");
        run(Command::new(tool("mount")).args(args).arg(folder));
        Self { folder: folder.to_owned() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        // It ends with "No space left on device", as it shall.
        let file = self.folder.join("ballast");
        let mut dd = Command::new(tool("dd"));
        dd.args(["if=/dev/zero", "bs=4k"]).arg(format!("of={}", file.display())).stderr(Stdio::null());
        assert!(!dd.status().unwrap().success(), "{} has no end", self.folder.display());
    }

    /// The end of [`Mount::fill`].
    pub fn make_room(&self) {
        std::fs::remove_file(self.folder.join("ballast")).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a process of a failed test may still be in it.
        let _ = Command::new(tool("umount")).arg("-l").arg(&self.folder).status();
    }
}
