//! The connection goes while a step runs, and comes again: the step goes on, and nobody sees a difference in what it did or said.

use std::time::Duration;

use super::{Talk, count, ssh_table};
use crate::deploy::{Site, check_stream, outcomes};
use crate::support::output::Output;
use crate::support::process::wait_for;

/// Breaks the connection in the middle of the step, and mends what was broken.
fn lost_and_found(ssh: &str, breaks: impl FnOnce(&mut Site), mends: impl FnOnce(&mut Site)) -> Output {
    let mut talk = Talk::start(ssh);
    let mut running = talk.until_half(&[]);
    breaks(&mut talk.site);
    running.wait_for_text("connection-lost");
    mends(&mut talk.site);
    running.wait_for_text("reattached");
    let output = talk.finish(running);
    let lost = output.events().into_iter().find(|event| event["event"] == "connection-lost").unwrap();
    assert_eq!(lost["step-goes-on"], true, "{lost}");
    assert_eq!((count(&output, "connection-lost"), count(&output, "reattached")), (1, 1));
    output
}

#[test]
fn a_killed_session_is_made_again() {
    lost_and_found("", |site| site["web1"].cut_connections(), |_| {});
}

#[test]
fn a_restarted_daemon_is_waited_for() {
    lost_and_found("", |site| site.host("web1").stop_daemon(), |site| site.host("web1").launch());
}

#[test]
fn a_reset_connection_is_made_again() {
    lost_and_found("", |site| site.proxy("web1").reset(), |_| {});
}

#[test]
fn a_connection_that_was_ended_in_good_order_is_made_again() {
    lost_and_found("", |site| site.proxy("web1").fin(), |_| {});
}

#[test]
fn a_dead_line_is_found_by_the_keepalive() {
    let dead = |site: &mut Site| site.proxy("web1").black_hole();
    lost_and_found("keepalive = \"250ms\"", dead, |site| site.proxy("web1").pass());
}

#[test]
fn a_host_that_hangs_is_found_by_the_keepalive() {
    lost_and_found("keepalive = \"250ms\"", |site| site["web1"].freeze(), |site| site["web1"].thaw());
}

#[test]
fn output_that_is_cut_again_and_again_is_whole() {
    let talk = Talk::start("");
    // Within the login, within the first half, and within what follows.
    let mut cuts = [Some(60_000), Some(1_000), Some(90_000), Some(40_000), Some(130_000)].into_iter();
    talk.site.proxy("web1").cut_each(move || cuts.next().flatten());
    let output = talk.finish(talk.until_half(&[]));
    assert_eq!((talk.site.proxy("web1").cuts(), talk.site.proxy("web1").connections()), (5, 6));
    // The one within the login was no connection yet.
    assert_eq!((count(&output, "connection-lost"), count(&output, "reattached")), (4, 4));
}

#[test]
fn a_slow_host_is_slow_and_the_other_one_is_not() {
    let recipe = r#"
[[task.deploy.phase]]
name = "one"
[[task.deploy.phase.step]]
name = "print"
run = "echo {{fleet.host}} >>@SHARED@/journal; head -c 20000 /dev/zero | tr '\\0' 'x' | fold -w 99"
[[task.deploy.phase.step]]
name = "last"
run = "echo {{fleet.host}} >>@SHARED@/journal"
"#;
    // Longer in the queue of the slow line than the keepalive's interval is.
    let mut site = Site::start(&ssh_table("keepalive = \"500ms\""), &["web1", "web2"], recipe);
    site.put_proxy_before("web1");
    site.proxy("web1").rate(20_000);
    site.proxy("web1").delay(Duration::from_millis(100));
    let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(0);
    check_stream(&output);
    assert_eq!(outcomes(&output), ["web1 succeeded", "web2 succeeded"]);
    assert_eq!((count(&output, "connection-lost"), site.proxy("web1").connections()), (0, 1));
    let ended = output.events().into_iter().filter(|event| event["event"] == "step-finished");
    let order: Vec<String> =
        ended.map(|event| format!("{} {}", event["host"], event["step"]).replace('"', "")).collect();
    assert_eq!(order, ["web2 one/print", "web2 one/last", "web1 one/print", "web1 one/last"]);
    assert_eq!(site.journal().len(), 4);
}

#[test]
fn an_undo_that_is_cut_runs_once() {
    let recipe = r#"
[[task.deploy.phase]]
name = "one"
[[task.deploy.phase.step]]
name = "close"
run = "echo close >>@SHARED@/journal"
undo = "echo reopen >>@SHARED@/journal; touch @SHARED@/undoing; while [ ! -e @SHARED@/go ]; do sleep 0.02; done; echo reopened >>@SHARED@/journal"
[[task.deploy.phase.step]]
name = "fail"
run = "exit 3"
"#;
    let mut site = Site::start("", &["web1"], recipe);
    site.put_proxy_before("web1");
    let mut running = site.spawn(&["mysite", "deploy", "--json"]);
    wait_for("the undo", || site.has("undoing"));
    site.proxy("web1").reset();
    running.wait_for_text("reattached");
    site.touch("go");
    let output = running.wait().expect_code(10);
    check_stream(&output);
    assert_eq!(outcomes(&output), ["web1 rolled-back"]);
    assert_eq!(site.journal(), ["close", "reopen", "reopened"]);
    assert_eq!((count(&output, "connection-lost"), count(&output, "undo-started")), (1, 1));
}
