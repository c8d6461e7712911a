//! Hosts that go bad after their health step, while a batch soaks.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Site, check_stream, outcomes, story};
use crate::support::output::Output;
use crate::support::process::wait_for;

/// The file `bad-HOST` makes a host bad; `watch` is what is said of the step that finds out.
fn recipe(watch: &str, health: &str) -> String {
    format!(
        r#"
[[task.deploy.phase]]
name = "close"
[[task.deploy.phase.step]]
name = "close"
run = "echo {{{{fleet.host}}}} close >>@SHARED@/journal"
undo = "echo {{{{fleet.host}}}} reopen >>@SHARED@/journal"
[[task.deploy.phase]]
name = "roll"
rolling = true
[[task.deploy.phase.step]]
name = "switch"
run = "echo {{{{fleet.host}}}} switch >>@SHARED@/journal"
undo = "echo {{{{fleet.host}}}} back >>@SHARED@/journal"
[[task.deploy.phase.step]]
name = "health"
read-only = true
watch = {watch}
run = '''
echo "it works"
{health}
'''
"#
    )
}

const HEALTH: &str = "[ ! -e @SHARED@/bad-{{fleet.host}} ] || { echo 'it is down' >&2; exit 7; }";
const OFTEN: &str = "{ every = \"200ms\", failures = 2 }";

fn site(soak: &str, recipe: &str) -> Site {
    Site::start(&format!("[rollout]\nbatches = [1, \"100%\"]\nsoak = \"{soak}\""), &["web1", "web2"], recipe)
}

fn sorted(site: &Site) -> Vec<String> {
    let mut journal = site.journal();
    journal.sort();
    journal
}

fn place(story: &[String], line: &str) -> usize {
    story.iter().rposition(|other| other == line).unwrap_or_else(|| panic!("{line}: {story:#?}"))
}

/// Both hosts closed and opened again, and only the canary switched, and was taken back.
const CANARY_UNDONE: [&str; 6] = ["web1 back", "web1 close", "web1 reopen", "web1 switch", "web2 close", "web2 reopen"];

#[test]
fn a_canary_that_goes_bad_while_it_soaks_is_undone_within_ten_seconds() {
    let site = site("60s", &recipe("{ every = \"2s\", failures = 2 }", HEALTH));
    let mut running = site.spawn(&["mysite", "deploy"]);
    running.wait_for_text("phase roll, batch 1 soaks for ");
    std::thread::sleep(Duration::from_secs(2));
    site.touch("bad-web1");
    let bad = Instant::now();
    let output = running.wait().expect_code(10);
    assert!(bad.elapsed() < Duration::from_secs(10), "{:?}", bad.elapsed());
    assert_eq!(sorted(&site), CANARY_UNDONE);
    for text in [
        "watch: exit status 7 (1 of 2)\n",
        "watch: exit status 7 (2 of 2)\n",
        "web1 | health | it is down\n",
        "FAILED: exit status 7",
    ] {
        assert!(output.stderr.contains(text), "{text}\n{}", output.stderr);
    }
    // What works is not said again and again.
    assert_eq!(output.stderr.matches("web1 | health | it works").count(), 3, "{}", output.stderr);
    assert!(output.stdout.contains("roll/health: exit status 7"), "{}", output.stdout);
    site.check_free();
}

#[test]
fn hosts_that_stay_good_are_through_when_the_last_batch_has_soaked() {
    let site = site("0s", &recipe(OFTEN, HEALTH));
    let began = Instant::now();
    let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(0);
    // Twice three times 200 ms.
    assert!(began.elapsed() >= Duration::from_millis(1200), "{:?}", began.elapsed());
    check_stream(&output);
    let story = story(&output);
    assert_eq!(story.iter().filter(|line| *line == "watch-started roll").count(), 2, "{story:#?}");
    for host in ["web1", "web2"] {
        let finished = place(&story, &format!("host-finished {host} succeeded"));
        assert!(place(&story, "watch-started roll") < finished, "{story:#?}");
    }
    assert_eq!(sorted(&site), ["web1 close", "web1 switch", "web2 close", "web2 switch"]);
    let planned = site.fleet(&["mysite", "deploy", "--dry-run"]).expect_code(0).stdout;
    assert!(planned.contains("watched every 0.2 s while a batch soaks"), "{planned}");
    site.check_free();
}

#[test]
fn a_host_that_goes_bad_after_the_last_batch_takes_all_back() {
    let site = site("0s", &recipe("{ every = \"300ms\", failures = 3 }", HEALTH));
    let mut running = site.spawn(&["mysite", "deploy"]);
    running.wait_for_text("phase roll, batch 2 soaks for ");
    site.touch("bad-web1");
    running.wait().expect_code(10);
    let journal = sorted(&site);
    for line in ["web1 back", "web2 back", "web1 reopen", "web2 reopen"] {
        assert!(journal.contains(&line.to_owned()), "{line}: {journal:?}");
    }
}

#[test]
fn one_bad_answer_is_no_failure_and_a_failure_within_the_budget_is_that_host_s_alone() {
    // The second attempt of each soak fails.
    let hiccup = "echo x >>@SHARED@/tries-{{fleet.host}}; [ $(wc -l <@SHARED@/tries-{{fleet.host}}) -ne 3 ]";
    let site = site("1s", &recipe(OFTEN, hiccup));
    let output = site.fleet(&["mysite", "deploy"]).expect_code(0);
    assert!(output.stderr.contains("watch: exit status 1 (1 of 2)\n"), "{}", output.stderr);
    assert!(!output.stderr.contains("(2 of 2)"), "{}", output.stderr);

    std::fs::remove_file(site.shared().join("journal")).unwrap();
    site.recipe(&recipe(OFTEN, HEALTH));
    let mut running = site.spawn(&["mysite", "deploy", "--max-fail", "1"]);
    running.wait_for_text("phase roll, batch 1 soaks for ");
    site.touch("bad-web1");
    running.wait().expect_code(10);
    assert_eq!(sorted(&site), ["web1 back", "web1 close", "web1 switch", "web2 close", "web2 switch"]);
}

#[test]
fn a_block_in_a_watched_step_refuses_the_run_at_once() {
    let health = "[ ! -e @SHARED@/bad-{{fleet.host}} ] || echo 'block data.loss -- rows are gone' >>\"$FLEET_FINDINGS\"
echo 'notice x -- looked' >>\"$FLEET_FINDINGS\"";
    let site = site("60s", &recipe(OFTEN, health));
    let mut running = site.spawn(&["mysite", "deploy"]);
    running.wait_for_text("phase roll, batch 1 soaks for ");
    site.touch("bad-web1");
    let output = running.wait().expect_code(6);
    assert_eq!(sorted(&site), CANARY_UNDONE);
    assert!(output.stderr.contains("block data.loss: rows are gone"), "{}", output.stderr);
    assert_eq!(output.stderr.matches("notice x: looked").count(), 1, "{}", output.stderr);
}

#[test]
fn a_line_that_is_lost_while_a_host_is_watched_is_no_failure() {
    let mut site = site("2s", &recipe(OFTEN, HEALTH));
    site.put_proxy_before("web1");
    let mut running = site.spawn(&["mysite", "deploy"]);
    running.wait_for_text("phase roll, batch 1 soaks for ");
    site.proxy("web1").reset();
    let output = running.wait().expect_code(0);
    assert!(output.stderr.contains("connection lost"), "{}", output.stderr);
    assert!(!output.stderr.contains("of 2)"), "{}", output.stderr);
    site.check_free();
}

#[test]
fn an_interrupt_ends_the_watch_at_once_and_all_is_undone() {
    // An attempt hangs, and has no limit of its own.
    let health = "[ ! -e @SHARED@/bad-{{fleet.host}} ] || { touch @SHARED@/hangs; sleep 60; }";
    let site = site("60s", &recipe(OFTEN, health));
    let mut running = site.spawn(&["mysite", "deploy"]);
    running.wait_for_text("phase roll, batch 1 soaks for ");
    site.touch("bad-web1");
    wait_for("the attempt", || site.has("hangs"));
    let began = Instant::now();
    running.signal(Signal::INT);
    running.wait().expect_code(130);
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    assert_eq!(sorted(&site), CANARY_UNDONE);
    site.check_free();
}

#[test]
fn a_resumed_run_soaks_once_more_after_the_last_batch_that_was_rolled() {
    for (after, code) in [("batch 1", 10), ("batch 2", 0)] {
        let site = site("2s", &recipe(OFTEN, HEALTH));
        let mut running = site.spawn(&["mysite", "deploy"]);
        running.wait_for_text(&format!("phase roll, {after} soaks for "));
        running.signal(Signal::KILL);
        assert_eq!(running.wait().code, None);
        if code == 10 {
            site.touch("bad-web1");
        }
        let output: Output = site.fleet(&["resume", "--json"]).expect_code(code);
        assert!(story(&output).contains(&"watch-started roll".to_owned()), "{after}: {:#?}", story(&output));
        if code == 10 {
            assert_eq!(sorted(&site), CANARY_UNDONE);
        } else {
            assert_eq!(outcomes(&output), ["web1 succeeded", "web2 succeeded"]);
        }
        site.check_free();
    }
}
