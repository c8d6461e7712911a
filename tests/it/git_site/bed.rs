//! The bed of the tests through the binary: a bare repository with the commits one and two on `main`, and one host, `web1`, with
//! the roles web and db, whose checkout is at *one*.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::files;
use crate::support::git::{checked_out, git};
use crate::support::hosts::ReadyProject;
use crate::support::output::Output;
use crate::support::process::{run, stdout_of};

/// Debian's, in a file for each login; it refuses what Debian's refuses.
const CRONTAB: &str = "#!/bin/sh
f=${CRONTAB_FILE:-$HOME/crontab}
case $1 in
-l) cat \"$f\" 2>/dev/null || { echo 'no crontab for you' >&2; exit 1; } ;;
-r) rm \"$f\" ;;
-)
  cat >\"$f.new\"
  if [ -s \"$f.new\" ] && [ -n \"$(tail -c 1 \"$f.new\")\" ]; then
    echo 'new crontab file is missing newline before EOF, can'\\''t install.' >&2
    exit 1
  fi
  cat \"$f.new\" >\"$f\"
  ;;
esac
";

/// What the host's crontab holds.
pub const CRON: &str = "5 4 * * * ./job\n";

pub struct Bed {
    ready: ReadyProject,
    folder: TempDir,
    /// The commits.
    pub one: String,
    pub two: String,
}

impl Bed {
    /// `vars` are lines of the site's `[vars]`.
    pub fn start(vars: &str) -> Self {
        Self::on(vars, &[("web1", r#""web", "db""#)])
    }

    /// On hosts with these roles, each with a checkout at *one*. The first is `web1`.
    pub fn on(vars: &str, hosts: &[(&str, &str)]) -> Self {
        let names: Vec<&str> = hosts.iter().map(|(name, _)| *name).collect();
        let ready = ReadyProject::start(&format!("recipe = \"git-site\"\n[vars]\nhome = \"home\"\n{vars}"), &names);
        let folder = tempfile::tempdir().unwrap();
        let mut bed = Self { ready, folder, one: String::new(), two: String::new() };
        run(git(bed.folder.path()).args(["init", "-q", "--bare", "-b", "main", "up.git"]));
        run(git(bed.folder.path()).args(["clone", "-q", "up.git", "work"]));
        files::write(&bed.work(".gitignore"), "maintenance.flag\n*.ini\ncache/\n", 0o644);
        bed.one = bed.push("one", &[("page", "one\n")]);
        for (name, _) in hosts {
            run(git(Path::new("/")).args(["clone", "-q"]).arg(bed.up()).arg(bed[name].home().join("home")));
            files::write(&bed[name].bin().join("crontab"), CRONTAB, 0o755);
            files::write(&bed[name].home().join("crontab"), CRON, 0o600);
        }
        bed.two = bed.push("two", &[("page", "two\n")]);
        let mut roles = hosts.iter().map(|(_, roles)| format!("roles = [{roles}]"));
        bed.write_site(|site| {
            let line = |line: &str| match line.strip_prefix("roles = ") {
                Some(_) => roles.next().unwrap(),
                None => line.to_owned(),
            };
            site.lines().map(line).collect::<Vec<_>>().join("\n")
        });
        bed
    }

    /// What the checkout of a host is at.
    pub fn head_of(&self, host: &str) -> String {
        checked_out(&self[host].home().join("home"))
    }

    /// The bare repository.
    pub fn up(&self) -> PathBuf {
        self.folder.path().join("up.git")
    }

    /// A file of the checkout that commits are made in.
    pub fn work(&self, path: &str) -> PathBuf {
        self.folder.path().join("work").join(path)
    }

    /// A file of the host's checkout.
    pub fn home(&self, path: &str) -> PathBuf {
        let home = self["web1"].home().join("home");
        if path.is_empty() { home } else { home.join(path) }
    }

    pub fn crontab(&self) -> PathBuf {
        self["web1"].home().join("crontab")
    }

    /// git, in the checkout that commits are made in.
    pub fn upstream(&self, args: &[&str]) -> String {
        stdout_of(git(&self.work("")).args(args))
    }

    /// git, in the host's checkout.
    pub fn host(&self, args: &[&str]) -> String {
        stdout_of(git(&self.home("")).args(args))
    }

    /// Commits these files, ignored or not, pushes the branch, and tells the commit's id.
    pub fn push(&self, message: &str, content: &[(&str, &str)]) -> String {
        for (path, text) in content {
            files::write(&self.work(path), text, 0o644);
        }
        self.upstream(&["add", "-Af"]);
        self.upstream(&["commit", "-q", "--allow-empty", "-m", message]);
        self.upstream(&["push", "-q", "origin", "HEAD"]);
        self.upstream(&["rev-parse", "HEAD"])
    }

    /// Adds a line to the site's `[vars]`.
    pub fn write_var(&self, line: &str) {
        self.write_site(|site| site.replacen("[vars]\n", &format!("[vars]\n{line}\n"), 1));
    }

    /// Changes the site's file.
    pub fn write_site(&self, change: impl FnOnce(&str) -> String) {
        self.write("hosts/mysite.toml", change(&self.read("hosts/mysite.toml")));
    }

    /// A task of the site.
    pub fn run(&self, args: &[&str]) -> Output {
        self.fleet(&[&["mysite"], args].concat())
    }

    /// A task that must end with this code; all that was said.
    #[track_caller]
    pub fn ends(&self, code: i32, args: &[&str]) -> String {
        self.run(args).expect_code(code).all()
    }

    pub fn head(&self) -> String {
        self.host(&["rev-parse", "HEAD"])
    }

    /// Fails unless the host is as it was before anything was deployed: commit and branch, clean, open, cron on, free.
    #[track_caller]
    pub fn is_as_before(&self) {
        assert_eq!(
            (self.head(), self.host(&["symbolic-ref", "HEAD"])),
            (self.one.clone(), "refs/heads/main".to_owned())
        );
        assert_eq!(self.host(&["status", "--porcelain", "--untracked-files=no"]), "");
        self.is_open();
    }

    /// Fails unless visitors are served, cron runs, and nobody has the lock.
    #[track_caller]
    pub fn is_open(&self) {
        assert!(!self.home("maintenance.flag").exists(), "closed");
        assert_eq!(files::read(&self.crontab()), CRON);
        assert!(!self["web1"].home().join(".local/state/fleet/lock.mysite").exists(), "locked");
    }
}

impl Deref for Bed {
    type Target = ReadyProject;
    fn deref(&self) -> &ReadyProject {
        &self.ready
    }
}

impl DerefMut for Bed {
    fn deref_mut(&mut self) -> &mut ReadyProject {
        &mut self.ready
    }
}
