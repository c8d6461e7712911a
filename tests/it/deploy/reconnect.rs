//! Connections that end between two steps: made again where that is safe, and told where it is not.

use super::{Site, check_stream, outcomes, story};
use crate::support::output::Output;
use crate::support::process::wait_for;

/// While the first host is in phase `two`, the second one only waits.
const RECIPE: &str = r#"
[[task.deploy.phase]]
name = "one"
[[task.deploy.phase.step]]
name = "close"
run = "echo {{fleet.host}} close >>@SHARED@/journal"
undo = "echo {{fleet.host}} reopen >>@SHARED@/journal"
[[task.deploy.phase]]
name = "two"
on = "db"
[[task.deploy.phase.step]]
name = "wait"
run = "touch @SHARED@/waiting; while [ ! -e @SHARED@/go ]; do sleep 0.02; done"
[[task.deploy.phase]]
name = "three"
[[task.deploy.phase.step]]
name = "last"
run = "echo {{fleet.host}} last >>@SHARED@/journal"
"#;

/// Deploys, and while `web2` waits lets something happen to it.
fn deploy(site: &mut Site, flags: &[&str], code: i32, happens: impl FnOnce(&mut Site)) -> Output {
    let running = site.spawn(&[&["mysite", "deploy", "--json"], flags].concat());
    wait_for("the first host", || site.has("waiting"));
    happens(site);
    site.touch("go");
    let output = running.wait().expect_code(code);
    check_stream(&output);
    output
}

fn site() -> Site {
    Site::start("", &["web1", "web2"], RECIPE)
}

#[test]
fn a_connection_that_is_cut_between_two_steps_is_made_again() {
    let mut site = site();
    let output = deploy(&mut site, &[], 0, |site| {
        site["web2"].cut_connections();
        site["web2"].wait_for_log("Connection closed");
    });
    let story = story(&output);
    assert!(story.contains(&"connection-lost web2".to_owned()), "{story:#?}");
    assert!(story.contains(&"reattached web2".to_owned()), "{story:#?}");
    assert_eq!((site["web1"].logins("publickey"), site["web2"].logins("publickey")), (1, 2));
}

#[test]
fn a_host_that_goes_down_between_two_steps_is_held_and_the_others_are_put_back() {
    let mut site = site();
    let output = deploy(&mut site, &["--reconnect-timeout", "1s"], 10, |site| site.host("web2").stop());
    assert_eq!(outcomes(&output), ["web1 rolled-back", "web2 held"], "{}", output.stderr);
    let mut undone: Vec<String> = site.journal().into_iter().filter(|line| line.ends_with("reopen")).collect();
    undone.sort();
    assert_eq!(undone, ["web1 reopen"]);
    assert!(!site.journal().contains(&"web2 last".to_owned()));
    for told in ["not started: cannot connect to 127.0.0.1:", "not undone: one/close", "still in force: one/close"] {
        assert!(output.stderr.contains(told), "{told}: {}", output.stderr);
    }
}

#[test]
fn a_host_that_comes_back_as_another_is_refused_before_the_login() {
    let mut site = site();
    let output = deploy(&mut site, &[], 10, |site| site.host("web2").change_host_key("ed25519"));
    assert_eq!(outcomes(&output), ["web1 rolled-back", "web2 held"], "{}", output.stderr);
    assert!(output.stderr.contains("HAS CHANGED"), "{}", output.stderr);
    assert!(output.stderr.contains("hint: this may be an attack"), "{}", output.stderr);
    let log = site["web2"].log();
    let since = log.rsplit("Server listening").next().unwrap();
    assert!(!since.contains("Accepted") && !since.contains("Failed") && !since.contains("authenticating"), "{since}");
}
