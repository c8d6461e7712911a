//! Two operators with logins of their own on one site, each with a project and a machine of his own.

use rustix::process::Signal;

use super::fleet::Fleet;
use super::gates;
use crate::support::project::Project;

const SITE: &str = "shop-test";

/// The project of another operator: the same sites, a login and a key of his own.
fn colleague(fleet: &Fleet, login: &str) -> Project {
    let project = Project::new();
    for file in ["hosts/defaults.toml", "hosts/shop-test.toml", "keys/known_hosts"] {
        project.write(file, fleet.read(file).replace("user = \"deploy\"", &format!("user = \"{login}\"")));
    }
    fleet.authorize("test", login, &project.generate_key());
    project
}

#[test]
fn two_operators_share_a_site_and_neither_can_spoil_what_the_other_does() {
    let fleet = Fleet::start(&["test"]);
    gates::build(&fleet, &["test"], &["deploy", "anna", "ben"]);
    let anna = colleague(&fleet, "anna");
    let ben = colleague(&fleet, "ben");

    // While one deploys, the other is refused, and told by whom.
    gates::hold(&fleet, "test", "anna", "migrate");
    let running = anna.spawn(&[SITE, "deploy", "-e", "revision=v2"]);
    gates::wait_at(&fleet, "test", "anna", "migrate");
    let refused = ben.fleet(&[SITE, "deploy", "-e", "revision=v3"]).expect_code(12).all();
    assert!(refused.contains("locked by"), "{refused}");
    fleet.is_closed("test");
    gates::open(&fleet, "test", "anna", "migrate");
    running.wait().expect_code(0);
    fleet.runs(SITE, "v2", &["1 tea somebody"]);

    // One continues with what the other has left, and rolls back what the other has deployed.
    ben.fleet(&[SITE, "deploy", "-e", "revision=v3"]).expect_code(0);
    fleet.runs(SITE, "v3", &["1 tea somebody"]);
    anna.fleet(&[SITE, "rollback", "--yes"]).expect_code(0);
    fleet.runs(SITE, "v2", &["1 tea somebody"]);

    // One's machine dies in the middle. The other sees that the site is closed, and cannot deploy over it.
    gates::hold(&fleet, "test", "ben", "restart");
    let running = ben.spawn(&[SITE, "deploy", "-e", "revision=v3"]);
    gates::wait_at(&fleet, "test", "ben", "restart");
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, None);
    anna.fleet(&[SITE, "deploy", "-e", "revision=v2"]).expect_code(12);
    let status = anna.fleet(&[SITE, "status"]).all();
    assert!(status.contains("ben") || status.contains("closed for visitors"), "{status}");
    fleet.is_closed("test");
    gates::open(&fleet, "test", "ben", "restart");
    ben.fleet(&["resume", "--yes"]).expect_code(0);
    fleet.runs(SITE, "v3", &["1 tea somebody"]);
}
