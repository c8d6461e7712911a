//! A deployment that fails: then everything is as before.

use super::bed::{Bed, PRODUCTION};
use super::site::{ByHand as _, Database};

/// Exit status 0 and `success!`, with new code on half a schema.
#[test]
fn a_migration_that_raises_is_rolled_back_with_its_statement_named() {
    let bed = Bed::alone(Database::Postgres);
    let before = bed.state(PRODUCTION);
    let accept = "\n[accept]\n\"models.pr\" = \"to see what happens\"\n";
    bed.ready.write("hosts/mysite.toml", bed.ready.read("hosts/mysite.toml") + accept);
    let said = bed.deploy(PRODUCTION, "raise").expect_code(10).all();
    assert!(said.contains("the migration failed: model pr does not load") && said.contains("rolled back"), "{said}");
    assert_eq!(bed.state(PRODUCTION), before);
    // A page that breaks, which no migration sees.
    let said = bed.deploy(PRODUCTION, "broken-page").expect_code(10).all();
    assert!(said.contains("/eden/pr/person") && said.contains("rolled back"), "{said}");
    for ticket in std::fs::read_dir(bed.site(PRODUCTION).home("errors")).unwrap() {
        std::fs::remove_file(ticket.unwrap().path()).unwrap();
    }
    assert_eq!(bed.state(PRODUCTION), before);
    bed.is_open(PRODUCTION);
}
