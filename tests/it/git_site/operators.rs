//! Two operators with logins of their own deploy one checkout, one after the other: it is their group's.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::bed::{Bed, CRON};
use crate::support::files;
use crate::support::process::{run, stdout_of, wait_for};
use crate::support::tools::tool;
use crate::support::user::TestUser;

/// A group that every Debian has, and that nobody has as his own.
const GROUP: &str = "staff";

struct Operators {
    // The users outlive what the hosts still run for them.
    bed: Bed,
    users: [TestUser; 2],
}

impl Operators {
    fn start() -> Self {
        let lines = "crontab = \"crontab\"\nbackup = \"echo data >$BACKUP/data\"\nrestore = \"cat $BACKUP/data\"\nmigrate = \"true\"";
        let bed = Bed::start(lines);
        let users = [TestUser::create(), TestUser::create()];
        let host = &bed["web1"];
        // Everybody's keys, homes and crontabs are their own; those of the fixture are one.
        files::set_mode(&host.home().join(".ssh"), 0o755);
        files::set_mode(&host.authorized_keys(), 0o644);
        files::set_mode(bed.up().parent().unwrap(), 0o755);
        let session = format!("export HOME='{}'/$(id -un)\ncd \"$HOME\"\n", host.home().display());
        files::write(&host.home().join(".session"), session, 0o644);
        let operators = Self { bed, users };
        for at in 0..2 {
            let name = operators.users[at].name.as_str();
            wait_for("usermod", || {
                let mut usermod = Command::new(tool("usermod"));
                usermod.args(["-aG", GROUP, name]).stderr(Stdio::null()).status().unwrap().success().then_some(())
            });
            files::write(&operators.home(at).join("crontab"), CRON, 0o600);
            run(Command::new(tool("chown")).arg("-R").arg(name).arg(operators.home(at)));
        }
        let home = operators.bed.home("");
        run(Command::new(tool("chgrp")).args(["-R", GROUP]).arg(&home));
        run(Command::new(tool("chmod")).args(["-R", "g+rwX"]).arg(&home));
        run(Command::new(tool("find")).arg(&home).args(["-type", "d", "-exec", "chmod", "g+s", "{}", "+"]));
        operators.bed.host(&["config", "core.sharedRepository", "group"]);
        operators.bed.write_site(|site| site.replace("home = \"home\"", &format!("home = \"{}\"", home.display())));
        operators
    }

    fn home(&self, at: usize) -> PathBuf {
        self.bed["web1"].home().join(&self.users[at].name)
    }

    /// Says that git may work in a checkout that root has made.
    fn trust(&self, at: usize) {
        files::write(&self.home(at).join(".gitconfig"), "[safe]\n\tdirectory = *\n", 0o644);
    }

    /// A task, as one of the two.
    #[track_caller]
    fn ends(&self, at: usize, code: i32, args: &[&str]) -> String {
        self.bed.write_site(|site| {
            let lines = site.lines().map(|line| match line.split_once(" = ") {
                Some(("user", _)) => format!("user = \"{}\"", self.users[at].name),
                _ => line.to_owned(),
            });
            lines.collect::<Vec<_>>().join("\n")
        });
        self.bed.ends(code, args)
    }
}

#[test]
fn two_operators_go_on_with_what_each_other_left_as_root() {
    let operators = Operators::start();
    let bed = &operators.bed;
    let said = operators.ends(0, 10, &["deploy"]);
    assert!(said.contains("dubious ownership") && said.contains("safe.directory"), "{said}");
    operators.trust(0);
    operators.trust(1);

    let three = bed.push("three", &[("deep/er/file", "three\n")]);
    operators.ends(0, 0, &["deploy"]);
    let four = bed.push("four", &[("deep/er/file", "four\n"), ("page", "four\n")]);
    operators.ends(1, 0, &["deploy"]);
    assert_eq!(bed.head(), four);
    let group = stdout_of(Command::new(tool("stat")).args(["-c", "%G"]).arg(bed.home(".git/fleet/deploys")));
    assert_eq!(group, GROUP);
    let left = Command::new(tool("find")).arg(bed.home(".git/fleet")).arg("-print").output().unwrap().stdout;
    for path in String::from_utf8(left).unwrap().lines() {
        let mode = std::fs::metadata(path).unwrap().mode();
        assert_eq!((mode & 0o060, mode & 0o007), (0o060, 0), "{path}: {mode:o}");
    }
    // Each takes back what the other one has deployed, with the other one's backup.
    operators.ends(0, 0, &["rollback"]);
    assert_eq!(bed.head(), three);
    operators.ends(1, 0, &["rollback"]);
    assert_eq!(bed.head(), bed.one);
    for at in [0, 1] {
        assert_eq!(files::read(&operators.home(at).join("crontab")), CRON);
    }

    // The crontab is each one's own.
    operators.ends(0, 0, &["cron-off"]);
    let off = files::read(&operators.home(0).join("crontab"));
    let said = operators.ends(1, 10, &["deploy"]);
    let alices = format!("what is switched off is the crontab of {}", operators.users[0].name);
    assert!(said.contains(&alices) && !said.contains("held"), "{said}");
    assert_eq!(files::read(&operators.home(0).join("crontab")), off);
    assert_eq!(files::read(&operators.home(1).join("crontab")), CRON);
    assert!(!bed.home("maintenance.flag").exists());
    operators.ends(0, 0, &["cron-on"]);
    assert_eq!(files::read(&operators.home(0).join("crontab")), CRON);
    operators.ends(1, 0, &["deploy"]);
    assert_eq!(bed.head(), four);
}
