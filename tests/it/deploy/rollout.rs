//! Phases, roles, `once`, batches, guards and registered values, on several hosts.

use super::{Site, check_stream, outcomes, snapshot, story};
use crate::support::files;
use crate::support::process::wait_for;

const RECIPE: &str = r#"
[[task.close.step]]
name = "close"
run = "echo {{fleet.host}} close >>@SHARED@/journal"

[[task.deploy.phase]]
name = "close"
tasks = ["close"]
[[task.deploy.phase]]
name = "migrate"
on = "db"
once = true
[[task.deploy.phase.step]]
name = "migrate"
run = "echo {{fleet.host}} migrate >>@SHARED@/journal; echo '0042 of the '\\''day'"
register = "schema"
[[task.deploy.phase]]
name = "roll"
rolling = true
[[task.deploy.phase.step]]
name = "id"
run = "cat id"
cwd = "{{host_home}}"
register = "id"
[[task.deploy.phase.step]]
name = "pull"
run = "echo {{fleet.host}} pull {{id}} {{schema}} >>@SHARED@/journal"
unless = "[ {{fleet.host}} = web2 ]"
[[task.deploy.phase.step]]
name = "reindex"
on = "db"
run = "echo {{fleet.host}} reindex >>@SHARED@/journal"
[[task.deploy.phase.step]]
name = "warm"
run = "echo {{fleet.host}} warm >>@SHARED@/journal"
only-if = "[ {{fleet.host}} = web3 ]"
"#;

#[test]
fn a_deployment_goes_through_phases_roles_batches_and_a_canary() {
    let hosts = ["web1", "web2", "web3", "web4"];
    let site = Site::start("[rollout]\nbatches = [1, \"100%\"]\nsoak = \"200ms\"", &hosts, RECIPE);
    for host in hosts {
        files::write(&site[host].home().join("id"), format!("id of {host}\n\n"), 0o644);
    }
    let output = site.fleet(&["mysite", "deploy", "--json"]).expect_code(0);
    check_stream(&output);
    let journal = site.journal();
    let (close, rest) = journal.split_at(4);
    let mut close = close.to_vec();
    close.sort();
    assert_eq!(close, hosts.map(|host| format!("{host} close")));
    let (canary, batch) = rest.split_at(3);
    assert_eq!(canary, ["web1 migrate", "web1 pull id of web1 0042 of the 'day", "web1 reindex"]);
    let mut batch = batch.to_vec();
    batch.sort();
    assert_eq!(batch, ["web3 pull id of web3 0042 of the 'day", "web3 warm", "web4 pull id of web4 0042 of the 'day"]);

    let story = story(&output);
    let skipped: Vec<&String> = story.iter().filter(|line| line.starts_with("step-skipped")).collect();
    assert_eq!(skipped.len(), 4, "{skipped:?}");
    assert!(skipped.contains(&&"step-skipped web2 roll/pull".to_owned()));
    // The second batch begins when the canary is through and has soaked.
    let at = |wanted: &str| {
        output
            .events()
            .iter()
            .position(|event| format!("{} {} {}", event["event"], event["phase"], event["batch"]) == wanted)
            .unwrap_or_else(|| panic!("{wanted}: {story:#?}"))
    };
    assert!(at(r#""batch-finished" "roll" 1"#) < at(r#""batch-started" "roll" 2"#));
    let time = |at: usize| output.events()[at]["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let soaked = time(at(r#""batch-started" "roll" 2"#)) - time(at(r#""batch-finished" "roll" 1"#));
    assert!(soaked.total(jiff::Unit::Millisecond).unwrap() >= 199.0, "{soaked}");
    // One connection per host.
    for (name, host) in site.hosts() {
        assert_eq!(host.logins("publickey"), 1, "{name}: {}", host.log());
    }
    assert_eq!(outcomes(&output), hosts.map(|host| format!("{host} succeeded")));
}

#[test]
fn piped_output_is_plain_prefixed_lines() {
    let site = Site::start("", &["web1", "web2"], RECIPE);
    for host in ["web1", "web2"] {
        files::write(&site[host].home().join("id"), "id\n", 0o644);
    }
    let output = site.fleet(&["mysite", "deploy", "-P", "1"]).expect_code(0);
    // Locks are given back side by side.
    let ended = ["web1 > [TIME] succeeded\n", "web2 > [TIME] succeeded\n"];
    let swapped = format!("{}{}", ended[1], ended[0]);
    insta::assert_snapshot!(snapshot(&output).replace(&swapped, &ended.concat()));
}

#[test]
fn a_command_runs_everywhere_and_one_word_is_shell_text() {
    let mut site = Site::start("", &["web1", "web2"], RECIPE);
    let output = site.fleet(&["mysite", "run", "--", "echo $((6 * 7)) | sed s/4/four/"]).expect_code(0);
    assert!(output.stderr.contains("web1 | command | four2\n"), "{}", output.stderr);
    assert!(output.stderr.contains("web2 | command | four2\n"), "{}", output.stderr);
    let output = site.fleet(&["mysite:web2", "run", "--", "printf", "<%s>", "a  b", "$HOME", "it's", "*", ""]);
    let output = output.expect_code(0);
    assert!(output.stderr.contains("web2 | command | <a  b><$HOME><it's><*><>\n"), "{}", output.stderr);
    assert!(!output.stderr.contains("web1"), "{}", output.stderr);

    // On hosts of two sites, all at the same time: each waits for the others.
    site.add_site("other", "recipe = \"test\"", &["web3"]);
    let meet = "touch @/$$; while [ $(ls @ | wc -l) -lt 3 ]; do sleep 0.02; done";
    let meet = meet.replace('@', &site.shared().display().to_string());
    let output = site.fleet(&["mysite,other", "--json", "run", "--", &meet]).expect_code(0);
    check_stream(&output);
    assert_eq!(outcomes(&output), ["mysite:web1 succeeded", "mysite:web2 succeeded", "other:web3 succeeded"]);
}

#[test]
fn a_command_that_fails_somewhere_is_told_and_the_others_finish() {
    let site = Site::start("", &["web1", "web2"], RECIPE);
    files::write(&site["web1"].home().join("broken"), "", 0o644);
    let output = site.fleet(&["mysite", "-P", "1", "run", "--", "echo here; [ ! -e broken ] || exit 3"]);
    insta::assert_snapshot!(snapshot(&output.expect_code(10)));
}

#[test]
fn what_is_announced_is_on_disk_before_it_happens() {
    let recipe = "[[task.deploy.step]]\nname = \"look\"\nrun = \"cp @RUNS@/*/events.jsonl @SHARED@/seen\"\n";
    let site = Site::start("", &["web1"], "");
    site.recipe(&recipe.replace("@RUNS@", &site.root().join(".fleet/runs").display().to_string()));
    site.fleet(&["mysite", "deploy"]).expect_code(0);
    wait_for("the copy", || site.has("seen"));
    let seen = files::read(&site.shared().join("seen"));
    let last: serde_json::Value = serde_json::from_str(seen.lines().last().unwrap()).unwrap();
    assert_eq!((last["event"].as_str(), last["step"].as_str()), (Some("step-started"), Some("deploy/look")));
}

#[test]
fn a_canary_that_fails_leaves_the_others_untouched() {
    let recipe = r#"
[[task.deploy.phase]]
name = "roll"
rolling = true
[[task.deploy.phase.step]]
name = "pull"
run = "echo {{fleet.host}} pull >>@SHARED@/journal; exit 1"
undo = "echo {{fleet.host}} unpull >>@SHARED@/journal"
"#;
    let site = Site::start("", &["web1", "web2", "web3"], recipe);
    let output = site.fleet(&["mysite", "deploy", "--serial", "1,100%", "--json"]).expect_code(10);
    check_stream(&output);
    assert_eq!(site.journal(), ["web1 pull", "web1 unpull"]);
    assert_eq!(outcomes(&output), ["web1 rolled-back", "web2 untouched", "web3 untouched"]);
    // Two canaries may fail where two failures are borne; the third one is too many.
    let output = site.fleet(&["mysite", "deploy", "--serial", "1", "--max-fail", "2", "--json"]).expect_code(10);
    check_stream(&output);
    assert_eq!(outcomes(&output), ["web1 rolled-back", "web2 rolled-back", "web3 rolled-back"]);
    assert!(output.stderr.contains("the rollout stops: 3 hosts failed, 2 allowed"), "{}", output.stderr);
}

#[test]
fn hosts_that_share_a_home_folder_leave_each_other_s_steps_and_the_lock_alone() {
    let step = "[[task.deploy.step]]\nname = \"work\"\nrun = \"if [ {{fleet.host}} = web2 ]; then touch @SHARED@/working; while [ ! -e @SHARED@/go ]; do sleep 0.02; done; fi; echo {{fleet.host}} >>@SHARED@/journal\"\n";
    let site = Site::start("", &["web1"], step);
    // One machine under two names.
    let file = site.read("hosts/mysite.toml");
    let (head, host) = file.split_once("[[host]]").unwrap();
    let other = host.replace("web1", "web2").replace("127.0.0.1", "localhost");
    site.write("hosts/mysite.toml", format!("{head}[[host]]{host}[[host]]{other}"));
    let pins = site.read("keys/known_hosts");
    site.write("keys/known_hosts", pins.clone() + &pins.replace("127.0.0.1", "localhost"));
    let mut running = site.spawn(&["mysite", "deploy", "--json"]);
    wait_for("the second host's step", || site.has("working"));
    // The first one is through, and gives the lock back, in the spool that both have.
    running.wait_for_text("lock-released");
    let spool = site["web1"].home().join(".local/state/fleet");
    assert!(spool.join("book.mysite/lock").exists());
    site.touch("go");
    let output = running.wait().expect_code(0);
    check_stream(&output);
    assert_eq!(site.journal(), ["web1", "web2"]);
    let mut left: Vec<_> = std::fs::read_dir(&spool).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["book.mysite", "site.mysite"]);
}
