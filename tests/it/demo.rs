//! `fleet demo`, as a user types it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};

/// The binary, in an environment of its own whose temporary folder is `folder`.
fn demo(folder: &Path, path: &str) -> Command {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_fleet"));
    demo.env_clear()
        .env("PATH", path)
        .env("HOME", folder)
        .env("TMPDIR", folder)
        .arg("demo")
        .current_dir(folder)
        .stdin(Stdio::null());
    demo
}

fn path() -> String {
    std::env::var("PATH").unwrap()
}

/// Neither files nor processes are left: what the hosts ran had its folder below `folder`.
fn nothing_is_left(folder: &Path) {
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
    for process in fs::read_dir("/proc").unwrap() {
        let cwd = fs::read_link(process.unwrap().path().join("cwd")).unwrap_or_default();
        // The kernel marks a folder that was removed, and keeps its path.
        assert!(!cwd.starts_with(folder), "a process is left in {}", cwd.display());
    }
}

#[test]
fn the_demo_does_what_it_tells_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(folder.path(), &path()).output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{told}", output.status);
    let mut rest = told.as_str();
    for part in [
        "$ fleet generate-keys\n",
        "$ fleet notes-test,notes trust --fingerprints fingerprints\n",
        "$ fleet notes-test,notes distribute-keys --password-file password\n",
        "$ fleet notes-test deploy\n",
        "visitors of test1 saw: release v1, closed, release v2\n",
        "$ fleet notes deploy --yes\n",
        "| 002-author.sql done\n",
        "Killed\n",
        "$ fleet notes status\n",
        "running: database/migrate-database on web1",
        "$ fleet notes deploy --yes\n",
        "was kept away by another run",
        "$ fleet resume\n",
        "| the schema is that of this release\n",
        "visitors of web1 saw: release v1, closed, release v2\n",
        "notes serves release v2, 3 notes: web1, web2, web3\n",
        "$ fleet notes-test deploy\n",
        "004-author-unique.sql failed: UNIQUE constraint failed: note.author\n",
        "notes-test serves release v2, 3 notes: test1\n",
        "$ fleet notes rollback --yes\n",
        "notes serves release v1, 3 notes: web1, web2, web3\n",
        "$ fleet runs\n",
        "$ fleet logs ",
        "no visitor met an error",
        "notes rollback --yes: visitors saw release v2, closed, release v1\n",
        "What to type next:\n",
    ] {
        let (_, after) = rest.split_once(part).unwrap_or_else(|| panic!("{part:?} is not told in its place:\n{told}"));
        rest = after;
    }
    nothing_is_left(folder.path());
}

#[test]
fn an_interrupt_ends_the_demo_and_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = demo(folder.path(), &path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(demo.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("$ fleet notes-test deploy") {
        line.clear();
        assert_ne!(told.read_line(&mut line).unwrap(), 0, "it ended too early");
    }
    assert!(Command::new("kill").args(["-s", "INT", &demo.id().to_string()]).status().unwrap().success());
    told.read_to_string(&mut line).unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(130));
    nothing_is_left(folder.path());
}

#[test]
fn without_python_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(folder.path(), "/nonexistent").output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("needs python3"));
    nothing_is_left(folder.path());
}
