//! Runs a command and tells what its whole tree has cost. A process of its own: what the kernel counts of children is then this command's
//! alone, and a small process before it leaves no mark in its memory.
//!
//! What leaves its parents (a master of `ControlMaster`, a daemon) is adopted here; when the command has ended, it is ended, too, and counted.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use rustix::process::{Signal, WaitOptions, getpid, set_child_subreaper, wait};
use serde::{Deserialize, Serialize};

use crate::machine::{below, cpu_seconds, number, resident};
use crate::support::process::signal;

/// How often the memory of the tree is looked at. Looking at 50 processes takes less than a millisecond.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[arg(last = true)]
    command: Vec<OsString>,
}

/// What a command has cost.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cost {
    /// The exit code of the command itself; none if a signal ended it.
    pub code: Option<i32>,
    /// Seconds until its end.
    pub wall: f64,
    /// Seconds of user and system time, of all processes.
    pub cpu: f64,
    /// MiB, the highest that was seen.
    pub memory: f64,
    /// Bytes on standard output.
    pub output: u64,
}

/// Runs the command, drops what it prints on standard output, and prints its [`Cost`].
pub fn run(arguments: &Arguments) {
    set_child_subreaper(Some(getpid())).unwrap();
    let (program, rest) = arguments.command.split_first().unwrap();
    let (stop, stopped) = mpsc::channel::<()>();
    let watcher = thread::spawn(move || {
        let mut highest = 0;
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK) {
            highest = highest.max(below(std::process::id()).iter().map(|pid| resident(*pid)).sum::<u64>());
        }
        highest
    });
    let start = Instant::now();
    let mut child = Command::new(program).args(rest).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let reader = thread::spawn(move || {
        let (mut buffer, mut bytes) = (vec![0; 256 << 10], 0);
        while let Ok(length @ 1..) = stdout.read(&mut buffer) {
            bytes += length as u64;
        }
        bytes
    });
    let status = child.wait().unwrap();
    let wall = start.elapsed().as_secs_f64();
    drop(stop);
    let seen = watcher.join().unwrap();
    end_the_rest();
    let output = reader.join().unwrap();
    let used = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    // The kernel tells KiB.
    let largest = u64::try_from(used.max_rss()).unwrap();
    let memory = number(largest.max(seen >> 10)) / 1024.0;
    let cost = Cost { code: status.code(), wall, cpu: cpu_seconds(&used), memory, output };
    println!("{}", serde_json::to_string(&cost).unwrap());
}

/// Ends what the command has left, by its number, and waits for it.
fn end_the_rest() {
    let start = Instant::now();
    let mut told = BTreeSet::new();
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => continue,
            // No child is left.
            Err(_) => return,
            Ok(None) => {}
        }
        let late = start.elapsed() > Duration::from_secs(2);
        for pid in below(std::process::id()) {
            if late {
                signal(pid, Signal::KILL);
            } else if told.insert(pid) {
                signal(pid, Signal::TERM);
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
}
