//! Looking before leaping: `fleet SITE check` and `status` on the hosts, the head of a dry run, the question before Production.

use crate::deploy::Site;
use crate::support::files;
use crate::support::user::TestUser;

const RECIPE: &str = r#"
cwd = "HOME/site"
[task.check]
doc = "is there a database?"
[[task.check.step]]
name = "database"
read-only = true
run = "test -e database || { echo there is no database; exit 1; }"
[[task.status.step]]
name = "release"
read-only = true
run = "echo release 7"
[[task.deploy.phase]]
name = "close"
[[task.deploy.phase.step]]
name = "maintenance-on"
in-force = "closed for visitors"
run = "touch closed"
undo = "rm -f closed"
[[task.deploy.phase]]
name = "roll"
rolling = true
[[task.deploy.phase.step]]
name = "build"
cwd = "HOME/site/releases/new"
run = '''
set -e
echo one
echo two
echo three'''
[[task.deploy.phase.step]]
name = "again"
cwd = "HOME/site/releases/new"
run = '''
set -e
echo one
echo two
echo three'''
[[task.deploy.phase]]
name = "open"
[[task.deploy.phase.step]]
name = "maintenance-off"
ends = ["maintenance-on"]
run = "rm -f closed"
"#;

fn site(head: &str) -> Site {
    let site = Site::start(head, &["web1", "web2", "web3"], "");
    // All homes are of this user; the folder is the same on each host.
    site.recipe(&RECIPE.replace("HOME", &site.shared().display().to_string()));
    site
}

#[test]
fn check_tells_what_is_missing_on_the_hosts_folded_and_changes_nothing() {
    let site = site("");
    let folder = site.shared().join("site");
    let output = site.fleet(&["mysite", "check"]).expect_code(10);
    let missing =
        format!("web[1-3]: cannot enter {}, the working directory of a task's first step\n", folder.display());
    assert!(output.stdout.contains(&missing), "{}", output.stdout);
    let later = format!("web[1-3]: cannot enter {}/releases/new yet; an earlier step may create it", folder.display());
    assert!(output.stdout.contains(&later), "{}", output.stdout);
    assert!(!folder.exists());

    std::fs::create_dir_all(folder.join("releases/new")).unwrap();
    let output = site.fleet(&["mysite", "check"]).expect_code(10);
    assert!(output.stdout.starts_with("web[1-3]: nothing to report\n"), "{}", output.stdout);
    assert!(output.stderr.contains("web2 | database | there is no database"), "the recipe's own: {}", output.stderr);
    assert!(output.stderr.contains("FAILED"), "{}", output.stderr);

    files::write(&folder.join("database"), "", 0o644);
    site.fleet(&["mysite", "check"]).expect_code(0);
    let output = site.fleet(&["mysite", "status"]).expect_code(0);
    assert!(output.stdout.contains("free") && output.stderr.contains("web3 | release | release 7"), "{output:?}");
    for host in ["web1", "web2", "web3"] {
        let left = std::fs::read_dir(site.spool(host)).unwrap().count();
        assert_eq!(left, 0, "{host}: nothing was changed");
    }
}

#[test]
fn check_proves_the_rule_of_sudo_and_the_place_of_the_book_as_root() {
    let (login, other) = (TestUser::create(), TestUser::create());
    let recipe = format!(
        "lock = \"/nowhere/to/be/found\"\nas = \"{}\"\n[[task.deploy.step]]\nname = \"a\"\ncwd = \"/\"
run = \"true\"\n",
        other.name
    );
    let site = Site::start("", &["web1"], &recipe);
    // sshd reads the list as the user who logs in.
    files::set_mode(&site["web1"].home().join(".ssh"), 0o755);
    files::set_mode(&site["web1"].authorized_keys(), 0o644);
    let output = site.fleet(&["mysite", "check", "--user", &login.name]);
    assert_eq!(output.code, Some(10), "{}{}", output.stdout, output.stderr);
    let refused = format!("web1: cannot become {}", other.name);
    assert!(output.stdout.contains(&refused), "{}", output.stdout);
    assert!(
        output.stdout.contains("web1: the folder of the site's book, /nowhere/to/be/found, cannot be made"),
        "{}",
        output.stdout
    );
}

#[test]
fn a_dry_run_begins_with_a_summary_and_shows_long_commands_once() {
    let site = site("[rollout]\nbatches = [1]\n");
    let plan = site.fleet(&["-n", "mysite", "deploy"]).expect_code(0).stdout;
    let head: Vec<&str> = plan.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(
        head,
        [
            "mysite deploy: 3 hosts (web[1-3])",
            "  phases    close; roll (web1, then web2, then web3); open",
            "  parallel  3 hosts at the same time",
            "  failures  none allowed; with the first, everything is rolled back",
            "  closes    closed for visitors (web[1-3])",
            "  undo      1 of 4 steps that change something",
        ]
    );
    assert!(plan.contains("  roll/again\n    as roll/build\n"), "{plan}");
}

#[test]
fn the_question_before_production_comes_after_the_summary() {
    let site = site("stage = \"production\"\n");
    let output = site.fleet_pty(&["mysite", "deploy"], &[("to go on:", "no\n")]);
    assert_eq!(output.code, Some(6), "{}", output.stdout);
    let summary = output.stdout.find("closed for visitors (web[1-3])").unwrap();
    assert!(summary < output.stdout.find("to go on:").unwrap(), "{}", output.stdout);
    // Who only looks is not asked.
    std::fs::create_dir_all(site.shared().join("site/releases/new")).unwrap();
    site.fleet(&["mysite", "status"]).expect_code(0);
}

/// What a follower's tasks need is known without a proof; what is set with each run is not, and that is said.
#[test]
fn check_looks_for_what_a_follower_needs_and_says_what_it_cannot_know() {
    let recipe = r#"
[vars.release]
required = true
[vars.revision]
default = "main"
[task.deploy]
proves = "revision"
[[task.deploy.step]]
name = "pin"
read-only = true
register = "revision"
run = "echo r1"
[[task.promote.step]]
name = "promote"
cwd = "/nowhere/{{revision}}"
run = "echo {{revision}}"
"#;
    let mut site =
        Site::start("stage = \"production\"\nfollows = \"mysite-test\"\n[vars]\nrelease = \"7\"\n", &["web1"], recipe);
    site.add_site("mysite-test", "recipe = \"test\"\nstage = \"test\"", &["test1"]);
    let output = site.fleet(&["mysite", "check"]).expect_code(10);
    assert!(output.stdout.contains("web1: cannot enter /nowhere/main, the working directory of"), "{}", output.stdout);
    let output = site.fleet(&["mysite-test", "check"]).expect_code(0);
    let note = "note: what tasks `deploy`, `promote` of `mysite-test` need is not known: recipe `test` needs the variable `release`";
    assert!(output.stderr.contains(note), "{}", output.stderr);
    assert_eq!(output.stderr.matches("`release`").count(), 1, "said once: {}", output.stderr);
    site.recipe("[[task.deploy.step]]\nname = 7\n");
    let output = site.fleet(&["mysite", "check"]);
    assert!(output.code != Some(0), "a recipe that does not read is not looked at: {output:?}");
}
