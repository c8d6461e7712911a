//! Hosts that can be called, and on which nobody can log in: what another attempt cannot change is not attempted again.

use super::{Talk, count};
use crate::deploy::{check_stream, outcomes};
use crate::support::files;
use crate::support::output::Output;
use crate::support::sshd::Sshd;

fn reason(output: &Output) -> String {
    let events = output.events();
    let finished = events.iter().find(|event| event["event"] == "host-finished").unwrap();
    finished["reason"].as_str().unwrap().to_owned()
}

#[test]
fn a_host_without_a_banner_is_unreachable() {
    let talk = Talk::start("");
    talk.site.proxy("web1").no_banner(true);
    let output = talk.site.fleet(&["mysite", "deploy", "--json", "--connect-timeout", "200ms"]).expect_code(11);
    check_stream(&output);
    assert_eq!(outcomes(&output), ["web1 unreachable"]);
    assert!(reason(&output).contains("no SSH banner in 0.4 s"), "{}", reason(&output));
    assert_eq!(talk.site.proxy("web1").connections(), 1);
    assert!(talk.site.journal().is_empty());
}

#[test]
fn a_refused_login_is_not_attempted_again() {
    let talk = Talk::start("");
    files::write(&talk.site["web1"].authorized_keys(), "", 0o600);
    let output = talk.site.fleet(&["mysite", "deploy", "--json"]).expect_code(11);
    check_stream(&output);
    assert_eq!(outcomes(&output), ["web1 unreachable"]);
    assert!(reason(&output).contains("login as "), "{}", reason(&output));
    assert_eq!(talk.site.proxy("web1").connections(), 1);
}

#[test]
fn a_login_that_is_refused_in_the_middle_of_a_step_is_not_attempted_again() {
    let talk = Talk::start("");
    let running = talk.until_half(&[]);
    let keys = files::read(&talk.site["web1"].authorized_keys());
    files::write(&talk.site["web1"].authorized_keys(), "", 0o600);
    talk.site.proxy("web1").reset();
    let output = running.wait().expect_code(13);
    check_stream(&output);
    assert_eq!((outcomes(&output), count(&output, "reattached")), (vec!["web1 detached".to_owned()], 0));
    assert_eq!(talk.site.proxy("web1").connections(), 2);
    // The step has not noticed.
    files::write(&talk.site["web1"].authorized_keys(), keys, 0o600);
    talk.site.touch("go");
    talk.check(&talk.site.fleet(&["resume", "--json"]).expect_code(0));
}

#[test]
fn a_host_that_comes_back_as_another_one_is_left_before_the_login() {
    let mut talk = Talk::start("");
    let running = talk.until_half(&[]);
    // Not reached while the daemon is away: else each attempt would be one more connection.
    talk.site.proxy("web1").black_hole();
    talk.site.host("web1").stop_daemon();
    talk.site["web1"].renew_host_key("ed25519");
    talk.site.host("web1").launch();
    talk.site.proxy("web1").pass();
    let output = running.wait().expect_code(13);
    check_stream(&output);
    assert_eq!((outcomes(&output), count(&output, "reattached")), (vec!["web1 detached".to_owned()], 0));
    assert!(reason(&output).contains("HAS CHANGED"), "{}", reason(&output));
    assert_eq!(talk.site.proxy("web1").connections(), 2);
    assert_no_login(&talk.site["web1"]);
    // Whoever looks at it and finds it right pins the new key, and goes on.
    talk.site.pin();
    talk.site.touch("go");
    talk.check(&talk.site.fleet(&["resume", "--json"]).expect_code(0));
}

/// Since it came up last.
fn assert_no_login(host: &Sshd) {
    let log = host.log();
    let since = log.rsplit("Server listening").next().unwrap();
    for word in ["Accepted", "Failed", "Postponed", "userauth", "authenticating user"] {
        assert!(!since.contains(word), "{word}:\n{since}");
    }
}
