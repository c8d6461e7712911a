//! Two runs at one site, whoever starts them from where; what hosts tell of it, and how a lock is taken away.

use std::fs;

use rustix::process::Signal;

use super::{Site, outcomes, story};
use crate::support::files;
use crate::support::process::wait_for;
use crate::support::project::Project;
use crate::support::user::{self, TestUser};

const RECIPE: &str = r#"
[[task.deploy.step]]
name = "close"
run = "echo {{fleet.host}} {{fleet.run}} begin >>@SHARED@/journal"
undo = "echo {{fleet.host}} {{fleet.run}} reopen >>@SHARED@/journal; [ ! -e @SHARED@/fail-undo ]"
[[task.deploy.step]]
name = "work"
run = "touch @SHARED@/working; while [ -e @SHARED@/wait ]; do sleep 0.02; done; [ ! -e @SHARED@/fail ]"
undo = ":"
[[task.deploy.step]]
name = "open"
run = "echo {{fleet.host}} {{fleet.run}} end >>@SHARED@/journal"
[[task.look.step]]
name = "look"
run = "true"
read-only = true
"#;

fn site(hosts: &[&str]) -> Site {
    Site::start("", hosts, RECIPE)
}

fn remove(site: &Site, name: &str) {
    fs::remove_file(site.shared().join(name)).unwrap();
}

#[test]
fn a_second_run_is_told_who_works_on_the_site() {
    let site = site(&["web1", "web2"]);
    let other = site.colleague();
    site.touch("wait");
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("working"));
    let run = wait_for("the lock", || site.holder("web1"));
    let begun = wait_for("the first step of both", || Some(site.journal()).filter(|journal| journal.len() == 2));
    let output = other.fleet(&["mysite", "deploy", "--json"]).expect_code(12);
    assert_eq!(outcomes(&output), ["web1 locked", "web2 locked"]);
    let by = format!("by {}@", user::current());
    for told in [&format!("locked: run {run}, begun 20"), &by, "deploy/work on web1", "its controller is connected"] {
        assert!(output.stderr.contains(told), "{told}: {}", output.stderr);
    }
    // What only looks, and single commands, are nobody's rivals.
    other.fleet(&["mysite", "look"]).expect_code(0);
    other.fleet(&["mysite", "run", "--", "true"]).expect_code(0);
    let status = other.fleet(&["mysite", "status"]).expect_code(0).stdout;
    for told in [&format!("run {run} since"), &by, "running: deploy/work on web2"] {
        assert!(status.contains(told), "{told}: {status}");
    }
    // Its controller is gone, its step is not.
    running.signal(Signal::KILL);
    running.wait();
    let output = wait_for("the server to notice", || {
        let output = other.fleet(&["mysite", "deploy"]).expect_code(12);
        output.stderr.contains("its controller is not connected").then_some(output)
    });
    assert!(output.stderr.contains("running: deploy/work on web1"), "{}", output.stderr);
    assert_eq!(site.journal(), begun, "nothing was run by the others");
    remove(&site, "wait");
    site.fleet(&["resume"]).expect_code(0);
    other.fleet(&["mysite", "deploy"]).expect_code(0);
    let status = other.fleet(&["mysite", "status"]).expect_code(0).stdout;
    assert!(status.contains("free") && status.contains(&format!("{run} succeeded")), "{status}");
    site.check_free();
}

#[test]
fn of_two_that_begin_at_the_same_moment_one_works_at_a_time() {
    let site = site(&["web1", "web2"]);
    let other = site.colleague();
    for round in 1..=10 {
        let _ = fs::remove_file(site.shared().join("journal"));
        let running = [site.spawn(&["mysite", "deploy"]), other.spawn(&["mysite", "deploy"])];
        let outputs = running.map(|running| running.wait());
        // The winner's lock is just taken, which is not abandoned.
        for output in outputs.iter().filter(|output| output.code == Some(12)) {
            assert!(!output.stderr.contains("is not connected"), "{round}: {}", output.stderr);
        }
        let codes = outputs.map(|output| output.code);
        assert!(codes.iter().all(|code| matches!(code, Some(0 | 12))), "{round}: {codes:?}");
        let again = [&*site as &Project, &other].into_iter().zip(codes).filter(|(_, code)| *code == Some(12));
        assert!(again.clone().count() < 2, "{round}: each has kept the other one out");
        for (project, _) in again {
            project.fleet(&["mysite", "deploy"]).expect_code(0);
        }
        for host in ["web1", "web2"] {
            let lines: Vec<String> = site.journal().into_iter().filter(|line| line.starts_with(host)).collect();
            assert_eq!(lines.len(), 4, "{round}: {lines:?}");
            for pair in lines.chunks(2) {
                assert_eq!(pair[0].replace("begin", "end"), pair[1], "{round}: {lines:?}");
            }
        }
        site.check_free();
    }
}

#[test]
fn a_lock_is_given_back_after_success_rollback_and_hold() {
    let site = site(&["web1"]);
    for (fail, code) in [(false, 0), (true, 10)] {
        if fail {
            site.touch("fail");
        }
        site.fleet(&["mysite", "deploy"]).expect_code(code);
        site.check_free();
    }
    let held = Site::start("stage = \"test\"", &["web1"], RECIPE);
    held.touch("fail");
    let output = held.fleet(&["mysite", "deploy", "--json"]).expect_code(10);
    assert_eq!(outcomes(&output), ["web1 held"]);
    // What it left stays for a resume, the lock does not.
    assert!(held.holder("web1").is_none());
}

#[test]
fn a_lock_is_kept_when_an_undo_failed_and_until_it_was_undone() {
    let site = site(&["web1"]);
    site.touch("fail");
    site.touch("fail-undo");
    let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(10);
    assert_eq!(outcomes(&output), ["web1 held"]);
    assert!(site.holder("web1").is_some());
    let output = site.fleet(&["mysite", "check"]);
    assert!(output.stdout.contains("locked by run"), "{}", output.stdout);
    remove(&site, "fail-undo");
    site.fleet(&["undo"]).expect_code(0);
    site.check_free();
}

#[test]
fn a_lock_is_kept_by_a_run_that_was_let_go_of_and_by_an_unknown_step() {
    let site = site(&["web1"]);
    site.touch("wait");
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("working"));
    let run = site.holder("web1").unwrap();
    let gate = files::read(&site.spool("web1").join(&run).join("0.0.1.1.run"));
    let supervisor = gate.split_whitespace().next().unwrap().parse().unwrap();
    crate::support::process::signal(supervisor, Signal::KILL);
    remove(&site, "wait");
    running.wait().expect_code(13);
    assert_eq!(site.holder("web1"), Some(run));
    site.fleet(&["mysite", "deploy"]).expect_code(12);
}

/// What a run long ago has left: its lock, and nothing else.
fn old_lock(site: &Site) -> String {
    let line = "20200101-000000-0000 2020-01-01T00:00:00Z by old@gone: deploy\n";
    site.fleet(&["mysite", "deploy"]).expect_code(0);
    files::write(&site.book("web1").join("lock"), line, 0o600);
    line.to_owned()
}

#[test]
fn a_lock_is_never_broken_by_its_age() {
    let site = site(&["web1"]);
    let line = old_lock(&site);
    let before = site.journal();
    let output = site.fleet(&["mysite", "deploy"]).expect_code(12);
    for told in ["begun 2020-01-01T00:00:00Z by old@gone: deploy", "is not connected", "fleet mysite unlock"] {
        assert!(output.stderr.contains(told), "{told}: {}", output.stderr);
    }
    assert_eq!(files::read(&site.book("web1").join("lock")), line);
    assert_eq!(site.journal(), before);
}

#[test]
fn a_lock_is_taken_away_by_who_says_so_only() {
    let site = site(&["web1"]);
    let line = old_lock(&site);
    let output = site.fleet(&["mysite", "unlock"]).expect_code(6);
    assert!(output.stderr.contains("locked by run 20200101-000000-0000"), "{}", output.stderr);
    assert!(output.stderr.contains("--yes"), "{}", output.stderr);
    assert_eq!(files::read(&site.book("web1").join("lock")), line);
    let no = site.fleet_pty(&["mysite", "unlock"], &[("Take the lock away on 1 host?", "n\r")]);
    assert_eq!(no.code, Some(6), "{}", no.stdout);
    assert_eq!(files::read(&site.book("web1").join("lock")), line);
    let output = site.fleet(&["mysite", "unlock", "--yes"]).expect_code(0);
    assert!(output.stderr.contains("web1: unlocked"), "{}", output.stderr);
    let history = files::read(&site.book("web1").join("history"));
    let last = history.lines().last().unwrap();
    assert!(last.starts_with("20200101-000000-0000 20") && last.contains(" unlocked "), "{history}");
    assert!(last.contains(&format!("{}@", user::current())), "{history}");
    site.check_free();
    let output = site.fleet(&["mysite", "unlock", "--yes"]).expect_code(0);
    assert!(output.stderr.contains("web1: not locked"), "{}", output.stderr);
    site.fleet(&["mysite", "deploy"]).expect_code(0);
}

/// A host that loses its power may keep the name of a file without its content.
#[test]
fn an_empty_lock_is_a_lock_and_can_be_taken_away() {
    let site = site(&["web1"]);
    site.fleet(&["mysite", "deploy"]).expect_code(0);
    files::write(&site.book("web1").join("lock"), "", 0o600);
    let output = site.fleet(&["mysite", "deploy"]).expect_code(12);
    assert!(output.stderr.contains("by a run without a name"), "{}", output.stderr);
    assert!(output.stderr.contains("hint: `fleet mysite unlock`"), "{}", output.stderr);
    let output = site.fleet(&["mysite", "status"]).expect_code(0);
    assert!(output.stdout.contains("run unnamed since an unknown time"), "{}", output.stdout);
    let output = site.fleet(&["mysite", "unlock", "--yes"]).expect_code(0);
    assert!(output.stderr.contains("web1: unlocked"), "{}", output.stderr);
    site.fleet(&["mysite", "deploy"]).expect_code(0);
}

/// Whoever makes the lock opens the file before it writes to it.
#[test]
fn a_lock_that_is_just_being_made_is_waited_for() {
    let site = site(&["web1"]);
    site.fleet(&["mysite", "deploy"]).expect_code(0);
    let lock = site.book("web1").join("lock");
    files::write(&lock, "", 0o600);
    // The other one writes while this one sleeps.
    site.program("web1", "sleep", &format!("echo 20200101-000000-0000 2020 by old@gone: deploy >{}", lock.display()));
    let output = site.fleet(&["mysite", "deploy"]).expect_code(12);
    assert!(output.stderr.contains("by old@gone: deploy"), "{}", output.stderr);
}

/// Its spool is that user's, and the lock is not.
#[test]
fn a_step_that_runs_as_another_user_is_seen_as_root() {
    let user = TestUser::create();
    let recipe =
        format!("[[task.deploy.step]]\nname = \"work\"\nrun = \"echo begun; sleep 600\"\nas = \"{}\"\n", user.name);
    let site = Site::start("", &["web1"], &recipe);
    let mut running = site.spawn(&["mysite", "deploy"]);
    running.wait_for_text("| begun");
    running.signal(Signal::KILL);
    running.wait();
    let told = [
        site.fleet(&["mysite", "status"]).expect_code(0).stdout,
        site.fleet(&["mysite", "deploy"]).expect_code(12).stderr,
        site.fleet(&["mysite", "unlock", "--no-input"]).stderr,
    ];
    for text in told {
        assert!(text.contains("running: deploy/work on web1"), "{text}");
    }
    site.program("web1", "sudo", "exit 1");
    let status = site.fleet(&["mysite", "status"]).expect_code(0).stdout;
    assert!(status.contains(&format!("what of it runs as {} cannot be seen", user.name)), "{status}");
    fs::remove_file(site["web1"].bin().join("sudo")).unwrap();
    let output = site.fleet(&["cancel"]).expect_code(10);
    assert!(output.stdout.contains("rolled back") || output.stdout.contains("held"), "{}", output.stdout);
    wait_for("the end of all commands", || site["web1"].commands().is_empty().then_some(()));
}

#[test]
fn check_tells_what_runs_have_left() {
    let site = site(&["web1"]);
    let output = site.fleet(&["mysite", "check"]).expect_code(0);
    assert_eq!(output.stdout, "web1: nothing to report\n");
    fs::create_dir_all(site.spool("web1").join("20200101-000000-0000")).unwrap();
    files::write(&site.spool("web1").join("20200101-000000-0000/0.0.0.1.out"), vec![b'x'; 5000], 0o600);
    let output = site.fleet(&["mysite", "check"]).expect_code(0);
    assert!(output.stdout.contains("web1: run 20200101-000000-0000 has left"), "{}", output.stdout);
    assert!(output.stdout.contains("of no use any more: rm -r it"), "{}", output.stdout);
}

/// A host whose logind ends all processes at logout. `linger`: what loginctl says of it.
fn killing(uid: &str, linger: &str) -> Site {
    let site = site(&["web1"]);
    files::write(&site["web1"].home().join(".session"), "export XDG_SESSION_ID=1\n", 0o644);
    site.program("web1", "busctl", "echo 'b true'");
    site.program("web1", "loginctl", &format!("echo {linger}"));
    site.program("web1", "id", &format!("case $1 in -u) echo {uid} ;; *) exec /usr/bin/id \"$@\" ;; esac"));
    let noted = site.shared().join("systemd-run");
    let run = format!(
        "echo \"$@\" >>{}; while case $1 in --*) true ;; *) false ;; esac; do shift; done; exec \"$@\"",
        noted.display()
    );
    site.program("web1", "systemd-run", &run);
    site
}

#[test]
fn steps_leave_a_login_session_that_a_logout_would_end() {
    for (uid, flags, said) in
        [("0", "--scope", "in scopes of systemd"), ("1000", "--user --scope", "of the user's systemd")]
    {
        let site = killing(uid, "yes");
        let output = site.fleet(&["mysite", "check"]).expect_code(0);
        assert!(output.stdout.contains(said), "{}", output.stdout);
        site.fleet(&["mysite", "deploy"]).expect_code(0);
        let noted = files::read(&site.shared().join("systemd-run"));
        // One shell for all steps.
        assert_eq!(noted, format!("{flags} --quiet --collect /bin/sh -s\n"));
        assert_eq!(site.journal().len(), 2);
    }
}

#[test]
fn where_there_is_no_way_out_of_the_session_it_is_told() {
    let site = killing("1000", "no");
    let output = site.fleet(&["mysite", "check"]).expect_code(0);
    assert!(output.stdout.contains("KillUserProcesses=yes"), "{}", output.stdout);
    for (args, once) in [(&["mysite", "deploy"][..], 1), (&["mysite", "deploy", "--quiet"], 1)] {
        let output = site.fleet(args).expect_code(0);
        let warning = "systemd-logind ends all processes at logout (KillUserProcesses=yes)";
        // Before anything runs, and where the run is summed up.
        assert_eq!(output.stderr.matches(warning).count(), once, "{}", output.stderr);
        assert!(output.stdout.contains(&format!("warning: web1: {warning}")), "{}", output.stdout);
        let before = output.stderr.split(warning).next().unwrap();
        assert!(!before.contains("started"), "{before}");
    }
    let events = site.fleet(&["mysite", "deploy", "--json"]).expect_code(0);
    let story = story(&events);
    let warned = story.iter().position(|line| line == "less-promised web1").unwrap();
    assert!(warned < story.iter().position(|line| line.starts_with("step-started")).unwrap(), "{story:#?}");
    let logs = site.fleet(&["logs", "last", "web1"]).expect_code(0);
    assert!(logs.stdout.contains("warning: systemd-logind"), "{}", logs.stdout);
    assert!(site.has("systemd-run").is_none());
}
