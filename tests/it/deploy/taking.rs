//! The lock while it is being taken, after it was broken, and when somebody has tampered with what is on the host.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use rustix::process::Signal;

use super::{Site, check_stream, outcomes, story};
use crate::support::files;
use crate::support::process::{run, wait_for};
use crate::support::project::Running;
use crate::support::tools::tool;
use crate::support::user::TestUser;

const RECIPE: &str = r#"
[vars.who]
default = "ann"
[[task.deploy.step]]
name = "work"
run = "echo {{who}} >>@SHARED@/journal; while [ -e @SHARED@/wait-{{who}} ]; do sleep 0.02; done"
undo = "echo undo {{who}} >>@SHARED@/journal"
"#;

/// A host that has made the lock, and does not say so before `hold` is gone.
fn taking(verb: &str) -> (Site, Running) {
    let mut site = Site::start("", &["web1"], RECIPE);
    site.put_proxy_before("web1");
    let wait = "case $* in '-m 700 '*) touch SHARED/taking; while [ -e SHARED/hold ]; do sleep 0.02; done ;; esac\nexec /bin/mkdir \"$@\"";
    site.program("web1", "mkdir", &wait.replace("SHARED", &site.shared().display().to_string()));
    site.touch("hold");
    let running = site.spawn(&["mysite", verb, "--json", "--reconnect-timeout", "1s"]);
    wait_for("the lock", || site.has("taking"));
    assert!(site.holder("web1").is_some());
    (site, running)
}

fn let_go(site: &Site) {
    fs::remove_file(site.shared().join("hold")).unwrap();
    wait_for("the end of all commands", || site["web1"].commands().is_empty().then_some(()));
}

#[test]
fn an_interrupt_while_the_lock_is_taken_gives_it_back() {
    let (site, mut running) = taking("deploy");
    running.signal(Signal::INT);
    running.wait_for_text("\"interrupted\"");
    fs::remove_file(site.shared().join("hold")).unwrap();
    let output = running.wait().expect_code(130);
    check_stream(&output);
    assert_eq!(outcomes(&output), ["web1 untouched"]);
    let told = story(&output);
    let place = |what: &str| told.iter().position(|line| line.starts_with(what)).unwrap_or_else(|| panic!("{told:?}"));
    assert!(place("lock-requested") < place("lock-acquired") && place("lock-acquired") < place("lock-released"));
    site.check_free();
    assert_eq!(site.journal(), [""; 0]);
}

#[test]
fn a_cancellation_while_the_lock_is_taken_gives_it_back() {
    let (site, mut running) = taking("deploy");
    let cancel = site.spawn(&["cancel"]);
    running.wait_for_text("\"interrupted\"");
    fs::remove_file(site.shared().join("hold")).unwrap();
    let output = running.wait().expect_code(130);
    assert_eq!(outcomes(&output), ["web1 untouched"]);
    cancel.wait().expect_code(130);
    site.check_free();
}

/// Whether it is locked, nobody can tell now; whoever takes the run up again finds out, and gives the lock back.
#[test]
fn a_line_that_is_lost_while_the_lock_is_taken_leaves_a_run_that_can_be_taken_up() {
    for (verb, ran) in [("undo", 0), ("cancel", 0), ("resume", 1)] {
        let (site, running) = taking("deploy");
        site.proxy("web1").reset();
        site.proxy("web1").refuse(true);
        let output = running.wait().expect_code(13);
        check_stream(&output);
        assert_eq!(outcomes(&output), ["web1 detached"], "{verb}");
        let_go(&site);
        assert!(site.holder("web1").is_some());
        site.proxy("web1").refuse(false);
        site.fleet(&["mysite", "deploy"]).expect_code(12);
        let run = output.events()[0]["run"].as_str().unwrap().to_owned();
        let freed = site.fleet(&[verb, &run]);
        // A cancelled run has not done what it was for.
        assert_eq!(freed.code, Some(if verb == "cancel" { 10 } else { 0 }), "{verb}: {}", freed.all());
        site.check_free();
        assert_eq!(site.journal().len(), ran, "{verb}: {:?}", site.journal());
    }
}

#[test]
fn a_controller_that_dies_while_the_lock_is_taken_leaves_a_run_that_can_be_taken_up() {
    let (site, running) = taking("deploy");
    running.signal(Signal::KILL);
    running.wait();
    let_go(&site);
    assert!(site.holder("web1").is_some());
    site.fleet(&["undo"]).expect_code(0);
    site.check_free();
}

/// Its lock was broken, and another run works: what the first one then says of the site would be a guess.
#[test]
fn a_run_whose_lock_was_taken_away_leaves_the_next_one_s_lock_alone() {
    let site = Site::start("", &["web1"], RECIPE);
    site.touch("wait-ann");
    site.touch("wait-bob");
    let first = site.spawn(&["mysite", "deploy", "--json"]);
    wait_for("the first step", || (site.journal() == ["ann"]).then_some(()));
    let run = site.holder("web1").unwrap();
    // A `--yes` in a script does not take a lock from a run whose steps run.
    let refused = site.fleet(&["mysite", "unlock", "--yes"]).expect_code(6);
    assert!(refused.stderr.contains("--yes does not answer this"), "{}", refused.stderr);
    assert_eq!(site.holder("web1"), Some(run.clone()));
    let question = format!("Type `{run}`, which may still work there:");
    site.fleet_pty(&["mysite", "unlock", "--yes"], &[(&question, &format!("{run}\r"))]).expect_code(0);
    // Its step runs on, and nobody is told that nothing does.
    let status = site.fleet(&["mysite", "status"]).expect_code(13).stdout;
    assert!(status.contains(&format!("run {run} has no lock, and runs deploy/work on web1")), "{status}");
    let second = site.spawn(&["mysite", "deploy", "-e", "who=bob", "--json"]);
    wait_for("the second step", || (site.journal() == ["ann", "bob"]).then_some(()));
    let other = site.holder("web1").unwrap();
    fs::remove_file(site.shared().join("wait-ann")).unwrap();
    let output = first.wait().expect_code(13);
    assert_eq!(outcomes(&output), ["web1 unknown"]);
    assert!(output.stderr.contains(&format!("and run {other} has it")), "{}", output.stderr);
    assert_eq!(site.holder("web1"), Some(other));
    fs::remove_file(site.shared().join("wait-bob")).unwrap();
    assert_eq!(outcomes(&second.wait().expect_code(0)), ["web1 succeeded"]);
    // No command makes it green afterwards.
    let resumed = site.fleet(&["resume", &run]);
    assert!(matches!(resumed.code, Some(6 | 12 | 13)), "{}", resumed.all());
    assert!(site.fleet(&["show", &run]).stdout.contains("unknown"));
    assert!(site.holder("web1").is_none());
}

/// What it would do from then on, undos as well, it would do beside another run.
#[test]
fn a_run_whose_lock_was_taken_away_starts_nothing_more_on_its_host() {
    let recipe = format!(
        "{RECIPE}[[task.deploy.step]]\nname = \"later\"\nrun = \"echo later {{{{who}}}} >>@SHARED@/journal\"\n"
    );
    let site = Site::start("", &["web1"], &recipe);
    site.touch("wait-ann");
    let first = site.spawn(&["mysite", "deploy", "--json"]);
    wait_for("the first step", || (site.journal() == ["ann"]).then_some(()));
    let run = site.holder("web1").unwrap();
    let question = format!("Type `{run}`, which may still work there:");
    site.fleet_pty(&["mysite", "unlock"], &[(&question, &format!("{run}\r"))]).expect_code(0);
    site.touch("wait-bob");
    let second = site.spawn(&["mysite", "deploy", "-e", "who=bob"]);
    wait_for("the second step", || (site.journal() == ["ann", "bob"]).then_some(()));
    fs::remove_file(site.shared().join("wait-ann")).unwrap();
    let output = first.wait();
    assert!(matches!(output.code, Some(10 | 13)), "{}", output.all());
    assert_eq!(outcomes(&output), ["web1 held"]);
    assert!(output.stderr.contains("the run has no lock there any more"), "{}", output.stderr);
    fs::remove_file(site.shared().join("wait-bob")).unwrap();
    second.wait().expect_code(0);
    assert_eq!(site.journal(), ["ann", "bob", "later bob"]);
    // The next one has worked there since.
    for verb in ["resume", "undo"] {
        let output = site.fleet(&[verb, &run]);
        assert!(!matches!(output.code, Some(0)), "{verb}: {}", output.all());
    }
    assert_eq!(site.journal(), ["ann", "bob", "later bob"]);
    assert!(site.holder("web1").is_none());
}

/// The book went read-only in the meantime, for one.
#[test]
fn a_lock_that_cannot_be_given_back_is_no_success_and_resume_gives_it_back() {
    let site = Site::start("", &["web1"], RECIPE);
    site.program("web1", "rm", "case $* in */book.mysite/lock) exit 1 ;; esac\nexec /bin/rm \"$@\"");
    let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(13);
    assert_eq!(outcomes(&output), ["web1 detached"]);
    assert!(output.stderr.contains("its lock could not be given back"), "{}", output.stderr);
    fs::remove_file(site["web1"].bin().join("rm")).unwrap();
    site.fleet(&["resume"]).expect_code(0);
    site.check_free();
    assert_eq!(site.journal(), ["ann"]);
}

/// The shell of such a step is not one of the login user's.
#[test]
fn a_controller_that_came_again_while_another_user_s_step_runs_is_connected_as_root() {
    let user = TestUser::create();
    let recipe =
        format!("[[task.deploy.step]]\nname = \"work\"\nrun = \"echo begun; sleep 600\"\nas = \"{}\"\n", user.name);
    let mut site = Site::start("", &["web1"], &recipe);
    site.put_proxy_before("web1");
    let mut running = site.spawn(&["mysite", "deploy", "-v"]);
    running.wait_for_text("| begun");
    site.proxy("web1").reset();
    running.wait_for_text("connected again");
    wait_for("the host to notice", || {
        let status = site.fleet(&["mysite", "status"]).expect_code(0).stdout;
        status.contains("its controller is connected").then_some(())
    });
    let refused = site.fleet(&["mysite", "deploy"]).expect_code(12);
    assert!(refused.stderr.contains("its controller is connected"), "{}", refused.stderr);
    site.spawn(&["cancel"]).wait();
    running.wait();
}

#[test]
fn a_lock_that_fleet_has_not_made_is_refused_by_all_and_shown_to_nobody() {
    let site = Site::start("", &["web1"], RECIPE);
    site.fleet(&["mysite", "deploy"]).expect_code(0);
    let before = site.journal().len();
    let lock = site.book("web1").join("lock");
    let kinds: [(&str, &dyn Fn()); 5] = [
        ("escapes", &|| files::write(&lock, "\x1b]0;owned\x07 2020 by me: deploy\n", 0o600)),
        ("a path", &|| files::write(&lock, "../../../etc 2020 by me: deploy\n", 0o600)),
        ("a fifo", &|| drop(run(Command::new(tool("mkfifo")).arg(&lock)))),
        ("a link", &|| symlink("/etc/passwd", &lock).unwrap()),
        ("a folder", &|| fs::create_dir(&lock).unwrap()),
    ];
    for (kind, make) in kinds {
        make();
        let deployed = site.fleet(&["mysite", "deploy"]).expect_code(12);
        assert!(deployed.stderr.contains("which no run of fleet has made"), "{kind}: {}", deployed.stderr);
        let unlocked = site.fleet(&["mysite", "unlock", "--yes"]).expect_code(10);
        assert!(unlocked.stderr.contains("holds no run's name"), "{kind}: {}", unlocked.stderr);
        let status = site.fleet(&["mysite", "status"]).expect_code(0);
        assert!(status.stdout.contains("run unnamed since"), "{kind}: {}", status.stdout);
        for output in [deployed, unlocked, status] {
            assert!(!output.all().contains('\x1b') && !output.all().contains("root:"), "{kind}: {}", output.all());
        }
        assert!(lock.symlink_metadata().is_ok(), "{kind} was removed");
        let _ = if kind == "a folder" { fs::remove_dir(&lock) } else { fs::remove_file(&lock) };
    }
    assert_eq!(site.journal().len(), before);
}

#[test]
fn a_spool_that_others_could_move_away_is_refused() {
    let site = Site::start("", &["web1"], RECIPE);
    // The login makes what it makes for all to write to.
    files::write(&site["web1"].home().join(".session"), "umask 000\n", 0o644);
    site.fleet(&["mysite", "deploy"]).expect_code(0);
    let home = site["web1"].home();
    for folder in [".local", ".local/state", ".local/state/fleet"] {
        assert_eq!(files::mode(&home.join(folder)) & 0o022, 0, "{folder}");
    }
    let bad =
        [(".local", 0o777), (".local/state", 0o757), (".local/state/fleet", 0o750), (".local/state/fleet", 0o704)];
    for (folder, mode) in bad {
        let before = files::mode(&home.join(folder));
        files::set_mode(&home.join(folder), mode);
        let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(10);
        assert_eq!(outcomes(&output), ["web1 failed"], "{folder} {mode:o}");
        assert!(output.stderr.contains("the spool is not safe: "), "{}", output.stderr);
        let checked = site.fleet(&["mysite", "check"]).expect_code(10);
        assert!(checked.stdout.contains("the spool is not safe"), "{}", checked.stdout);
        files::set_mode(&home.join(folder), before);
        site.fleet(&["mysite", "status"]).expect_code(0);
        assert!(site.holder("web1").is_none(), "the refused run has left its lock");
    }
    assert_eq!(site.journal(), ["ann"]);
    // Folders of a group of one's own are usual.
    files::set_mode(&home.join(".local"), 0o775);
    site.fleet(&["mysite", "deploy"]).expect_code(0);
}

/// Where the home folder cannot be written to, the spool is where all may write.
#[test]
fn a_spool_in_var_tmp_that_is_a_link_or_another_user_s_is_refused_as_root() {
    let user = TestUser::create();
    let site = Site::start("", &["web1"], RECIPE);
    files::write(&site["web1"].home().join(".session"), "export HOME=/proc\n", 0o644);
    for path in [site["web1"].home(), site["web1"].home().join(".ssh")] {
        files::set_mode(&path, 0o755);
    }
    files::set_mode(&site["web1"].authorized_keys(), 0o644);
    for folder in site.shared().ancestors().take(3) {
        files::set_mode(folder, 0o755);
    }
    files::set_mode(&site.shared(), 0o777);
    let spool = user.spool();
    let elsewhere = site.shared().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    run(Command::new(tool("chown")).arg(&user.name).arg(&elsewhere));
    symlink(&elsewhere, &spool).unwrap();
    let deploy = ["mysite", "deploy", "--json", "-u", &user.name];
    let linked = site.fleet(&deploy);
    fs::remove_file(&spool).unwrap();
    fs::create_dir(&spool).unwrap();
    fs::set_permissions(&spool, fs::Permissions::from_mode(0o777)).unwrap();
    let foreign = site.fleet(&deploy);
    fs::remove_dir(&spool).unwrap();
    let good = site.fleet(&deploy);
    for output in [linked, foreign] {
        let output = output.expect_code(10);
        assert_eq!(outcomes(&output), ["web1 failed"]);
        assert!(output.stderr.contains("no folder for the spool"), "{}", output.stderr);
    }
    good.expect_code(0);
    assert_eq!(site.journal(), ["ann"]);
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}
