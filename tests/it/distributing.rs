//! `fleet SITE distribute-keys`: in by what there is now, the key added with every foreign byte kept, and proven by a second login.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use crate::support::agent::Agent;
use crate::support::files;
use crate::support::hosts::ReadyProject;
use crate::support::output::Output;
use crate::support::process::{run, stdout_of};
use crate::support::tools::tool;

const DISTRIBUTE: [&str; 2] = ["mysite", "distribute-keys"];

/// Hosts that know the key `old` and not the project's.
fn hosts_with_old_key(names: &[&str]) -> ReadyProject {
    let ready = ReadyProject::start("", names);
    let old = ready.generate_key_at("old", "");
    for name in names {
        files::write(&ready[name].authorized_keys(), format!("{old}\n"), 0o600);
    }
    ready
}

fn fingerprint(ready: &ReadyProject, key: &str) -> String {
    let told = stdout_of(Command::new(tool("ssh-keygen")).arg("-lf").arg(ready.root().join(key)));
    told.split(' ').nth(1).unwrap().to_owned()
}

/// The host let in the old key first, then the project's, each once.
fn expect_proof(ready: &ReadyProject, host: &str) {
    let log = ready[host].log();
    let logins: Vec<_> =
        log.lines().filter_map(|line| line.strip_prefix("Accepted publickey for ")?.split(' ').next_back()).collect();
    assert_eq!(logins, [fingerprint(ready, "old"), fingerprint(ready, "keys/fleet")], "{log}");
}

fn expect_file(ready: &ReadyProject, host: &str, content: &str) {
    assert_eq!(files::read(&ready[host].authorized_keys()), content);
}

#[test]
fn an_agent_opens_the_hosts_and_the_second_time_nothing_is_done() {
    let ready = hosts_with_old_key(&["web1", "web2"]);
    let agent = Agent::with(&ready.root().join("old"));
    let distribute = || {
        let mut command = ready.command(&DISTRIBUTE);
        ready.run(&DISTRIBUTE, command.env("SSH_AUTH_SOCK", agent.socket())).expect_code(0)
    };
    insta::assert_snapshot!(distribute().snapshot());
    let (old, new) = (ready.read("old.pub"), ready.read("keys/fleet.pub"));
    for name in ["web1", "web2"] {
        expect_file(&ready, name, &format!("{old}{new}"));
        expect_proof(&ready, name);
    }
    let again = distribute();
    assert_eq!(again.stdout, "web1  already there, proven by a login\nweb2  already there, proven by a login\n");
    expect_file(&ready, "web1", &format!("{old}{new}"));
    // From here on without the agent.
    ready.fleet(&["mysite", "run", "--", "true"]).expect_code(0);
}

#[test]
fn another_identity_opens_the_hosts() {
    let ready = hosts_with_old_key(&["web1"]);
    let before = ready["web1"].calls();
    let output = ready.fleet(&DISTRIBUTE).expect_code(11);
    assert!(output.stdout.starts_with("web1  login as "), "{}", output.stdout);
    assert_eq!(ready["web1"].calls(), before + 1, "one connection, no proof");
    let output = ready.fleet(&["-i", "old", "mysite", "distribute-keys"]).expect_code(0);
    assert_eq!(output.stdout, "web1  added, and proven by a login\n");
    expect_proof(&ready, "web1");
}

#[test]
fn a_key_with_a_passphrase_needs_none_while_the_agent_holds_it() {
    let ready = hosts_with_old_key(&["web1"]);
    run(Command::new(tool("ssh-keygen"))
        .args(["-q", "-p", "-P", "", "-N", "phrase", "-f"])
        .arg(ready.root().join("old")));
    // More keys than a server looks at, and the named one is the last of them.
    ready.generate_key_at("other0", "");
    let agent = Agent::with(&ready.root().join("other0"));
    for other in ["other1", "other2", "other3", "other4", "other5"] {
        ready.generate_key_at(other, "");
        agent.add(&ready.root().join(other), "");
    }
    agent.add(&ready.root().join("old"), "phrase");
    let args = ["-i", "old", "mysite", "run", "--", "true"];
    ready.run(&args, ready.command(&args).env("SSH_AUTH_SOCK", agent.socket())).expect_code(0);
    let output = ready.fleet(&args).expect_code(5);
    assert!(output.stderr.contains("old has a passphrase, and there is no terminal to ask on"), "{}", output.stderr);
}

/// The old key lets in; this is in the file besides.
fn distribute_into(content: impl FnOnce(&str) -> String) -> (ReadyProject, Output, String) {
    let ready = hosts_with_old_key(&["web1"]);
    let before = content(ready.read("old.pub").trim());
    files::write(&ready["web1"].authorized_keys(), &before, 0o640);
    let output = ready.fleet(&["-i", "old", "mysite", "distribute-keys"]);
    (ready, output, before)
}

#[test]
fn a_missing_final_newline_glues_no_keys() {
    let (ready, output, before) = distribute_into(|old| format!("# ops\n{old}"));
    assert_eq!(output.expect_code(0).stderr, "");
    expect_file(&ready, "web1", &format!("{before}\n{}", ready.read("keys/fleet.pub")));
    expect_proof(&ready, "web1");
    let mode = ready["web1"].authorized_keys().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640, "the mode is theirs");
}

#[test]
fn a_byte_order_mark_and_bytes_that_are_no_text_are_kept_and_told() {
    let (ready, output, before) = distribute_into(|old| format!("\u{feff}# G\u{fc}nter\r\n{old}\r\n"));
    let output = output.expect_code(0);
    assert!(
        output.stderr.contains("web1: warning: authorized_keys starts with a byte order mark"),
        "{}",
        output.stderr
    );
    expect_file(&ready, "web1", &format!("{before}{}", ready.read("keys/fleet.pub")));
    expect_proof(&ready, "web1");

    let content = [b"# G\xfcnter \x00\x1b[1m\n", ready.read("old.pub").as_bytes()].concat();
    files::write(&ready["web1"].authorized_keys(), &content, 0o600);
    ready.fleet(&["-i", "old", "mysite", "distribute-keys"]).expect_code(0);
    let after = std::fs::read(ready["web1"].authorized_keys()).unwrap();
    assert_eq!(after, [&content, ready.read("keys/fleet.pub").as_bytes()].concat());
}

#[test]
fn a_link_out_of_dot_ssh_is_left_to_who_made_it_and_one_inside_stays_a_link() {
    let ready = hosts_with_old_key(&["out", "inside"]);
    let (file, target) = (ready["out"].authorized_keys(), ready["out"].home().join("managed"));
    std::fs::rename(&file, &target).unwrap();
    symlink(&target, &file).unwrap();
    let inside = ready["inside"].authorized_keys();
    std::fs::rename(&inside, inside.with_file_name("real")).unwrap();
    symlink("real", &inside).unwrap();
    let output = ready.fleet(&["-i", "old", "mysite", "distribute-keys"]).expect_code(10);
    assert!(output.stdout.contains("is a symbolic link to ") && output.stdout.contains("managed"), "{}", output.stdout);
    assert_eq!(files::read(&target), ready.read("old.pub"));
    assert!(output.stdout.contains("inside  added, and proven by a login"), "{}", output.stdout);
    assert_eq!(std::fs::read_link(&inside).unwrap(), PathBuf::from("real"));
}

#[test]
fn a_key_that_does_not_open_the_host_is_never_called_proven() {
    let ready = hosts_with_old_key(&["web1"]);
    // Behind `from=` of another address: sshd obeys the first line that has the key.
    let new = ready.read("keys/fleet.pub");
    files::write(&ready["web1"].authorized_keys(), format!("from=\"192.0.2.1\" {new}{}", ready.read("old.pub")), 0o600);
    let output = ready.fleet(&["-i", "old", "mysite", "distribute-keys"]).expect_code(10);
    assert!(
        output.stdout.contains("the key was already in ~/.ssh/authorized_keys, but does not work"),
        "{}",
        output.stdout
    );
    assert!(output.stderr.contains("restricted, on line 1"), "{}", output.stderr);
}

#[test]
fn without_a_pair_or_pins_nothing_is_sent() {
    let ready = hosts_with_old_key(&["web1"]);
    let before = ready["web1"].calls();
    std::fs::rename(ready.root().join("keys/fleet.pub"), ready.root().join("moved")).unwrap();
    let output = ready.fleet(&DISTRIBUTE).expect_code(5);
    assert!(
        output.stderr.contains("there is no key ") && output.stderr.contains("fleet generate-keys"),
        "{}",
        output.stderr
    );
    assert_eq!(ready["web1"].calls(), before);
    std::fs::rename(ready.root().join("moved"), ready.root().join("keys/fleet.pub")).unwrap();
    ready.write("keys/known_hosts", "");
    let output = ready.fleet(&["-i", "old", "mysite", "distribute-keys"]).expect_code(11);
    assert!(
        output.all().contains("is not pinned") && output.all().contains("`fleet mysite trust`"),
        "{}",
        output.all()
    );
    assert!(!ready["web1"].log().contains("user"), "{}", ready["web1"].log());
}
