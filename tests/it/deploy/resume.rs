//! A run goes on after its controller ended: `fleet resume`, `fleet undo`, and what a person decides about a step.

use rustix::process::Signal;

use super::{Site, outcomes, story};
use crate::support::files;
use crate::support::output::Output;
use crate::support::process::wait_for;

/// The step in the middle waits for the file `go`.
pub const RECIPE: &str = r#"
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
name = "read"
run = "echo b-7"
register = "backup"
[[task.deploy.phase.step]]
name = "migrate"
run = "echo {{fleet.host}} migrate >>@SHARED@/journal; echo half; touch @SHARED@/working; while [ ! -e @SHARED@/go ]; do sleep 0.02; done; echo whole; echo {{fleet.host}} migrated >>@SHARED@/journal"
undo = "echo {{fleet.host}} restore {{backup}} >>@SHARED@/journal"
[[task.deploy.phase]]
name = "open"
[[task.deploy.phase.step]]
name = "open"
run = "echo {{fleet.host}} open {{backup}} >>@SHARED@/journal"
ends = ["close"]
"#;

fn site() -> Site {
    Site::start("", &["web1", "web2"], RECIPE)
}

/// Deploys, and kills the controller in the middle of the migration.
pub fn killed(site: &Site) {
    let running = site.spawn(&["mysite", "deploy", "-P", "1"]);
    wait_for("the step", || site.has("working"));
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, None);
}

fn journal(site: &Site) -> Vec<String> {
    let mut lines = site.journal();
    // Two hosts do the same at the same time.
    lines.sort();
    lines
}

/// What the step printed, as the logs have it.
fn printed(site: &Site, step: &str) -> String {
    let logs = site.fleet(&["logs", "last", "--step", step]).expect_code(0);
    let lines = logs.stdout.split_inclusive('\n');
    lines.filter_map(|line| line.split_once(" out| ")).map(|(_, text)| text).collect()
}

#[test]
fn a_killed_controller_s_step_goes_on_and_resume_finishes_the_run() {
    let site = site();
    killed(&site);
    site.touch("go");
    let output = site.fleet(&["resume", "--json"]).expect_code(0);
    assert_eq!(outcomes(&output), ["web1 succeeded", "web2 succeeded"]);
    let expected = ["web1 close", "web1 migrate", "web1 migrated", "web1 open b-7", "web2 close", "web2 open b-7"];
    assert_eq!(journal(&site), expected);
    assert_eq!(printed(&site, "migrate"), "half\nwhole\n");
    let shown = site.fleet(&["show"]).expect_code(0);
    assert!(shown.stdout.contains("mysite deploy succeeded"), "{}", shown.stdout);
    // Nothing is left on the hosts, and the site is free.
    site.check_free();
    site.fleet(&["resume"]).expect_code(6);
}

#[test]
fn undo_takes_back_what_a_killed_run_has_done() {
    let site = site();
    killed(&site);
    site.touch("go");
    let output = site.fleet(&["undo", "--json"]).expect_code(0);
    assert_eq!(outcomes(&output), ["web1 rolled-back", "web2 rolled-back"], "{:#?}", story(&output));
    let expected =
        ["web1 close", "web1 migrate", "web1 migrated", "web1 reopen", "web1 restore b-7", "web2 close", "web2 reopen"];
    assert_eq!(journal(&site), expected);
}

#[test]
fn a_run_that_succeeded_can_be_undone() {
    let site = site();
    site.touch("go");
    site.fleet(&["mysite", "deploy"]).expect_code(0);
    let output: Output = site.fleet(&["undo", "--json"]).expect_code(0);
    assert_eq!(outcomes(&output), ["web1 rolled-back", "web2 rolled-back"]);
    assert!(
        site.journal().ends_with(&["web1 reopen".to_owned(), "web2 reopen".to_owned()])
            || site.journal().ends_with(&["web2 reopen".to_owned(), "web1 reopen".to_owned()])
    );
}

#[test]
fn output_of_a_step_is_told_while_it_runs() {
    let site = site();
    let mut running = site.spawn(&["mysite", "deploy"]);
    running.wait_for_text("| half");
    site.touch("go");
    running.wait().expect_code(0);
}

/// One step in the middle of three on one host. `@WORK@` is its head.
const SHORT: &str = r#"
[[task.deploy.step]]
name = "token"
run = "echo hunter2"
register = "token"
secret-output = true
[[task.deploy.step]]
name = "first"
run = "echo first >>@SHARED@/journal"
undo = "touch @SHARED@/undoing; if [ -e @SHARED@/hold-undo ]; then while [ ! -e @SHARED@/go-undo ]; do sleep 0.02; done; fi; echo unfirst >>@SHARED@/journal"
[[task.deploy.step]]
name = "work"
run = "echo begin >>@SHARED@/journal; touch @SHARED@/working; while [ ! -e @SHARED@/go ]; do sleep 0.02; done; echo end >>@SHARED@/journal; [ ! -e @SHARED@/fail ]"
undo = "echo unwork >>@SHARED@/journal"
@WORK@
[[task.deploy.step]]
name = "last"
run = "echo last $(printf %s {{token}} | wc -c) >>@SHARED@/journal"
"#;

pub fn short(head: &str, work: &str) -> Site {
    let recipe = SHORT.replace("@WORK@", work);
    // A secret value is on the host alone, and is gone with the lock, which a run that is held by policy gives back.
    let recipe = if head.is_empty() { recipe } else { recipe.replace("{{token}}", "hunter2") };
    Site::start(head, &["web1"], &recipe)
}

/// The run, as its folder is called.
pub fn run_of(site: &Site) -> String {
    let runs = std::fs::read_dir(site.root().join(".fleet/runs")).unwrap();
    runs.map(|run| run.unwrap().file_name().into_string().unwrap()).filter(|name| name.starts_with('2')).max().unwrap()
}

/// As if the host had been rebooted: it has another boot id, and the step's processes are gone.
fn reboot(site: &Site) {
    for pid in site["web1"].commands() {
        crate::support::process::signal(pid, Signal::KILL);
    }
    wait_for("the end of all processes", || site["web1"].commands().is_empty().then_some(()));
    let folder = site.spool("web1").join(run_of(site));
    let boot = files::read(std::path::Path::new("/proc/sys/kernel/random/boot_id"));
    let mut changed = 0;
    for entry in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        let text = files::read(&entry);
        if text.contains(boot.trim()) {
            files::write(&entry, text.replace(boot.trim(), "00000000-0000-0000-0000-000000000000"), 0o600);
            changed += 1;
        }
    }
    assert!(changed >= 3, "{changed}: boot, connection and the step");
}

/// Kills what waits for the step in the middle on the first host.
pub fn kill_supervisor(site: &Site) {
    kill_in_gate(site, 0);
}

/// Kills the step in the middle, too.
fn kill_step(site: &Site) {
    kill_supervisor(site);
    kill_in_gate(site, 1);
}

fn kill_in_gate(site: &Site, line: usize) {
    let gate = files::read(&site.spool("web1").join(run_of(site)).join("0.0.2.1.run"));
    let pid = gate.lines().nth(line).unwrap().split(' ').next().unwrap().parse().unwrap();
    crate::support::process::signal(pid, Signal::KILL);
}

/// After a resume that cannot tell: exit 13, held, locked, and said so.
#[track_caller]
fn check_unknown(site: &Site, why: &str) {
    for _ in 0..2 {
        let output = site.fleet(&["resume", "--json"]).expect_code(13);
        assert_eq!(outcomes(&output), ["web1 unknown"]);
        assert!(output.all().contains(why), "{}", output.all());
    }
    assert_eq!(site.journal(), ["first", "begin"]);
    assert_eq!(site.holder("web1"), Some(run_of(site)));
    site.fleet(&["mysite", "deploy"]).expect_code(12);
}

const REBOOTED: &str = "the host was rebooted while it was running";

/// A run whose outcome on the host cannot be found out. The later run, which was refused, is the last one then.
fn unknown() -> (Site, String) {
    let site = short("", "");
    killed(&site);
    reboot(&site);
    let run = run_of(&site);
    check_unknown(&site, REBOOTED);
    (site, run)
}

#[test]
fn after_a_reboot_a_step_may_be_taken_for_done() {
    let (site, run) = unknown();
    let output = site.fleet(&["resume", &run, "--assume-done", "nothing"]).expect_code(4);
    assert!(output.stderr.contains("web1:deploy/work"), "{}", output.stderr);
    site.fleet(&["resume", &run, "--assume-done", "web1:work"]).expect_code(0);
    assert_eq!(site.journal(), ["first", "begin", "last 7"], "its secret value is still there");
    site.check_free();
}

#[test]
fn after_a_reboot_a_step_may_be_run_again() {
    let (site, run) = unknown();
    site.touch("go");
    site.fleet(&["resume", &run, "--rerun", "work"]).expect_code(0);
    assert_eq!(site.journal(), ["first", "begin", "begin", "end", "last 7"]);
    site.check_free();
}

#[test]
fn after_a_reboot_a_run_may_be_undone() {
    let (site, run) = unknown();
    site.fleet(&["undo", &run]).expect_code(0);
    assert_eq!(site.journal(), ["first", "begin", "unwork", "unfirst"]);
    site.check_free();
}

#[test]
fn a_lost_spool_leaves_the_step_unknown() {
    let site = short("", "");
    killed(&site);
    reboot(&site);
    std::fs::remove_dir_all(site.spool("web1")).unwrap();
    let output = site.fleet(&["resume", "--json"]).expect_code(13);
    assert_eq!(outcomes(&output), ["web1 unknown"]);
    assert!(output.all().contains("its folder on the host is gone"), "{}", output.all());
    assert_eq!(site.journal(), ["first", "begin"]);
    site.fleet(&["undo"]).expect_code(0);
    assert_eq!(site.journal(), ["first", "begin", "unwork", "unfirst"]);
    site.check_free();
}

#[test]
fn a_killed_supervisor_leaves_the_step_unknown() {
    let site = short("", "");
    killed(&site);
    kill_step(&site);
    check_unknown(&site, "its supervisor on the host was killed");
}

#[test]
fn an_idempotent_step_whose_end_nobody_knows_is_run_again() {
    let site = short("", "idempotent = true");
    killed(&site);
    reboot(&site);
    site.touch("go");
    site.fleet(&["resume"]).expect_code(0);
    assert_eq!(site.journal(), ["first", "begin", "begin", "end", "last 7"]);
    site.check_free();
}

#[test]
fn another_recipe_is_refused_and_the_old_plan_can_be_kept_to() {
    let site = short("", "");
    killed(&site);
    site.touch("go");
    site.recipe(&SHORT.replace("@WORK@", "").replace("echo last", "echo other"));
    let output = site.fleet(&["resume"]).expect_code(6);
    assert!(output.stderr.contains("step deploy/last is another one"), "{}", output.stderr);
    assert!(output.stderr.contains("hint: --as-planned"), "{}", output.stderr);
    site.fleet(&["resume", "--as-planned"]).expect_code(0);
    assert_eq!(site.journal(), ["first", "begin", "end", "last 7"]);
}

#[test]
fn a_run_that_is_alive_is_not_taken_over() {
    let site = short("", "");
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("working"));
    for verb in ["resume", "undo"] {
        let output = site.fleet(&[verb]).expect_code(12);
        assert!(output.stderr.contains(&format!("in process {}", running.pid())), "{}", output.stderr);
        assert!(output.stderr.contains("fleet attach"), "{}", output.stderr);
    }
    site.touch("go");
    running.wait().expect_code(0);
    assert_eq!(site.journal(), ["first", "begin", "end", "last 7"]);
}

#[test]
fn a_held_run_goes_forward_when_its_failed_step_is_run_again() {
    let site = short("stage = \"test\"", "");
    site.touch("go");
    site.touch("fail");
    site.fleet(&["mysite", "deploy"]).expect_code(10);
    assert_eq!(site.holder("web1"), None, "a run that is held by policy does not keep the site");
    std::fs::remove_file(site.shared().join("fail")).unwrap();
    site.fleet(&["resume", "--rerun", "work"]).expect_code(0);
    let journal = site.journal();
    assert_eq!(journal[..5], ["first", "begin", "end", "begin", "end"]);
    assert!(journal[5].starts_with("last "), "{journal:?}");
    site.check_free();
}

#[test]
fn a_run_that_was_let_go_of_is_resumed() {
    let mut site = short("", "");
    site.put_proxy_before("web1");
    let mut running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("working"));
    running.signal(Signal::INT);
    running.wait_for_text("no new step starts");
    // The second one would end the step; it does not get through before the third.
    site.proxy("web1").black_hole();
    running.signal(Signal::INT);
    running.wait_for_text("running steps are being ended");
    running.signal(Signal::INT);
    let output = running.wait().expect_code(13);
    assert!(output.stdout.contains("fleet resume"), "{}", output.stdout);
    site.proxy("web1").reset();
    site.proxy("web1").pass();
    let run = run_of(&site);
    assert_eq!(site.holder("web1").as_ref(), Some(&run));
    site.fleet(&["mysite", "deploy"]).expect_code(12);
    site.touch("go");
    site.fleet(&["resume", &run]).expect_code(0);
    assert_eq!(site.journal(), ["first", "begin", "end", "last 7"]);
    site.check_free();
}

#[test]
fn a_controller_that_is_killed_while_undoing_is_followed_by_one_that_undoes() {
    let site = short("", "");
    for name in ["go", "fail", "hold-undo"] {
        site.touch(name);
    }
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the undo", || site.has("undoing"));
    running.signal(Signal::KILL);
    running.wait();
    let resumed = site.spawn(&["resume"]);
    site.touch("go-undo");
    resumed.wait().expect_code(10);
    assert_eq!(site.journal(), ["first", "begin", "end", "unwork", "unfirst"]);
    site.check_free();
}

#[test]
fn a_controller_is_killed_twice() {
    let site = short("", "");
    killed(&site);
    let mut resumed = site.spawn(&["resume"]);
    resumed.wait_for_text("web1");
    let taken_up = || files::read(&site.root().join(".fleet/runs").join(run_of(&site)).join("events.jsonl"));
    wait_for("the second controller", || taken_up().contains("step-resumed").then_some(()));
    resumed.signal(Signal::KILL);
    resumed.wait();
    site.touch("go");
    site.fleet(&["resume"]).expect_code(0);
    assert_eq!(site.journal(), ["first", "begin", "end", "last 7"]);
    site.fleet(&["resume"]).expect_code(6);
    site.check_free();
}

#[test]
fn a_run_after_which_another_one_has_worked_is_not_resumed() {
    let site = short("stage = \"test\"", "");
    site.touch("go");
    site.touch("fail");
    site.fleet(&["mysite", "deploy"]).expect_code(10);
    let first = run_of(&site);
    std::fs::remove_file(site.shared().join("fail")).unwrap();
    site.fleet(&["mysite", "deploy"]).expect_code(0);
    let before = site.journal();
    // It has failed before it came too late; an undo has no failures but its own.
    let late =
        [(&["resume", "--json", first.as_str(), "--rerun", "work"][..], 10), (&["undo", "--json", first.as_str()], 12)];
    for (args, code) in late {
        let output = site.fleet(args).expect_code(code);
        assert!(output.all().contains("has worked on the site here since"), "{}", output.all());
        assert_eq!(outcomes(&output), ["web1 locked"]);
    }
    assert_eq!(site.journal(), before);
    site.check_free();
}

#[test]
fn a_run_whose_lock_was_taken_away_comes_too_late() {
    let site = short("", "");
    killed(&site);
    let first = run_of(&site);
    site.touch("go");
    wait_for("the end of the step", || site.journal().contains(&"end".to_owned()).then_some(()));
    site.fleet(&["mysite", "unlock", "--yes"]).expect_code(0);
    site.fleet(&["mysite", "deploy"]).expect_code(0);
    let before = site.journal();
    let output = site.fleet(&["resume", "--json", &first]).expect_code(12);
    assert!(output.all().contains("has worked on the site here since"), "{}", output.all());
    assert_eq!(outcomes(&output), ["web1 locked"]);
    assert_eq!(site.journal(), before);
}

/// Somebody is at work on a recipe when the controller dies.
#[test]
fn a_recipe_that_does_not_read_is_not_in_the_way() {
    let site = short("", "");
    killed(&site);
    site.write("recipes/test.toml", "garbage = [\n");
    site.fleet(&["mysite", "status"]).expect_code(0);
    site.fleet(&["mysite", "run", "--", "true"]).expect_code(0);
    site.fleet(&["runs"]).expect_code(0);
    site.fleet(&["resume"]).expect_code(3);
    site.touch("go");
    site.fleet(&["resume", "--as-planned"]).expect_code(0);
    let output = site.fleet(&["undo"]).expect_code(0);
    assert!(output.stdout.contains("was undone"), "{}", output.stdout);
    assert!(site.fleet(&["runs"]).expect_code(0).stdout.contains("undone"));
}

/// Nobody can know how it ended, and the run that saw it goes on by itself all the same.
#[test]
fn an_idempotent_step_that_its_own_run_lost_is_run_again() {
    let site = short("stage = \"test\"", "idempotent = true");
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("working"));
    kill_step(&site);
    running.wait().expect_code(13);
    let both = ["--assume-done", "work", "--rerun", "work"];
    site.fleet(&[&["resume"], &both[..]].concat()).expect_code(2);
    site.touch("go");
    site.fleet(&["resume"]).expect_code(0);
    assert_eq!(site.journal().iter().filter(|line| *line == "begin").count(), 2);
}

#[test]
fn what_has_turned_back_runs_no_step_again() {
    let site = Site::start("", &["web1", "web2"], &SHORT.replace("@WORK@", "").replace("{{token}}", "hunter2"));
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the steps", || (site.journal().iter().filter(|line| *line == "begin").count() == 2).then_some(()));
    kill_supervisor(&site);
    site.touch("go");
    let output = running.wait().expect_code(13);
    assert!(!output.stdout.contains("--rerun"), "{}", output.stdout);
    let output = site.fleet(&["resume", "--rerun", "web1:work"]).expect_code(6);
    assert!(output.stderr.contains("has turned back"), "{}", output.stderr);
    site.fleet(&["undo"]).expect_code(0);
    site.check_free();
}
