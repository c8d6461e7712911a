//! Runs that are in trouble, and how they come to an end: steps whose supervisor died, undos that failed, hosts that are dead for good, runs
//! that left steps out.

use super::resume::{kill_supervisor, killed, run_of, short};
use super::undo::died;
use super::{Site, outcomes, story};
use crate::support::files;
use crate::support::process::wait_for;

fn gate(site: &Site) -> std::path::PathBuf {
    site.spool("web1").join(run_of(site)).join("0.0.2.1.run")
}

#[test]
fn a_step_whose_supervisor_is_dead_is_seen_and_an_undo_waits_for_it() {
    let site = short("", "");
    killed(&site);
    let run = run_of(&site);
    kill_supervisor(&site);
    let status = site.fleet(&["mysite", "status"]).expect_code(0).stdout;
    assert!(status.contains("running: deploy/work on web1"), "{status}");
    let refused = site.fleet(&["mysite", "deploy"]).expect_code(12).all();
    assert!(refused.contains("running: deploy/work on web1"), "{refused}");
    let mut undo = site.spawn(&["undo", &run]);
    undo.wait_for_text("taken up again");
    assert_eq!(site.journal(), ["first", "begin"]);
    site.touch("go");
    // Nobody has seen how it ended, and a person has not decided knowing that.
    let output = undo.wait().expect_code(13);
    assert!(output.all().contains("its supervisor on the host was killed"), "{}", output.all());
    assert_eq!(site.journal(), ["first", "begin", "end"]);
    site.fleet(&["undo", &run]).expect_code(0);
    assert_eq!(site.journal(), ["first", "begin", "end", "unwork", "unfirst"]);
    site.check_free();
}

#[test]
fn a_step_whose_supervisor_is_dead_is_ended_by_cancel() {
    let site = short("", "");
    killed(&site);
    kill_supervisor(&site);
    assert!(!site["web1"].commands().is_empty());
    site.fleet(&["cancel"]).expect_code(13);
    wait_for("the end of the step", || site["web1"].commands().is_empty().then_some(()));
    site.touch("go");
    site.fleet(&["undo"]).expect_code(0);
    assert_eq!(site.journal(), ["first", "begin", "unwork", "unfirst"]);
    site.check_free();
}

/// It was unknown, and it turns out that it runs.
fn unknown_and_running() -> (Site, String) {
    let site = short("", "");
    killed(&site);
    let run = run_of(&site);
    kill_supervisor(&site);
    let whole = files::read(&gate(&site));
    files::write(&gate(&site), whole.lines().next().unwrap(), 0o600);
    site.fleet(&["resume", &run]).expect_code(13);
    files::write(&gate(&site), whole, 0o600);
    (site, run)
}

#[test]
fn an_unknown_step_is_watched_before_it_is_undone() {
    let (site, run) = unknown_and_running();
    let mut undo = site.spawn(&["undo", &run]);
    undo.wait_for_text("taken up again");
    assert_eq!(site.journal(), ["first", "begin"]);
    site.touch("go");
    undo.wait().expect_code(0);
    assert_eq!(site.journal(), ["first", "begin", "end", "unwork", "unfirst"]);
    site.check_free();
}

#[test]
fn an_unknown_step_is_watched_before_it_runs_once_more() {
    let (site, run) = unknown_and_running();
    let mut resume = site.spawn(&["resume", &run, "--rerun", "work"]);
    resume.wait_for_text("taken up again");
    assert_eq!(site.journal(), ["first", "begin"]);
    site.touch("go");
    resume.wait().expect_code(0);
    assert_eq!(site.journal(), ["first", "begin", "end", "begin", "end", "last 7"]);
    site.check_free();
}

const UNDO_FAILS: &str = r#"
[[task.deploy.step]]
name = "first"
run = "echo first >>@SHARED@/journal"
undo = "echo unfirst >>@SHARED@/journal"
[[task.deploy.step]]
name = "work"
run = "echo work >>@SHARED@/journal; [ -e @SHARED@/good ]"
undo = "echo unwork >>@SHARED@/journal; touch @SHARED@/undoing; while [ -e @SHARED@/wait ]; do sleep 0.02; done; [ ! -e @SHARED@/fail-undo ]"
"#;

fn remove(site: &Site, name: &str) {
    std::fs::remove_file(site.shared().join(name)).unwrap();
}

#[test]
fn resume_runs_an_undo_again_that_failed() {
    // With a budget the host went back alone; a person had the last one undone, which is held by policy.
    for (head, verb) in [("", ""), ("[rollout]\nmax-failures = 1", ""), ("stage = \"test\"", "undo")] {
        let site = Site::start(head, &["web1"], UNDO_FAILS);
        site.touch("fail-undo");
        let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(10);
        assert_eq!(outcomes(&output), ["web1 held"]);
        if !verb.is_empty() {
            site.fleet(&[verb]).expect_code(10);
        }
        let output = site.fleet(&["resume", "--json"]).expect_code(10);
        assert_eq!(outcomes(&output), ["web1 held"]);
        assert_eq!(site.holder("web1"), Some(run_of(&site)));
        remove(&site, "fail-undo");
        let output = site.fleet(&["resume", "--json"]).expect_code(10);
        let expected = if head.contains("max") { "web1 failed" } else { "web1 rolled-back" };
        assert!(
            outcomes(&output) == ["web1 rolled-back"] || outcomes(&output) == [expected],
            "{:?}",
            outcomes(&output)
        );
        assert_eq!(site.journal(), ["first", "work", "unwork", "unwork", "unwork", "unfirst"], "{head}");
        site.check_free();
        site.fleet(&["resume"]).expect_code(6);
    }
}

#[test]
fn resume_runs_an_undo_again_of_which_nobody_knows_how_it_ended() {
    let site = Site::start("", &["web1"], UNDO_FAILS);
    site.touch("wait");
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the undo", || site.has("undoing"));
    drop(running);
    for pid in site["web1"].commands() {
        crate::support::process::signal(pid, rustix::process::Signal::KILL);
    }
    wait_for("the end of all processes", || site["web1"].commands().is_empty().then_some(()));
    remove(&site, "wait");
    let output = site.fleet(&["resume", "--json"]).expect_code(13);
    assert_eq!(outcomes(&output), ["web1 unknown"]);
    let output = site.fleet(&["resume", "--json"]).expect_code(10);
    assert_eq!(outcomes(&output), ["web1 rolled-back"]);
    let undo: Vec<String> = story(&output).into_iter().filter(|line| line.contains("deploy/work")).collect();
    assert_eq!(
        undo,
        [
            "step-resumed web1 deploy/work",
            "undo-finished web1 deploy/work unknown",
            "undo-started web1 deploy/work",
            "undo-finished web1 deploy/work succeeded"
        ]
    );
    assert_eq!(site.journal(), ["first", "work", "unwork", "unwork", "unfirst"]);
    site.check_free();
}

/// web2 died in the middle of its step, and never comes back.
fn dead(head: &str) -> Site {
    let mut site = died(head);
    site.host("web2").stop();
    site
}

#[test]
fn a_run_goes_on_and_ends_without_a_host_that_is_given_up() {
    let site = dead("[rollout]\nbatches = [1]\nmax-failures = 1");
    let output = site.fleet(&["resume", "--json"]).expect_code(13);
    assert_eq!(outcomes(&output), ["web1 held", "web2 detached", "web3 held"]);
    let output = site.fleet(&["resume", "--give-up", "web2", "--json"]).expect_code(13);
    assert_eq!(outcomes(&output), ["web1 succeeded", "web2 unreachable", "web3 succeeded"]);
    let told = story(&output);
    assert!(told.contains(&"host-given-up web2".to_owned()), "{told:#?}");
    assert!(!told.contains(&"host-started web2".to_owned()), "{told:#?}");
    let all = output.all();
    assert!(all.contains("given up; nobody knows how roll/restart stands; its lock is left there"), "{all}");
    assert!(
        site.journal().ends_with(&["web1 open".to_owned(), "web3 open".to_owned()])
            || site.journal().ends_with(&["web3 open".to_owned(), "web1 open".to_owned()])
    );
    // It has ended: there is nothing to go on with, and an undo asks the others alone.
    site.fleet(&["resume"]).expect_code(6);
    let output = site.fleet(&["undo", "--json"]).expect_code(11);
    assert_eq!(outcomes(&output), ["web1 rolled-back", "web2 unreachable", "web3 rolled-back"]);
    assert!(!story(&output).contains(&"host-started web2".to_owned()));
}

#[test]
fn a_host_that_is_given_up_counts_against_the_budget() {
    let site = dead("[rollout]\nbatches = [1]");
    for (args, code, told) in [
        (&["--give-up", "web9"][..], 4, "has no host `web9`; its hosts are web1, web2, web3"),
        (&["--give-up", "web2", "--rerun", "web2:restart"], 2, "web2 is given up"),
    ] {
        let output = site.fleet(&[&["resume"], args].concat()).expect_code(code);
        assert!(output.stderr.contains(told), "{}", output.stderr);
    }
    let output = site.fleet(&["resume", "--give-up", "web2", "--json"]).expect_code(13);
    assert_eq!(outcomes(&output), ["web1 rolled-back", "web2 unreachable", "web3 rolled-back"]);
    assert!(output.all().contains("1 failed or were given up, 0 allowed"), "{}", output.all());
    for host in ["web1", "web3"] {
        assert_eq!(site.holder(host), None);
    }
    site.fleet(&["resume"]).expect_code(6);
}

/// What the whole site depends on is not given up with its host, as long as nobody knows it.
#[test]
fn a_host_is_not_given_up_with_a_step_that_runs_once() {
    let mut site = Site::start("", &["web1", "web2"], super::resume::RECIPE);
    let running = site.spawn(&["mysite", "deploy", "-P", "1"]);
    wait_for("the step", || site.has("working"));
    drop(running);
    site.host("web1").stop();
    let output = site.fleet(&["resume", "last", "--give-up", "web1"]).expect_code(6);
    assert!(
        output.stderr.contains("web1 cannot be given up: migrate/migrate runs once for the whole site"),
        "{}",
        output.stderr
    );
    let run = run_of(&site);
    assert!(
        output.stderr.contains(&format!("fleet resume {run} --assume-done web1:migrate/migrate --give-up web1")),
        "{}",
        output.stderr
    );
    // Its migration was done, and cannot be taken back: the others stay closed.
    let args = ["resume", &run, "--assume-done", "web1:migrate/migrate", "--give-up", "web1", "--json"];
    let output = site.fleet(&args).expect_code(10);
    assert_eq!(outcomes(&output), ["web1 unreachable", "web2 held"]);
    assert!(!site.journal().contains(&"web2 reopen".to_owned()), "{:?}", site.journal());
    let output = site.fleet(&["undo", &run, "--json"]).expect_code(10);
    assert_eq!(outcomes(&output), ["web1 unreachable", "web2 held"]);
}

#[test]
fn a_run_that_leaves_steps_out_holds_and_says_so_before() {
    for flags in [&["--skip", "first"][..], &["--only", "work"], &["--start-at", "work"]] {
        let site = Site::start("", &["web1"], UNDO_FAILS);
        let note = "steps are left out, so nothing is rolled back on failure";
        let plan = site.fleet(&[&["mysite", "deploy", "--dry-run"], flags].concat()).expect_code(0).stdout;
        assert!(
            plan.contains(note) && plan.contains("with the first, nothing is rolled back: hosts are held for a person"),
            "{plan}"
        );
        let output = site.fleet(&[&["mysite", "deploy", "--json"], flags].concat()).expect_code(10);
        assert_eq!(outcomes(&output), ["web1 held"]);
        assert!(output.stderr.starts_with(&format!("note: {note}")), "{}", output.stderr);
        assert_eq!(site.journal(), ["work"]);
        site.fleet(&["undo"]).expect_code(0);
        assert_eq!(site.journal(), ["work", "unwork"]);
    }
}
