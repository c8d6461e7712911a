//! Something happens to a host in each phase of a deployment, and the site is whole afterwards: with the new release, or as it was.

use super::fleet::Fleet;
use super::gates::{self, PHASES};
use crate::support::output::Output;
use crate::support::process::wait_for;
use crate::support::project::Running;

const BEFORE: [&str; 2] = ["1 tea", "2 milk"];
const AFTER: [&str; 2] = ["1 tea somebody", "2 milk somebody"];

/// Production alone, at v1 with two orders.
fn production() -> Fleet {
    let fleet = Fleet::start(&["web1", "web2", "db"]);
    fleet.edit("hosts/shop.toml", |text| text.replace("follows", "# follows"));
    gates::build(&fleet, &["web1", "web2", "db"], &["deploy"]);
    fleet.order("web1", "item=milk");
    fleet.runs("shop", "v1", &BEFORE);
    fleet
}

fn deploy(fleet: &Fleet) -> Running {
    fleet.spawn(&["shop", "deploy", "--yes", "-e", "revision=v2"])
}

/// Waits until a step of the deployment of v2 has come to the gate. Visitors of hosts that are not open again are turned away.
fn wait_at(fleet: &Fleet, gate: &str, service: &str) {
    gates::wait_at(fleet, service, "deploy", gate);
    match gate {
        "cron-off" => assert_eq!(fleet.page("web1").lines().nth(1), Some("shop v1")),
        "open" => assert_eq!(fleet.page("web1").lines().nth(1), Some("shop v2")),
        "cron-on" => assert_eq!(fleet.page("web2").lines().nth(1), Some("shop v2")),
        _ => fleet.is_closed("web2"),
    }
}

/// Makes the site as it was, without fleet, which would take as long as the deployment.
fn reset(fleet: &Fleet) {
    fleet.sql("db", "ALTER TABLE orders DROP customer; DELETE FROM migrations WHERE name LIKE '002%'");
    for service in ["web1", "web2", "db"] {
        fleet.sh(service, "deploy", "cd /srv/shop; rm -rf .git/fleet; git -c core.hooksPath=/ checkout -q v1");
    }
    for service in ["web1", "web2"] {
        fleet.sh(service, "root", "sv restart shop");
        wait_for("v1", || fleet.page(service).starts_with("200\nshop v1\n").then_some(()));
    }
}

/// One deployment in which a host is lost in each of its phases, and is there again: it ends as if nothing had been.
fn survives(lose: impl Fn(&Fleet, &str), bring_back: impl Fn(&Fleet, &str, &str)) {
    let fleet = production();
    for (gate, service) in PHASES {
        gates::hold(&fleet, service, "deploy", gate);
    }
    let mut running = deploy(&fleet);
    for (gate, service) in PHASES {
        wait_at(&fleet, gate, service);
        let count = running.count_of("connection lost");
        lose(&fleet, service);
        running.wait_for_more("connection lost", count);
        bring_back(&fleet, service, gate);
    }
    running.wait().expect_code(0);
    fleet.runs("shop", "v2", &AFTER);
}

#[test]
fn a_host_that_hangs_in_every_phase_and_wakes_up_ends_the_deployment() {
    survives(
        |fleet, service| fleet.engine(&["pause"], service),
        |fleet, service, gate| {
            fleet.engine(&["unpause"], service);
            gates::open(fleet, service, "deploy", gate);
        },
    );
}

/// The steps end while nobody can reach their host.
#[test]
fn a_host_without_a_network_in_every_phase_ends_the_deployment_when_it_has_one() {
    survives(Fleet::disconnect, |fleet, service, gate| {
        gates::open(fleet, service, "deploy", gate);
        fleet.connect(service);
    });
}

/// Breaks a host that is at the gate, starts it again, and tells how the run ended by itself.
fn broken(fleet: &Fleet, gate: &str, service: &str, verb: &[&str]) -> Output {
    gates::hold(fleet, service, "deploy", gate);
    let mut running = deploy(fleet);
    wait_at(fleet, gate, service);
    fleet.engine(verb, service);
    running.wait_for_text("connection lost");
    fleet.engine(&["start"], service);
    fleet.wait_until_healthy(service);
    gates::open(fleet, service, "deploy", gate);
    running.wait()
}

/// A killed host has killed the step, too, and nobody can know what it did: so the run is undone.
#[test]
fn a_host_that_is_killed_in_any_phase_is_put_back_by_an_undo() {
    let fleet = production();
    for (gate, service) in PHASES {
        broken(&fleet, gate, service, &["kill"]).expect_code(13);
        fleet.fleet(&["undo", "--yes"]).expect_code(0);
        fleet.runs("shop", "v1", &BEFORE);
    }
}

/// Where it may still go forward, as after a step that runs once for all, the release is deployed when the step runs again, as fleet
/// proposes; where the others are rolled back already, so is this host.
#[test]
fn a_host_that_is_stopped_in_any_phase_has_the_release_or_none_of_it() {
    let fleet = production();
    for (gate, service) in PHASES {
        let proposed = broken(&fleet, gate, service, &["stop", "--time", "2"]).expect_code(13).all();
        let rerun = proposed.split_once("--rerun ").and_then(|(_, rest)| rest.split_whitespace().next());
        if let Some(step) = rerun {
            fleet.fleet(&["resume", "--yes", "--rerun", step]).expect_code(0);
            fleet.runs("shop", "v2", &AFTER);
            reset(&fleet);
        } else {
            fleet.fleet(&["undo", "--yes"]).expect_code(0);
            fleet.runs("shop", "v1", &BEFORE);
        }
    }
}
