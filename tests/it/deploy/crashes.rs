//! SIGKILL of the controller at each point at which it has written its record to the disk, and at each line of a resumed one.
//!
//! strace kills it as it enters the system call that is counted: `fdatasync` once per commit of `events.jsonl`. Single writes to that file
//! can be chosen only by its path, which has the run's name in it, and so only in a run that is resumed; `src/engine/tests/resume.rs`
//! has every line of a new run.

use std::process::Command;

use super::Site;
use crate::support::output::Output;
use crate::support::process::wait_for;
use crate::support::tools::tool;

const RECIPE: &str = r#"
[[task.deploy.phase]]
name = "close"
[[task.deploy.phase.step]]
name = "close"
run = "echo {{fleet.host}} close >>@SHARED@/journal"
undo = "echo {{fleet.host}} reopen >>@SHARED@/journal"
[[task.deploy.phase]]
name = "migrate"
on = "db"
once = true
[[task.deploy.phase.step]]
name = "migrate"
run = "echo {{fleet.host}} migrate >>@SHARED@/journal; touch @SHARED@/working; while [ -e @SHARED@/wait ]; do sleep 0.02; done; echo b-7"
undo = "echo {{fleet.host}} restore >>@SHARED@/journal"
register = "backup"
[[task.deploy.phase]]
name = "roll"
rolling = true
[[task.deploy.phase.step]]
name = "pull"
run = "echo {{fleet.host}} pull {{backup}} >>@SHARED@/journal; test {{fleet.host}} = web1 || test ! -e @SHARED@/fail"
undo = "echo {{fleet.host}} unpull {{backup}} >>@SHARED@/journal"
"#;

const DONE: [&str; 5] = ["web1 close", "web1 migrate", "web1 pull b-7", "web2 close", "web2 pull b-7"];
const UNDONE: [&str; 10] = [
    "web1 close",
    "web1 migrate",
    "web1 pull b-7",
    "web1 reopen",
    "web1 restore",
    "web1 unpull b-7",
    "web2 close",
    "web2 pull b-7",
    "web2 reopen",
    "web2 unpull b-7",
];

fn site() -> Site {
    Site::start("[rollout]\nbatches = [1]", &["web1", "web2"], RECIPE)
}

/// Runs fleet, and kills it as it enters this system call for the `nth` time.
fn killed_at(site: &Site, call: &str, nth: usize, of: Option<&str>, args: &[&str]) -> Output {
    let fleet = site.command(args);
    let mut strace = Command::new(tool("strace"));
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:signal=SIGKILL:when={nth}")]);
    strace.args(of.into_iter().flat_map(|path| ["-P", path]));
    strace.arg(fleet.get_program()).args(fleet.get_args()).current_dir(site.root()).env_clear();
    strace.envs(fleet.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.stdin(std::process::Stdio::null());
    site.run(args, &mut strace)
}

fn is_killed(output: &Output) -> bool {
    matches!(output.code, None | Some(137))
}

/// Each step and each undo was run exactly once, and those of a host in order.
#[track_caller]
fn check_once(site: &Site, expected: &[&str], case: &str) {
    let ran = site.journal();
    let mut sorted = ran.clone();
    sorted.sort();
    assert_eq!(sorted, expected, "{case}");
    let place = |line: &str| ran.iter().position(|other| other == line);
    for host in ["web1", "web2"] {
        let order = ["close", "migrate", "pull b-7", "unpull b-7", "restore", "reopen"];
        let places: Vec<usize> = order.iter().filter_map(|line| place(&format!("{host} {line}"))).collect();
        assert!(places.is_sorted(), "{case}: {ran:?}");
    }
    site.check_free();
}

/// Kills a deployment at every commit of its record, one after the other, and resumes it each time.
fn at_every_commit(fail: bool) {
    let site = site();
    let (code, expected) = if fail { (10, &UNDONE[..]) } else { (0, &DONE[..]) };
    for nth in 1.. {
        let _ = std::fs::remove_dir_all(site.shared());
        std::fs::create_dir_all(site.shared()).unwrap();
        if fail {
            site.touch("fail");
        }
        let output = killed_at(&site, "fdatasync", nth, None, &["mysite", "deploy"]);
        if !is_killed(&output) {
            output.expect_code(code);
            check_once(&site, expected, "undisturbed");
            // At least one a step; how many more there are is a matter of what comes in together.
            assert!(nth > 5, "only {nth} commits were seen");
            return;
        }
        let case = format!("killed at commit {nth}");
        let resumed = site.fleet(&["resume"]);
        // At its very last commit its last line is written: nothing is left to do.
        let over = resumed.code == Some(6) && resumed.stderr.contains("there is nothing to resume");
        assert!(over || resumed.code == Some(code), "{case}: {:?}\n{}", resumed.code, resumed.all());
        check_once(&site, expected, &case);
    }
}

#[test]
fn a_controller_killed_at_any_commit_of_its_record_is_followed_by_one_that_finishes() {
    at_every_commit(false);
}

#[test]
fn a_controller_killed_at_any_commit_of_a_run_that_fails_is_followed_by_one_that_undoes() {
    at_every_commit(true);
}

/// Each was unfinished for ever, and the last run. A record gets its name when it is whole.
#[test]
fn a_controller_killed_while_it_makes_its_record_leaves_no_run() {
    let site = site();
    std::fs::create_dir_all(site.shared()).unwrap();
    for nth in 1.. {
        let output = killed_at(&site, "fsync", nth, None, &["mysite", "deploy"]);
        if !is_killed(&output) {
            output.expect_code(0);
            assert!(nth > 5, "only {nth} were seen");
            break;
        }
        assert!(site.journal().is_empty());
        for args in [&["resume"][..], &["undo", "--yes"], &["show"], &["attach"], &["cancel", "--yes"]] {
            let told = site.fleet(args).expect_code(4).stderr;
            assert!(told.contains("no run is on record") || told.contains("was not started"), "{args:?}: {told}");
        }
    }
    let listed = site.fleet(&["runs"]).expect_code(0).stdout;
    assert_eq!(listed.matches(" succeeded").count(), 1, "{listed}");
    check_once(&site, &DONE, "undisturbed");
    // What was not started is not in the way of what comes after it.
    killed_at(&site, "fsync", 1, None, &["mysite", "deploy"]);
    site.fleet(&["undo", "--yes"]).expect_code(0);
    assert!(site.journal().contains(&"web1 restore".to_owned()));
}

#[test]
fn a_resumed_run_is_killed_at_any_line_of_its_record() {
    let site = site();
    for nth in 1.. {
        let _ = std::fs::remove_dir_all(site.shared());
        std::fs::create_dir_all(site.shared()).unwrap();
        site.touch("wait");
        let running = site.spawn(&["mysite", "deploy"]);
        wait_for("the step", || site.has("working"));
        running.signal(rustix::process::Signal::KILL);
        running.wait();
        std::fs::remove_file(site.shared().join("wait")).unwrap();
        let runs = std::fs::read_dir(site.root().join(".fleet/runs")).unwrap();
        let run = runs.map(|run| run.unwrap().path()).filter(|run| run.join("events.jsonl").exists()).max().unwrap();
        let path = run.join("events.jsonl").display().to_string();
        let output = killed_at(&site, "write", nth, Some(&path), &["resume"]);
        if !is_killed(&output) {
            output.expect_code(0);
            check_once(&site, &DONE, "undisturbed");
            assert!(nth > 10, "only {nth} writes were seen");
            return;
        }
        site.fleet(&["resume"]).expect_code(0);
        check_once(&site, &DONE, &format!("killed at line {nth}"));
    }
}

#[test]
fn a_torn_last_line_is_cut_off() {
    let site = site();
    site.touch("wait");
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("working"));
    running.signal(rustix::process::Signal::KILL);
    running.wait();
    std::fs::remove_file(site.shared().join("wait")).unwrap();
    let runs = std::fs::read_dir(site.root().join(".fleet/runs")).unwrap();
    let run = runs.map(|run| run.unwrap().path()).find(|run| run.join("events.jsonl").exists()).unwrap();
    let path = run.join("events.jsonl");
    let whole = crate::support::files::read(&path);
    let torn = format!("{whole}{}", &whole.lines().last().unwrap()[..40]);
    crate::support::files::write(&path, torn, 0o600);
    assert!(site.fleet(&["show"]).stdout.contains("deploy"));
    site.fleet(&["resume"]).expect_code(0);
    check_once(&site, &DONE, "torn");
}
