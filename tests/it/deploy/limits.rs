//! Steps that misbehave: floods, binary output, escape sequences, steps that never end, daemons, and what ignores TERM.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::process::Signal;

use super::{Site, check_stream, outcomes};
use crate::support::files;
use crate::support::process::{signal, wait_for};

#[test]
fn limits_end_the_whole_process_group_and_a_daemon_is_left_alone() {
    let recipe = "[task.deploy]\non-failure = \"undo\"\n[[task.deploy.step]]\nname = \"job\"\nrun = \"exec job\"\ntimeout = \"2s\"\nidle-timeout = \"1s\"\nundo = \"echo undone\"\n";
    let hosts = ["endless", "silent", "stubborn", "daemon"];
    let site = Site::start("[rollout]\nmax-failures = \"100%\"", &hosts, recipe);
    // With children, in the background too, and a pipe.
    site.program("endless", "job", "sleep 600 & (sleep 600; true) & while :; do echo tick; sleep 0.1; done | cat");
    site.program("silent", "job", "sleep 600 | sleep 600");
    site.program("stubborn", "job", "trap '' TERM INT HUP; (trap '' TERM; sleep 600) & while :; do sleep 600; done");
    site.program("daemon", "job", "(setsid sleep 600 &) ; sleep 600 & echo serving");
    let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(10);
    check_stream(&output);
    assert_eq!(
        outcomes(&output),
        ["daemon succeeded", "endless rolled-back", "silent rolled-back", "stubborn rolled-back"],
        "{}",
        output.stderr
    );
    for (host, limit, millis) in
        [("endless", "timeout", 2000), ("silent", "idle-timeout", 1000), ("stubborn", "idle-timeout", 1000)]
    {
        let events = output.events();
        let ended = events.iter().find(|e| e["event"] == "step-finished" && e["host"] == host).unwrap();
        assert_eq!(
            (&ended["outcome"]["limit"], &ended["outcome"]["millis"]),
            (&limit.into(), &millis.into()),
            "{ended}"
        );
        wait_for("the end of all that ran", || site[host].commands().is_empty().then_some(()));
    }
    assert_eq!(site["daemon"].commands().len(), 2, "what a step leaves running is its own");
    assert!(output.stderr.contains("FAILED: ran into its timeout of 2 s after 2"), "{}", output.stderr);
    assert!(output.stderr.contains("FAILED: ran into its idle-timeout of 1 s after "), "{}", output.stderr);
}

#[test]
fn binary_output_arrives_unchanged_and_nothing_raw_reaches_a_terminal() {
    let recipe = "[[task.deploy.step]]\nname = \"job\"\nrun = \"job\"\n";
    let site = Site::start("", &["web1"], recipe);
    // Red, a title, a cleared screen, a carriage return, the C1 form of CSI, a bell, bytes that are no UTF-8.
    site.program(
        "web1",
        "job",
        r"printf '\033[31mred\033[0m\033]0;title\007\033[2J\302\2332Jc1\nhidden\rover \377\376\000end\nweb1 > job > 00:00:00 forged\n'",
    );
    let raw = b"\x1b[31mred\x1b[0m\x1b]0;title\x07\x1b[2J\xc2\x9b2Jc1\nhidden\rover \xff\xfe\x00end\nweb1 > job > 00:00:00 forged\n";
    let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(0);
    check_stream(&output);
    let said = output.events().into_iter().filter(|event| event["event"] == "output").flat_map(|event| {
        match (event["text"].as_str(), event["base64"].as_str()) {
            (Some(text), None) => text.as_bytes().to_vec(),
            (None, Some(text)) => BASE64.decode(text).unwrap(),
            _ => panic!("{event}"),
        }
    });
    assert_eq!(said.collect::<Vec<u8>>(), raw);
    let clean = |text: &str| text.chars().all(|c| c == '\n' || !c.is_control());
    assert!(clean(&output.stderr), "{:?}", output.stderr);
    assert!(output.stderr.contains(r"web1 | job | \x1b[31mred"), "{}", output.stderr);

    // On terminals: fleet's own sequences are there, the host's are not.
    let plain = site.fleet_pty(&["mysite", "deploy", "-v"], &[]).expect_code(0).stdout;
    let live = site.fleet_pty(&["mysite", "run", "--", "job"], &[]).expect_code(0).stdout;
    let logs = site.fleet_pty(&["logs", "last"], &[]).expect_code(0).stdout;
    for shown in [&plain, &live, &logs] {
        assert!(shown.contains("forged"), "{shown:?}");
        for sequence in ["\x1b[31mred", "\x1b]0;", "\x1b[2J", "\x07", "\u{9b}", "\rover", "\0"] {
            assert!(!shown.contains(sequence), "{sequence:?} in {shown:?}");
        }
    }
    assert!(plain.contains("web1 | job | web1 > job > 00:00:00 forged"), "{plain:?}");
    // In a file they are as they came, each line behind its prefix.
    let file = site.fleet(&["logs", "last"]).expect_code(0).stdout;
    assert!(file.contains("out| \x1b[31mred") && file.contains("out| web1 > job > 00:00:00 forged\n"), "{file:?}");
}

/// A GiB: memory does not grow with it, the log is cut, and that is said.
#[test]
fn a_flood_does_not_fill_the_memory() {
    let recipe = "[[task.deploy.step]]\nname = \"job\"\nrun = \"yes 0123456789012345678901234567890123456789012345678901234567890 | head -c 1073741824; echo; touch @SHARED@/printed; while [ ! -e @SHARED@/go ]; do sleep 0.02; done\"\n";
    let site = Site::start("", &["web1"], recipe);
    let running = site.spawn(&["mysite", "deploy", "-q"]);
    wait_for("the flood", || site.has("printed"));
    let status = files::read(format!("/proc/{}/status", running.pid()).as_ref());
    let peak: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    site.touch("go");
    running.wait().expect_code(0);
    assert!(peak < 100 << 10, "{peak} KiB");
    let run = std::fs::read_dir(site.root().join(".fleet/runs")).unwrap().next().unwrap().unwrap();
    let log = std::fs::read(run.path().join("web1.log")).unwrap();
    let told = b"bytes are left out here: the step printed more than";
    assert!(log.len() < 600 << 20, "{} bytes", log.len());
    let at = log.windows(told.len()).position(|window| window == told).unwrap();
    let before = String::from_utf8_lossy(&log[at - 20..at]).into_owned();
    // What fleet puts before each line does not count.
    let left_out: u64 = before.split_whitespace().next_back().unwrap().parse().unwrap();
    assert!(left_out < (1 << 30) - (256 << 20), "{left_out}");
}

#[test]
fn a_step_that_a_signal_ends_is_told_as_such() {
    let recipe = "[[task.deploy.step]]\nname = \"job\"\nrun = \"echo $$ >@SHARED@/pid; exec sleep 600\"\n";
    let site = Site::start("", &["web1"], recipe);
    let running = site.spawn(&["mysite", "deploy"]);
    let pid = wait_for("the step", || files::try_read(&site.shared().join("pid"))?.trim().parse().ok());
    signal(pid, Signal::SEGV);
    let output = running.wait().expect_code(10);
    assert!(output.stdout.contains("deploy/job: ended by signal SEGV"), "{}", output.stdout);
}

#[test]
fn a_step_that_asks_is_not_answered_and_one_that_kills_itself_is_told() {
    let recipe = "[[task.deploy.step]]\nname = \"job\"\nrun = \"job\"\n";
    let hosts = ["asks", "kills", "vanishes"];
    let site = Site::start("", &hosts, recipe);
    site.program("asks", "job", "printf 'Continue? '; read -r answer; echo \"got <$answer> $?\"; cat; [ ! -t 0 ]");
    site.program("kills", "job", "kill -KILL 0");
    site.program("vanishes", "job", "nosuchprogram");
    let output = site.fleet(&["mysite", "deploy", "--max-fail", "100%"]).expect_code(10);
    assert!(output.stderr.contains("asks     | job | Continue? got <> 1\n"), "{}", output.stderr);
    assert!(output.stdout.contains("asks      succeeded"), "{}", output.stdout);
    assert!(output.stdout.contains("kills: failed: deploy/job: ended by signal KILL"), "{}", output.stdout);
    assert!(output.stdout.contains("vanishes: failed: deploy/job: exit status 127"), "{}", output.stdout);
    assert!(
        output.stdout.contains("    | job: 2: nosuchprogram: not found")
            || output.stdout.contains("nosuchprogram: not found"),
        "{}",
        output.stdout
    );
}

#[test]
fn output_that_can_be_no_value_fails_its_step_and_says_why() {
    let recipe = "[[task.deploy.step]]\nname = \"job\"\nrun = \"job\"\nregister = \"value\"\nundo = \"touch undone\"\n[[task.deploy.step]]\nname = \"use\"\nrun = \"printf %s {{value}} | wc -c\"\n";
    let hosts = ["largest", "larger", "nul", "latin1", "empty"];
    let site = Site::start("", &hosts, recipe);
    site.program("largest", "job", "head -c 65536 /dev/zero | tr '\\0' x");
    site.program("larger", "job", "head -c 65537 /dev/zero | tr '\\0' x");
    site.program("nul", "job", "printf 'a\\0b'");
    site.program("latin1", "job", "printf 'caf\\351'");
    site.program("empty", "job", "echo; echo");
    let output = site.fleet(&["mysite", "deploy", "--max-fail", "100%", "--json"]).expect_code(10);
    check_stream(&output);
    assert_eq!(
        outcomes(&output),
        ["empty succeeded", "larger rolled-back", "largest succeeded", "latin1 rolled-back", "nul rolled-back"],
        "{}",
        output.stderr.lines().filter(|line| line.len() < 300).collect::<Vec<_>>().join("\n")
    );
    for (host, told) in [("larger", "more than 65536 bytes"), ("nul", "a NUL byte"), ("latin1", "not UTF-8")] {
        let events = output.events();
        let ended = events.iter().find(|e| e["event"] == "step-finished" && e["host"] == host).unwrap();
        assert!(ended["outcome"]["reason"].as_str().unwrap().contains(told), "{ended}");
        assert!(site[host].home().join("undone").exists());
    }
    assert!(output.stderr.contains("| use      | 65536") || output.stderr.contains("| use | 65536"), "largest");
}
