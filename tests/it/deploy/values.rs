//! Values that steps registered, in a run that another controller goes on with. Those of `secret-output` are on no record, only on the host.

use std::process::Command;

use rustix::process::Signal;

use super::{Site, outcomes};
use crate::support::files;
use crate::support::process::wait_for;
use crate::support::tools::tool;

const RECIPE: &str = r#"
[[task.deploy.phase]]
name = "token"
on = "db"
once = true
[[task.deploy.phase.step]]
name = "token"
run = "echo hunter2"
register = "token"
secret-output = true
[[task.deploy.phase]]
name = "work"
[[task.deploy.phase.step]]
name = "before"
run = "echo {{fleet.host}} before {{token}} >>@SHARED@/journal"
undo = "echo {{fleet.host}} unbefore {{token}} >>@SHARED@/journal"
[[task.deploy.phase.step]]
name = "work"
run = "touch @SHARED@/{{fleet.host}}; while [ ! -e @SHARED@/go ]; do sleep 0.02; done; echo {{fleet.host}} work {{token}} >>@SHARED@/journal"
undo = "echo {{fleet.host}} unwork {{token}} >>@SHARED@/journal"
[[task.deploy.phase.step]]
name = "after"
run = "echo {{fleet.host}} after {{token}} >>@SHARED@/journal"
"#;

const DONE: [&str; 6] = [
    "web1 after hunter2",
    "web1 before hunter2",
    "web1 work hunter2",
    "web2 after hunter2",
    "web2 before hunter2",
    "web2 work hunter2",
];

/// A run whose controller was killed while both hosts, or with a width of 1 the first, are busy with a step that takes the value. It is
/// from the second host.
fn killed(width: &str) -> Site {
    let site = Site::start("", &["web1", "web2"], RECIPE);
    let file = site.read("hosts/mysite.toml").replace(r#"roles = ["web"]"#, r#"roles = ["db"]"#);
    site.write("hosts/mysite.toml", file.replace(r#"roles = ["web", "db"]"#, r#"roles = ["web"]"#));
    let running = site.spawn(&["mysite", "deploy", "-P", width]);
    wait_for("the step", || site.has("web1"));
    if width != "1" {
        wait_for("the other one", || site.has("web2"));
    }
    running.signal(Signal::KILL);
    running.wait();
    site
}

fn journal(site: &Site) -> Vec<String> {
    let mut lines = site.journal();
    lines.sort();
    lines
}

#[test]
fn a_secret_value_of_one_host_is_there_for_all() {
    for width in ["2", "1"] {
        let site = killed(width);
        site.touch("go");
        site.fleet(&["resume"]).expect_code(0);
        assert_eq!(journal(&site), DONE, "{width}");
        site.check_free();
    }
}

#[test]
fn undos_have_it_too() {
    for width in ["2", "1"] {
        let site = killed(width);
        site.touch("go");
        let output = site.fleet(&["undo", "--json"]).expect_code(0);
        assert_eq!(outcomes(&output), ["web1 rolled-back", "web2 rolled-back"]);
        let undone: Vec<_> = site.journal().into_iter().filter(|line| line.starts_with("web1")).collect();
        let steps = ["web1 before hunter2", "web1 work hunter2", "web1 unwork hunter2", "web1 unbefore hunter2"];
        assert_eq!(undone, steps);
        site.check_free();
    }
}

/// A step that runs is not told as one that was never started, only because nobody knows its value now.
#[test]
fn while_its_host_is_away_the_others_wait() {
    let mut site = killed("2");
    site.host("web2").stop_daemon();
    let output = site.fleet(&["undo", "--json"]).expect_code(13);
    assert_eq!(outcomes(&output), ["web1 detached", "web2 detached"]);
    assert!(output.all().contains("the secret value `token` is on web2 alone, which is away"), "{}", output.all());
    site.host("web2").launch();
    site.touch("go");
    site.fleet(&["undo"]).expect_code(0);
    let undone: Vec<_> = site.journal().into_iter().filter(|line| line.contains("un")).collect();
    assert_eq!(undone.len(), 8, "{undone:?}");
    assert!(!files::read(&site.shared().join("journal")).contains("after"));
    site.check_free();
}

/// It was on record, and shown with `-v`.
#[test]
fn a_value_that_holds_a_secret_is_one_too() {
    let recipe = r#"
[[task.deploy.step]]
name = "token"
run = "printf %s-%s hunter2 hunter3"
register = "token"
secret-output = true
[[task.deploy.step]]
name = "url"
run = "echo https://{{token}}@shop.example"
register = "url"
[[task.deploy.step]]
name = "work"
run = "touch @SHARED@/working; while [ ! -e @SHARED@/go ]; do sleep 0.02; done"
[[task.deploy.step]]
name = "use"
run = "echo {{url}} >>@SHARED@/journal; echo got {{url}}"
"#;
    let site = Site::start("", &["web1"], recipe);
    let running = site.spawn(&["mysite", "deploy", "-v"]);
    wait_for("the step", || site.has("working"));
    running.signal(Signal::KILL);
    let first = running.wait().all();
    site.touch("go");
    let second = site.fleet(&["resume", "-v"]).expect_code(0).all();
    assert_eq!(site.journal(), ["https://hunter2-hunter3@shop.example"]);
    let record = site.root().join(".fleet");
    let found = Command::new(tool("grep")).arg("-r").arg("hunter2-hunter3").arg(&record).output().unwrap();
    assert!(record.exists() && found.stdout.is_empty(), "{}", String::from_utf8_lossy(&found.stdout));
    for shown in [first, second] {
        assert!(!shown.contains("hunter2-hunter3"), "{shown}");
    }
}
