//! Which deployment a rollback takes back, and to what.

#![expect(clippy::disallowed_methods, reason = "a fixture that a full disk spoils fails its test")]

use std::fs;

use super::bed::Bed;
use super::{DEPLOY, OPEN, everywhere};
use crate::support::files;
use crate::support::hosts::ReadyProject;

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
            ["rollback-pin", "rollback-check", "maintenance-on", "cron-off", "backup", "former-database", "pull"]
        {
            host.done(task);
        }
        assert_eq!((host.head(), host.read("data")), (head, "data\n".to_owned()));
        host.undo("former-database");
        assert_eq!(host.read("data"), "data\nv2\nentered since\n", "the rollback's own backup");
        host.done("former-database");
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
        for task in ["rollback-pin", "rollback-check", "backup", "former-database", "pull", "rollback-note"] {
            host.done(task);
        }
        assert!(host.vars["deployment"].starts_with(&first));
        assert_eq!(host.head(), head);
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

/// A customer's order is not rolled back with the code when the schema has nothing to do with it.
#[test]
fn a_rollback_leaves_the_data_where_the_schema_did_not_move() {
    let bed = Bed::start(
        "migrate = \"cat page >../schema\"\nschema = \"cat ../schema\"\n\
         backup = \"cp ../schema ../data $BACKUP/\"\nrestore = \"cp $BACKUP/schema $BACKUP/data ..\"",
    );
    let (schema, data) = (bed["web1"].home().join("schema"), bed["web1"].home().join("data"));
    files::write(&schema, "two\n", 0o644);
    files::write(&data, "order 1\n", 0o644);
    bed.ends(0, &["deploy"]);
    files::write(&data, "order 1\norder 2\n", 0o644);
    let said = bed.ends(0, &["rollback"]);
    assert!(said.contains("only the code is rolled back"), "{said}");
    assert_eq!((bed.head(), files::read(&data)), (bed.one.clone(), "order 1\norder 2\n".to_owned()));
    bed.is_open();

    // It did: the table says so, and the orders are in the backup of the rollback.
    files::write(&schema, "one\n", 0o644);
    bed.ends(0, &["deploy"]);
    files::write(&data, "order 1\norder 2\norder 3\n", 0o644);
    let said = bed.ends(0, &["rollback", "-e", "keep-data=yes"]);
    assert_eq!(files::read(&data), "order 1\norder 2\norder 3\n", "{said}");
    assert!(said.contains("the data stays as it is, with the schema that it has now"), "{said}");
    files::write(&schema, "one\n", 0o644);
    std::fs::remove_file(bed.home(".git/fleet/migrated")).unwrap();
    bed.ends(0, &["deploy"]);
    files::write(&data, "order 1\norder 2\norder 3\norder 4\n", 0o644);
    let said = bed.ends(0, &["rollback"]);
    assert!(said.contains("the data goes back to that of before run "), "{said}");
    assert!(said.contains("what was entered since is kept only in the backup that this run makes"), "{said}");
    assert_eq!(
        (files::read(&data), files::read(&schema)),
        ("order 1\norder 2\norder 3\n".to_owned(), "one\n".to_owned())
    );
    let run = said
        .split("backup ")
        .filter_map(|rest| rest.split(',').next())
        .find(|path| path.contains("/backups/"))
        .unwrap();
    assert_eq!(files::read(&std::path::Path::new(run).join("data")), "order 1\norder 2\norder 3\norder 4\n");

    // Its backup is gone: refused before anything closes.
    files::write(&schema, "one\n", 0o644);
    bed.ends(0, &["deploy"]);
    std::fs::remove_dir_all(bed.home(".git/fleet/backups")).unwrap();
    let said = bed.ends(10, &["rollback"]);
    assert!(said.contains("hint: -e keep-data=yes rolls back the code alone"), "{said}");
    assert_eq!(bed.head(), bed.two);
    bed.is_open();
}

/// `web2` was down. For ever after, its last deployment was another one than everywhere else.
#[test]
fn a_host_that_got_the_release_later_belongs_to_the_deployment() {
    let mut bed = Bed::on("", &[("web1", r#""web", "db""#), ("web2", r#""web""#), ("web3", r#""web""#)]);
    let heads = |bed: &Bed| ["web1", "web2", "web3"].map(|host| bed.head_of(host));
    ReadyProject::host(&mut bed, "web2").stop_daemon();
    bed.ends(11, &["deploy", "--max-fail", "1", "--connect-timeout", "1s"]);
    let three = bed.push("three", &[("page", "three\n")]);
    bed.ends(11, &["deploy", "--max-fail", "1", "--connect-timeout", "1s"]);
    ReadyProject::host(&mut bed, "web2").launch();
    assert_eq!(heads(&bed), [three.clone(), bed.one.clone(), three.clone()]);
    bed.ends(0, &["deploy", "-l", "web2"]);
    assert_eq!(bed.head_of("web2"), three);
    // All of them go to what the site ran before, also the one that never had it.
    bed.ends(0, &["rollback"]);
    assert_eq!(heads(&bed), [bed.two.clone(), bed.two.clone(), bed.two.clone()]);
    bed.ends(0, &["deploy"]);
    assert_eq!(heads(&bed), [three.clone(), three.clone(), three.clone()]);

    // One that got another release alone does not belong to it.
    let four = bed.push("four", &[("page", "four\n")]);
    bed.ends(0, &["deploy", "-l", "web3"]);
    let said = bed.ends(10, &["rollback"]);
    assert!(said.contains("the last deployment here was") && said.contains("--limit HOST"), "{said}");
    assert_eq!(heads(&bed), [three.clone(), three.clone(), four]);
    bed.ends(0, &["rollback", "-l", "web3"]);
    bed.ends(0, &["rollback"]);
    assert_eq!(heads(&bed), [bed.two.clone(), bed.two.clone(), bed.two.clone()]);
}
