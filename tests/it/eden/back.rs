//! Rollback and restore: code, database, databases/ and configuration as one.

use super::DATABASES;
use super::bed::{Bed, PRODUCTION};
use super::site::{ByHand as _, Database};
use crate::support::git::git;
use crate::support::process::run;

const ADDED: &str = "insert into pr_person (first_name, initials) values ('Later', 'L')";
const LATER: &str = "select count(*) from pr_person where first_name = 'Later'";

/// The name of the run whose output this is.
fn run_of(said: &str) -> String {
    said.split("run ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
}

#[test]
fn a_backup_is_put_back_as_one_and_what_was_there_is_kept() {
    for database in DATABASES {
        let bed = Bed::alone(database);
        let site = bed.site(PRODUCTION);
        let backup = run_of(&bed.ends(0, &[PRODUCTION, "backup"]));
        let before = bed.state(PRODUCTION);
        bed.sql(PRODUCTION, ADDED);
        std::fs::remove_file(site.home("databases/sql.log")).unwrap();
        site.write("uploads/later.png", "later");
        let said = bed.ends(0, &[PRODUCTION, "restore", "-e", &format!("backup-id={backup}")]);
        bed.is_open(PRODUCTION);
        assert_eq!(bed.sql(PRODUCTION, LATER), "0");
        assert!(site.home("uploads/later.png").exists(), "uploads stay as they are");
        std::fs::remove_file(site.home("uploads/later.png")).unwrap();
        std::fs::remove_dir_all(site.home("compiled")).unwrap();
        assert_eq!(bed.state(PRODUCTION), before);
        // The restore has backed up what it found.
        bed.ends(0, &[PRODUCTION, "restore", "-e", &format!("backup-id={}", run_of(&said))]);
        assert_eq!(bed.sql(PRODUCTION, LATER), "1");
    }
}

/// `rm databases/*`, a cut file, a flipped bit: nothing is touched.
#[test]
fn a_damaged_backup_is_refused_before_the_site_closes_or_anything_is_dropped() {
    for database in DATABASES {
        let bed = Bed::alone(database);
        let backup = run_of(&bed.ends(0, &[PRODUCTION, "backup"]));
        let folder = bed.site(PRODUCTION).home(".git/fleet/backups").join(&backup);
        let largest = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
        let largest = largest.max_by_key(|entry| entry.metadata().unwrap().len()).unwrap().path();
        let mut bytes = std::fs::read(&largest).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        crate::support::files::write(&largest, &bytes, 0o600);
        let before = bed.state(PRODUCTION);
        let said = bed.ends(10, &[PRODUCTION, "restore", "-e", &format!("backup-id={backup}")]);
        assert!(!said.contains("maintenance-on"), "{said}");
        assert_eq!(bed.state(PRODUCTION), before);
    }
}

/// The old page's rollback is a checkout: the trial run is silent, the front page works, and tables cannot be read.
#[test]
fn a_rollback_of_the_code_alone_is_seen_by_the_schema_check() {
    let bed = Bed::alone(Database::Postgres);
    let site = bed.site(PRODUCTION);
    let accept = "\n[accept]\n\"pr_person.initials\" = \"nobody reads them\"\n";
    bed.ready.write("hosts/mysite.toml", bed.ready.read("hosts/mysite.toml") + accept);
    bed.deploy(PRODUCTION, "rename").expect_code(0);
    run(git(&site.home("")).args(["checkout", "-q", "--detach", "v1"]));
    std::fs::remove_dir_all(site.home("compiled")).unwrap();
    let (code, said) = site.trial_run();
    assert_eq!(code, Some(0), "{said}");
    assert!(site.apache.ask("GET", "eden/default/index").contains("Test application"));
    let said = bed.ends(10, &[PRODUCTION, "schema-check"]);
    assert!(said.contains("pr_person"), "{said}");
    let said = bed.ends(10, &[PRODUCTION, "health"]);
    assert!(said.contains("/eden/pr/person answers 500"), "{said}");
}

/// The reverse, a checkout without a migration: silent, too, and the front page works.
#[test]
fn new_code_on_the_former_schema_is_seen_by_the_schema_check() {
    let bed = Bed::alone(Database::Postgres);
    let site = bed.site(PRODUCTION);
    run(git(&site.home("")).args(["-c", "protocol.file.allow=always", "fetch", "-q", "--tags"]));
    run(git(&site.home("")).args(["checkout", "-q", "--detach", "add"]));
    let (code, said) = site.trial_run();
    assert_eq!(code, Some(0), "{said}");
    assert!(site.apache.ask("GET", "eden/default/index").contains("Test application"));
    let said = bed.ends(10, &[PRODUCTION, "schema-check"]);
    assert!(said.contains("pr_contact") && said.contains("pr_person"), "{said}");
    let said = bed.ends(10, &[PRODUCTION, "health"]);
    assert!(said.contains("/eden/pr/person answers 500"), "{said}");
}

/// `SQLite` takes any value in any column; a row behind the first breaks pages all the same.
#[test]
fn values_that_pages_cannot_read_are_warnings_of_the_schema_check() {
    let bed = Bed::alone(Database::Sqlite);
    bed.sql(PRODUCTION, "update pr_person set date_of_birth = 'unknown' where id in (7, 8)");
    let said = bed.ends(0, &[PRODUCTION, "schema-check"]);
    assert!(said.contains("warning pr_person.date_of_birth values=2: 2 values cannot be read as date"), "{said}");
}

/// A killed migration of the old way leaves an empty file, and every later run fails for ever, with exit status 0.
#[test]
fn a_site_that_a_killed_migration_broke_can_be_restored() {
    for database in DATABASES {
        let bed = Bed::alone(database);
        let site = bed.site(PRODUCTION);
        let backup = run_of(&bed.ends(0, &[PRODUCTION, "backup"]));
        let before = bed.state(PRODUCTION);
        site.write(&format!("databases/{}", site.table("pr_person")), "");
        site.switch_migrate("False", "True");
        let (_, said) = site.trial_run();
        assert!(said.contains("corrupted") || said.contains("EOFError") || said.contains("Ran out of input"), "{said}");
        let said = bed.run(&[PRODUCTION, "deploy", "-e", "revision=add"]).expect_code(6).all();
        assert!(said.contains("pr_person") && !said.contains("maintenance-on"), "{said}");
        bed.ends(0, &[PRODUCTION, "restore", "-e", &format!("backup-id={backup}")]);
        bed.is_open(PRODUCTION);
        std::fs::remove_dir_all(site.home("compiled")).unwrap();
        assert_eq!(bed.state(PRODUCTION), before);
    }
}
