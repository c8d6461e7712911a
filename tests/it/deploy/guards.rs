//! Commands that change nothing, and whose connection breaks while they run: they are asked again.

use super::{Site, check_stream, outcomes, story};
use crate::support::process::wait_for;

/// Waits for ever when it runs for the first time.
const ONCE: &str = "if mkdir @SHARED@/there; then echo first; sleep 600; fi";

fn cut(site: &Site, task: &str, code: i32) -> crate::support::output::Output {
    let running = site.spawn(&["mysite", task, "--json"]);
    wait_for("the first time", || site.has("there"));
    site["web1"].cut_connections();
    let output = running.wait().expect_code(code);
    check_stream(&output);
    let story = story(&output);
    for told in ["connection-lost web1", "reattached web1"] {
        assert_eq!(story.iter().filter(|line| *line == told).count(), 1, "{story:#?}");
    }
    output
}

#[test]
fn a_line_that_is_cut_in_a_guard_undoes_nothing() {
    for (guard, then, ran) in [("unless", "false", true), ("unless", "true", false), ("only-if", "true", true)] {
        let recipe = format!(
            "[[task.deploy.step]]\nname = \"close\"\nrun = \"echo close >>@SHARED@/journal\"\nundo = \"echo reopen >>@SHARED@/journal\"\n\
             [[task.deploy.step]]\nname = \"work\"\n{guard} = \"{ONCE}; {then}\"\nrun = \"echo work >>@SHARED@/journal\"\n"
        );
        let site = Site::start("", &["web1"], &recipe);
        let output = cut(&site, "deploy", 0);
        assert_eq!(outcomes(&output), ["web1 succeeded"]);
        assert_eq!(site.journal(), if ran { &["close", "work"][..] } else { &["close"] });
    }
}

#[test]
fn a_line_that_is_cut_while_a_task_only_looks_is_no_failure() {
    let recipe = format!(
        "[[task.look.step]]\nname = \"look\"\nread-only = true\nregister = \"seen\"\nrun = \"{ONCE}; echo second\"\n\
         [[task.look.step]]\nname = \"tell\"\nread-only = true\nrun = \"echo it is {{{{seen}}}}\"\n"
    );
    let site = Site::start("", &["web1"], &recipe);
    let output = cut(&site, "look", 0);
    assert_eq!(outcomes(&output), ["web1 succeeded"]);
    assert!(output.stdout.contains("it is second"), "{}", output.stdout);
}

/// Every login succeeds, and every command ends its connection.
#[test]
fn a_line_that_breaks_after_every_login_is_not_called_without_pause_or_end() {
    let recipe = "[[task.deploy.step]]\nname = \"work\"\nrun = \"touch @SHARED@/there; sleep 600\"\n";
    let site = Site::start("", &["web1"], recipe);
    let running = site.spawn(&["mysite", "deploy", "--json", "--reconnect-timeout", "3s"]);
    wait_for("the step", || site.has("there"));
    let session = site["web1"].home().join(".session");
    crate::support::files::write(&session, "kill -KILL $PPID\n", 0o644);
    let before = site["web1"].calls();
    site["web1"].cut_connections();
    let output = running.wait().expect_code(13);
    assert_eq!(outcomes(&output), ["web1 detached"], "{}", output.stderr);
    let calls = site["web1"].calls() - before;
    assert!((1..=8).contains(&calls), "{calls} connections in 3 s");
    assert!(output.stdout.contains("the connection breaks again and again"), "{}", output.stdout);
}
