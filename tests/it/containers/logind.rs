//! A real systemd-logind, which may end what a login has started when the login ends.

use rustix::process::Signal;

use super::fleet::Fleet;
use super::gates;
use crate::support::process::wait_for;

const SITE: &str = "shop-systemd";

fn kill_user_processes(fleet: &Fleet, value: &str) {
    let file = "/etc/systemd/logind.conf.d/fleet.conf";
    let text = format!("[Login]\\nKillUserProcesses={value}\\n");
    let set = format!("mkdir -p $(dirname {file}); printf '{text}' >{file}; systemctl restart systemd-logind");
    fleet.sh("systemd", "root", &set);
}

/// A deployment of v2 whose controller is killed during the migration, so that the login ends.
fn killed_in_the_migration(fleet: &Fleet) {
    gates::hold(fleet, "systemd", "deploy", "migrate");
    let running = fleet.spawn(&[SITE, "deploy", "-e", "revision=v2"]);
    gates::wait_at(fleet, "systemd", "deploy", "migrate");
    fleet.is_closed("systemd");
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, None);
    wait_for("the end of the login", || {
        let sessions = fleet.sh("systemd", "root", "ps -C sshd -o args= | grep '^sshd: deploy' || true");
        sessions.is_empty().then_some(())
    });
}

#[track_caller]
fn survives(fleet: &Fleet) {
    killed_in_the_migration(fleet);
    gates::open(fleet, "systemd", "deploy", "migrate");
    wait_for("the migration that nobody watches", || {
        (fleet.sql("systemd", "SELECT count(*) FROM migrations") == "2").then_some(())
    });
    fleet.fleet(&["resume", "--yes"]).expect_code(0);
    fleet.runs(SITE, "v2", &["1 tea somebody"]);
    fleet.fleet(&["undo", "--yes"]).expect_code(0);
    fleet.runs(SITE, "v1", &["1 tea"]);
}

#[test]
fn a_step_survives_its_login_where_logind_lets_it_and_else_ends_as_failed() {
    let fleet = Fleet::start(&["systemd"]);
    gates::build(&fleet, &["systemd"], &["deploy"]);
    fleet.runs(SITE, "v1", &["1 tea"]);

    kill_user_processes(&fleet, "no");
    survives(&fleet);

    // logind ends the step. That is seen, said before, and the site is put back.
    kill_user_processes(&fleet, "yes");
    let warned = fleet.fleet(&[SITE, "check"]).all();
    assert!(warned.contains("logind") || warned.contains("linger"), "{warned}");
    killed_in_the_migration(&fleet);
    gates::open(&fleet, "systemd", "deploy", "migrate");
    fleet.fleet(&["resume", "--yes"]).expect_code(10);
    fleet.runs(SITE, "v1", &["1 tea"]);

    // In a scope of its own, for a user who lingers.
    fleet.sh("systemd", "root", "loginctl enable-linger deploy");
    survives(&fleet);
}
