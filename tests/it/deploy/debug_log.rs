//! fleet's own log: beside the record of each run, and on standard error with `-v`, `-vv` and `FLEET_LOG`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rustix::process::Signal;

use super::Site;
use crate::passwords;
use crate::support::process::wait_for;
use crate::support::sshd::Sshd;
use crate::support::user::TestUser;
use crate::support::{files, terminal};

const RECIPE: &str = r#"
[vars.password]
default = "-"
[[task.deploy.step]]
name = "token"
run = "printf '%s\\n' 'hunter2\"hunter3'"
register = "token"
secret-output = true
[[task.deploy.step]]
name = "use"
run = "test {{token}} != {{password}}; echo text-of-the-command >&2"
env = { TOKEN = "{{token}}" }
[[task.deploy.step]]
name = "wait"
run = "touch @SHARED@/waiting; while [ ! -e @SHARED@/go ]; do sleep 0.02; done"
undo = "true"
"#;

fn debug_log(site: &Site) -> PathBuf {
    let runs = std::fs::read_dir(site.root().join(".fleet/runs")).unwrap();
    let runs = runs.map(|run| run.unwrap().path()).filter(|path| path.is_dir());
    runs.max().unwrap().join("debug.log")
}

/// Fails unless the log has lines with these words, one after another.
#[track_caller]
fn expect_in_order(log: &str, all: &[&[&str]]) {
    let mut lines = log.lines();
    for words in all {
        let found = lines.any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "{words:?} is not there, or too early:\n{log}");
    }
}

#[test]
fn every_run_keeps_a_log_without_secrets_and_vv_shows_it() {
    let site = Site::start("", &["web1"], RECIPE);
    site.touch("go");
    let args = ["mysite", "deploy", "-vv"];
    let mut command = site.command(&args);
    command.env("FLEET_SET", "password=variable-swordfish").env("FLEET_ASIDE", "aside-swordfish");
    let output = site.run(&args, &mut command).expect_code(0);
    let path = debug_log(&site);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let log = files::read(&path);
    for text in [&log, &output.stderr] {
        for secret in ["hunter", "swordfish", "text-of-the-command >&2"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        expect_in_order(
            text,
            &[
                &["carry_out: fleet ", "sites=\"mysite\"", "task=\"deploy\"", "hosts=1"],
                &["scheduler", "input=\"start\"", "connect web1"],
                &["host=web1", "connecting", "address=\"127.0.0.1\"", "user="],
                &["host=web1", "TCP connected"],
                &["host=web1", "host key", "verdict=the key is pinned", "SHA256:"],
                &["host=web1", "SSH handshake done", "SSH-2.0-OpenSSH"],
                &["INFO", "host=web1", "logged in", "key `keys/fleet`"],
                &["host=web1", "lock asked for", "ready=true"],
                &["host=web1", "step=deploy/token", "step begins", "durable"],
                &["host=web1", "step=deploy/use attempt=1", "command ended"],
                &["host=web1", "step=deploy/use attempt=1", "step ended", "succeeded"],
                &["scheduler", "step-ended web1: succeeded", "run web1 deploy/wait attempt 1"],
                &["host=web1", "lock given back", "Free"],
                &["run finished", "exit_code=0"],
            ],
        );
        assert!(text.contains("keys exchanged kex=\""), "{text}");
    }
    // What -v has shown until now is there, too, and fleet's own log is no output.
    assert!(output.stderr.contains("| text-of-the-command\n"), "{}", output.stderr);
    assert!(!output.stdout.contains("DEBUG"));
}

#[test]
fn v_shows_the_less_and_a_filter_what_it_says() {
    let site = Site::start("", &["web1"], RECIPE);
    site.touch("go");
    let plain = site.fleet(&["mysite", "deploy"]).expect_code(0).stderr;
    assert!(!plain.contains("INFO") && !plain.contains("DEBUG"), "{plain}");
    let info = site.fleet(&["mysite", "deploy", "-v"]).expect_code(0).stderr;
    assert!(info.contains(" INFO ") && info.contains("logged in") && !info.contains("DEBUG"), "{info}");
    let with = |name: &str, value: &str| {
        let mut command = site.command(&["mysite", "deploy"]);
        site.run(&["mysite", "deploy"], command.env(name, value))
    };
    assert!(with("FLEET_VERBOSE", "2").expect_code(0).stderr.contains("DEBUG"));
    assert!(!with("FLEET_VERBOSE", "yes").expect_code(0).stderr.contains("DEBUG"));
    let only = with("FLEET_LOG", "fleet::engine=debug").expect_code(0).stderr;
    assert!(only.contains("scheduler") && !only.contains("logged in"), "{only}");
    assert_eq!(with("FLEET_LOG", " ").expect_code(0).stderr.matches("DEBUG").count(), 0);
    let russh = with("FLEET_LOG", "russh=debug").expect_code(0).stderr;
    assert!(russh.contains("russh::client::kex: negotiated algorithms") && !russh.contains("fleet::"), "{russh}");
    let refused = with("FLEET_LOG", "fleet=loud").expect_code(2).stderr;
    assert!(refused.starts_with("error: invalid value 'fleet=loud' for FLEET_LOG: "), "{refused}");
}

#[test]
fn a_log_on_the_terminal_takes_the_place_of_the_live_view() {
    let site = Site::start("", &["web1"], RECIPE);
    site.touch("go");
    let drawn = "\x1b[";
    let args = ["mysite", "deploy"];
    let (_, live) = terminal::run(site.command(&args).env("TERM", "xterm"), &[]);
    assert!(live.contains(drawn), "{live}");
    let mut command = site.command(&args);
    let (code, shown) = terminal::run(command.env("TERM", "xterm").env("FLEET_LOG", "info"), &[]);
    assert_eq!(code, Some(0));
    assert!(shown.contains("logged in") && !shown.contains(drawn), "{shown}");
}

#[test]
fn a_password_is_not_in_the_log_of_all_there_is_as_root() {
    let user = TestUser::create();
    let ready = passwords::hosts(&user, &["web1"], Sshd::settings);
    let args = ["mysite", "run", "--password-file", "password", "--", "true"];
    let output = ready.run(&args, ready.command(&args).env("FLEET_LOG", "trace")).expect_code(0);
    assert_eq!(ready["web1"].logins("password"), 1);
    assert!(
        output.stderr.contains("method=\"password\"") && output.stderr.contains(" russh::client: "),
        "{}",
        output.stderr
    );
    assert!(!output.stderr.contains(&user.password));
    // What is in russh's packets, and what its agent client reads, would be there as numbers.
    assert!(!output.stderr.contains(" TRACE task=") && !output.stderr.contains("russh::keys"), "{}", output.stderr);
}

#[test]
fn a_lost_connection_and_a_resume_are_told_in_one_log() {
    let site = Site::start("", &["web1"], RECIPE);
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("waiting"));
    site["web1"].cut_connections();
    let path = debug_log(&site);
    wait_for("the connection", || files::read(&path).contains("reconnected").then_some(()));
    running.signal(Signal::KILL);
    running.wait();
    site.touch("go");
    site.fleet(&["resume"]).expect_code(0);
    let log = files::read(&path);
    expect_in_order(
        &log,
        &[
            &["INFO", "host=web1 step=deploy/wait attempt=1", "connection lost", "step_goes_on=true"],
            &["INFO", "host=web1 step=deploy/wait attempt=1", "reconnecting attempt=1"],
            &["INFO", "host=web1 step=deploy/wait attempt=1", "reconnected"],
            &["carry_out: fleet ", "task=\"deploy\""],
            &["scheduler", "watch web1 deploy/wait attempt 1"],
            &["host=web1 step=deploy/wait attempt=1", "step begins", "watch=true"],
            &["run finished", "exit_code=0"],
        ],
    );
}

#[test]
fn a_log_that_cannot_be_kept_stops_no_run() {
    let site = Site::start("", &["web1"], RECIPE);
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("waiting"));
    running.signal(Signal::KILL);
    running.wait();
    let path = debug_log(&site);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    site.touch("go");
    let told = site.fleet(&["resume"]).expect_code(0).stderr;
    assert!(told.contains("warning: no log of what fleet does is kept: "), "{told}");
}

/// Its own log has the name already.
#[test]
fn a_host_may_be_called_debug() {
    let site = Site::start("", &["debug"], RECIPE);
    site.touch("go");
    site.fleet(&["mysite", "deploy"]).expect_code(0);
    let path = debug_log(&site);
    assert!(files::read(&path).contains("deploy/use err| text-of-the-command"));
    assert!(files::read(&path.with_file_name(".debug.log")).contains("scheduler"));
}

const ROLLOUT: &str = r#"
[[task.deploy.phase]]
name = "roll"
rolling = true
[[task.deploy.phase.step]]
name = "close"
run = "true"
undo = "true"
[[task.deploy.phase.step]]
name = "migrate"
run = "test {{fleet.host}} != web2"
undo = "true"
"#;

/// Why it was undone, on a host that did nothing wrong: read by somebody who has nothing but the log.
#[test]
fn the_log_tells_why_a_host_was_undone() {
    let site = Site::start("", &["web1", "web2"], ROLLOUT);
    site.fleet(&["mysite", "deploy", "--serial", "1"]).expect_code(10);
    expect_in_order(
        &files::read(&debug_log(&site)),
        &[
            &["plan", "max_failures=0", "on_failure=Undo"],
            &["batch-finished", "batch-started roll 2"],
            &["host=web2 step=roll/migrate attempt=1", "step ended", "exit status 1"],
            &["scheduler", "step-ended web2: exit status 1", "rollout-stopped: 1 host failed, 0 allowed", "undo web"],
            &["host=web1 step=roll/migrate attempt=1 undo=true", "step begins"],
            &["scheduler", "settle web1 rolled back; settle web2 rolled back: roll/migrate: exit status 1"],
            &["run finished", "exit_code=10"],
        ],
    );
}

#[test]
fn the_log_tells_whose_lock_was_in_the_way() {
    let site = Site::start("", &["web1"], RECIPE);
    let other = site.colleague();
    let running = site.spawn(&["mysite", "deploy"]);
    wait_for("the step", || site.has("waiting"));
    let holder = site.holder("web1").unwrap();
    other.fleet(&["mysite", "deploy"]).expect_code(12);
    let runs = std::fs::read_dir(other.root().join(".fleet/runs")).unwrap().map(|run| run.unwrap().path());
    let log = files::read(&runs.filter(|path| path.is_dir()).max().unwrap().join("debug.log"));
    let holder = format!("holder=\"{holder}\"");
    expect_in_order(
        &log,
        &[
            &[
                "host=web1",
                "lock asked for",
                "ready=false",
                &holder,
                "its controller is connected; running: deploy/wait",
            ],
            &[
                "scheduler",
                "refused web1 locked: ",
                "rollout-stopped: web1 is locked by another run",
                "settle web1 locked",
            ],
            &["run finished", "exit_code=12"],
        ],
    );
    site.touch("go");
    running.wait().expect_code(0);
}

#[test]
fn the_log_tells_of_a_host_key_that_has_changed() {
    let mut site = Site::start("", &["web1"], RECIPE);
    let before = site["web1"].fingerprint("ed25519");
    site.host("web1").change_host_key("ed25519");
    let now = site["web1"].fingerprint("ed25519");
    site.fleet(&["mysite", "deploy"]).expect_code(11);
    let log = files::read(&debug_log(&site));
    expect_in_order(
        &log,
        &[
            &["host=web1", "host key", &now, "the key has changed: ", &before],
            &["host=web1", "no connection", "HAS CHANGED"],
            &["scheduler", "connect-failed web1: ", "rollout-stopped", "settle web1 unreachable"],
        ],
    );
    assert!(!log.contains("login"), "{log}");
}
