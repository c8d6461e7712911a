//! The book of a site on its hosts: who sees the lock, what is in force, and what happens when the lock is being taken.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use super::{Site, check_stream, outcomes};
use crate::support::files;
use crate::support::process::{run, wait_for};
use crate::support::project::Project;
use crate::support::tools::tool;
use crate::support::user::TestUser;

const RECIPE: &str = r#"
lock = "@SHARED@/site/book"
[[task.deploy.step]]
name = "close"
in-force = "closed for visitors"
run = "touch @SHARED@/site/closed"
undo = "rm -f @SHARED@/site/closed"
[[task.deploy.step]]
name = "work"
run = "echo {{fleet.run}} >>@SHARED@/journal; touch @SHARED@/working; while [ -e @SHARED@/wait ]; do sleep 0.02; done; [ ! -e @SHARED@/fail ]"
undo = "[ ! -e @SHARED@/fail-undo ]"
[[task.deploy.step]]
name = "open"
ends = ["close"]
run = "rm -f @SHARED@/site/closed"
undo = "touch @SHARED@/site/closed"
[[task.open.step]]
name = "open"
ends = ["close"]
run = "rm -f @SHARED@/site/closed"
undo = "touch @SHARED@/site/closed"
[[task.shut.step]]
name = "shut"
in-force = "shut"
run = "true"
as = "nobody"
[[task.unshut.step]]
name = "unshut"
ends = ["shut"]
run = "true"
as = "nobody"
"#;

fn site(head: &str) -> Site {
    let site = Site::start(head, &["web1"], RECIPE);
    fs::create_dir_all(site.shared().join("site")).unwrap();
    site
}

fn book(site: &Site) -> std::path::PathBuf {
    site.shared().join("site/book")
}

/// Leaves the site closed, and nobody to open it: a run is killed, and its lock taken away.
fn abandon(site: &Site) -> String {
    site.touch("wait");
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("working"));
    running.signal(Signal::KILL);
    running.wait();
    fs::remove_file(site.shared().join("wait")).unwrap();
    wait_for("the end of the step", || site["web1"].commands().is_empty().then_some(()));
    let unlocked = site.fleet(&["mysite", "unlock", "--yes"]).expect_code(13);
    assert!(unlocked.stderr.contains("in force: closed for visitors (close, run "), "{}", unlocked.stderr);
    unlocked.stderr
}

#[test]
fn what_a_run_left_in_force_is_told_until_it_is_put_right() {
    let site = site("");
    abandon(&site);
    for verb in ["status", "check"] {
        let output = site.fleet(&["mysite", verb]).expect_code(13);
        assert!(output.stdout.contains("web1: in force: closed for visitors (close, run "), "{}", output.stdout);
    }
    // A task of the recipe puts it right.
    site.fleet(&["mysite", "open"]).expect_code(0);
    let status = site.fleet(&["mysite", "status"]).expect_code(0).stdout;
    assert!(status.contains("free") && !status.contains("in force"), "{status}");
    // Undone, it is in force again, though the step that left it was another run's.
    site.fleet(&["undo"]).expect_code(0);
    let status = site.fleet(&["mysite", "status"]).expect_code(13).stdout;
    assert!(status.contains("in force: closed for visitors"), "{status}");
}

#[test]
fn what_was_put_right_by_hand_is_struck_by_its_name_or_its_words() {
    let site = site("");
    for typed in ["close", "closed for visitors"] {
        abandon(&site);
        let output = site.fleet(&["mysite", "unlock", "--forget", "opened", "--yes"]).expect_code(4);
        assert!(output.stderr.contains("`opened` is not in force there; in force: close"), "{}", output.stderr);
        let output = site.fleet(&["mysite", "unlock", "--forget", typed]).expect_code(6);
        assert!(output.stderr.contains("--yes"), "{}", output.stderr);
        site.fleet(&["mysite", "unlock", "--forget", typed, "--yes"]).expect_code(0);
        site.fleet(&["mysite", "status"]).expect_code(0);
        let history = files::read(&book(&site).join("history"));
        let last = history.lines().last().unwrap();
        assert!(last.contains(" forgotten ") && last.ends_with(" mysite close"), "{history}");
        fs::remove_file(site.shared().join("working")).unwrap();
    }
}

#[test]
fn an_effect_goes_with_its_undo_and_comes_back_with_the_undo_of_what_ended_it() {
    let site = site("");
    site.touch("fail");
    let output = site.fleet(&["mysite", "deploy"]).expect_code(10);
    assert!(output.stdout.contains("rolled back"), "{}", output.stdout);
    site.fleet(&["mysite", "status"]).expect_code(0);
    // An undo that fails leaves it there, and the table says it in the recipe's words.
    site.touch("fail-undo");
    let output = site.fleet(&["mysite", "deploy"]).expect_code(10);
    assert!(output.stdout.contains("still in force: closed for visitors"), "{}", output.stdout);
    // While the run has the lock, it is the run's business.
    let status = site.fleet(&["mysite", "status"]).expect_code(0).stdout;
    assert!(status.contains("in force: closed for visitors"), "{status}");
    let refused = site.fleet(&["mysite", "unlock", "--forget", "close", "--yes"]).expect_code(12);
    assert!(refused.stderr.contains("works on the site"), "{}", refused.stderr);
    fs::remove_file(site.shared().join("fail-undo")).unwrap();
    fs::remove_file(site.shared().join("fail")).unwrap();
    site.fleet(&["undo"]).expect_code(0);
    site.fleet(&["mysite", "status"]).expect_code(0);
    // A whole deployment leaves nothing; its undo opens the site as it was before.
    site.fleet(&["mysite", "deploy"]).expect_code(0);
    site.fleet(&["mysite", "status"]).expect_code(0);
    site.fleet(&["undo"]).expect_code(0);
    site.fleet(&["mysite", "status"]).expect_code(0);
    assert!(!site.shared().join("site/closed").exists());
}

/// That user may not write to the book; the login user does it.
#[test]
fn an_effect_of_another_user_s_step_is_in_the_book_as_root() {
    let site = site("");
    site.fleet(&["mysite", "shut"]).expect_code(0);
    let status = site.fleet(&["mysite", "status"]).expect_code(13).stdout;
    assert!(status.contains("in force: shut (shut, run "), "{status}");
    site.fleet(&["mysite", "unshut"]).expect_code(0);
    site.fleet(&["mysite", "status"]).expect_code(0);
}

#[test]
fn an_effect_that_cannot_be_noted_does_not_begin() {
    let site = site("");
    site.fleet(&["mysite", "deploy"]).expect_code(0);
    fs::create_dir_all(book(&site).join("effect.close")).unwrap();
    let output = site.fleet(&["mysite", "deploy"]).expect_code(10);
    assert!(output.stdout.contains("where the site's state is kept"), "{}", output.stdout);
    assert!(!site.shared().join("site/closed").exists());
}

#[test]
fn two_site_files_of_one_folder_share_its_lock() {
    let site = site("");
    let twin = site.read("hosts/mysite.toml");
    site.write("hosts/twin.toml", twin);
    site.touch("wait");
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("working"));
    let output = site.fleet(&["twin", "deploy", "--json"]).expect_code(12);
    check_stream(&output);
    assert_eq!(outcomes(&output), ["web1 locked"]);
    let status = site.fleet(&["twin", "status"]).expect_code(0).stdout;
    assert!(status.contains("running: deploy/work on web1"), "{status}");
    fs::remove_file(site.shared().join("wait")).unwrap();
    running.wait().expect_code(0);
    let status = site.fleet(&["twin", "status"]).expect_code(0).stdout;
    assert!(status.contains(" as mysite: deploy"), "{status}");
    site.fleet(&["twin", "deploy"]).expect_code(0);
}

/// Lets a user of the machine log in to the host, with a home folder of his own.
pub fn admit(site: &Site, user: &TestUser) {
    let home = site.shared().join(&user.name);
    fs::create_dir_all(&home).unwrap();
    run(Command::new(tool("chown")).arg(&user.name).arg(&home));
    let session = site["web1"].home().join(".session");
    let before = files::try_read(&session).unwrap_or_default();
    let line = format!("[ $(id -un) != {} ] || {{ export HOME='{}'; cd; }}\n", user.name, home.display());
    files::write(&session, before + &line, 0o644);
    for (path, mode) in [(site["web1"].home(), 0o755), (site["web1"].home().join(".ssh"), 0o755)] {
        files::set_mode(&path, mode);
    }
    files::set_mode(&site["web1"].authorized_keys(), 0o644);
    for folder in site.shared().ancestors().take(3) {
        files::set_mode(folder, 0o755);
    }
    files::set_mode(&site.shared(), 0o1777);
    files::write(&site.shared().join("journal"), "", 0o666);
}

pub fn log_in_as(project: &Project, user: &TestUser) {
    let file = project.read("hosts/mysite.toml");
    let (before, after) = file.split_once("user = \"").unwrap();
    let (_, after) = after.split_once('"').unwrap();
    project.write("hosts/mysite.toml", format!("{before}user = \"{}\"{after}", user.name));
}

/// The folder of a site that a team deploys: the group's to write to.
fn team_folder(folder: &Path, owner: &TestUser) {
    fs::create_dir_all(folder).unwrap();
    run(Command::new(tool("chown")).arg(format!("{}:users", owner.name)).arg(folder));
    files::set_mode(folder, 0o2775);
}

#[test]
fn two_operators_with_logins_of_their_own_share_the_lock_as_root() {
    let (ann, bob) = (TestUser::create(), TestUser::create());
    let site = site("");
    let other = site.colleague();
    team_folder(&site.shared().join("site"), &ann);
    for (project, user) in [(&*site as &Project, &ann), (&other, &bob)] {
        admit(&site, user);
        log_in_as(project, user);
    }
    site.touch("wait");
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("working"));
    let refused = other.fleet(&["mysite", "deploy", "--json"]).expect_code(12);
    assert_eq!(outcomes(&refused), ["web1 locked"]);
    let unseen = format!("what of it runs as {} cannot be seen", ann.name);
    for told in ["its controller is connected", &unseen] {
        assert!(refused.stderr.contains(told), "{told}: {}", refused.stderr);
    }
    assert!(!refused.stderr.contains("no step of it runs"), "{}", refused.stderr);
    let status = other.fleet(&["mysite", "status"]).expect_code(0).stdout;
    assert!(status.contains(&unseen) && !status.contains("free"), "{status}");
    // What cannot be seen is not over: no `--yes` takes this lock away.
    let refused = other.fleet(&["mysite", "unlock", "--yes"]).expect_code(6);
    assert!(refused.stderr.contains("--yes does not answer this"), "{}", refused.stderr);
    fs::remove_file(site.shared().join("wait")).unwrap();
    running.wait().expect_code(0);
    other.fleet(&["mysite", "deploy"]).expect_code(0);
    site.fleet(&["mysite", "deploy"]).expect_code(0);
    assert_eq!(site.journal().len(), 3);
}

#[test]
fn who_may_not_write_to_the_book_deploys_nothing_as_root() {
    let (ann, bob) = (TestUser::create(), TestUser::create());
    let site = site("");
    let other = site.colleague();
    team_folder(&site.shared().join("site"), &ann);
    files::set_mode(&site.shared().join("site"), 0o755);
    for (project, user) in [(&*site as &Project, &ann), (&other, &bob)] {
        admit(&site, user);
        log_in_as(project, user);
    }
    site.fleet(&["mysite", "deploy"]).expect_code(0);
    let refused = other.fleet(&["mysite", "deploy", "--json"]).expect_code(10);
    assert_eq!(outcomes(&refused), ["web1 failed"]);
    assert!(refused.stderr.contains(&format!("{} cannot write to ", bob.name)), "{}", refused.stderr);
    let status = other.fleet(&["mysite", "status"]).expect_code(13).stdout;
    assert!(status.contains("cannot be seen"), "{status}");
    assert_eq!(site.journal().len(), 1);
}

#[test]
fn a_book_without_a_folder_above_it_is_refused_before_anything_starts() {
    let site = site("");
    fs::remove_dir(site.shared().join("site")).unwrap();
    let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(10);
    assert_eq!(outcomes(&output), ["web1 failed"]);
    assert!(output.stderr.contains("where the site's lock is kept"), "{}", output.stderr);
    assert!(!site.shared().join("site").exists());
}

/// The recipe says where the book is. While it does not read, the last run's is asked, and what nobody knows is not called free.
#[test]
fn a_recipe_that_does_not_read_makes_no_lock_look_free() {
    let site = site("");
    let broken = |broken: bool| site.recipe(&if broken { "[task".to_owned() } else { RECIPE.replacen('\n', "", 1) });
    broken(true);
    let status = site.fleet(&["mysite", "status"]).expect_code(13);
    assert!(status.stdout.contains("cannot be seen") && !status.stdout.contains("free"), "{}", status.stdout);
    let warned = "where the lock of `mysite` lies is not known: recipes/test.toml:3: unclosed table";
    assert!(status.stderr.contains(warned), "{}", status.stderr);
    broken(false);
    site.touch("wait");
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("working"));
    broken(true);
    let status = site.fleet(&["mysite", "status"]).expect_code(0).stdout;
    assert!(status.contains("running: deploy/work on web1"), "{status}");
    fs::remove_file(site.shared().join("wait")).unwrap();
    running.wait().expect_code(0);
}
