//! Servers that turn connections away: because too many come at once, or because they restart.

use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;

use crate::support::hosts::ReadyProject;
use crate::support::process::wait_for;
use crate::support::sshd::Sshd;

const RUN: [&str; 4] = ["mysite", "run", "--", "true"];

/// Many sites with one host each, all on one server.
fn sites_on_one_server(count: usize, settings: &str) -> ReadyProject {
    let mut ready = ReadyProject::start("", &[]);
    std::fs::remove_file(ready.root().join("hosts/mysite.toml")).unwrap();
    ready.add_site_on("site0", "", vec![("web0", Sshd::settings().line(settings))]);
    let first = ready.read("hosts/site0.toml");
    for number in 1..count {
        ready.write(&format!("hosts/site{number}.toml"), first.replace("web0", &format!("web{number}")));
    }
    ready
}

/// `MaxStartups`: from ten connections that have not logged in on, all others are dropped.
#[test]
fn many_sites_on_one_server_do_not_push_each_other_out() {
    let ready = sites_on_one_server(25, "MaxStartups 10:100:10");
    let all = ["all", "run", "--", "true"];
    // sshd learns a moment later than the client that a login is over, so a connection may be turned away all the same.
    let output = ready.run(&all, ready.command(&all).env("FLEET_CONNECT_RETRY", "60s")).expect_code(0);
    assert!(output.stdout.contains("25 succeeded"), "{}", output.all());
}

/// Since 9.8, OpenSSH bans who calls again and again and does not log in.
#[test]
fn a_server_of_many_sites_is_scanned_once() {
    let ready = sites_on_one_server(25, "LogLevel VERBOSE");
    std::fs::remove_file(ready.root().join("keys/known_hosts")).unwrap();
    let before = ready["web0"].calls();
    let output = ready.fleet(&["all", "trust", "--yes"]).expect_code(0);
    assert_eq!(ready["web0"].calls() - before, 1);
    assert_eq!(output.stdout.lines().count(), 1, "{}", output.stdout);
    assert!(output.stderr.contains("pinned 1 key in"), "{}", output.stderr);
}

#[test]
fn a_first_connection_that_is_reset_is_made_again() {
    let mut ready = ReadyProject::start("", &["web1"]);
    ready.put_proxy_before("web1");
    for args in [&RUN[..], &["mysite", "status"], &["mysite", "distribute-keys"], &["mysite", "trust"]] {
        let (before, asked) = (ready.proxy("web1").connections(), AtomicUsize::new(0));
        ready.proxy("web1").cut_each(move || (asked.fetch_add(1, Ordering::Relaxed) < 2).then_some(0));
        let output = ready.run(args, ready.command(args).env("FLEET_CONNECT_RETRY", "60s"));
        assert_eq!(output.code, Some(0), "{}", output.all());
        assert!(ready.proxy("web1").connections() >= before + 3);
        ready.proxy("web1").cut_each(|| Some(0));
        // Without patience, the first one decides.
        let before = ready.proxy("web1").connections();
        ready.run(args, ready.command(args).env("FLEET_CONNECT_RETRY", "0s")).expect_code(11);
        assert_eq!(ready.proxy("web1").connections(), before + 1);
    }
}

#[test]
fn a_server_that_restarts_is_waited_for() {
    let mut ready = ReadyProject::start("", &["web1"]);
    ready.put_proxy_before("web1");
    ready.host("web1").stop();
    let running = ready.spawn(&["mysite", "run", "--connect-retry", "60s", "--", "true"]);
    wait_for("the first attempt", || (ready.proxy("web1").connections() > 0).then_some(()));
    ready.host("web1").launch();
    running.wait().expect_code(0);
}

#[test]
fn a_host_that_is_down_is_reported_when_the_time_is_over() {
    let mut ready = ReadyProject::start("", &["web1"]);
    ready.put_proxy_before("web1");
    ready.proxy("web1").refuse(true);
    let file = ready.read("hosts/mysite.toml").replace("[ssh]", "[ssh]\nconnect-retry = \"2s\"");
    ready.write("hosts/mysite.toml", file);
    ready.run(&RUN, ready.command(&RUN).env_remove("FLEET_CONNECT_RETRY")).expect_code(11);
    assert!(ready.proxy("web1").connections() > 2);
}

#[test]
fn an_interrupt_ends_the_waiting_for_a_server() {
    let mut ready = ReadyProject::start("", &["web1"]);
    ready.put_proxy_before("web1");
    ready.proxy("web1").refuse(true);
    for args in [&RUN[..], &["mysite", "distribute-keys"]] {
        let before = ready.proxy("web1").connections();
        let running = ready.spawn_command(args, ready.command(args).env("FLEET_CONNECT_RETRY", "1h"));
        wait_for("further attempts", || (ready.proxy("web1").connections() > before + 2).then_some(()));
        running.signal(Signal::INT);
        running.wait().expect_code(130);
    }
}
