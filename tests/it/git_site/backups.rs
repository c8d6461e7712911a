//! Backups, and what a restore gives back.

#![expect(clippy::disallowed_methods, reason = "a fixture that a full disk spoils fails its test")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::bed::Bed;
use super::everywhere;
use crate::support::files;

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
        host.done("backed-up-database");
        assert_eq!(host.read("data"), "data\n");

        fs::write(folder.join("it's data"), "rotten\n").unwrap();
        host.fails("restore-check");
        host.fails("backed-up-database");
        assert_eq!(host.read("data"), "data\n", "nothing was dropped for a backup that is not whole");

        host.set("backup-free", "999999999999");
        host.set("fleet.run", "20261123-000000-0001");
        assert!(host.fails("backup").contains("MiB left"));
    });
}

#[test]
fn a_restore_that_does_not_give_back_the_schema_is_none() {
    everywhere(|mut host| {
        fs::write(host.path("schema"), "\\restrict abc\ntable one\n").unwrap();
        host.set("schema", "cat ../schema");
        host.done("backup");
        assert_eq!(host.read("home/.git/fleet/backups/20261122-084512-7f3a/about.schema"), "table one\n");
        host.set("backup-id", "20261122-084512-7f3a");
        // What pg_dump says anew each time is no difference.
        fs::write(host.path("schema"), "\\restrict def\ntable one\n").unwrap();
        assert!(host.done("backed-up-database").contains("the schema is that of the backup"));
        fs::write(host.path("schema"), "table one\ntable half\n").unwrap();
        let error = host.fails("backed-up-database");
        assert!(error.contains("did not give back the schema") && error.contains("table half"), "{error}");
        // Nor is one whose schema cannot be read.
        host.set("schema", "echo 'table one'; false");
        host.fails("backed-up-database");
        for nothing in ["", ":"] {
            host.set("schema", nothing);
            assert!(!host.done("backed-up-database").contains("schema"));
        }
        // No backup that was made without knowing the schema is judged by it.
        host.set("fleet.run", "20261123-000000-0001");
        host.done("backup");
        host.set("backup-id", "20261123-000000-0001");
        host.set("schema", "cat ../schema");
        assert!(!host.done("backed-up-database").contains("schema"));
        // A folder that holds what fleet wrote, and nothing else, is no backup.
        host.set("backup", ":");
        host.set("fleet.run", "20261124-000000-0002");
        host.done("backup");
        host.set("backup-id", "20261124-000000-0002");
        assert!(host.fails("backed-up-database").contains("is empty"));
    });
}

/// Thirteen after an hour, below `.git`, and never pruned.
#[test]
fn the_oldest_backups_are_pruned_but_never_the_last_good_one() {
    let bed = Bed::start("migrate = \"true\"\nbackup = \"echo data >$BACKUP/data\"\nrestore = \"true\"\nkeep = \"2\"");
    let folder = bed.home(".git/fleet/backups");
    let kept = || {
        let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| !name.contains('.')).collect();
        names.sort();
        names
    };
    let mut runs = Vec::new();
    for release in ["two", "three", "four"] {
        bed.push(release, &[("page", release)]);
        bed.ends(0, &["deploy"]);
        runs.extend(kept().into_iter().filter(|run| !runs.contains(run)).collect::<Vec<_>>());
    }
    assert_eq!(kept(), runs[1..]);
    // The newer ones rot: what can be restored stays, and so does what the last deployment goes back to.
    files::write(&folder.join(&runs[2]).join("data"), "rotten\n", 0o600);
    bed.push("five", &[("page", "five")]);
    bed.write_var("schema = \"true\"");
    files::write(&folder.join("by-hand/data"), "somebody's\n", 0o600);
    let said = bed.ends(0, &["deploy"]);
    assert!(said.contains("is damaged"), "{said}");
    let now = kept();
    assert_eq!(now.len(), 3, "{now:?}");
    assert!(now.contains(&"by-hand".to_owned()) && !now.contains(&runs[1]), "{now:?}");
    // A failed deployment prunes nothing.
    bed.push("six", &[("page", "six")]);
    bed.ends(10, &["deploy", "-e", "health=false"]);
    assert!(now.iter().all(|run| kept().contains(run)));
}
