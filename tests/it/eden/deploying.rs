//! From Test to Production, and what is seen on the way.

use std::process::Command;

use super::DATABASES;
use super::bed::{Bed, PRODUCTION, TEST};
use super::site::{ByHand as _, Database, PASSWORD};
use crate::support::process::stdout_of;
use crate::support::tools::tool;
use crate::support::user::{TestUser, only_root};

#[test]
fn a_release_goes_from_test_to_production_and_back_with_its_data() {
    for database in DATABASES {
        let bed = Bed::both(database);
        bed.ends(0, &["*", "check"]);
        for site in [TEST, PRODUCTION] {
            let before = bed.state(site);
            let add = bed.site(site).git(&["ls-remote", "origin", "refs/heads/main"]);
            bed.deploy(site, "add").expect_code(0);
            bed.is_open(site);
            assert!(add.starts_with(&bed.site(site).head()));
            assert_eq!(bed.sql(site, "select count(initials) from pr_person"), "750");
            bed.sql(site, "select count(middle_name) from pr_person");
            assert!(bed.site(site).home("compiled").is_dir());
            bed.ends(0, &[site, "rollback"]);
            bed.is_open(site);
            std::fs::remove_dir_all(bed.site(site).home("compiled")).unwrap();
            // Which branch was checked out is not noted.
            assert_eq!(bed.state(site).replace("\nbranch HEAD\n", "\nbranch main\n"), before);
            bed.deploy(site, "add").expect_code(0);
            let status = bed.ends(0, &[site, "status"]);
            assert!(status.contains(&bed.site(site).head()[..7]), "{status}");
        }
        // Neither printed nor recorded, nor in a file that somebody else reads.
        let mut grep = Command::new(tool("grep"));
        grep.args(["-rlF", PASSWORD]).arg(bed.ready.root()).arg(bed.ready.home());
        assert_eq!(grep.output().unwrap().status.code(), Some(1), "the password is in the project");
    }
}

/// What was deployed is not deployed again; the site stays open.
#[test]
fn a_deployment_of_what_is_there_closes_nothing() {
    let bed = Bed::alone(Database::Sqlite);
    bed.deploy(PRODUCTION, "add").expect_code(0);
    let before = bed.state(PRODUCTION);
    let said = bed.deploy(PRODUCTION, "add").expect_code(0).all();
    let closes = |line: &str| line.contains("maintenance-on") && line.ends_with("started");
    assert!(said.contains("nothing new") && !said.lines().any(closes), "{said}");
    assert_eq!(bed.state(PRODUCTION), before);
    // A fix that has not run yet is something to do, with the same code.
    bed.ready.write("fixes/001-names.sql", "update pr_person set last_name = 'Fixed';\n");
    bed.deploy(PRODUCTION, "add").expect_code(0);
    assert_eq!(bed.sql(PRODUCTION, "select count(*) from pr_person where last_name = 'Fixed'"), "750");
    bed.is_open(PRODUCTION);
}

/// web2py prefers them, and the old code dies under the new: `ModuleNotFoundError`.
#[test]
fn compiled_files_of_the_former_release_do_not_meet_the_new_one() {
    let bed = Bed::alone(Database::Sqlite);
    bed.ends(0, &[PRODUCTION, "compile"]);
    assert!(bed.site(PRODUCTION).home("compiled").is_dir());
    bed.deploy(PRODUCTION, "add").expect_code(0);
    bed.is_open(PRODUCTION);
}

/// By root, or by the site's own user: no file of another user's is left where the site writes.
#[test]
fn files_belong_to_the_site_s_user_whoever_deploys_as_root() {
    only_root("gives files to another user");
    let user = TestUser::create();
    for login in [None, Some(&user)] {
        let bed = Bed::of(login);
        let site = bed.site(PRODUCTION);
        let written = ["databases", "errors", "sessions", "uploads", "cache", "models/000_config.py"];
        let others = || {
            let mut find = Command::new(tool("find"));
            stdout_of(find.args(written.map(|name| site.home(name))).args(["!", "-user", &site.owner]))
        };
        bed.deploy(PRODUCTION, "add").expect_code(0);
        assert_eq!(others(), "");
        bed.is_open(PRODUCTION);
        bed.ends(0, &[PRODUCTION, "rollback"]);
        assert_eq!(others(), "");
        bed.is_open(PRODUCTION);
    }
}
