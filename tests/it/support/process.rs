//! Waiting for processes, and ending all that a fixture started and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than any healthy wait; a test that gets here has failed.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Asks again and again until there is an answer; fails with `what` after [`PATIENCE`].
#[track_caller]
pub fn wait_for<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    wait_or(ask, || what.to_owned())
}

/// Like [`wait_for`]; what was waited for is told only when it is needed.
#[track_caller]
pub fn wait_or<T>(mut ask: impl FnMut() -> Option<T>, what: impl FnOnce() -> String) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {}", what());
        thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    output
}

/// The standard output of a command that must succeed, trimmed.
pub fn stdout_of(command: &mut Command) -> String {
    String::from_utf8(run(command).stdout).unwrap().trim().to_owned()
}

/// Sends a signal; a process that has just ended is no error.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// All processes below `pid`, without itself.
pub fn descendants(pid: u32) -> BTreeSet<u32> {
    let parents: Vec<(u32, u32)> = all().filter_map(|pid| Some((pid, parent_of(pid)?))).collect();
    let mut found = BTreeSet::new();
    let mut new = vec![pid];
    while let Some(parent) = new.pop() {
        new.extend(parents.iter().filter(|(child, of)| *of == parent && found.insert(*child)).map(|(child, _)| *child));
    }
    found
}

/// All processes that were started with `NAME=value` in their environment, wherever they have gone since.
pub fn marked(name: &str, value: &str) -> BTreeSet<u32> {
    let mark = format!("{name}={value}");
    all()
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
        })
        .filter(|pid| *pid != std::process::id())
        .collect()
}

fn all() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn parent_of(pid: u32) -> Option<u32> {
    // The name before it may hold blanks and parentheses.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
