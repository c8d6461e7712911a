//! Ctrl-C once, twice, three times; TERM; a terminal that closes; a reader that goes away.

use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::{Site, check_stream, outcomes, snapshot, story};
use crate::support::process::wait_for;
use crate::support::project::Running;
use crate::support::tools::tool;
use crate::support::{files, terminal};

/// A first step with an undo, then one that waits for the file `go`.
const RECIPE: &str = r#"
[[task.deploy.step]]
name = "close"
run = "echo close >>@SHARED@/journal"
undo = "touch @SHARED@/undoing; if [ -e @SHARED@/hold-undo ]; then while [ ! -e @SHARED@/go-undo ]; do sleep 0.02; done; fi; echo reopen >>@SHARED@/journal"
[[task.deploy.step]]
name = "work"
run = "touch @SHARED@/working; while [ ! -e @SHARED@/go ]; do sleep 0.02; done; echo worked >>@SHARED@/journal"
undo = "echo unwork >>@SHARED@/journal"
[[task.deploy.step]]
name = "more"
run = "echo more >>@SHARED@/journal"
"#;

fn site() -> Site {
    Site::start("", &["web1"], RECIPE)
}

fn working(site: &Site, args: &[&str]) -> Running {
    let running = site.spawn(args);
    wait_for("the step", || site.has("working"));
    running
}

fn interrupt(running: &mut Running, signal: Signal, level: u8) {
    running.signal(signal);
    running.wait_for_text(
        ["no new step starts", "running steps are being ended", "fleet lets go"][usize::from(level) - 1],
    );
}

/// A line that is down when its host's turn comes was waited for, for as long as `reconnect-timeout`, before anything could be undone.
#[test]
fn one_interrupt_ends_the_waiting_for_a_host_on_which_nothing_has_begun() {
    let recipe = |kind: &str| {
        format!(
            "[[task.deploy.phase]]\nname = \"first\"\non = \"db\"\n[[task.deploy.phase.step]]\nname = \"work\"\nread-only = true\n\
             run = \"touch @SHARED@/working; while [ ! -e @SHARED@/go ]; do sleep 0.02; done\"\n\
             [[task.deploy.phase]]\nname = \"second\"\non = \"web\"\n[[task.deploy.phase.step]]\nname = \"more\"\n{kind}\n\
             run = \"true\"\n"
        )
    };
    for kind in ["read-only = true", "durable = false"] {
        let mut site = Site::start("", &["web1", "web2"], &recipe(kind));
        site.put_proxy_before("web2");
        let mut running = working(&site, &["mysite", "deploy", "--reconnect-timeout", "1h"]);
        site.proxy("web2").refuse(true);
        site.proxy("web2").reset();
        site.touch("go");
        running.wait_for_text("connection lost, retrying");
        running.signal(Signal::INT);
        if kind == "durable = false" {
            // The lock is given back where it can be.
            running.wait_for_text("no new step starts");
            site.proxy("web2").refuse(false);
        }
        let output = running.wait().expect_code(130);
        assert!(output.stdout.contains("web2  untouched"), "{}", output.all());
    }
}

#[test]
fn one_interrupt_lets_the_step_end_and_undoes() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let site = site();
        let mut running = working(&site, &["mysite", "deploy"]);
        interrupt(&mut running, signal, 1);
        site.touch("go");
        let output = running.wait().expect_code(code);
        assert_eq!(site.journal(), ["close", "worked", "unwork", "reopen"]);
        assert!(output.stdout.contains("web1  rolled back"), "{}", output.stdout);
        if signal == Signal::INT {
            insta::assert_snapshot!(snapshot(&output));
        }
    }
}

#[test]
fn a_second_interrupt_ends_the_step_on_the_host_and_undoes() {
    let site = site();
    let mut running = working(&site, &["mysite", "deploy", "--json"]);
    interrupt(&mut running, Signal::INT, 1);
    interrupt(&mut running, Signal::INT, 2);
    let output = running.wait().expect_code(130);
    check_stream(&output);
    assert_eq!(site.journal(), ["close", "unwork", "reopen"]);
    assert_eq!(outcomes(&output), ["web1 rolled-back"]);
    assert!(story(&output).contains(&"step-finished web1 deploy/work cancelled".to_owned()), "{:#?}", story(&output));
    wait_for("the end of the step", || site["web1"].commands().is_empty().then_some(()));
}

#[test]
fn a_third_interrupt_lets_go_and_tells_what_is_left() {
    let site = site();
    // Neither interrupt nor TERM ends it at once.
    site.recipe(&RECIPE.replace("touch @SHARED@/working", "trap '' TERM; touch @SHARED@/working"));
    let mut running = working(&site, &["mysite", "deploy"]);
    for level in 1..=3 {
        interrupt(&mut running, Signal::INT, level);
    }
    let output = running.wait().expect_code(13);
    assert_eq!(site.journal(), ["close"]);
    insta::assert_snapshot!(snapshot(&output));
    site.touch("go");
}

#[test]
fn an_interrupt_while_undoing_lets_the_undo_go_on() {
    let site = site();
    site.touch("hold-undo");
    let mut running = working(&site, &["mysite", "deploy", "--json"]);
    interrupt(&mut running, Signal::INT, 1);
    site.touch("go");
    wait_for("the undo", || site.has("undoing"));
    // The second one ends running steps, and an undo is none: cut off, it would leave the host half way.
    interrupt(&mut running, Signal::INT, 2);
    site.touch("go-undo");
    let output = running.wait().expect_code(130);
    check_stream(&output);
    assert_eq!(site.journal(), ["close", "worked", "unwork", "reopen"]);
    assert_eq!(outcomes(&output), ["web1 rolled-back"]);
}

#[test]
fn an_interrupt_during_a_soak_or_a_pause_does_not_wait_for_its_end() {
    let recipe = "[[task.deploy.phase]]\nname = \"roll\"\nrolling = true\n[[task.deploy.phase.step]]\nname = \"work\"\nrun = \"echo work >>@SHARED@/journal\"\nundo = \"echo unwork >>@SHARED@/journal\"\n
[[task.flaky.step]]\nname = \"flaky\"\nrun = \"exit 1\"\nidempotent = true\nretry = { times = 5, delay = \"1h\" }\n";
    let site = Site::start("[rollout]\nbatches = [1]\nsoak = \"1h\"", &["web1", "web2"], recipe);
    let mut running = site.spawn(&["mysite", "deploy", "--json"]);
    running.wait_for_text("batch-finished");
    running.signal(Signal::INT);
    let output = running.wait().expect_code(130);
    check_stream(&output);
    assert_eq!(site.journal(), ["work", "unwork"]);
    assert_eq!(outcomes(&output), ["web1 rolled-back", "web2 untouched"]);

    let mut running = site.spawn(&["mysite", "flaky", "--json"]);
    running.wait_for_text("\"retrying\":true");
    running.signal(Signal::INT);
    let output = running.wait().expect_code(130);
    check_stream(&output);
}

#[test]
fn an_interrupt_while_connecting_ends_at_once() {
    let site = site();
    site["web1"].freeze();
    let mut running = site.spawn(&["mysite", "deploy", "--json"]);
    running.wait_for_text("host-started");
    running.signal(Signal::INT);
    let output = running.wait().expect_code(130);
    check_stream(&output);
    assert_eq!(outcomes(&output), ["web1 untouched"]);
    assert!(site.journal().is_empty());
}

/// Nothing but its output was heard of, until it ended.
#[test]
fn an_interrupt_is_heard_while_a_host_prints_faster_than_it_is_shown() {
    let site = site();
    // Long lines: what is under way when it ends is shown before that is seen.
    let mut running = site.spawn(&["mysite", "run", "--", &format!("exec yes {}", "flood ".repeat(100))]);
    running.wait_for_text("flood");
    interrupt(&mut running, Signal::INT, 1);
    interrupt(&mut running, Signal::INT, 2);
    running.wait().expect_code(130);
}

#[test]
fn a_terminal_that_closes_does_not_stop_a_deployment() {
    for args in [&["mysite", "deploy"][..], &["mysite", "deploy", "-v"]] {
        let site = site();
        let code = terminal::hang_up(&site.command(args), || site.has("working"), || site.touch("go"));
        assert_eq!(code, Some(0), "{args:?}");
        let output = site.fleet(&["show"]).expect_code(0);
        assert!(output.stdout.contains("mysite deploy succeeded"), "{}", output.stdout);
        assert_eq!(site.journal(), ["close", "worked", "more"]);
    }
}

#[test]
fn a_reader_that_goes_away_does_not_stop_a_deployment() {
    let site = site();
    for (at, stream) in
        ["2>&1 | head -n 1", "2>&1 --json | head -n 1", "-v 2>&1 >/dev/null | head -n 1"].iter().enumerate()
    {
        let fleet = site.command(&[]);
        let script = format!("\"$0\" mysite deploy {stream}; echo \"${{PIPESTATUS[0]}}\" >\"$HOME/code\"");
        let mut bash = Command::new(tool("bash"));
        bash.args(["-c", &script]).arg(fleet.get_program()).current_dir(site.root()).env_clear();
        bash.envs(fleet.get_envs().filter_map(|(name, value)| Some((name, value?))));
        bash.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = bash.spawn().unwrap();
        wait_for("the step", || site.has("working"));
        site.touch("go");
        wait_for("its end", || child.try_wait().unwrap());
        assert_eq!(files::read(&site.home().join("code")).trim(), "0", "{stream}");
        assert_eq!(site.journal().len(), (at + 1) * 3);
        for file in ["working", "go"] {
            std::fs::remove_file(site.shared().join(file)).unwrap();
        }
    }
}

#[test]
fn a_command_that_ended_well_after_an_interrupt_has_succeeded() {
    let site = Site::start("", &["web1", "web2"], RECIPE);
    site.program("web1", "job", &format!("while [ ! -e {}/go ]; do sleep 0.02; done", site.shared().display()));
    site.program("web2", "job", &format!("touch {}/working; exec sleep 600", site.shared().display()));
    let mut running = working(&site, &["mysite", "--json", "run", "--", "job"]);
    interrupt(&mut running, Signal::INT, 1);
    site.touch("go");
    running.wait_for_text("succeeded after");
    interrupt(&mut running, Signal::INT, 2);
    let output = running.wait().expect_code(130);
    check_stream(&output);
    assert_eq!(outcomes(&output), ["web1 succeeded", "web2 held"]);
}

#[test]
fn ctrl_c_on_a_terminal_is_heard_beside_the_live_view() {
    let site = site();
    // The view tells when the step runs that does not end by itself.
    let dialogue = [("deploy/work", "\x03"), ("no new step starts", "\x03")];
    let (code, shown) = terminal::run(&site.command(&["mysite", "deploy"]), &dialogue);
    assert_eq!(code, Some(130), "{shown}");
    assert!(shown.contains("running steps are being ended"), "{shown}");
    assert!(shown.contains("mysite deploy was interrupted"), "{shown}");
    wait_for("the end of the step", || site["web1"].commands().is_empty().then_some(()));
}

#[test]
fn a_host_that_answers_nothing_any_more_is_let_go_of_at_once() {
    let site = site();
    let mut running = working(&site, &["mysite", "deploy", "--json"]);
    site["web1"].freeze();
    for level in 1..=3 {
        interrupt(&mut running, Signal::INT, level);
    }
    let output = running.wait().expect_code(13);
    check_stream(&output);
    assert_eq!(outcomes(&output), ["web1 detached"]);
    site["web1"].thaw();
    site.touch("go");
}
