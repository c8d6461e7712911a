//! Deployments that go well, and releases that fail: on one host with everything on it, and on web and database hosts apart.

use super::fleet::Fleet;

/// Production serves what Test has proven; a release that fails leaves the site as it was, whatever it fails at.
#[test]
fn a_release_goes_from_test_to_production_and_a_broken_one_to_neither() {
    let fleet = Fleet::start(&["test", "web1", "web2", "db"]);
    fleet.runs("shop-test", "v1", &["1 tea"]);
    fleet.runs("shop", "v1", &["1 tea"]);
    let refused = fleet.fleet(&["shop", "deploy", "--yes"]).expect_code(6).all();
    assert!(refused.contains("shop-test"), "{refused}");

    fleet.deploys("shop-test", "v2");
    fleet.runs("shop-test", "v2", &["1 tea somebody"]);
    // Half of its migration is done when it fails: a column is gone, and with it the names of the customers.
    fleet.order("test", "item=salt&customer=anna");
    fleet.fleet(&["shop-test", "deploy", "-e", "revision=v4"]).expect_code(10);
    fleet.runs("shop-test", "v2", &["1 tea somebody", "2 salt anna"]);
    fleet.fleet(&["shop-test", "deploy", "-e", "revision=v5"]).expect_code(10);
    fleet.runs("shop-test", "v2", &["1 tea somebody", "2 salt anna"]);

    fleet.fleet(&["shop", "deploy", "--yes", "-e", "revision=v3"]).expect_code(6);
    fleet.order("web1", "item=milk");
    fleet.runs("shop", "v1", &["1 tea", "2 milk"]);
    fleet.fleet(&["shop", "deploy", "--yes"]).expect_code(0);
    fleet.runs("shop", "v2", &["1 tea somebody", "2 milk somebody"]);
}

/// The application runs on the web hosts only, the database on its own host only, and what fails on one is undone on all.
#[test]
fn web_and_database_hosts_are_put_back_together() {
    let fleet = Fleet::start(&["web1", "web2", "db"]);
    fleet.edit("hosts/shop.toml", |text| text.replace("follows", "# follows"));
    fleet.deploys("shop", "v2");
    fleet.order("web2", "item=salt&customer=ben");
    let orders = ["1 tea somebody", "2 salt ben"];
    fleet.runs("shop", "v2", &orders);

    fleet.fleet(&["shop", "deploy", "--yes", "-e", "revision=v4"]).expect_code(10);
    fleet.runs("shop", "v2", &orders);
    // web1 is the canary: web2 never has this release.
    let failed = fleet.fleet(&["shop", "deploy", "--yes", "-e", "revision=v5"]).expect_code(10).all();
    assert!(failed.contains("web1 > health") && !failed.contains("web2 > pull"), "{failed}");
    fleet.runs("shop", "v2", &orders);

    fleet.deploys("shop", "v3");
    fleet.runs("shop", "v3", &["2 salt ben", "1 tea somebody"]);
    fleet.fleet(&["shop", "rollback", "--yes"]).expect_code(0);
    fleet.runs("shop", "v2", &orders);
    // No application ever ran on the host of the database.
    assert_eq!(fleet.sh("db", "root", "ps -C python3 -o args= || true"), "");
}
