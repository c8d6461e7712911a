//! The built-in recipe `git-site`: its shell texts, step by step, on a real checkout, through the shells that hosts have.

#![expect(clippy::disallowed_methods, reason = "a fixture that a full disk spoils fails its test")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use fleet::model::template::{Language, Template};

mod host;

use host::{Host, recipe, steps};

const SHELLS: [&[&str]; 4] = [&["/bin/sh"], &["dash"], &["bash", "--posix"], &["busybox", "sh"]];
fn everywhere(test: impl Fn(Host)) {
    for shell in SHELLS {
        test(Host::new(shell));
    }
}

const DEPLOY: [&str; 8] =
    ["deploy-pin", "deploy-check", "cron-off", "maintenance-on", "restart-if-undone", "deploy-note", "backup", "pull"];
const OPEN: [&str; 4] = ["restart", "health", "maintenance-off", "cron-on"];

#[test]
fn every_command_is_a_template_whose_placeholders_hold() {
    let recipe = recipe();
    let declared = recipe["vars"].as_table().unwrap();
    let registered = ["deployment"];
    let mut commands = 0;
    for task in recipe["task"].as_table().unwrap().keys() {
        for step in steps(task) {
            for key in ["run", "undo", "unless", "only-if", "cwd"] {
                let Some(text) = step.get(key) else { continue };
                commands += 1;
                let template = Template::parse(text.as_str().unwrap(), Language::Shell).unwrap_or_else(|error| {
                    panic!("{task} {key}, byte {}: {error}", error.offset);
                });
                for name in template.names() {
                    let name = name.as_str();
                    let known = declared.contains_key(name) || name.starts_with("fleet.") || registered.contains(&name);
                    assert!(known, "{task} {key}: {name}");
                }
            }
        }
    }
    assert!(commands > 40, "{commands}");
    assert!(declared.values().all(|var| !var["doc"].as_str().unwrap().is_empty()));
}

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
        assert_eq!(host.read("running"), "v1\n", "the former code runs again");
        assert_eq!(host.read("crontab"), crontab);
        assert!(!host.exists("home/maintenance.flag"));
        assert!(host.fails("rollback-pin").contains("no deployment is left"), "an undone deployment is none");
    });
}

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

#[test]
fn a_host_that_drops_out_while_it_rolls_runs_its_former_code_again() {
    let recipe = recipe();
    let roll = recipe["task"]["roll"]["phase"][0]["tasks"].as_array().unwrap();
    let roll: Vec<_> = roll.iter().map(|task| task.as_str().unwrap()).collect();
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
        host.undo("former-code-if-undone");
        assert_eq!(host.read("running"), "v1\n");
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

#[test]
fn revisions_are_tags_branches_of_the_remote_or_commits_and_nothing_else() {
    everywhere(|mut host| {
        let (v1, v2) = (host.git("upstream", &["rev-parse", "v1"]), host.git("upstream", &["rev-parse", "v2"]));
        // `main` is at v1 in the checkout and at v2 upstream: upstream counts.
        for (revision, commit) in [("v1", &v1), ("main", &v2), (&v1[..12], &v1), ("origin/HEAD", &v2)] {
            host.set("revision", revision);
            host.done("deploy-pin");
            assert_eq!(&host.vars["revision"], commit, "{revision}");
        }
        for revision in ["v3", "--all", "-e", "", "x y", "$(touch pwned)", "HEAD:VERSION"] {
            host.set("revision", revision);
            let error = host.fails("deploy-pin");
            assert!(error.contains("no tag, branch of origin or commit is called"), "{revision:?}: {error}");
        }
        assert!(!host.exists("home/pwned"));
    });
}

#[test]
fn a_change_made_on_the_host_is_never_lost() {
    everywhere(|mut host| {
        fs::write(host.path("home/VERSION"), "mine\n").unwrap();
        host.done("deploy-pin");
        for task in ["deploy-check", "pull"] {
            let error = host.fails(task);
            assert!(error.contains("changed on the host itself") && error.contains(" M VERSION"), "{error}");
        }
        assert_eq!(host.read("home/VERSION"), "mine\n");
        host.git("home", &["checkout", "-q", "VERSION"]);
        // Untracked files are the site's own business, unless the release brings one of that name.
        fs::write(host.path("home/uploads"), "theirs\n").unwrap();
        host.done("deploy-check");
        fs::write(host.path("upstream/uploads"), "release\n").unwrap();
        host.release("v3");
        host.set("revision", "v3");
        host.done("deploy-pin");
        assert!(host.fails("pull").contains("untracked working tree files would be overwritten"));
        assert_eq!(host.read("home/uploads"), "theirs\n");
        let v1 = host.git("upstream", &["rev-parse", "v1"]);
        host.undo("pull");
        assert_eq!(host.head(), v1);
    });
}

#[test]
fn submodules_go_with_the_revision_and_back() {
    everywhere(|mut host| {
        host.git("", &["init", "-q", "-b", "main", "library"]);
        let library = |text: &str| {
            fs::write(host.path("library/code"), text).unwrap();
            host.git("library", &["add", "-A"]);
            host.git("library", &["commit", "-q", "-m", text]);
        };
        library("one");
        host.git("upstream", &["submodule", "--quiet", "add", host.path("library").to_str().unwrap(), "lib"]);
        host.release("v3");
        library("two");
        host.git("upstream/lib", &["pull", "-q", "origin", "main"]);
        host.release("v4");
        for (version, code) in [("v3", "one"), ("v4", "two")] {
            host.set("revision", version);
            host.set("fleet.run", version);
            host.done("deploy-pin");
            assert_ne!(host.done("pull"), "(skipped)");
            assert_eq!(host.read("home/lib/code"), code);
            assert_eq!(host.done("pull"), "(skipped)");
        }
        host.undo("pull");
        assert_eq!(host.read("home/lib/code"), "one");
    });
}

#[test]
fn the_crontab_comes_back_byte_for_byte_however_often_it_is_switched() {
    everywhere(|mut host| {
        let crontab = host.read("crontab");
        host.done("cron-off");
        assert_eq!(host.done("cron-off"), "(skipped)");
        host.done("cron-on");
        assert_eq!(host.done("cron-on"), "(skipped)");
        assert_eq!(host.read("crontab"), crontab);

        // None before, none afterwards.
        fs::remove_file(host.path("crontab")).unwrap();
        host.done("cron-off");
        assert!(host.exists("crontab"));
        host.done("cron-on");
        assert!(!host.exists("crontab"));

        // What somebody writes in between is theirs.
        host.done("cron-off");
        fs::write(host.path("crontab"), "0 0 * * * theirs\n").unwrap();
        assert!(host.fails("cron-on").contains("somebody wrote a crontab"));
        assert_eq!(host.read("crontab"), "0 0 * * * theirs\n");

        // A crontab that cannot be read is not taken for an empty one.
        host.set("crontab", "false");
        host.fails("cron-off");
        host.set("crontab", "");
        assert_eq!(host.done("cron-off"), "(skipped)");
    });
}

#[test]
fn a_backup_is_whole_or_refused() {
    everywhere(|mut host| {
        host.set("backup", "echo half >\"$BACKUP/data\"; exit 3");
        host.fails("backup");
        assert!(host.exists("home/.git/fleet/backups/20261122-084512-7f3a.partial/data"));
        host.undo("backup");
        assert!(!host.exists("home/.git/fleet/backups/20261122-084512-7f3a.partial"));

        host.set("backup", "cp ../data \"$BACKUP/it's data\"");
        host.set("restore", "cp \"$BACKUP/it's data\" ../data");
        host.done("backup");
        let folder = host.path("home/.git/fleet/backups/20261122-084512-7f3a");
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(folder.join("it's data")).unwrap().permissions().mode() & 0o077, 0);
        let about = fs::read_to_string(folder.join("about")).unwrap();
        assert_eq!(about, format!("site mysite\nhost web1\nrun 20261122-084512-7f3a\nrevision {}\n", host.head()));
        assert!(host.fails("backup").contains("is there already"), "a backup is never written over");

        // What there is, the newest first, and the question last, in no more lines than a failed step has in the table.
        for day in 10..20 {
            fs::create_dir(host.path(&format!("home/.git/fleet/backups/202611{day}-000000-0000"))).unwrap();
        }
        fs::create_dir(host.path("home/.git/fleet/backups/20261130-000000-0000.partial")).unwrap();
        let error = host.fails("restore-check");
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines[..3], ["the newest are:", "20261122-084512-7f3a", "20261119-000000-0000"]);
        assert_eq!((lines.len(), lines[9]), (10, "which backup? say -e backup-id=RUN"));
        host.set("backup-id", "20261111");
        assert!(host.fails("restore-check").starts_with("no whole backup is called 20261111; the newest are:\n"));
        host.set("backup-id", "20261122-084512-7f3a");
        host.done("restore-check");
        fs::write(host.path("data"), "later\n").unwrap();
        host.done("restore-database");
        assert_eq!(host.read("data"), "data\n");

        fs::write(folder.join("it's data"), "rotten\n").unwrap();
        host.fails("restore-check");
        host.fails("restore-database");
        assert_eq!(host.read("data"), "data\n", "nothing was dropped for a backup that is not whole");

        host.set("backup-free", "999999999999");
        host.set("fleet.run", "20261123-000000-0001");
        assert!(host.fails("backup").contains("MiB left"));
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
            host.undo("restart-if-undone");
        }
    });
}
