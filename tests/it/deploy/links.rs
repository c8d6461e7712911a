//! A project that somebody else made, or had their hands in: links lead fleet nowhere, pipes do not hold it up, and a folder of another user is
//! not used.

use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::Site;
use crate::support::files;
use crate::support::output::Output;
use crate::support::process::{run, wait_for};
use crate::support::tools::tool;
use crate::support::user::only_root;

const RECIPE: &str = r#"
[[task.deploy.step]]
name = "work"
run = "touch @SHARED@/working; while [ -e @SHARED@/wait ]; do sleep 0.02; done"
undo = "true"
[[task.hello.step]]
name = "hello"
run = "echo hello"
"#;

fn site() -> Site {
    Site::start("", &["web1"], RECIPE)
}

/// A folder that is none of fleet's business, with a mode and a file.
fn elsewhere(site: &Site) -> PathBuf {
    let folder = site.home().join("elsewhere");
    files::write(&folder.join("precious"), "kept", 0o644);
    files::set_mode(&folder, 0o755);
    folder
}

#[track_caller]
fn check_untouched(folder: &Path) {
    assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    let names: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["precious"]);
    assert_eq!(files::read(&folder.join("precious")), "kept");
}

fn fifo(path: &Path) {
    _ = std::fs::remove_file(path);
    run(Command::new(tool("mkfifo")).args(["-m", "600"]).arg(path));
}

#[track_caller]
fn refused_link(output: &Output, path: &Path) {
    let told = format!("{} is a link, and fleet does not write through links\n", path.display());
    assert!(output.stderr.contains(&told), "{}", output.stderr);
    assert!(output.stderr.contains("hint: rm "), "{}", output.stderr);
}

/// A run whose controller was killed, and its folder.
fn killed(site: &Site) -> PathBuf {
    site.touch("wait");
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("working"));
    running.signal(Signal::KILL);
    running.wait();
    std::fs::remove_file(site.shared().join("wait")).unwrap();
    let mut runs = std::fs::read_dir(site.root().join(".fleet/runs")).unwrap();
    runs.next().unwrap().unwrap().path()
}

/// `DIR` of `.fleet/runs -> DIR` became private, and had a record in it.
#[test]
fn a_link_in_the_place_of_the_records_is_refused_before_anything_is_contacted() {
    let site = site();
    let elsewhere = elsewhere(&site);
    for name in [".fleet", ".fleet/runs"] {
        let link = site.root().join(name);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(&elsewhere, &link).unwrap();
        refused_link(&site.fleet(&["mysite", "hello"]).expect_code(5), &link);
        check_untouched(&elsewhere);
        std::fs::remove_file(&link).unwrap();
    }
    symlink(elsewhere.join("precious"), site.root().join(".fleet/order")).unwrap();
    let told = site.fleet(&["mysite", "hello"]).expect_code(5).stderr;
    assert!(told.contains("it is a link, and fleet does not write through links"), "{told}");
    check_untouched(&elsewhere);
    std::fs::remove_file(site.root().join(".fleet/order")).unwrap();
    // Through a link to a folder that is not there, nothing is made.
    std::fs::remove_dir(site.root().join(".fleet/runs")).unwrap();
    symlink("../nothing", site.root().join(".fleet/runs")).unwrap();
    refused_link(&site.fleet(&["mysite", "hello"]).expect_code(5), &site.root().join(".fleet/runs"));
    assert!(!site.root().join("nothing").exists() && !site["web1"].log().contains("Accepted"));
}

#[test]
fn a_link_in_the_record_of_a_run_is_refused_when_the_run_is_taken_up() {
    let site = site();
    let elsewhere = elsewhere(&site);
    let run = killed(&site);
    for name in ["web1.log", "events.jsonl", "controller", "plan.json"] {
        let (file, kept) = (run.join(name), run.join("kept"));
        std::fs::rename(&file, &kept).unwrap();
        files::write(&elsewhere.join("precious"), files::read(&kept), 0o644);
        symlink(elsewhere.join("precious"), &file).unwrap();
        for args in [&["resume"][..], &["undo", "--yes"]] {
            refused_link(&site.fleet(args).expect_code(5), &file);
            assert_eq!(files::read(&elsewhere.join("precious")), files::read(&kept), "{name}");
        }
        std::fs::rename(&kept, &file).unwrap();
    }
    // What is only read may lie behind a link.
    let moved = site.home().join("moved");
    std::fs::rename(&run, &moved).unwrap();
    symlink(&moved, &run).unwrap();
    site.fleet(&["show"]).expect_code(0);
    refused_link(&site.fleet(&["resume"]).expect_code(5), &run);
    std::fs::remove_file(&run).unwrap();
    std::fs::rename(&moved, &run).unwrap();
    site.fleet(&["resume"]).expect_code(0);
}

#[test]
fn keys_go_through_no_link_and_what_is_read_may() {
    let site = site();
    let elsewhere = elsewhere(&site);
    let keys = site.root().join("keys");
    let moved = site.home().join("keys");
    std::fs::rename(&keys, &moved).unwrap();
    symlink(&elsewhere, &keys).unwrap();
    let told = site.fleet(&["generate-keys"]).expect_code(5).stderr;
    assert!(told.contains("it is a link, and fleet does not write through links"), "{told}");
    check_untouched(&elsewhere);
    // Sites, the private key and the pinned host keys may lie where several projects share them.
    std::fs::remove_file(&keys).unwrap();
    std::fs::create_dir(&keys).unwrap();
    for name in ["fleet", "known_hosts"] {
        symlink(moved.join(name), keys.join(name)).unwrap();
    }
    std::fs::rename(site.root().join("hosts"), site.home().join("hosts")).unwrap();
    symlink(site.home().join("hosts"), site.root().join("hosts")).unwrap();
    site.fleet(&["mysite", "hello"]).expect_code(0);
    // A link is something: no pair is written over it.
    site.fleet(&["generate-keys"]).expect_code(5);
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_told_and_not_waited_for() {
    let site = site();
    let run = killed(&site);
    for (name, all) in [
        ("request.json", &[&["resume"][..]][..]),
        ("controller", &[&["runs"]]),
        ("web1.log", &[&["logs", "last"], &["resume"]]),
        ("plan.json", &[&["show"], &["logs", "last"], &["resume"], &["undo", "--yes"]]),
        ("events.jsonl", &[&["runs"], &["show"], &["attach"], &["resume"], &["undo", "--yes"], &["cancel", "--yes"]]),
        ("../../order", &[&["runs"], &["show"], &["mysite", "hello"]]),
        ("../../../keys/known_hosts", &[&["mysite", "hello"], &["mysite", "trust", "--yes"]]),
        ("../../../keys/fleet.pub", &[&["mysite", "distribute-keys"]]),
        ("../../../keys/fleet", &[&["mysite", "hello"], &["mysite", "distribute-keys"]]),
    ] {
        let (file, kept) = (run.join(name), run.join("kept"));
        std::fs::rename(&file, &kept).unwrap();
        fifo(&file);
        for args in all {
            let output = site.fleet(args);
            let told = output.all();
            assert!(told.contains("not a regular file") || args == &["runs"], "{name} {args:?}: {told}");
        }
        std::fs::rename(&kept, &file).unwrap();
    }
    site.fleet(&["resume"]).expect_code(0);
}

/// As git refuses a repository: what it says would be done with the keys of whoever stands in it.
#[test]
fn a_project_of_another_user_or_of_everybody_is_refused_as_root() {
    only_root("gives a folder away");
    let site = site();
    let all =
        [&["list"][..], &["check"], &["runs"], &["mysite", "hello"], &["generate-keys"], &["mysite", "trust", "--yes"]];
    for folder in ["", "hosts", "recipes", "keys"] {
        let path = site.root().join(folder);
        chown(&path, Some(65534), None).unwrap();
        let shown = path.display().to_string();
        let told = format!(
            "error: {} belongs to user 65534: fleet does not use it, because the recipes of a project run with your keys\n\
             hint: use a copy of your own, or sudo -u '#65534' fleet ...\n",
            shown.trim_end_matches('/')
        );
        for args in all {
            assert_eq!(site.fleet(args).expect_code(6).stderr, told);
        }
        // Who typed `sudo fleet` in a project of their own.
        for (user, code) in [("65534", 0), ("65533", 6), ("x", 6)] {
            site.run(&["list"], site.command(&["list"]).env("SUDO_UID", user)).expect_code(code);
        }
        chown(&path, Some(0), None).unwrap();
        let mode = path.metadata().unwrap().permissions().mode();
        files::set_mode(&path, 0o777);
        for args in all {
            let output = site.fleet(args).expect_code(6);
            assert!(
                output.stderr.starts_with(&format!("error: everybody may write to {}", shown.trim_end_matches('/')))
            );
            assert!(output.stderr.contains("hint: check its files, then chmod o-w "));
        }
        files::set_mode(&path, mode);
    }
    assert!(!site["web1"].log().contains("Accepted"));
    // A group of one's own may.
    files::set_mode(&site.root(), 0o775);
    site.fleet(&["mysite", "hello"]).expect_code(0);
}
