//! A run that is watched, or ended, from a second terminal.

use std::time::Instant;

use rustix::process::Signal;

use super::{Site, outcomes};
use crate::support::files;
use crate::support::process::{PATIENCE, wait_for};

const RECIPE: &str = r#"
[[task.deploy.step]]
name = "close"
run = "echo close >>@SHARED@/journal"
undo = "echo reopen >>@SHARED@/journal"
[[task.deploy.step]]
name = "work"
run = "touch @SHARED@/working; sleep 600 & while [ ! -e @SHARED@/go ]; do sleep 0.02; done; kill $!; echo made it; echo worked >>@SHARED@/journal; [ ! -e @SHARED@/fail ]"
undo = "echo unwork >>@SHARED@/journal"
"#;

fn site() -> Site {
    Site::start("", &["web1"], RECIPE)
}

#[test]
fn a_running_run_is_shown_to_its_end_and_its_exit_code_is_told() {
    for (fail, code) in [(false, 0), (true, 10)] {
        let site = site();
        if fail {
            site.touch("fail");
        }
        let running = site.spawn(&["mysite", "deploy"]);
        wait_for("the step", || site.has("working"));
        let mut view = site.spawn(&["attach", "-v"]);
        view.wait_for_text("work");
        let json = site.spawn(&["attach", "--json"]);
        wait_for("the second view", || Some(()));
        site.touch("go");
        let seen = view.wait().expect_code(code);
        assert!(seen.stderr.contains("made it"), "{}", seen.stderr);
        let told = running.wait().expect_code(code);
        assert_eq!(seen.stdout, told.stdout, "the final table");
        let json = json.wait();
        // It may have come when the run was over.
        if json.code != Some(4) {
            let json = json.expect_code(code);
            assert_eq!(outcomes(&json), [if fail { "web1 rolled-back" } else { "web1 succeeded" }]);
        }
        let output = site.fleet(&["attach"]).expect_code(4);
        assert!(output.stderr.contains("has ended"), "{}", output.stderr);
    }
}

#[test]
fn an_interrupt_leaves_the_view_only() {
    let site = site();
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("working"));
    let mut view = site.spawn(&["attach", "-v"]);
    view.wait_for_text("work");
    view.signal(Signal::INT);
    let output = view.wait().expect_code(130);
    assert!(output.stderr.contains("which goes on"), "{}", output.stderr);
    site.touch("go");
    running.wait().expect_code(0);
    assert_eq!(site.journal(), ["close", "worked"]);
}

#[test]
fn a_view_tells_when_the_controller_is_gone() {
    let site = site();
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("working"));
    let mut view = site.spawn(&["attach", "-v"]);
    view.wait_for_text("work");
    running.signal(Signal::KILL);
    let output = view.wait().expect_code(13);
    assert!(output.stderr.contains("hint: fleet resume"), "{}", output.stderr);
    site.fleet(&["attach"]).expect_code(13);
    site.touch("go");
    site.fleet(&["resume"]).expect_code(0);
}

#[test]
fn a_running_run_is_ended_from_another_terminal() {
    let site = site();
    let running = site.spawn(&["mysite", "deploy", "--json"]);
    wait_for("the step", || site.has("working"));
    let output = site.fleet(&["cancel"]).expect_code(130);
    assert!(output.stderr.contains("its running steps are ended"), "{}", output.stderr);
    let told = running.wait().expect_code(130);
    assert_eq!(outcomes(&told), ["web1 rolled-back"]);
    assert_eq!(site.journal(), ["close", "unwork", "reopen"]);
    wait_for("the end of the step's processes", || site["web1"].commands().is_empty().then_some(()));
    site.check_free();
    site.fleet(&["cancel"]).expect_code(6);
}

#[test]
fn a_run_whose_controller_is_dead_is_ended() {
    let site = site();
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("working"));
    running.signal(Signal::KILL);
    running.wait();
    let output = site.fleet(&["cancel", "--json"]);
    assert_eq!(outcomes(&output), ["web1 rolled-back"], "{}", output.all());
    assert_eq!(site.journal(), ["close", "unwork", "reopen"]);
    wait_for("the end of the step's processes", || site["web1"].commands().is_empty().then_some(()));
    site.check_free();
    assert!(files::read(&site.book("web1").join("history")).contains("rolled-back"));
}

/// `fleet cancel` may come as soon as the record can be found.
#[test]
fn a_run_that_has_just_begun_is_ended() {
    let site = site();
    let runs = site.root().join(".fleet/runs");
    let names = || -> Vec<String> {
        let names = std::fs::read_dir(&runs).into_iter().flatten().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names
    };
    for count in 1..=15 {
        let running = site.spawn(&["mysite", "deploy"]);
        let name = wait_for("the record", || names().get(count - 1).cloned());
        let told = site.fleet(&["cancel", &name]);
        let output = running.wait();
        assert_eq!((output.code, told.code), (Some(130), Some(130)), "{count}: {}\n{}", output.all(), told.all());
        assert!(told.stderr.contains("its running steps are ended"), "{}", told.stderr);
    }
    // What `cancel` sends, sooner than a process can be started that sends it.
    for count in 16..=45 {
        let running = site.spawn(&["mysite", "deploy"]);
        let begun = Instant::now();
        while names().len() < count {
            assert!(begun.elapsed() < PATIENCE, "no record");
        }
        running.signal(Signal::USR1);
        running.wait().expect_code(130);
    }
    assert!(site.journal().iter().all(|line| line != "worked"), "{:?}", site.journal());
    site.check_free();
}
