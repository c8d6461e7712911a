//! Steps whose supervisor was killed: they run on, and nobody may believe that they do not, nor take a stranger for one of them.

use fleet::remote::{DurableStep, Entry, LeashOrder, StepEnd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use super::machine::{Channel, Machine, RUN, got, key, step};
use crate::support::files;
use crate::support::process::{signal, wait_for};
use crate::support::tools::{PATH, tool};

const WATCH: Entry = Entry::Watch { out: 0, err: 0 };
const GONE: StepEnd = StepEnd::Unknown("its supervisor on the host was killed, or never began");
const REBOOTED: StepEnd = StepEnd::Unknown("the host was rebooted while it was running");

/// Starts the step, which kills its supervisor and says so.
fn orphan(machine: &Machine, text: &str) -> DurableStep {
    let step = step(&format!("kill -9 $PPID; echo alone; {text}"));
    let mut channel = machine.open(&step, Entry::Start);
    wait_for("the step", || files::try_read(&machine.file("out")).filter(|out| out == "alone\n"));
    channel.process.wait().unwrap();
    step
}

/// Watches it, until its output has come.
fn watched(machine: &Machine, step: &DurableStep) -> Channel {
    let mut watcher = machine.open(step, WATCH);
    wait_for("its output", || {
        watcher.say(LeashOrder::Poll);
        let (stdout, end) = watcher.streams[0].step(&watcher.wire)?;
        assert_eq!(end, None, "{:?}: it runs", machine.shell);
        (stdout == b"alone\n").then_some(())
    });
    watcher
}

#[test]
fn a_step_whose_supervisor_is_dead_is_watched_until_it_has_ended() {
    for machine in Machine::all() {
        let step = orphan(&machine, "while [ ! -e \"$HOME/go\" ]; do sleep 0.02; done; echo late; echo x >&2");
        let watcher = watched(&machine, &step);
        files::write(&machine.home.path().join("go"), "", 0o644);
        // What it printed is all there; how it ended nobody has seen.
        assert_eq!(watcher.end(), got("alone\nlate\n", "x\n", GONE), "{:?}", machine.shell);
        assert_eq!(machine.run(&step, Entry::Start), got("alone\nlate\n", "x\n", GONE), "{:?}", machine.shell);
    }
}

/// Its first process has ended; what it has begun has not.
#[test]
fn the_rest_of_its_group_is_the_step_too() {
    for machine in Machine::all() {
        let step = orphan(&machine, "(while [ ! -e \"$HOME/go\" ]; do sleep 0.02; done; echo late) & exit");
        let watcher = watched(&machine, &step);
        files::write(&machine.home.path().join("go"), "", 0o644);
        assert_eq!(watcher.end(), got("alone\nlate\n", "", GONE), "{:?}", machine.shell);
    }
}

#[test]
fn it_can_be_ended() {
    for machine in Machine::all() {
        let step = orphan(&machine, "sleep 600 & trap '' TERM; wait; echo on; sleep 600; echo late");
        let mut watcher = watched(&machine, &step);
        watcher.say(LeashOrder::Cancel);
        let end = watcher.end();
        assert_eq!(end.end, Some(GONE), "{:?}", machine.shell);
        assert!(!end.stdout.ends_with(b"late\n"), "{:?}", machine.shell);
    }
}

/// A process group of somebody else.
struct Stranger(Child);

impl Stranger {
    fn new() -> Self {
        let mut command = Command::new(tool("sleep"));
        Self(
            command
                .arg("600")
                .env_clear()
                .env("PATH", PATH)
                .process_group(0)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    /// When it began, in the kernel's ticks.
    fn began(&self) -> u64 {
        let stat = files::read(Path::new(&format!("/proc/{}/stat", self.0.id())));
        stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap().parse().unwrap()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_group_whose_number_went_to_somebody_else_is_neither_the_step_nor_ended() {
    for machine in Machine::all() {
        let mut stranger = Stranger::new();
        // Whatever begins from now on has begun at another time.
        wait_for("the next tick", || (Stranger::new().began() > stranger.began()).then_some(()));
        let step = orphan(&machine, "exit");
        let gate = files::read(&machine.file("run"));
        let (first, second) = gate.split_once('\n').unwrap();
        let own = second.split(' ').next().unwrap();
        // All of the line but for the time at which its first process began.
        let line = second.replacen(own, &stranger.0.id().to_string(), 1);
        files::write(&machine.file("run"), format!("{first}\n{line}"), 0o600);
        let mut watcher = machine.open(&step, WATCH);
        watcher.say(LeashOrder::Cancel);
        assert_eq!(watcher.end().end, Some(GONE), "{:?}", machine.shell);
        assert!(stranger.0.try_wait().unwrap().is_none(), "{:?}: a stranger was ended", machine.shell);
    }
}

/// After a reboot a process may have the same number, and may have begun as many ticks after it.
#[test]
fn no_process_is_that_of_another_boot() {
    let other = "00000000-0000-0000-0000-000000000000";
    for machine in Machine::all() {
        let waiting = step("echo alone; while [ ! -e \"$HOME/go\" ]; do sleep 0.02; done");
        let channel = machine.open(&waiting, Entry::Start);
        wait_for("the step", || files::try_read(&machine.file("out")).filter(|out| out == "alone\n"));
        let gate = files::read(&machine.file("run"));
        let boot = gate.split(' ').nth(2).unwrap();
        // The supervisor lives, and so does the step.
        files::write(&machine.file("run"), gate.replace(boot, other), 0o600);
        assert_eq!(machine.run(&waiting, WATCH), got("alone\n", "", REBOOTED), "{:?}", machine.shell);
        files::write(&machine.file("run"), &gate, 0o600);
        files::write(&machine.home.path().join("go"), "", 0o644);
        assert_eq!(channel.end().end, Some(StepEnd::Exited(0)), "{:?}", machine.shell);

        let next = DurableStep { key: key(2), ..step("kill -9 $PPID; echo $$ >\"$HOME/pid\"; exec sleep 600") };
        let mut channel = machine.open(&next, Entry::Start);
        channel.process.wait().unwrap();
        let pid = wait_for("the step", || files::try_read(&machine.home.path().join("pid"))?.trim().parse().ok());
        let gate = machine.spool().join(RUN).join(format!("{}.run", key(2).as_str()));
        files::write(&gate, files::read(&gate).replace(boot, other), 0o600);
        assert_eq!(machine.run(&next, WATCH).end, Some(REBOOTED), "{:?}", machine.shell);
        signal(pid, Signal::KILL);
    }
}
