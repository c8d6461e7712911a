//! The supervisor of durable steps, through the shells that may be a host's `/bin/sh`: started once, watched by many, killed, and lied to.

mod machine;
mod orphans;

use fleet::remote::{DurableStep, Entry, Farewell, LeashOrder, StepEnd};
use std::path::Path;

use rustix::process::Signal;

use self::machine::{Channel, Machine, RUN, SHELLS, claim, claim_in, got, key, step};
use crate::support::files;
use crate::support::process::{signal, wait_for, wait_or};

#[test]
fn output_and_status_come_whatever_the_shell() {
    for machine in Machine::all() {
        for (attempt, (text, stdout, stderr, status)) in [
            ("echo out; echo err >&2; exit 3", "out\n", "err\n", 3),
            ("printf x; cat", "x", "", 0),
            ("true", "", "", 0),
            ("kill -9 $$", "", "", 137),
            ("sleep 30 & echo started", "started\n", "", 0),
            ("echo \"${FLEET_GATE-unset} $FLEET_STEP\"", "unset 20261122-084512-7f3a/0.0.0.6\n", "", 0),
            ("echo \"${FLEET_MARK-unset}\"", "unset\n", "", 0),
            ("umask", "0022\n", "", 0),
        ]
        .into_iter()
        .enumerate()
        {
            let step = DurableStep { key: key(u32::try_from(attempt).unwrap() + 1), ..step(text) };
            let expected = got(stdout, stderr, StepEnd::Exited(status));
            let result = machine.run(&step, Entry::Start);
            let umask = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_start_matches('0').to_owned();
            if text == "umask" {
                assert_eq!(umask(&result.stdout), umask(stdout.as_bytes()), "{:?}", machine.shell);
            } else {
                assert_eq!(result, expected, "{:?}: {text}", machine.shell);
            }
        }
        assert_eq!(files::mode(&machine.spool()), 0o700);
    }
}

#[test]
fn a_second_start_only_watches_and_a_late_watch_gets_the_rest() {
    for machine in Machine::all() {
        let once = step("echo ran >>\"$HOME/ran\"; echo one; echo two >&2; exit 4");
        let all = got("one\n", "two\n", StepEnd::Exited(4));
        assert_eq!(machine.run(&once, Entry::Start), all, "{:?}", machine.shell);
        assert_eq!(machine.run(&once, Entry::Start), all, "{:?}", machine.shell);
        let rest = machine.run(&once, Entry::Watch { out: 2, err: 4 });
        assert_eq!(rest, got("e\n", "", StepEnd::Exited(4)), "{:?}", machine.shell);
        assert_eq!(files::read(&machine.home.path().join("ran")), "ran\n");
    }
}

#[test]
fn twenty_starts_at_once_are_one() {
    for machine in Machine::all() {
        let once = step("echo ran >>\"$HOME/ran\"; sleep 0.2; echo done; exit 7");
        let channels: Vec<Channel> = (0..20).map(|_| machine.open(&once, Entry::Start)).collect();
        for channel in channels {
            assert_eq!(channel.end(), got("done\n", "", StepEnd::Exited(7)), "{:?}", machine.shell);
        }
        assert_eq!(files::read(&machine.home.path().join("ran")), "ran\n", "{:?}", machine.shell);
    }
}

/// The controller goes away, and the shell that sshd started gets what shells get then.
#[test]
fn a_step_goes_on_when_nobody_listens() {
    for machine in Machine::all() {
        let waiting =
            step("echo before; while [ ! -e \"$HOME/go\" ]; do sleep 0.02; done; echo after; echo x >&2; exit 5");
        let mut channel = machine.open(&waiting, Entry::Start);
        wait_for("the step", || files::try_read(&machine.file("out")).filter(|out| out == "before\n"));
        drop(channel.leash.take());
        for end in [Signal::HUP, Signal::TERM, Signal::INT] {
            signal(channel.process.id(), end);
        }
        files::write(&machine.home.path().join("go"), "", 0o644);
        let rest = machine.run(&waiting, Entry::Watch { out: 3, err: 0 });
        assert_eq!(rest, got("ore\nafter\n", "x\n", StepEnd::Exited(5)), "{:?}", machine.shell);
        assert!(channel.process.wait().unwrap().code().is_some(), "{:?}", machine.shell);
    }
}

#[test]
fn a_shell_runs_one_step_after_another() {
    for machine in Machine::all() {
        let mut channel = machine.open(&step("echo $PPID"), Entry::Start);
        let first = channel.wait();
        let supervisor = channel.process.id();
        assert_eq!(first, got(&format!("{supervisor}\n"), "", StepEnd::Exited(0)), "{:?}", machine.shell);
        let long = format!("{}echo \"$SECRET\" $PPID >&2; exit 3", "# filler\n".repeat(20_000));
        let script = "echo \"$0\" | cut -c1-5; cat";
        for (attempt, text, stdout, stderr, end) in [
            (2, &*long, "", &*format!("it's {supervisor}\n"), StepEnd::Exited(3)),
            (3, script, "/tmp/\n", "", StepEnd::Exited(0)),
            (4, "printf x; kill -9 $$", "x", "", StepEnd::Exited(137)),
            (5, "echo on; sleep 60", "on\n", "", StepEnd::TimedOut),
            (6, "echo \"$FLEET_STEP ${SECRET-}\"", "20261122-084512-7f3a/0.0.0.6 \n", "", StepEnd::Exited(0)),
        ] {
            // What the leash has not read when the step before ends.
            for order in [LeashOrder::Poll, LeashOrder::Cancel, LeashOrder::EndIdle] {
                channel.say(order);
            }
            let mut next = DurableStep { key: key(attempt), ..step(text) };
            next.limit = (end == StepEnd::TimedOut).then_some(std::time::Duration::from_millis(300));
            next.command.interpreter = (text == script).then(|| "/bin/sh".to_owned());
            if attempt == 2 {
                next.command.env.insert("SECRET".to_owned(), "it's".to_owned());
            }
            assert_eq!(channel.then(&machine, &next), got(stdout, stderr, end), "{:?}: {attempt}", machine.shell);
        }
        // A step that was started already, here: the shell tells how it ended, and is used up.
        let again = DurableStep { key: key(4), ..step("echo again") };
        assert_eq!(channel.then(&machine, &again), got("x", "", StepEnd::Exited(137)), "{:?}", machine.shell);
        wait_or(|| channel.process.try_wait().unwrap(), || format!("the end of {:?}", machine.shell));
    }
}

/// What a question sets is forgotten, and what is left of an order is none.
#[test]
fn a_shell_locks_runs_steps_and_gives_the_lock_back() {
    for machine in Machine::all() {
        let mut channel = machine.open(&step("echo one"), Entry::Start);
        channel.wait();
        let claim = claim();
        let answer = channel.ask(&claim.lock());
        assert!(answer.ends_with("sequence 0\nready\n"), "{:?}: {answer}", machine.shell);
        assert!(!answer.contains("fault"), "{:?}: {answer}", machine.shell);
        for attempt in 2..5 {
            channel.say(LeashOrder::Cancel);
            let next = DurableStep {
                key: key(attempt),
                ..step("umask; cd; echo x >\"$HOME/x\" && echo y >\"$HOME/x\"; exit 3")
            };
            let ran = channel.then(&machine, &next);
            assert!(
                ran.stdout.ends_with(b"22\n") && ran.end == Some(StepEnd::Exited(3)),
                "{:?}: {ran:?}",
                machine.shell
            );
            channel.say(LeashOrder::Poll);
            assert!(channel.ask(&claim.lock()).ends_with("ready\n"), "{:?}: asked again", machine.shell);
        }
        let farewell = Farewell { line: "it is over".to_owned(), sequence: 1, ..Farewell::default() };
        for _ in 0..2 {
            assert_eq!(channel.ask(&claim.release(&farewell)), "released\n", "{:?}", machine.shell);
        }
        assert!(!machine.spool().join(RUN).exists());
        // The run is over.
        let late = DurableStep { key: key(9), ..step("echo late") };
        assert!(matches!(channel.then(&machine, &late).end, Some(StepEnd::Fault(_))), "{:?}", machine.shell);
    }
}

/// As long as the supervisor lives, a step without an end is taken for one that runs.
#[test]
fn a_shell_that_cannot_write_down_an_end_goes() {
    for machine in Machine::all() {
        let mut channel = machine.open(&step("rm -rf \"$HOME/.local/state/fleet\""), Entry::Start);
        wait_or(|| channel.process.try_wait().unwrap(), || format!("the end of {:?}", machine.shell));
        assert_eq!(channel.got().end, None, "{:?}", machine.shell);
    }
}

/// A shell that was frozen with a step in its input wakes up when the run is over.
#[test]
fn without_the_folder_of_the_run_nothing_is_started() {
    for machine in Machine::all() {
        std::fs::remove_dir_all(machine.spool().join(RUN)).unwrap();
        let end = machine.run(&step("echo ran >\"$HOME/ran\""), Entry::Start).end;
        assert!(matches!(&end, Some(StepEnd::Fault(reason)) if reason.contains("it is over")), "{end:?}");
        assert!(!machine.home.path().join("ran").exists() && !machine.spool().join(RUN).exists());
    }
}

/// Its text is on its way, and the controller has no more use for it.
#[test]
fn a_step_that_was_not_started_can_be_forbidden() {
    let forbid = Entry::Forbid { out: 0, err: 0 };
    for machine in Machine::all() {
        let (never, once) =
            (step("echo ran >>\"$HOME/ran\""), DurableStep { key: key(2), ..step("echo once; exit 3") });
        for entry in [forbid, Entry::Start, forbid] {
            assert_eq!(machine.run(&never, entry).end, Some(StepEnd::Absent), "{:?}: {entry:?}", machine.shell);
        }
        assert!(!machine.home.path().join("ran").exists());
        for entry in [Entry::Start, forbid] {
            assert_eq!(machine.run(&once, entry), got("once\n", "", StepEnd::Exited(3)), "{:?}", machine.shell);
        }
    }
}

#[test]
fn an_order_that_comes_at_once_ends_the_step() {
    for machine in Machine::all() {
        for attempt in 1..=5 {
            let mut channel = machine.open(&DurableStep { key: key(attempt), ..step("sleep 600") }, Entry::Start);
            wait_for("the begin mark", || channel.streams[0].step(&channel.wire));
            channel.say(LeashOrder::Cancel);
            assert_eq!(channel.end(), got("", "", StepEnd::Cancelled), "{:?}", machine.shell);
        }
    }
}

/// What is undone after it must not meet it.
#[test]
fn a_step_that_is_ended_has_ended_when_all_of_it_has() {
    let child = "trap 'sleep 0.2; echo late; exit' TERM; echo ready; while :; do sleep 0.02; done";
    for machine in Machine::all() {
        let mut channel = machine.open(&step(&format!("sh -c \"{child}\" 2>/dev/null; echo after")), Entry::Start);
        wait_for("the step", || files::try_read(&machine.file("out")).filter(|out| out == "ready\n"));
        channel.say(LeashOrder::Cancel);
        assert_eq!(channel.end(), got("ready\nlate\n", "", StepEnd::Cancelled), "{:?}", machine.shell);
    }
}

/// Hardened hosts set it for all users, and bash and ksh then read for so long only: neither the leash nor the step may.
#[test]
fn a_time_limit_for_idle_shells_does_not_cut_the_leash() {
    for machine in Machine::all() {
        let waiting = step("while [ ! -e \"$HOME/go\" ]; do sleep 0.02; done; echo \"${TMOUT-none}\"");
        let mut channel = machine.open_with(&waiting, Entry::Start, &[("TMOUT", "1")]);
        std::thread::sleep(std::time::Duration::from_millis(1500));
        channel.say(LeashOrder::Poll);
        files::write(&machine.home.path().join("go"), "", 0o644);
        assert_eq!(channel.end(), got("none\n", "", StepEnd::Exited(0)), "{:?}", machine.shell);
    }
}

#[test]
fn output_comes_live_when_it_is_asked_for() {
    for machine in Machine::all() {
        let waiting = step("echo one; while [ ! -e \"$HOME/go\" ]; do sleep 0.02; done; echo two");
        let mut channel = machine.open(&waiting, Entry::Start);
        wait_for("the step", || files::try_read(&machine.file("out")).filter(|out| out == "one\n"));
        let mut watcher = machine.open(&waiting, Entry::Watch { out: 0, err: 0 });
        channel.say(LeashOrder::Poll);
        watcher.say(LeashOrder::Poll);
        files::write(&machine.home.path().join("go"), "", 0o644);
        for channel in [channel, watcher] {
            assert_eq!(channel.end(), got("one\ntwo\n", "", StepEnd::Exited(0)), "{:?}", machine.shell);
        }
    }
}

#[test]
fn limits_and_orders_end_the_whole_group() {
    for machine in Machine::all() {
        let marker = format!("41{}", std::process::id());
        let stubborn = format!("trap '' TERM; echo ready; sleep {marker} | sleep {marker}");
        let limited =
            DurableStep { limit: Some(std::time::Duration::from_millis(300)), ..step(&format!("sleep {marker}")) };
        assert_eq!(machine.run(&limited, Entry::Start), got("", "", StepEnd::TimedOut), "{:?}", machine.shell);
        for (attempt, order, end) in
            [(2, LeashOrder::Cancel, StepEnd::Cancelled), (3, LeashOrder::EndIdle, StepEnd::IdleTimedOut)]
        {
            let step = DurableStep { key: key(attempt), ..step(&stubborn) };
            let mut channel = machine.open(&step, Entry::Start);
            let file = machine.spool().join(RUN).join(format!("{}.out", key(attempt).as_str()));
            wait_for("the step", || files::try_read(&file).filter(|out| out == "ready\n"));
            channel.say(order);
            assert_eq!(channel.end(), got("ready\n", "", end), "{:?}", machine.shell);
        }
        let running = || {
            std::fs::read_dir("/proc").unwrap().any(|process| {
                let line = files::try_read(&process.unwrap().path().join("cmdline")).unwrap_or_default();
                line.starts_with(&format!("sleep\0{marker}"))
            })
        };
        wait_or(|| (!running()).then_some(()), || format!("left by {:?}", machine.shell));
    }
}

#[test]
fn what_cannot_be_known_is_told_as_such() {
    for machine in Machine::all() {
        let waiting = step("echo $$ >\"$HOME/pid\"; exec sleep 600");
        let watch = Entry::Watch { out: 0, err: 0 };
        let end = |machine: &Machine| machine.run(&waiting, watch).end.unwrap();
        let unknown = |end: StepEnd, words: &str| match end {
            StepEnd::Unknown(reason) => assert!(reason.contains(words), "{reason}"),
            other => panic!("{other:?}"),
        };
        // Nobody was here.
        std::fs::remove_dir_all(machine.spool()).unwrap();
        unknown(end(&machine), "folder");
        machine.claim();
        let mut channel = machine.open(&waiting, Entry::Start);
        let pid =
            wait_for("the step", || files::try_read(&machine.home.path().join("pid"))?.trim().parse::<u32>().ok());
        // Another step of the run was never started, and the folder proves it.
        let other = DurableStep { key: key(2), ..waiting.clone() };
        assert_eq!(machine.run(&other, watch).end, Some(StepEnd::Absent), "{:?}", machine.shell);
        // Both are killed.
        channel.process.kill().unwrap();
        channel.process.wait().unwrap();
        signal(pid, Signal::KILL);
        unknown(end(&machine), "supervisor");
        // The number of the supervisor is another process's now.
        let gate = files::read(&machine.file("run"));
        let mut words: Vec<&str> = gate.split(' ').collect();
        let (own, birth) = (std::process::id().to_string(), "1");
        words[0] = &own;
        words[1] = birth;
        files::write(&machine.file("run"), words.join(" "), 0o600);
        unknown(end(&machine), "supervisor");
        // The host was rebooted.
        let before = gate.split(' ').nth(2).unwrap();
        files::write(&machine.file("run"), gate.replace(before, "00000000-0000-0000-0000-000000000000"), 0o600);
        unknown(end(&machine), "rebooted");
        let boot = machine.spool().join(RUN).join("0.boot");
        files::write(&boot, "00000000-0000-0000-0000-000000000000\n", 0o600);
        unknown(machine.run(&other, watch).end.unwrap(), "reboot");
        // An end that was written down is one, whatever came then.
        files::write(&machine.file("end.0"), "", 0o600);
        assert_eq!(end(&machine), StepEnd::Exited(0), "{:?}", machine.shell);
    }
}

#[test]
fn every_byte_comes_through_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..700_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    files::write(&folder.path().join("bytes"), &bytes, 0o644);
    for machine in Machine::all() {
        let file = folder.path().join("bytes");
        let text = format!("cat {0}; head -c 5000 {0} >&2", file.display());
        let all = machine.run(&step(&text), Entry::Start);
        assert!(all.stdout == bytes && all.stderr == bytes[..5000], "{:?}", machine.shell);
        let rest = machine.run(&step(&text), Entry::Watch { out: 1_234_567, err: 4_999 });
        assert!(rest.stdout == bytes[1_234_567..] && rest.stderr == bytes[4_999..5000], "{:?}", machine.shell);
    }
}

#[test]
fn where_nothing_can_be_written_nothing_is_started() {
    let machine = Machine::new(SHELLS[0]);
    // A file where the folder should be; /var/tmp is there, so the spool goes there.
    files::write(&machine.home.path().join(".local"), "", 0o600);
    let step = step("echo ran");
    let other = Path::new("/var/tmp").join(format!("fleet-{}", rustix::process::getuid().as_raw())).join(RUN);
    let _ = std::fs::remove_dir_all(&other);
    claim_in(other.parent().unwrap());
    assert_eq!(machine.run(&step, Entry::Start), got("ran\n", "", StepEnd::Exited(0)));
    assert!(other.join("0.boot").exists());
    std::fs::remove_dir_all(&other).unwrap();
}
