//! What a failure leaves behind: within the budget and beyond it, undo in order, undo that fails, hold.

use super::{Site, check_stream, outcomes, snapshot, story};
use crate::support::files;
use crate::support::output::Output;
use crate::support::process::wait_for;

/// Each step notes what it does; the program `bad-NAME` of a host makes its step fail, `slow-NAME` makes it take its time.
const RECIPE: &str = r#"
[[task.deploy.phase]]
name = "close"
[[task.deploy.phase.step]]
name = "close"
run = "echo {{fleet.host}} close >>@SHARED@/journal"
undo = "echo {{fleet.host}} reopen >>@SHARED@/journal"
[[task.deploy.phase]]
name = "migrate"
once = true
[[task.deploy.phase.step]]
name = "backup"
run = "echo {{fleet.host}} backup >>@SHARED@/journal; echo b-1"
register = "backup"
[[task.deploy.phase.step]]
name = "migrate"
run = "echo {{fleet.host}} migrate >>@SHARED@/journal"
undo = "echo {{fleet.host}} restore {{backup}} >>@SHARED@/journal; if command -v bad-restore >/dev/null; then bad-restore; exit 1; fi"
[[task.deploy.phase]]
name = "roll"
rolling = true
[[task.deploy.phase.step]]
name = "pull"
run = "echo {{fleet.host}} pull >>@SHARED@/journal"
undo = "echo {{fleet.host}} unpull >>@SHARED@/journal; if command -v bad-unpull >/dev/null; then bad-unpull; exit 1; fi"
[[task.deploy.phase.step]]
name = "restart"
run = "cd /\necho {{fleet.host}} restart >>@SHARED@/journal; if command -v slow-restart >/dev/null; then slow-restart; fi; if command -v bad-restart >/dev/null; then bad-restart; exit 1; fi"
undo = "echo {{fleet.host}} re-restart >>@SHARED@/journal"
[[task.deploy.phase]]
name = "open"
[[task.deploy.phase.step]]
name = "open"
run = "echo {{fleet.host}} open >>@SHARED@/journal"
ends = ["close"]
"#;

const HOSTS: [&str; 3] = ["web1", "web2", "web3"];

fn site(head: &str) -> Site {
    Site::start(head, &HOSTS, RECIPE)
}

fn deploy(site: &Site, code: i32) -> Output {
    let output = site.fleet(&["mysite", "deploy", "-P", "1", "--json"]).expect_code(code);
    check_stream(&output);
    output
}

#[test]
fn beyond_the_budget_all_is_undone_backwards() {
    let site = site("[rollout]\nbatches = [1]");
    site.program("web2", "bad-restart", "");
    let output = deploy(&site, 10);
    assert_eq!(
        site.journal(),
        [
            "web1 close",
            "web2 close",
            "web3 close",
            "web1 backup",
            "web1 migrate",
            "web1 pull",
            "web1 restart",
            "web2 pull",
            "web2 restart",
            "web1 re-restart",
            "web2 re-restart",
            "web1 unpull",
            "web2 unpull",
            "web1 restore b-1",
            "web1 reopen",
            "web2 reopen",
            "web3 reopen",
        ]
    );
    assert_eq!(outcomes(&output), ["web1 rolled-back", "web2 rolled-back", "web3 rolled-back"]);
    insta::assert_snapshot!(snapshot(&site.fleet(&["show"]).expect_code(0)));
}

#[test]
fn within_the_budget_one_host_undoes_its_phase_and_the_others_go_on() {
    let site = site("[rollout]\nbatches = [1]\nmax-failures = 1");
    site.program("web2", "bad-restart", "");
    let output = deploy(&site, 10);
    assert_eq!(
        site.journal(),
        [
            "web1 close",
            "web2 close",
            "web3 close",
            "web1 backup",
            "web1 migrate",
            "web1 pull",
            "web1 restart",
            "web2 pull",
            "web2 restart",
            "web2 re-restart",
            "web2 unpull",
            "web3 pull",
            "web3 restart",
            "web1 open",
            "web3 open",
        ]
    );
    assert_eq!(outcomes(&output), ["web1 succeeded", "web2 failed", "web3 succeeded"]);
    insta::assert_snapshot!(snapshot(&output).split_once("\nHOST").unwrap().1);
}

#[test]
fn an_undo_that_fails_holds_its_host_and_the_others_go_on_undoing() {
    let site = site("[rollout]\nbatches = [1]");
    site.program("web2", "bad-restart", "");
    site.program("web1", "bad-unpull", "echo 'web1: no space left' >&2");
    let output = deploy(&site, 10);
    let undone: Vec<String> = site.journal().into_iter().skip_while(|line| line != "web1 re-restart").collect();
    // What a host did before the step that could not be undone stays: its site may be in any state. So does all before a doubtful once.
    assert_eq!(undone, ["web1 re-restart", "web2 re-restart", "web1 unpull", "web2 unpull"], "{:#?}", story(&output));
    assert_eq!(outcomes(&output), ["web1 held", "web2 held", "web3 held"]);
    insta::assert_snapshot!(snapshot(&site.fleet(&["show"]).expect_code(0)));
}

#[test]
fn hold_leaves_things_for_a_person_and_test_sites_hold() {
    let site = site("stage = \"test\"\n[rollout]\nbatches = [1]");
    site.program("web2", "bad-restart", "");
    let output = deploy(&site, 10);
    assert_eq!(site.journal().last().unwrap(), "web2 restart");
    assert_eq!(outcomes(&output), ["web1 held", "web2 held", "web3 held"]);
    assert!(output.stderr.contains("still in force: close/close, migrate/migrate, roll/pull"), "{}", output.stderr);
    insta::assert_snapshot!(snapshot(&site.fleet(&["show"]).expect_code(0)));

    // The recipe may say so for every stage, and may say otherwise for stage test.
    site.recipe(&RECIPE.replacen(
        "[[task.deploy.phase]]",
        "[task.deploy]\non-failure = \"undo\"\n[[task.deploy.phase]]",
        1,
    ));
    assert_eq!(outcomes(&deploy(&site, 10)), ["web1 rolled-back", "web2 rolled-back", "web3 rolled-back"]);
    let file = site.read("hosts/mysite.toml").replace("stage = \"test\"\n", "");
    site.write("hosts/mysite.toml", file);
    site.recipe(&RECIPE.replacen(
        "[[task.deploy.phase]]",
        "[task.deploy]\non-failure = \"hold\"\n[[task.deploy.phase]]",
        1,
    ));
    assert_eq!(outcomes(&deploy(&site, 10)), ["web1 held", "web2 held", "web3 held"]);
}

/// Deploys, and `web2` dies in the middle of its step; it comes back without the step's supervisor.
pub fn died(head: &str) -> Site {
    let mut site = site(head);
    site.program("web2", "slow-restart", "touch \"$HOME/running\"; exec sleep 600");
    let running = site.spawn(&["mysite", "deploy", "-P", "1", "--json", "--reconnect-timeout", "1s"]);
    let home = site["web2"].home();
    wait_for("the step", || home.join("running").exists().then_some(()));
    site.host("web2").stop();
    let output = running.wait().expect_code(13);
    check_stream(&output);
    // Nobody knows how the step stands, so nothing is undone because of it, and nothing new was started.
    assert_eq!(site.journal().last().unwrap(), "web2 restart");
    assert_eq!(outcomes(&output), ["web1 held", "web2 detached", "web3 held"]);
    site.host("web2").launch();
    site
}

#[test]
fn a_host_that_dies_in_a_step_is_detached_then_unknown_and_a_person_decides() {
    let site = died("[rollout]\nbatches = [1]");
    insta::assert_snapshot!("detached", snapshot(&site.fleet(&["show"]).expect_code(0)));
    let before = site.journal();
    let output = site.fleet(&["resume"]).expect_code(13);
    assert_eq!(site.journal(), before, "nothing was run again");
    insta::assert_snapshot!("unknown", snapshot(&output));
    let output = site.fleet(&["resume", "last", "--assume-done", "web2:restart", "--json"]).expect_code(0);
    assert_eq!(outcomes(&output), ["web1 succeeded", "web2 succeeded", "web3 succeeded"]);
    assert_eq!(site.journal()[before.len()..], ["web3 pull", "web3 restart", "web1 open", "web2 open", "web3 open"]);
}

#[test]
fn a_run_that_waits_for_a_dead_host_can_be_undone() {
    let site = died("[rollout]\nbatches = [1]");
    let before = site.journal();
    // Only now it turns out that nobody knows how the step ended, so its host is left for a person to look at.
    let output = site.fleet(&["undo", "--json"]).expect_code(13);
    assert_eq!(outcomes(&output), ["web1 rolled-back", "web2 unknown", "web3 rolled-back"]);
    assert!(output.stderr.contains("look first: web2 is unknown"), "{}", output.stderr);
    let output = site.fleet(&["undo", "--json"]).expect_code(0);
    assert_eq!(outcomes(&output), ["web1 rolled-back", "web2 rolled-back", "web3 rolled-back"]);
    let mut undone = site.journal()[before.len()..].to_vec();
    let expected = [
        "web1 re-restart",
        "web1 unpull",
        "web1 restore b-1",
        "web1 reopen",
        "web3 reopen",
        "web2 re-restart",
        "web2 unpull",
        "web2 reopen",
    ];
    // These two stand side by side.
    undone[3..5].sort();
    assert_eq!(undone, expected);
}

#[test]
fn a_connection_that_is_cut_in_a_step_is_made_again_and_the_step_ends_well() {
    let site = site("[rollout]\nbatches = [1]");
    site.program(
        "web1",
        "slow-restart",
        "echo half; touch \"$HOME/running\"; while [ ! -e \"$HOME/go\" ]; do sleep 0.02; done; echo whole",
    );
    let mut running = site.spawn(&["mysite", "deploy", "-P", "1", "--json"]);
    let home = site["web1"].home();
    wait_for("the step", || home.join("running").exists().then_some(()));
    site["web1"].cut_connections();
    running.wait_for_text("connected again");
    files::write(&home.join("go"), "", 0o644);
    let output = running.wait().expect_code(0);
    check_stream(&output);
    assert_eq!(outcomes(&output), ["web1 succeeded", "web2 succeeded", "web3 succeeded"]);
    let told: Vec<String> = story(&output)
        .into_iter()
        .filter(|line| line.contains("web1 roll/restart") || line.contains("lost") || line.contains("reattached"))
        .collect();
    assert_eq!(told.first().unwrap(), "step-started web1 roll/restart");
    assert!(
        told.contains(&"connection-lost web1".to_owned()) && told.contains(&"reattached web1".to_owned()),
        "{told:#?}"
    );
    assert_eq!(told.last().unwrap(), "step-finished web1 roll/restart succeeded");
    assert!(output.stderr.contains("connection lost, step goes on, retrying"), "{}", output.stderr);
    assert_eq!(site.journal().iter().filter(|line| *line == "web1 restart").count(), 1);
    let logs = site.fleet(&["logs", "last", "web1", "--step", "restart"]).expect_code(0);
    let printed: Vec<&str> =
        logs.stdout.lines().filter_map(|line| line.split_once(" out| ")).map(|(_, text)| text).collect();
    assert_eq!(printed, ["half", "whole"]);
}

#[test]
fn an_undo_that_fails_within_the_budget_holds_that_host_alone() {
    let site = site("[rollout]\nbatches = [1]\nmax-failures = 1");
    site.program("web2", "bad-restart", "");
    site.program("web2", "bad-unpull", "");
    let output = deploy(&site, 10);
    assert_eq!(outcomes(&output), ["web1 succeeded", "web2 held", "web3 succeeded"]);
    assert!(!site.journal().contains(&"web2 reopen".to_owned()) && !site.journal().contains(&"web2 open".to_owned()));
    assert!(site.journal().ends_with(&["web1 open".to_owned(), "web3 open".to_owned()]), "{:?}", site.journal());
    assert!(output.stderr.contains("  still in force: close/close, roll/pull\n"), "{}", output.stderr);
    assert!(output.stderr.contains("fleet mysite run -l web2 -- COMMAND"), "{}", output.stderr);
}

/// Between `close` and `pull`: the restart comes when the former code is back, and before the site opens.
#[test]
fn a_step_that_is_only_an_undo_runs_in_its_turn_and_is_told_nowhere_before() {
    let text = RECIPE.replace(
        "[[task.deploy.phase]]\nname = \"migrate\"",
        "[[task.deploy.phase.step]]\nname = \"restart-if-undone\"\n\
         undo = \"echo {{fleet.host}} former code >>@SHARED@/journal\"\n[[task.deploy.phase]]\nname = \"migrate\"",
    );
    assert_ne!(text, RECIPE);
    let site = Site::start("[rollout]\nbatches = [1]", &HOSTS, &text);
    let plan = site.fleet(&["mysite", "deploy", "--dry-run"]).expect_code(0).stdout;
    assert!(plan.contains("  close/restart-if-undone\n    on web1:\n    undo    echo web1 former code"), "{plan}");
    assert!(!deploy(&site, 0).stderr.contains("restart-if-undone"));
    let shown = site.fleet(&["show"]).expect_code(0).stdout;
    assert!(!shown.contains("restart-if-undone"), "{shown}");

    // The controller dies when the hosts have come to it, and another one undoes it.
    site.program(
        "web2",
        "slow-restart",
        "touch \"$HOME/running\"; while [ ! -e \"$HOME/go\" ]; do sleep 0.02; done; false",
    );
    site.program("web2", "bad-restart", "");
    let running = site.spawn(&["mysite", "deploy", "-P", "1", "--json"]);
    let home = site["web2"].home();
    wait_for("the step", || home.join("running").exists().then_some(()));
    drop(running);
    files::write(&home.join("go"), "", 0o644);
    let before = site.journal().len();
    let output = site.fleet(&["resume", "last", "--json"]).expect_code(10);
    assert_eq!(outcomes(&output), ["web1 rolled-back", "web2 rolled-back", "web3 rolled-back"]);
    let mut undone = site.journal()[before..].to_vec();
    undone[5..8].sort();
    undone[8..].sort();
    let expected = [
        "web1 re-restart",
        "web2 re-restart",
        "web1 unpull",
        "web2 unpull",
        "web1 restore b-1",
        "web1 former code",
        "web2 former code",
        "web3 former code",
        "web1 reopen",
        "web2 reopen",
        "web3 reopen",
    ];
    assert_eq!(undone, expected, "{:#?}", story(&output));
    let last = story(&output).into_iter().rfind(|line| line.starts_with("host-finished web3")).unwrap();
    assert_eq!(last, "host-finished web3 rolled-back");
    site.check_free();
}

/// A person looks at the site before deciding.
#[test]
fn what_only_looked_is_not_the_run_that_undo_means() {
    let looking = "[[task.status.step]]\nname = \"look\"\nread-only = true\nrun = \"echo fine\"\n";
    let site = Site::start("", &["web1"], &format!("{RECIPE}{looking}"));
    site.fleet(&["mysite", "status"]).expect_code(0);
    let refused = site.fleet(&["undo"]).expect_code(6).stderr;
    assert!(refused.contains("has changed nothing: there is nothing to undo"), "{refused}");

    deploy(&site, 0);
    site.fleet(&["mysite", "status"]).expect_code(0);
    site.fleet(&["undo"]).expect_code(0);
    assert_eq!(site.journal().last().map(String::as_str), Some("web1 reopen"));
}
