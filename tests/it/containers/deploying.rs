//! Deployments that go well, and releases that fail: on one host with everything on it, and on web and database hosts apart.

use super::fleet::Fleet;

/// What Production serves must be what Test has proven; and a release that fails leaves both as they were, whatever it fails at.
#[test]
fn a_release_goes_from_test_to_production_and_a_broken_one_to_neither() {
    let fleet = Fleet::start(&["test", "web1", "web2", "db"]);
    fleet.runs("shop-test", "v1", &["1 tea"]);
    fleet.runs("shop", "v1", &["1 tea"]);
    let refused = fleet.fleet(&["shop", "deploy", "--yes"]).expect_code(6).all();
    assert!(refused.contains("shop-test"), "{refused}");

    // Half of its migration is done when it fails: a column is gone, and with it the names of the customers.
    fleet.deploys("shop-test", "v2");
    fleet.fleet(&["shop-test", "deploy", "-e", "revision=v4"]).expect_code(10);
    fleet.runs("shop-test", "v2", &["1 tea somebody"]);
    fleet.fleet(&["shop-test", "deploy", "-e", "revision=v5"]).expect_code(10);
    fleet.runs("shop-test", "v2", &["1 tea somebody"]);

    fleet.order("web1", "item=milk");
    fleet.fleet(&["shop", "deploy", "--yes"]).expect_code(0);
    fleet.runs("shop", "v2", &["1 tea somebody", "2 milk somebody"]);
}
