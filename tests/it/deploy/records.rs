//! The record of a run: when it cannot be written, when it breaks off, and what `runs`, `show` and `logs` make of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::{Site, check_stream, outcomes, snapshot};
use crate::support::files;
use crate::support::output::Output;
use crate::support::process::{signal, wait_for};
use crate::support::tools::tool;
use crate::support::user::is_root;

const RECIPE: &str = r#"
[[task.deploy.step]]
name = "close"
run = "echo closing; echo 'for a while' >&2"
undo = "echo reopening"
[[task.deploy.step]]
name = "flood"
run = "head -c 100000 /dev/zero | tr '\\0' 'x' | fold -w 99"
[[task.deploy.step]]
name = "work"
run = "touch @SHARED@/working; while [ -e @SHARED@/wait ]; do sleep 0.02; done; echo worked"
[[task.hello.step]]
name = "hello"
run = "echo hello from {{fleet.host}}"
"#;

fn site() -> Site {
    Site::start("", &["web1", "web2"], RECIPE)
}

/// `fleet` below a shell that limits it first.
fn limited(site: &Site, limit: &str, args: &[&str]) -> Output {
    let fleet = site.command(args);
    let mut shell = Command::new(tool("bash"));
    shell.args(["-c", &format!("{limit}; exec \"$0\" \"$@\"")]).arg(fleet.get_program()).args(args);
    shell.current_dir(site.root()).env_clear().envs(fleet.get_envs().filter_map(|(name, value)| Some((name, value?))));
    site.run(args, &mut shell)
}

fn runs(site: &Site) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(site.root().join(".fleet/runs"));
    let mut runs: Vec<PathBuf> = entries.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    runs.sort();
    runs
}

fn assert_not_contacted(site: &Site) {
    for (_, host) in site.hosts() {
        assert!(!host.log().contains("Accepted"), "{}", host.log());
    }
    assert_eq!(runs(site), [] as [PathBuf; 0]);
}

fn told(output: &Output) {
    assert!(output.stderr.starts_with("error: cannot write the record of the run to /"), "{}", output.stderr);
    assert!(output.stderr.contains("hint: free some room there, or make it writable"), "{}", output.stderr);
    assert_eq!(output.stdout, "");
}

#[test]
fn without_a_record_nothing_is_contacted() {
    let site = site();
    // A disk without room, as far as a process without room can tell.
    let full = limited(&site, "trap '' XFSZ; ulimit -f 0", &["mysite", "hello"]).expect_code(5);
    assert_not_contacted(&site);
    told(&full);

    std::fs::remove_dir(site.root().join(".fleet/runs")).unwrap();
    files::set_mode(&site.root().join(".fleet"), 0o500);
    // root writes wherever it likes, unless it is robbed of that.
    let rob = if is_root() {
        "exec setpriv --bounding-set -dac_override --inh-caps -dac_override -- \"$0\" \"$@\""
    } else {
        ":"
    };
    let read_only = limited(&site, rob, &["mysite", "hello"]).expect_code(5);
    files::set_mode(&site.root().join(".fleet"), 0o700);
    assert_not_contacted(&site);
    told(&read_only);
}

#[test]
fn a_record_that_breaks_off_stops_the_run_and_resume_finishes_it() {
    let site = site();
    let output =
        limited(&site, "trap '' XFSZ; ulimit -f 50", &["mysite", "deploy", "-P", "1", "--json"]).expect_code(13);
    check_stream(&output);
    // What could not be written down was not begun.
    let ended = |line: &String| line.ends_with(" held") || line.ends_with(" detached");
    assert!(outcomes(&output).iter().all(ended), "{:?}", outcomes(&output));
    assert!(site.has("working").is_none());
    let dropped: Vec<serde_json::Value> =
        output.events().into_iter().filter(|event| event["event"] == "reporter-dropped").collect();
    assert_eq!(dropped.len(), 1, "{dropped:?}");
    assert_eq!(dropped[0]["reporter"], "record");
    assert!(dropped[0]["reason"].as_str().unwrap().contains("/.fleet/runs/"), "{dropped:?}");
    assert!(output.stderr.contains("warning: record gets no more events: "), "{}", output.stderr);
    // What is on record says that there is no end to it.
    let shown = site.fleet(&["show"]).expect_code(0);
    assert!(shown.stdout.contains("is unfinished"), "{}", shown.stdout);
    // With room again, the run goes on, and what the flood printed is whole.
    let output = site.fleet(&["resume", "--json"]).expect_code(0);
    assert_eq!(outcomes(&output), ["web1 succeeded", "web2 succeeded"]);
    assert!(site.has("working").is_some());
    for host in ["web1", "web2"] {
        let flood = site.fleet(&["logs", "last", host, "--step", "flood"]).expect_code(0).stdout;
        assert_eq!(flood.matches('x').count(), 100_000, "{host}");
    }
}

#[test]
fn runs_are_listed_shown_and_their_logs_told() {
    let site = site();
    assert_eq!(site.fleet(&["runs"]).expect_code(0).stdout, "no run is on record\n");
    site.fleet(&["show"]).expect_code(4);
    site.fleet(&["mysite", "hello"]).expect_code(0);
    site.fleet(&["mysite", "deploy", "-l", "web2"]).expect_code(0);
    insta::assert_snapshot!("runs", snapshot(&site.fleet(&["runs"]).expect_code(0)));
    let [first, second] = runs(&site).try_into().unwrap();
    let name = |run: &PathBuf| run.file_name().unwrap().to_str().unwrap().to_owned();
    insta::assert_snapshot!("show", snapshot(&site.fleet(&["show", &name(&first)]).expect_code(0)));
    insta::assert_snapshot!(
        "logs",
        snapshot(&site.fleet(&["logs", &name(&first)[..17]]).expect_code(0)).replace(&name(&first)[..17], "[RUN]")
    );
    let close = site.fleet(&["logs", &name(&second), "web2", "--step", "close"]).expect_code(0).stdout;
    let lines: Vec<&str> = close.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    let (said, ended) = lines.split_at(lines.len() - 1);
    let mut said = said.to_vec();
    said[1..].sort_unstable();
    assert_eq!(said, ["deploy/close fleet| started", "deploy/close err| for a while", "deploy/close out| closing"]);
    assert!(ended[0].starts_with("deploy/close fleet| succeeded after "), "{ended:?}");
    // Whole, and readable by the owner only.
    let flood = site.fleet(&["logs", "last", "web2", "--step", "deploy/flood"]).expect_code(0).stdout;
    assert_eq!(flood.matches('x').count(), 100_000);
    for entry in std::fs::read_dir(&second).unwrap() {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    for (args, hint) in [
        (&["logs", "last", "web1"][..], "no host `web1`"),
        (&["logs", "last", "web2", "--step", "closed"], "did you mean `close`?"),
        (&["show", "2020"], "no run `2020`"),
    ] {
        let output = site.fleet(args).expect_code(4);
        assert!(output.stderr.contains(hint), "{}", output.stderr);
    }
}

/// An older fleet would have left half of it out, and called the run finished.
#[test]
fn a_run_of_a_newer_fleet_is_neither_resumed_nor_undone_nor_called_finished() {
    let site = site();
    site.fleet(&["mysite", "deploy", "-l", "web1"]).expect_code(0);
    let run = runs(&site)[0].clone();
    let attempts = [&["resume"][..], &["undo", "--yes"], &["cancel", "--yes"], &["show"], &["attach"]];
    let refused = |told: &str| {
        for args in attempts {
            let output = site.fleet(args).expect_code(5);
            assert!(output.stderr.contains(told), "{args:?}: {}", output.stderr);
        }
    };
    let change = |name: &str, from: &str, to: &str, told: &str| {
        let whole = files::read(&run.join(name));
        assert!(whole.contains(from), "{whole}");
        files::write(&run.join(name), whole.replacen(from, to, 1), 0o600);
        refused(told);
        let listed = site.fleet(&["runs"]).expect_code(0).stdout;
        files::write(&run.join(name), whole, 0o600);
        listed
    };
    change(
        "plan.json",
        "\"v\": 4",
        "\"v\": 5",
        "plan.json was written by a newer fleet (format 5, this one reads up to 4)",
    );
    change(
        "plan.json",
        "\"v\": 4",
        "\"v\": 3",
        "plan.json was written by an older fleet (format 3, this one reads 4)\nhint: use that version of fleet",
    );
    change("plan.json", "\"path\":", "\"upload\": \"nginx.conf\", \"path\":", "plan.json:");
    let finished = "\"event\":\"run-finished\"";
    for (to, told) in [
        ("\"event\":\"run-handed-over\"", "events.jsonl:"),
        ("\"event\":\"run-finished\",\"in-part\":true", "events.jsonl:"),
    ] {
        let listed = change("events.jsonl", finished, to, told);
        assert!(listed.contains("damaged: ") && !listed.contains("succeeded"), "{listed}");
    }
    let whole = files::read(&run.join("events.jsonl"));
    files::write(&run.join("events.jsonl"), format!("{whole}{{\"v\":4,\"event\":\"handed-over\"}}\n"), 0o600);
    refused("events.jsonl was written by a newer fleet (format 4");
    let listed = site.fleet(&["runs"]).expect_code(0).stdout;
    assert!(listed.contains("written by a newer fleet") && !listed.contains("succeeded"), "{listed}");
    // What the version before has written goes on.
    files::write(&run.join("events.jsonl"), whole.replace("{\"v\":3", "{\"v\":2"), 0o600);
    site.fleet(&["undo", "--yes"]).expect_code(0);
}

#[test]
fn a_run_whose_events_the_version_before_wrote_is_resumed() {
    let site = site();
    site.touch("wait");
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("working"));
    running.signal(Signal::KILL);
    running.wait();
    let run = runs(&site)[0].clone();
    let text = files::read(&run.join("events.jsonl"));
    assert!(text.contains("{\"v\":3"), "{text}");
    files::write(&run.join("events.jsonl"), text.replace("{\"v\":3", "{\"v\":2"), 0o600);
    std::fs::remove_file(site.root().join(".fleet/order")).unwrap();
    std::fs::remove_file(site.shared().join("wait")).unwrap();
    let output = site.fleet(&["resume", "--json"]).expect_code(0);
    assert_eq!(outcomes(&output), ["web1 succeeded", "web2 succeeded"]);
}

/// Who needs the text of a script that is lost: what runs it, or asks whether it still runs. The way back does not.
#[test]
fn an_altered_script_is_in_the_way_of_resume_and_not_of_undo() {
    let recipe = r#"
[task.deploy]
on-failure = "hold"
[[task.deploy.step]]
name = "close"
run = "echo closing"
undo = "echo reopening"
[[task.deploy.step]]
name = "script"
script = "go.sh"
undo = "echo going back"
[[task.deploy.step]]
name = "work"
run = "touch @SHARED@/working; while [ -e @SHARED@/wait ]; do sleep 0.02; done; [ ! -e @SHARED@/fail ]"
"#;
    let site = Site::start("", &["web1"], recipe);
    site.write(
        "recipes/go.sh",
        "while [ -e @SHARED@/halt ]; do sleep 0.02; done; echo gone\n"
            .replace("@SHARED@", &site.shared().display().to_string()),
    );
    site.touch("fail");
    site.fleet(&["mysite", "deploy"]).expect_code(10);
    let alter = |run: &Path| {
        let blobs: Vec<_> = std::fs::read_dir(run.join("blobs")).unwrap().collect();
        assert_eq!(blobs.len(), 1);
        files::write(&blobs[0].as_ref().unwrap().path(), "rm -rf /\n", 0o600);
    };
    let first = runs(&site).remove(0);
    alter(&first);
    assert!(site.fleet(&["show"]).expect_code(0).stdout.contains("command of deploy/work"));
    assert!(site.fleet(&["logs", "last", "web1"]).expect_code(0).stdout.contains("| gone\n"));
    let refused = site.fleet(&["resume"]).expect_code(5);
    assert!(refused.stderr.contains("has been altered since the run began"), "{}", refused.stderr);
    let undone = site.fleet(&["undo", "--yes"]).expect_code(0);
    assert!(undone.stderr.contains("| going back\n") && undone.stderr.contains("| reopening\n"), "{}", undone.stderr);
    // One that nobody knows the end of.
    site.touch("halt");
    let running = site.spawn(&["mysite", "deploy"]);
    let second = wait_for("the record of it", || {
        let run = runs(&site).into_iter().find(|run| *run != first)?;
        files::try_read(&run.join("events.jsonl"))?.contains("deploy/script").then_some(run)
    });
    signal(running.pid(), Signal::KILL);
    drop(running);
    alter(&second);
    for verb in ["undo", "cancel"] {
        let refused = site.fleet(&[verb, "--yes"]).expect_code(5);
        assert!(refused.stderr.contains("has been altered since the run began"), "{}", refused.stderr);
    }
    std::fs::remove_file(site.shared().join("halt")).unwrap();
}

#[test]
fn a_run_that_was_killed_is_unfinished_and_damage_is_told_with_its_place() {
    let site = site();
    site.touch("wait");
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("working"));
    wait_for("the record of it", || {
        let events = files::try_read(&runs(&site)[0].join("events.jsonl"))?;
        (events.matches("deploy/work").count() == 2).then_some(())
    });
    signal(running.pid(), Signal::KILL);
    drop(running);
    let events = runs(&site)[0].join("events.jsonl");
    let whole = files::read(&events);
    // A torn last line is what a crash leaves.
    for torn in ["", "{\"v\":1,\"at\":\"2026-11-2"] {
        files::write(&events, format!("{whole}{torn}"), 0o600);
        let shown = site.fleet(&["show"]).expect_code(0);
        assert!(shown.stdout.contains("mysite deploy is unfinished after "), "{}", shown.stdout);
        assert!(shown.stdout.contains("was running deploy/work when the record ends"), "{}", shown.stdout);
        assert!(site.fleet(&["runs"]).expect_code(0).stdout.contains("unfinished"));
        assert!(site.fleet(&["logs", "last", "web1", "--step", "close"]).expect_code(0).stdout.contains("| closing\n"));
    }
    files::write(&events, whole.replacen("{\"v\":3", "\u{0}garbage", 3), 0o600);
    let damaged = site.fleet(&["show"]).expect_code(5);
    assert!(damaged.stderr.contains("events.jsonl:1: not written by fleet, or damaged"), "{}", damaged.stderr);
    files::write(&events, whole.replacen("{\"v\":3", "{\"v\":99", 1), 0o600);
    let newer = site.fleet(&["show"]).expect_code(5);
    assert!(newer.stderr.contains("written by a newer fleet"), "{}", newer.stderr);
    // Logs are read without the events, and whatever is in them.
    let log = runs(&site)[0].join("web1.log");
    files::write(&log, [files::read(&log).as_bytes(), b"\x00\xff garbage\n2026"].concat(), 0o600);
    let told = site.fleet(&["logs", "last", "web1"]).expect_code(0).stdout;
    assert!(told.contains("| closing\n") && told.ends_with(" garbage\n2026\n"), "{told:?}");
    files::write(&runs(&site)[0].join("plan.json"), "{", 0o600);
    let damaged = site.fleet(&["logs", "last"]).expect_code(5);
    assert!(damaged.stderr.contains("plan.json:1: not written by fleet, or damaged"), "{}", damaged.stderr);
    // A run that cannot be read does not hide the others, and what it has locked stays so.
    let locked = site.fleet(&["mysite", "hello"]).expect_code(12);
    for told in ["web1: locked: run ", "running: deploy/work on web1", "where it was started, `fleet resume "] {
        assert!(locked.stdout.contains(told), "{told}: {}", locked.stdout);
    }
    let listed = site.fleet(&["runs"]).expect_code(0).stdout;
    assert_eq!(listed.lines().count(), 3, "{listed}");
    // What it had started has gone on, and comes to its end.
    let runs_somewhere = || site.hosts().any(|(_, host)| !host.commands().is_empty());
    assert!(runs_somewhere());
    std::fs::remove_file(site.shared().join("wait")).unwrap();
    wait_for("the end of what ran", || (!runs_somewhere()).then_some(()));
    site.fleet(&["mysite", "unlock", "--yes"]).expect_code(0);
    site.fleet(&["mysite", "hello"]).expect_code(0);
}
