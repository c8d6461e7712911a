//! A fix for a rename: written by fleet, tried on Test, run on Production.

use super::DATABASES;
use super::bed::{Bed, PRODUCTION, TEST};
use super::site::Database;

#[test]
fn a_fix_that_fleet_writes_keeps_all_values_on_test_and_production() {
    for database in DATABASES {
        let bed = Bed::both(database);
        bed.is_refused(TEST, &["deploy", "-e", "revision=rename"], &["pr_person.initials"]);
        let said = bed.ends(0, &[TEST, "fix-new", "-e", "finding=pr_person.initials", "-e", "revision=rename"]);
        assert!(said.contains("wrote fixes/001-"), "{said}");
        let count = || std::fs::read_dir(bed.ready.root().join("fixes")).unwrap().count();
        assert_eq!(count(), 1);
        bed.deploy(TEST, "rename").expect_code(0);
        // Production gets Test's revision and fixes, and no other fixes.
        bed.ready.write("fixes/002-more.sql", "update pr_person set last_name = last_name;\n");
        bed.is_refused(PRODUCTION, &["deploy"], &["fixes"]);
        std::fs::remove_file(bed.ready.root().join("fixes/002-more.sql")).unwrap();
        bed.ends(0, &[PRODUCTION, "deploy"]);
        for site in [TEST, PRODUCTION] {
            assert_eq!(bed.sql(site, "select count(short_name) from pr_person"), "750");
            assert_eq!(bed.sql(site, "select count(*) from pr_person where short_name = 'G7'"), "83");
            let said = bed.ends(0, &[site, "fix-list"]);
            assert!(said.contains("001-"), "{said}");
            bed.is_open(site);
        }
        // A rollback takes the ledger along.
        let said = bed.ends(0, &[PRODUCTION, "rollback"]);
        assert_eq!(bed.sql(PRODUCTION, "select count(initials) from pr_person"), "750", "{said}");
        bed.ends(0, &[PRODUCTION, "deploy"]);
        assert_eq!(bed.sql(PRODUCTION, "select count(short_name) from pr_person"), "750");
    }
}

/// What a fix says that it handles is let through; what it has left in the column is said when that is gone.
#[test]
fn a_fix_that_leaves_values_in_a_column_that_goes_is_a_warning() {
    let bed = Bed::alone(Database::Postgres);
    bed.ready.write("fixes/001-nothing.sql", "-- fleet: handles pr_person.initials\nselect 1;\n");
    let said = bed.deploy(PRODUCTION, "rename").expect_code(0).all();
    assert!(said.contains("warning pr_person.initials values=750: fix 001-nothing.sql"), "{said}");
}
