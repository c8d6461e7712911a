//! Which deployment a rollback takes back, and to what.

#![expect(clippy::disallowed_methods, reason = "a fixture that a full disk spoils fails its test")]

use std::fs;

use super::bed::Bed;
use super::{DEPLOY, OPEN, everywhere};
use crate::support::files;

#[test]
fn a_rollback_goes_to_the_revision_and_the_database_before_the_last_deployment() {
    everywhere(|mut host| {
        let head = host.head();
        for task in DEPLOY.into_iter().chain(["migrate"]).chain(OPEN) {
            host.done(task);
        }
        fs::write(host.path("data"), "data\nv2\nentered since\n").unwrap();
        host.set("fleet.run", "20261123-000000-0001");
        for task in
            ["rollback-pin", "rollback-check", "maintenance-on", "cron-off", "backup", "rollback-database", "pull"]
        {
            host.done(task);
        }
        assert_eq!((host.head(), host.read("data")), (head, "data\n".to_owned()));
        host.undo("rollback-database");
        assert_eq!(host.read("data"), "data\nv2\nentered since\n", "the rollback's own backup");
        host.done("rollback-database");
        host.done("rollback-note");
        for task in OPEN {
            host.done(task);
        }
        assert_eq!(host.read("running"), "v1\n");
        assert!(host.fails("rollback-pin").contains("no deployment is left"));
    });
}

/// Else it would leave the code where it is, and take from the database what was entered between the two.
#[test]
fn a_rollback_does_not_stop_at_a_deployment_that_changed_no_commit() {
    everywhere(|mut host| {
        let head = host.head();
        let first = host.vars["fleet.run"].clone();
        for run in [&first, "20261123-000000-0001"] {
            host.set("fleet.run", run);
            host.set("revision", "v2");
            for task in DEPLOY.into_iter().chain(["migrate"]).chain(OPEN) {
                host.done(task);
            }
        }
        assert_ne!(host.head(), head);
        host.set("fleet.run", "20261124-000000-0002");
        for task in ["rollback-pin", "rollback-check", "backup", "rollback-database", "pull", "rollback-note"] {
            host.done(task);
        }
        assert_eq!((&host.vars["deployment"], host.head()), (&first, head));
        assert_eq!(host.read("data"), "data\n");
        assert!(host.fails("rollback-pin").contains("no deployment is left"));
    });
}

/// The second controller's clock is a day behind: the name of its run sorts before that of the first.
#[test]
fn the_last_deployment_is_the_last_one_here_whatever_the_clocks_of_controllers_say() {
    everywhere(|mut host| {
        host.set("migrate", ":");
        for (run, version) in
            [("20261123-000000-0001", "v2"), ("20261122-000000-0002", "v3"), ("20261121-000000-0003", "v4")]
        {
            if version != "v2" {
                host.release(version);
            }
            host.set("fleet.run", run);
            host.set("revision", version);
            for task in DEPLOY.into_iter().chain(OPEN) {
                host.done(task);
            }
        }
        for (run, back) in
            [("20261120-000000-0004", "v3"), ("20261119-000000-0005", "v2"), ("20261118-000000-0006", "v1")]
        {
            host.set("fleet.run", run);
            for task in ["rollback-pin", "rollback-check", "pull", "rollback-note"] {
                host.done(task);
            }
            assert_eq!(host.head(), host.git("upstream", &["rev-parse", back]));
            // Undone and done again, it counts as before.
            host.undo("rollback-note");
            host.undo("pull");
            for task in ["rollback-pin", "rollback-check", "pull", "rollback-note"] {
                host.done(task);
            }
            assert_eq!(host.head(), host.git("upstream", &["rev-parse", back]));
        }
        assert!(host.fails("rollback-pin").contains("no deployment is left"));
    });
}

#[test]
fn notes_of_before_they_were_numbered_come_first() {
    let bed = Bed::start("");
    files::write(&bed.home(".git/fleet/deploys/20991231-000000-0000"), format!("{} {}\n", bed.one, bed.one), 0o600);
    bed.ends(0, &["deploy"]);
    bed.ends(0, &["rollback"]);
    assert_eq!(bed.head(), bed.one);
    bed.is_open();
    let said = bed.ends(0, &["rollback"]);
    assert!(said.contains("20991231-000000-0000"), "{said}");
}
