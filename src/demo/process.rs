//! Ending what the embedded hosts left running.
//!
//! A site's server is a daemon with a session of its own: no process group and no parent leads to it. But it carries its
//! host's environment, and so does everything that it starts.

use std::process::{Command, Stdio};

/// Ends all processes that have `mark` (`NAME=VALUE`) in their environment. Looks in `/proc`; where there is none, it finds nothing.
pub(super) fn end_marked(mark: &str) {
    // A process may fork while we look; one that was ended is not found again.
    for _ in 0..50 {
        let found = marked(mark);
        if found.is_empty() {
            return;
        }
        signal("KILL", &found);
    }
}

/// Sends a signal to processes, or to process groups when they are negative. That one is gone already is no error.
pub(super) fn signal(signal: &str, processes: &[i64]) {
    let ids = processes.iter().map(i64::to_string);
    // `kill` of the shell needs no library call, which would be `unsafe`.
    let _ = Command::new("/bin/sh")
        .args(["-c", "s=$1; shift; kill -s \"$s\" -- \"$@\"", "sh", signal])
        .args(ids)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

fn marked(mark: &str) -> Vec<i64> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i64>().ok())
        .filter(|id| {
            // Unreadable: another user's, or just gone.
            let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            environment.split(|b| *b == 0).any(|variable| variable == mark.as_bytes())
        })
        .collect()
}
