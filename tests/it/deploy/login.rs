//! Hosts that cannot be reached or trusted when a run begins: exit 11, nothing done, and no byte of a login sent to the wrong one.

use std::net::TcpListener;

use super::{Site, check_stream, outcomes, snapshot};
use crate::support::sshd::{Settings, Sshd};
use crate::support::{files, user};

const RECIPE: &str = r#"
[[task.deploy.step]]
name = "work"
run = "echo {{fleet.host}} >>@SHARED@/journal"
undo = "echo undone >>@SHARED@/journal"
"#;

/// Two hosts; nothing runs on the good one either, because a deployment does not begin on half a site.
fn deploy(site: &Site) -> String {
    let output = site.fleet(&["mysite", "deploy"]).expect_code(11);
    assert!(site.journal().is_empty(), "{:?}", site.journal());
    assert!(output.stdout.contains("web1  untouched"), "{}", output.stdout);
    assert!(output.stdout.contains("bad   unreachable"), "{}", output.stdout);
    snapshot(&output)
}

fn site() -> Site {
    Site::start("", &["web1", "bad"], RECIPE)
}

/// No login of any kind reached the host.
fn assert_no_login(host: &Sshd) {
    let log = host.log();
    for word in ["Accepted", "Failed", "Postponed", "userauth", "Invalid user", "authenticating user"] {
        assert!(!log.contains(word), "{word}:\n{log}");
    }
}

#[test]
fn a_changed_host_key_is_refused_before_the_login() {
    let mut site = site();
    site.host("bad").change_host_key("ed25519");
    insta::assert_snapshot!(deploy(&site));
    assert_no_login(&site["bad"]);
}

#[test]
fn a_host_key_of_another_type_is_refused_before_the_login() {
    let settings: Settings = Sshd::settings().key_types(&["ecdsa"]);
    let mut site = Site::start("", &["web1"], RECIPE);
    site.add_site_on("other", "recipe = \"test\"", vec![("bad", settings)]);
    let other = Sshd::start();
    let pins = site.read("keys/known_hosts");
    let port = format!("[127.0.0.1]:{} ", site["bad"].port());
    let lines = pins.lines().map(|line| {
        if line.starts_with(&port) { format!("{port}{}\n", other.host_key("ed25519")) } else { format!("{line}\n") }
    });
    site.write("keys/known_hosts", lines.collect::<String>());
    let output = site.fleet(&["other", "deploy"]).expect_code(11);
    insta::assert_snapshot!(snapshot(&output));
    assert_no_login(&site["bad"]);
    assert!(site.journal().is_empty());
}

#[test]
fn a_revoked_host_key_is_refused_before_the_login() {
    let site = site();
    let pins = site.read("keys/known_hosts");
    site.write("keys/known_hosts", format!("{pins}@revoked * {}\n", site["bad"].host_key("ed25519")));
    insta::assert_snapshot!(deploy(&site));
    assert_no_login(&site["bad"]);
}

#[test]
fn a_host_that_is_not_pinned_is_refused_before_the_login() {
    let site = site();
    site.write("keys/known_hosts", site["web1"].known_hosts());
    insta::assert_snapshot!(deploy(&site));
    assert_no_login(&site["bad"]);
}

#[test]
fn a_host_that_is_down_refuses() {
    let mut site = site();
    site.host("bad").stop();
    insta::assert_snapshot!(deploy(&site));
    // With a budget that bears it, the others are deployed to, and the exit code tells.
    let output = site.fleet(&["mysite", "deploy", "--max-fail", "1", "--json"]).expect_code(11);
    check_stream(&output);
    assert_eq!(outcomes(&output), ["bad unreachable", "web1 succeeded"]);
    // A step that fails weighs more than a host that is down.
    let output = site.fleet(&["mysite", "run", "--", "exit 3"]).expect_code(10);
    assert!(output.stdout.contains("bad   unreachable"), "{}", output.stdout);
}

#[test]
fn a_key_that_the_host_does_not_know_is_told() {
    let site = site();
    files::write(&site["bad"].authorized_keys(), "", 0o600);
    insta::assert_snapshot!(deploy(&site).replace(&format!("login as {} ", user::current()), "login as [USER] "));
}

#[test]
fn what_listens_and_says_nothing_is_given_up() {
    let site = site();
    // The kernel accepts for it.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let file = site.read("hosts/mysite.toml");
    let port = silent.local_addr().unwrap().port();
    site.write("hosts/mysite.toml", file.replace(&site["bad"].port().to_string(), &port.to_string()));
    let output = site.fleet(&["mysite", "deploy", "--connect-timeout", "500ms"]).expect_code(11);
    assert!(site.journal().is_empty());
    insta::assert_snapshot!(snapshot(&output).replace(&port.to_string(), "[PORT]"));
}

#[test]
fn what_is_typed_wrong_contacts_nothing() {
    let site = site();
    let empty = Site::start("", &["web3"], RECIPE);
    std::fs::remove_file(empty.root().join("keys/fleet")).unwrap();
    for (args, code, told) in [
        (&["mysite", "dploy"][..], 2, "did you mean `deploy`?"),
        (&["mysite", "run"], 2, "fleet mysite run -- uptime"),
        (&["mysite", "deploy", "--skip", "wrk"], 2, "wrk"),
        (&["mysite", "deploy", "-e", "fleet.host=x"], 2, "set by fleet itself"),
        (&["mysit", "deploy"], 4, "did you mean `mysite`?"),
        (&["mysite", "deploy", "-l", "web9"], 4, "web9"),
    ] {
        let output = site.fleet(args).expect_code(code);
        assert!(output.stderr.contains(told), "{args:?}: {}", output.stderr);
        assert_eq!(output.stdout, "");
    }
    let output = empty.fleet(&["mysite", "deploy"]).expect_code(5);
    assert!(output.stderr.contains("fleet generate-keys"), "{}", output.stderr);
    for (_, host) in site.hosts().chain(empty.hosts()) {
        assert_no_login(host);
    }
    assert!(!site.root().join(".fleet").exists(), "nothing is on record either");
}
