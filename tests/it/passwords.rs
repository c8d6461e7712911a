//! Passwords: asked once, sent once where it is wrong, and found nowhere that anybody else could read.

use std::path::Path;
use std::process::Command;

use crate::support::files;
use crate::support::hosts::ReadyProject;
use crate::support::process::{run, wait_for};
use crate::support::sshd::{Settings, Sshd};
use crate::support::tools::tool;
use crate::support::user::TestUser;

/// Hosts where the user can log in with a password, and with no key yet.
pub fn hosts(user: &TestUser, names: &[&str], settings: impl Fn() -> Settings) -> ReadyProject {
    let mut ready = ReadyProject::start("", &[]);
    let head = format!("[ssh]\nuser = \"{}\"", user.name);
    ready.add_site_on("mysite", &head, names.iter().map(|name| (*name, settings().password())).collect());
    for name in names {
        files::write(&ready[name].authorized_keys(), "", 0o600);
        run(Command::new(tool("chown")).arg("-R").arg(format!("{}:", user.name)).arg(ready[name].home()));
    }
    files::write(&ready.root().join("password"), format!("{}\n", user.password), 0o600);
    ready
}

fn failed(ready: &ReadyProject) -> usize {
    ready.hosts().map(|(_, host)| host.log().matches("Failed password").count()).sum()
}

fn expect_distributed(ready: &ReadyProject, names: &[&str]) {
    for name in names {
        let host = &ready[name];
        assert_eq!((host.logins("password"), host.logins("publickey")), (1, 1), "{}", host.log());
        assert_eq!(files::read(&host.authorized_keys()), ready.read("keys/fleet.pub"));
    }
}

#[test]
fn a_password_is_asked_for_once_and_brings_the_key_to_all_hosts_as_root() {
    let user = TestUser::create();
    let names = ["web1", "web2"];
    let ready = hosts(&user, &names, Sshd::settings);
    let question = format!("Password of {}: ", user.name);
    // There is no other way in, so nobody has to say --ask-pass.
    let output = ready.fleet_pty(&["mysite", "distribute-keys"], &[(&question, &format!("{}\n", user.password))]);
    let output = output.expect_code(0);
    assert_eq!(output.stdout.matches("Password").count(), 1, "{}", output.stdout);
    assert!(!output.stdout.contains(&user.password), "{}", output.stdout);
    expect_distributed(&ready, &names);
}

#[test]
fn a_password_comes_from_a_private_file_as_root() {
    let user = TestUser::create();
    let ready = hosts(&user, &["web1"], Sshd::settings);
    let args = ["mysite", "distribute-keys", "--password-file", "password"];
    let before = ready["web1"].calls();
    files::set_mode(&ready.root().join("password"), 0o640);
    let output = ready.fleet(&args).expect_code(5);
    assert_eq!(output.stderr, "error: cannot use password: others can read it (mode 0640)\nhint: chmod 600 password\n");
    let output = ready.fleet(&["mysite", "distribute-keys", "--ask-pass"]).expect_code(5);
    assert!(output.stderr.contains("there is no terminal to ask on; use --password-file FILE"), "{}", output.stderr);
    files::write(&ready.root().join("password"), b"\xff\xfe\n", 0o600);
    ready.fleet(&args).expect_code(5);
    files::write(&ready.root().join("password"), "\n", 0o600);
    assert!(ready.fleet(&args).expect_code(5).stderr.contains("its first line is empty"));
    assert_eq!(ready["web1"].calls(), before);
    // As an editor on another system writes it.
    files::write(&ready.root().join("password"), format!("\u{feff}{}\r\nnot this\r\n", user.password), 0o600);
    ready.fleet(&args).expect_code(0);
    expect_distributed(&ready, &["web1"]);
}

#[test]
fn nobody_is_asked_for_a_password_where_a_key_opens_the_hosts_as_root() {
    let user = TestUser::create();
    let ready = hosts(&user, &["web1", "web2"], Sshd::settings);
    let own = ready.read("keys/fleet.pub");
    ready["web1"].authorize(own.trim());
    ready["web2"].authorize(own.trim());
    let distribute = ["mysite", "distribute-keys"];
    ready.fleet_pty(&distribute, &[]).expect_code(0);
    // One host refuses it: the question is for that one alone.
    files::write(&ready["web2"].authorized_keys(), "", 0o600);
    let question = format!("Password of {}: ", user.name);
    let output = ready.fleet_pty(&distribute, &[(&question, &format!("{}\n", user.password))]).expect_code(0);
    assert_eq!(output.stdout.matches("proven by a login").count(), 2, "{}", output.stdout);
    assert_eq!((ready["web1"].logins("password"), ready["web2"].logins("password")), (0, 1));
    // Who leaves at the question still learns how it went elsewhere.
    files::write(&ready["web2"].authorized_keys(), "", 0o600);
    let output = ready.fleet_pty(&distribute, &[(&question, "\x03")]).expect_code(130);
    assert!(output.stdout.contains("web1  already there, proven by a login"), "{}", output.stdout);
}

#[test]
fn a_wrong_password_is_tried_on_one_host_only_as_root() {
    let user = TestUser::create();
    let names = ["web1", "web2", "web3", "web4"];
    let ready = hosts(&user, &names, Sshd::settings);
    files::write(&ready.root().join("password"), "not the one\n", 0o600);
    let output = ready.fleet(&["mysite", "distribute-keys", "--password-file", "password"]).expect_code(11);
    assert_eq!(failed(&ready), 1, "{}", output.all());
    assert_eq!(output.stdout.matches("the password was refused, and is not tried elsewhere").count(), 1);
    assert_eq!(output.stdout.matches("; not tried elsewhere").count(), 3, "{}", output.stdout);
    assert!(!output.all().contains("not the one"), "{}", output.all());
    ready.fleet(&["mysite", "run", "--password-file", "password", "--", "true"]).expect_code(11);
    assert_eq!(failed(&ready), 2);
    for name in names {
        assert_eq!(files::read(&ready[name].authorized_keys()), "");
    }
}

#[test]
fn a_server_that_closes_at_a_wrong_password_is_an_answer_too_as_root() {
    let user = TestUser::create();
    // One failure for the project's key, one for the password: then sshd hangs up without an answer.
    let ready = hosts(&user, &["web1", "web2", "web3"], || Sshd::settings().line("MaxAuthTries 2"));
    files::write(&ready.root().join("password"), "not the one\n", 0o600);
    ready.fleet(&["mysite", "distribute-keys", "--password-file", "password"]).expect_code(11);
    expect_one_that_closed(&ready);
}

/// One host has closed a connection at the last failure that it bears.
pub fn expect_one_that_closed(ready: &ReadyProject) {
    let closed = |log: String| log.matches("maximum authentication attempts exceeded").count();
    let closed = || ready.hosts().map(|(_, host)| closed(host.log())).sum::<usize>();
    // A process without rights writes this, by way of another one: later than the client hears of it.
    wait_for("the end in the log", || (closed() > 0).then_some(()));
    assert_eq!(closed(), 1);
}

/// All text of the running processes' arguments and environments that this user may read.
fn processes_with(secret: &str) -> Vec<String> {
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        for name in ["cmdline", "environ"] {
            let path = process.path().join(name);
            if files::try_read(&path).is_some_and(|text| text.contains(secret)) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// Files below a folder that hold the text.
fn files_with(folder: &Path, secret: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_with(&entry.path(), secret));
        } else if files::try_read(&entry.path()).is_some_and(|text| text.contains(secret)) {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

#[test]
fn a_password_is_in_no_argument_environment_log_event_or_record_as_root() {
    let user = TestUser::create();
    let ready = hosts(&user, &["web1"], Sshd::settings);
    let command = "touch started; while [ ! -e go ]; do sleep 0.05; done";
    let args = ["mysite", "run", "--json", "-v", "--password-file", "password", "--", command];
    let running = ready.spawn(&args);
    wait_for("the command", || ready["web1"].home().join("started").exists().then_some(()));
    assert_eq!(processes_with(&user.password), Vec::<String>::new());
    // The scan does find what is there.
    assert!(!processes_with("--password-file").is_empty());
    files::write(&ready["web1"].home().join("go"), "", 0o644);
    let output = running.wait().expect_code(0);
    assert_eq!(ready["web1"].logins("password"), 1);
    assert!(!output.all().contains(&user.password));
    assert!(!ready["web1"].log().contains(&user.password));
    assert_eq!(files_with(&ready.root().join(".fleet"), &user.password), Vec::<String>::new());
    assert_eq!(files_with(&ready["web1"].home(), &user.password), Vec::<String>::new());
    assert_eq!(files_with(&ready.root(), &user.password), [ready.root().join("password").display().to_string()]);
}

#[test]
fn who_leaves_at_a_question_has_contacted_nobody_as_root() {
    let user = TestUser::create();
    let ready = hosts(&user, &["web1"], Sshd::settings);
    let before = ready["web1"].calls();
    let leave = |key: &str| ready.fleet_pty(&["mysite", "run", "--ask-pass", "--", "true"], &[("Password: ", key)]);
    leave("\x03").expect_code(130);
    let output = leave("\x04").expect_code(6);
    assert!(output.stdout.contains("error: no answer to: Password:"), "{}", output.stdout);
    assert_eq!(ready["web1"].calls(), before);
}
