//! A book and steps that run as another user than the one who logs in: whether that one may read the lock is nothing to them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;

use super::books::{admit, log_in_as};
use super::{Site, outcomes};
use crate::support::files;
use crate::support::process::{run, wait_for};
use crate::support::tools::tool;
use crate::support::user::TestUser;

/// Who owns the site runs the steps of `deploy`, and of `mixed` only one.
const RECIPE: &str = r#"
lock = "@SHARED@/site/book"
[task.deploy]
as = "@OWNER@"
on-failure = "undo"
[[task.deploy.step]]
name = "close"
in-force = "closed for visitors"
run = "echo close $(id -un) >>@SHARED@/journal"
undo = "echo reopen $(id -un) >>@SHARED@/journal"
[[task.deploy.step]]
name = "done"
unless = "[ $(id -un) = @OWNER@ ]"
run = "echo guard of $(id -un) >>@SHARED@/journal"
[[task.deploy.step]]
name = "work"
run = "echo work $(id -un) >>@SHARED@/journal; touch @SHARED@/working; while [ -e @SHARED@/wait ]; do sleep 0.02; done; [ ! -e @SHARED@/fail ]"
undo = "echo undo $(id -un) >>@SHARED@/journal"
[[task.deploy.step]]
name = "open"
ends = ["close"]
run = "echo open $(id -un) >>@SHARED@/journal"
undo = "echo close again $(id -un) >>@SHARED@/journal"
[[task.mixed.step]]
name = "own"
run = "echo own $(id -un) >>@SHARED@/journal"
[[task.mixed.step]]
name = "other"
as = "@OWNER@"
run = "echo other $(id -un) >>@SHARED@/journal"
undo = "echo other undone $(id -un) >>@SHARED@/journal"
"#;

struct Bed {
    site: Site,
    owner: TestUser,
    /// Who logs in, when that is not root.
    login: Option<TestUser>,
}

impl Bed {
    /// The book is there: its folder was made by an earlier deployment, or by whoever set the site up, and who made it may not read what
    /// others write there.
    fn start(ordinary: bool) -> Self {
        let owner = TestUser::create();
        let site = Site::start("", &["web1"], &RECIPE.replace("@OWNER@", &owner.name));
        let login = ordinary.then(TestUser::create);
        let book = site.shared().join("site/book");
        fs::create_dir_all(&book).unwrap();
        run(Command::new(tool("chown")).args(["-R", &owner.name]).arg(site.shared().join("site")));
        files::set_mode(&book, 0o700);
        if let Some(login) = &login {
            // He has a group of his own, which may write to the book, and which its owner is not in.
            run(Command::new(tool("usermod")).args(["-g", "daemon", &login.name]));
            run(Command::new(tool("chgrp")).arg("daemon").arg(&book));
            files::set_mode(&book, 0o770);
            files::write(&rules(login), format!("{} ALL=({}) NOPASSWD: ALL\n", login.name, owner.name), 0o440);
            log_in_as(&site, login);
        }
        admit(&site, login.as_ref().unwrap_or(&owner));
        Self { site, owner, login }
    }

    /// What the steps have done since the last call, without who did it: all were the site's owner, but for `own`.
    fn did(&self) -> Vec<String> {
        let by = format!(" {}", self.owner.name);
        let lines = self.site.journal();
        files::write(&self.site.shared().join("journal"), "", 0o666);
        lines.into_iter().map(|line| line.strip_suffix(&by).map_or(line.clone(), str::to_owned)).collect()
    }

    /// Deploys, and kills the controller in a step of the owner.
    fn killed(&self) {
        self.site.touch("wait");
        let running = self.site.spawn(&["mysite", "deploy"]);
        wait_for("the step", || self.site.has("working"));
        let refused = self.site.fleet(&["mysite", "deploy"]).expect_code(12);
        assert!(refused.stderr.contains("its controller is connected"), "{}", refused.stderr);
        running.signal(Signal::KILL);
        running.wait();
        let status = self.site.fleet(&["mysite", "status"]).expect_code(0).stdout;
        assert!(status.contains("running: deploy/work on web1"), "{status}");
        fs::remove_file(self.site.shared().join("wait")).unwrap();
        fs::remove_file(self.site.shared().join("working")).unwrap();
    }

    #[track_caller]
    fn is_free(&self) {
        let status = self.site.fleet(&["mysite", "status"]).expect_code(0).stdout;
        assert!(status.contains("free") && !status.contains("in force"), "{status}");
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(login) = &self.login {
            let _ = fs::remove_file(rules(login));
        }
    }
}

fn rules(login: &TestUser) -> PathBuf {
    PathBuf::from("/etc/sudoers.d").join(&login.name)
}

const DEPLOYED: [&str; 3] = ["close", "work", "open"];

fn whole_life(ordinary: bool) {
    let bed = Bed::start(ordinary);
    let site = &bed.site;
    site.fleet(&["mysite", "deploy"]).expect_code(0);
    assert_eq!(bed.did(), DEPLOYED);
    bed.is_free();
    site.fleet(&["undo"]).expect_code(0);
    assert_eq!(bed.did(), ["close again", "undo", "reopen"]);
    bed.is_free();

    site.fleet(&["mysite", "mixed"]).expect_code(0);
    let login = bed.login.as_ref().map_or("root", |login| &login.name);
    assert_eq!(bed.did(), [&format!("own {login}"), "other"]);

    site.touch("fail");
    let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(10);
    assert_eq!(outcomes(&output), ["web1 rolled-back"]);
    assert_eq!(bed.did(), ["close", "work", "undo", "reopen"]);
    bed.is_free();
    fs::remove_file(site.shared().join("fail")).unwrap();
    fs::remove_file(site.shared().join("working")).unwrap();

    bed.killed();
    site.fleet(&["resume"]).expect_code(0);
    assert_eq!(bed.did(), DEPLOYED);
    bed.is_free();
    bed.killed();
    site.fleet(&["undo"]).expect_code(0);
    assert_eq!(bed.did(), ["close", "work", "undo", "reopen"]);
    bed.is_free();
}

#[test]
fn root_deploys_as_the_owner_of_the_site_who_may_not_read_the_lock_as_root() {
    whole_life(false);
}

#[test]
fn an_operator_deploys_through_sudo_as_the_owner_of_the_site_who_may_not_read_the_lock_as_root() {
    whole_life(true);
}

/// That user sees neither his own run's lock nor another's: the login user sees it for him.
#[test]
fn a_step_of_another_user_does_not_start_when_the_lock_was_taken_away_as_root() {
    let bed = Bed::start(false);
    let site = &bed.site;
    for closed in [false, true] {
        // A book that he may not even enter, too.
        if closed {
            run(Command::new(tool("chown")).args(["-R", "root"]).arg(site.shared().join("site")));
        }
        site.touch("wait");
        let running = site.spawn(&["mysite", "deploy", "--json"]);
        wait_for("the step", || site.has("working"));
        let lock = site.shared().join("site/book/lock");
        files::write(&lock, "20200101-000000-7f3a19c4 2020 by somebody else\n", 0o660);
        fs::remove_file(site.shared().join("wait")).unwrap();
        let output = running.wait();
        assert!(matches!(output.code, Some(10 | 13)), "{}", output.all());
        assert!(output.stderr.contains("the run has no lock there any more"), "{}", output.stderr);
        assert_eq!(bed.did(), ["close", "work"], "closed: {closed}");
        assert!(files::read(&lock).contains("somebody else"));
        fs::remove_file(lock).unwrap();
        fs::remove_file(site.shared().join("working")).unwrap();
    }
}
