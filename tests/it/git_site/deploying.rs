//! Deployments, and their undo.

#![expect(clippy::disallowed_methods, reason = "a fixture that a full disk spoils fails its test")]

use std::fs;

use super::host::recipe;
use super::{DEPLOY, OPEN, everywhere};

#[test]
fn a_deployment_goes_to_the_pinned_commit_and_opens_the_site() {
    everywhere(|mut host| {
        let crontab = host.read("crontab");
        for task in DEPLOY {
            host.done(task);
        }
        assert_eq!(host.vars["revision"], host.git("upstream", &["rev-parse", "v2"]), "the tip of the default branch");
        assert_eq!(host.head(), host.vars["revision"]);
        assert_eq!(host.read("home/maintenance.flag"), "closed by fleet, run 20261122-084512-7f3a\n");
        assert!(host.read("crontab").starts_with("# Switched off by fleet: site mysite, run 20261122-084512-7f3a."));
        host.done("migrate");
        for task in OPEN {
            host.done(task);
        }
        assert_eq!((host.read("data"), host.read("running")), ("data\nv2\n".to_owned(), "v2\n".to_owned()));
        assert!(!host.exists("home/maintenance.flag"));
        assert_eq!(host.read("crontab"), crontab);
        assert_eq!(host.done("pull"), "(skipped)");
    });
}

#[test]
fn a_failed_migration_is_put_back_by_the_undos_in_reverse() {
    everywhere(|mut host| {
        let (crontab, head) = (host.read("crontab"), host.head());
        host.set("migrate", "echo half >>../data\nfalse\necho never >>../data");
        for task in DEPLOY {
            host.done(task);
        }
        host.fails("migrate");
        assert_eq!(host.read("data"), "data\nhalf\n");
        host.undo("migrate");
        assert_eq!(host.read("data"), "data\n");
        let aside = host.read("home/.git/fleet/backups/20261122-084512-7f3a.undone/data");
        assert_eq!(aside, "data\nhalf\n", "what somebody may have entered is not lost");
        for task in DEPLOY.iter().rev() {
            host.undo(task);
        }
        assert_eq!((host.head(), host.git("home", &["symbolic-ref", "--short", "HEAD"])), (head, "main".to_owned()));
        assert!(!host.exists("running"), "nothing was restarted, and is not restarted for nothing");
        assert_eq!(host.read("crontab"), crontab);
        assert!(!host.exists("home/maintenance.flag"));
        assert!(host.fails("rollback-pin").contains("no deployment is left"), "an undone deployment is none");
    });
}

#[test]
fn a_host_that_drops_out_while_it_rolls_runs_its_former_code_again() {
    let recipe = recipe();
    let roll = recipe["task"]["roll"]["phase"][0]["tasks"].as_array().unwrap();
    let roll = roll.iter().map(|task| task.as_str().unwrap());
    // All hosts are closed already.
    let roll: Vec<_> = roll.filter(|task| !["cron-off", "maintenance-on"].contains(task)).collect();
    everywhere(|mut host| {
        let head = host.head();
        host.set("health", "[ \"$(cat VERSION)\" = v1 ]");
        for task in ["deploy-pin", "maintenance-on"] {
            host.done(task);
        }
        let health = roll.iter().position(|task| *task == "health").unwrap();
        for task in &roll[..health] {
            host.done(task);
        }
        assert_eq!(host.read("running"), "v2\n");
        host.fails("health");
        for task in roll[..=health].iter().rev() {
            host.undo(task);
        }
        assert_eq!((host.head(), host.read("running")), (head, "v1\n".to_owned()));
        assert!(host.exists("home/maintenance.flag"), "it stays closed");
        // The database may not be back yet: that is no reason to leave it so.
        host.set("restart", "false\necho never >>../running");
        host.set("closing", "all");
        host.undo("former-code-of-host");
        assert_eq!(host.read("running"), "v1\n");
    });
}

/// A reboot in the middle of a checkout: the site has started from what was there.
#[test]
fn a_host_that_was_started_again_meanwhile_runs_its_former_code_again() {
    everywhere(|mut host| {
        host.set("health", "cmp VERSION ../running");
        for task in ["deploy-pin", "pull"] {
            host.done(task);
        }
        fs::write(host.path("running"), "v2\n").unwrap();
        host.undo("pull");
        host.undo("former-code");
        assert_eq!(host.read("running"), "v2\n", "nothing was restarted, and is not restarted for nothing");
        assert!(host.read("findings").contains("warning health -- nothing was restarted, but"));
        fs::write(host.path("home/.git/fleet/former/20261122-084512-7f3a.start"), "before\n").unwrap();
        host.set("restart", "cat VERSION >../running");
        host.undo("former-code");
        assert_eq!(host.read("running"), "v1\n");
    });
}

#[test]
fn a_site_that_was_closed_before_stays_closed_and_a_check_that_fails_stops() {
    everywhere(|mut host| {
        fs::write(host.path("home/maintenance.flag"), "by hand\n").unwrap();
        assert_eq!(host.done("maintenance-on"), "(skipped)", "so its undo is not run either");
        host.done("maintenance-off");
        host.set("closed", "echo 'still 200' >&2; false");
        assert!(host.fails("maintenance-on").contains("still 200"));
        host.undo("maintenance-on");
        assert!(!host.exists("home/maintenance.flag"));
        for nothing in ["", ":"] {
            for name in ["closed", "backup", "migrate", "restart", "health"] {
                host.set(name, nothing);
            }
            for task in ["maintenance-on", "restart", "health", "migrate", "maintenance-off"] {
                host.done(task);
            }
            host.undo("former-code");
        }
    });
}
