//! Steps that run where fleet runs.

use rustix::process::Signal;

use crate::deploy::Site;
use crate::support::process::{descendants, wait_for};
use crate::support::project::Project;

#[test]
fn a_local_step_runs_in_the_project_for_each_host_with_its_values() {
    let recipe = r#"env = { FROM = "recipe" }
as = "nobody"
cwd = "/nowhere"
[[task.deploy.step]]
name = "here"
local = '''
pwd
echo "$FROM $HOST" {{fleet.host}} "${FLEET_SECRET_X-none}" >>journal; echo loud >&2; cat'''
env = { HOST = "{{fleet.host}}" }
idempotent = true
register = "seen"
[[task.deploy.step]]
name = "there"
as = ""
cwd = "."
run = "echo {{seen}}"
"#;
    let site = Site::start("", &["web1", "web2"], recipe);
    let mut command = site.command(&["mysite", "deploy"]);
    let output = site.run(&["mysite", "deploy"], command.env("FLEET_SECRET_X", "hush hush")).expect_code(0);
    let mut lines: Vec<String> = site.read("journal").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["recipe web1 web1 none", "recipe web2 web2 none"]);
    let root = site.root().canonicalize().unwrap();
    // The column of the steps is as wide as the longest so far.
    let shown = output.stderr.replace("| here |", "| here  |");
    for host in ["web1", "web2"] {
        for line in [
            format!("{host} | here  | {}", root.display()),
            format!("{host} | here  | loud"),
            format!("{host} | there | {}", root.display()),
        ] {
            assert!(shown.contains(&line), "{line}\n{}", output.stderr);
        }
    }
    let plan = site.fleet(&["-n", "mysite", "deploy"]).expect_code(0).stdout;
    assert!(plan.contains("  FROM=recipe\n") && plan.contains("    local   [HOST=web1] pwd\n"), "{plan}");
    assert!(site.fleet(&["tasks", "mysite"]).stdout.contains("  step here  (local)\n"));
}

/// A health step that asks the site from outside is one of these: when it fails, the site goes back.
#[test]
fn a_local_step_that_fails_or_takes_too_long_ends_with_all_that_it_started_and_the_host_is_undone() {
    let recipe = r#"
[[task.deploy.step]]
name = "close"
run = "true"
undo = "echo reopened >>@SHARED@/journal"
[[task.deploy.step]]
name = "ask"
local = "sh -c 'trap \"\" TERM; sleep 600' & trap 'exit 0' TERM; echo asking; wait"
read-only = true
timeout = "300ms"
[[task.fail.step]]
name = "close"
run = "true"
undo = "echo reopened >>@SHARED@/journal"
[[task.fail.step]]
name = "ask"
local = "exit 7"
read-only = true
[[task.block.step]]
name = "ask"
local = "echo 'block too-many -- 7 people are logged in' >>\"$FLEET_FINDINGS\""
read-only = true
[[task.block.step]]
name = "close"
run = "echo closed >>@SHARED@/journal"
"#;
    let site = Site::start("", &["web1"], recipe);
    let output = site.fleet(&["mysite", "deploy"]).expect_code(10);
    assert!(output.stderr.contains("ran into its timeout of 0.3 s"), "{}", output.stderr);
    let output = site.fleet(&["mysite", "fail"]).expect_code(10);
    assert!(output.stderr.contains("exit status 7"), "{}", output.stderr);
    let output = site.fleet(&["mysite", "block"]).expect_code(6);
    assert!(output.stderr.contains("7 people are logged in"), "{}", output.stderr);
    assert_eq!(site.journal(), ["reopened", "reopened"]);
    site.check_free();
}

#[test]
fn ctrl_c_twice_ends_a_local_step_with_its_process_group() {
    let recipe = "[[task.deploy.step]]\nname = \"ask\"\nidempotent = true\n\
                  local = \"sleep 600 & touch @SHARED@/working; wait\"\n";
    let site = Site::start("", &["web1"], recipe);
    let mut running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("working"));
    let started = descendants(running.pid());
    assert!(started.len() >= 2, "{started:?}");
    running.signal(Signal::INT);
    // Two signals at once are one.
    running.wait_for_text("interrupted: no new step starts");
    running.signal(Signal::INT);
    running.wait().expect_code(130);
    let lives = |pid: &u32| std::path::Path::new(&format!("/proc/{pid}/cmdline")).exists();
    wait_for("the end of its processes", || (!started.iter().any(lives)).then_some(()));
}

#[test]
fn a_killed_controller_s_local_step_runs_again() {
    let recipe = "[[task.deploy.step]]\nname = \"ask\"\nread-only = true\n\
                  local = \"echo asked >>@SHARED@/journal; touch @SHARED@/working; while [ ! -e @SHARED@/go ]; do sleep 0.02; done\"\n\
                  [[task.deploy.step]]\nname = \"then\"\nrun = \"echo then >>@SHARED@/journal\"\n";
    let site = Site::start("", &["web1"], recipe);
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("working"));
    let started = descendants(running.pid());
    running.signal(Signal::KILL);
    running.wait();
    // Two of them at the same time would be one too many.
    let lives = |pid: &u32| std::path::Path::new(&format!("/proc/{pid}/cmdline")).exists();
    wait_for("the end of its processes", || (!started.iter().any(lives)).then_some(()));
    site.touch("go");
    site.fleet(&["resume"]).expect_code(0);
    assert_eq!(site.journal(), ["asked", "asked", "then"]);
}

#[test]
fn a_local_step_has_nothing_that_depends_on_the_host() {
    let project = Project::new();
    project.write("hosts/mysite.toml", "recipe = \"test\"\n[[host]]\nname = \"web1\"\n");
    project.write(
        "recipes/test.toml",
        "[[task.t.step]]\nname = \"a\"\nlocal = \"true\"\nundo = \"true\"\nas = \"www\"\nin-force = \"closed\"\nunless = \"true\"\n\
         [[task.t.step]]\nname = \"b\"\nlocal = \"true\"\nrun = \"true\"\nread-only = true\n",
    );
    insta::assert_snapshot!(project.fleet(&["check"]).expect_code(3).stderr, @r#"
    error: no step ends what `a` leaves in force: closed
     --> recipes/test.toml:2:8
      |
    2 | name = "a"
      |        ^^^ add `ends = ["a"]` to the step that does

    error: a `local` step may run again
     --> recipes/test.toml:3:1
      |
    3 | local = "true"
      | ^^^^^ add `read-only = true`, or `idempotent = true`

    error: a `local` step has no `undo`
     --> recipes/test.toml:4:1
      |
    4 | undo = "true"
      | ^^^^ it runs where fleet runs, and is not there any more when fleet is gone

    error: a `local` step has no `as`
     --> recipes/test.toml:5:1
      |
    5 | as = "www"
      | ^^ it runs where fleet runs, and is not there any more when fleet is gone

    error: a `local` step has no `in-force`
     --> recipes/test.toml:6:1
      |
    6 | in-force = "closed"
      | ^^^^^^^^ it runs where fleet runs, and is not there any more when fleet is gone

    error: a `local` step has no `unless`
     --> recipes/test.toml:7:1
      |
    7 | unless = "true"
      | ^^^^^^ it runs where fleet runs, and is not there any more when fleet is gone

    error: `run` and `local` exclude each other
      --> recipes/test.toml:10:1
       |
    10 | local = "true"
       | ^^^^^
    11 | run = "true"
       | --- first here

    7 errors in 1 file; nothing was contacted
    "#);
}

/// A look from outside is what a canary is best watched by: it must stay outside.
#[test]
fn a_watched_local_step_is_repeated_where_fleet_runs() {
    let recipe = r#"
[[task.deploy.phase]]
name = "roll"
rolling = ["1"]
[[task.deploy.phase.step]]
name = "switch"
run = "echo {{fleet.host}} new >>@SHARED@/journal"
undo = "echo {{fleet.host}} old >>@SHARED@/journal"
[[task.deploy.phase.step]]
name = "health"
local = "echo asked >>asked; test $(wc -l <asked) -lt 2"
read-only = true
watch = { every = "1s", failures = 1 }
"#;
    let site = Site::start("", &["web1", "web2"], recipe);
    site.fleet(&["mysite", "deploy"]).expect_code(10);
    assert_eq!(site.read("asked"), "asked\nasked\n", "both in the project's folder");
    assert_eq!(site.journal(), ["web1 new", "web1 old"]);
}
