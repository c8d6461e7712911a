//! The fixtures are what they say: a test that stands on a broken one proves nothing.

use std::process::Command;

use crate::support::files;
use crate::support::git::{Upstream, checked_out};
use crate::support::hosts::ReadyProject;
use crate::support::output::redact;
use crate::support::process::{run, stdout_of, wait_for};
use crate::support::project::Project;
use crate::support::sshd::Sshd;
use crate::support::terminal;
use crate::support::tools::{PATH, tool};
use crate::support::user::{TestUser, current};

/// OpenSSH's client, with the project's key and pins and nothing of the caller's.
fn ssh(project: &Project, host: &Sshd, user: &str) -> Command {
    let mut command = Command::new(tool("ssh"));
    command.env_clear().env("PATH", PATH).args([
        "-F",
        "/dev/null",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "IdentitiesOnly=yes",
    ]);
    command.arg("-o").arg(format!("UserKnownHostsFile={}", project.root().join("keys/known_hosts").display()));
    command.arg("-i").arg(project.root().join("keys/fleet")).arg("-p").arg(host.port().to_string());
    command.arg(format!("{user}@127.0.0.1"));
    command
}

fn login(ready: &ReadyProject, host: &str, text: &str) -> String {
    stdout_of(ssh(ready, &ready[host], &current()).args(["-o", "BatchMode=yes", text]))
}

#[test]
fn each_host_has_a_home_and_commands_of_its_own() {
    let ready = ReadyProject::start("", &["web1", "web2"]);
    for name in ["web1", "web2"] {
        files::write(&ready[name].bin().join("who-am-i"), format!("#!/bin/sh\necho {name}\n"), 0o755);
    }
    for name in ["web1", "web2"] {
        let home = ready[name].home().display().to_string();
        assert_eq!(
            login(&ready, name, "pwd; echo \"$HOME\"; who-am-i; echo \"$0\""),
            format!("{home}\n{home}\n{name}\n{}", tool("sh").display())
        );
        assert_eq!(ready[name].logins("publickey"), 1, "{}", ready[name].log());
    }
}

#[test]
fn the_login_shell_is_the_one_that_was_asked_for_and_reads_its_own_files() {
    let mut ready = ReadyProject::start("", &[]);
    let hosts = ["fish", "tcsh", "bash"].map(|shell| (shell, Sshd::settings().login_shell(shell)));
    ready.add_site_on("shells", "", hosts.into());
    assert_eq!(
        login(&ready, "fish", "echo $FISH_VERSION | string match -r '^.'"),
        stdout_of(Command::new(tool("fish")).args(["-c", "echo $FISH_VERSION | string match -r '^.'"]))
    );
    assert_eq!(login(&ready, "tcsh", "echo $tcsh | sed 's/[0-9].*/version/'"), "version");
    files::write(&ready["bash"].home().join(".bashrc"), "echo noise\n", 0o644);
    assert_eq!(login(&ready, "bash", "echo $BASH"), format!("noise\n{}", tool("bash").display()));
}

#[test]
fn nothing_that_a_host_ran_outlives_it() {
    let mut ready = ReadyProject::start("", &["web1"]);
    login(&ready, "web1", "(setsid sleep 600 >/dev/null 2>&1 </dev/null &) ; echo started");
    let left = wait_for("the daemon", || {
        let is_daemon =
            |pid: &u32| files::try_read(format!("/proc/{pid}/comm").as_ref()).is_some_and(|comm| comm == "sleep\n");
        ready["web1"].commands().into_iter().find(is_daemon)
    });
    ready.host("web1").stop();
    let state = files::try_read(format!("/proc/{left}/stat").as_ref())
        .and_then(|stat| Some(stat.rsplit_once(')')?.1.to_owned()));
    assert!(state.is_none_or(|state| state.starts_with(" Z")), "{left} still runs");
    let refused = ssh(&ready, &ready["web1"], "x").arg("true").output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("refused"), "{refused:?}");
    ready.host("web1").launch();
    assert_eq!(login(&ready, "web1", "echo back"), "back");
}

#[test]
fn a_changed_host_key_is_another_one() {
    let mut ready = ReadyProject::start("", &["web1"]);
    let before = ready["web1"].fingerprint("ed25519");
    ready.host("web1").change_host_key("ed25519");
    assert_ne!(ready["web1"].fingerprint("ed25519"), before);
    let refused = ssh(&ready, &ready["web1"], &current()).args(["-o", "BatchMode=yes", "true"]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("HAS CHANGED"), "{refused:?}");
}

#[test]
fn a_user_logs_in_with_a_password_typed_on_a_terminal_as_root() {
    let user = TestUser::create();
    let mut ready = ReadyProject::start("", &[]);
    ready.add_site_on("mysite", "", vec![("web1", Sshd::settings().password())]);
    let mut command = ssh(&ready, &ready["web1"], &user.name);
    command.args(["-o", "PubkeyAuthentication=no", "id -un"]).current_dir(ready.root());
    let (code, shown) = terminal::run(&command, &[("password:", &format!("{}\n", user.password))]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains(&user.name) && !shown.contains(&user.password), "{shown}");
    assert_eq!(ready["web1"].logins("password"), 1, "{}", ready["web1"].log());
}

#[test]
fn a_terminal_has_a_size_asks_in_turn_and_knows_ctrl_c() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(tool("sh"));
    command.current_dir(folder.path()).env_clear().env("PATH", PATH);
    command.args(["-c", "stty size; trap 'echo caught; exit 7' INT; printf 'a? '; read -r a; printf 'b? '; read -r b </dev/tty; echo $a$b; sh -c 'echo ready; exec cat'"]);
    // Typed before `cat` is there, Ctrl-C could reach a copy of the shell that takes note of it and then becomes `cat`.
    let (code, shown) = terminal::run(&command, &[("a? ", "1\n"), ("b? ", "2\n"), ("ready", "\x03")]);
    assert_eq!(code, Some(7), "{shown}");
    assert!(shown.starts_with("40 100\r\n") && shown.contains("12\r\n") && shown.contains("caught"), "{shown}");
}

#[test]
fn commits_have_the_same_ids_everywhere() {
    let upstream = Upstream::new();
    assert_eq!(upstream.commit("first", &[("a/b", "text\n")]), "af14ec55727ac37de401baea32e79cc0f0681802");
    let folder = tempfile::tempdir().unwrap();
    upstream.clone_to(&folder.path().join("site"));
    assert_eq!(checked_out(&folder.path().join("site")), upstream.head());
}

#[test]
fn a_snapshot_holds_nothing_that_changes() {
    let places = [("/tmp/.tmpAbC/project".to_owned(), "[PROJECT]")];
    let text = "\x1b[1m/tmp/.tmpAbC/project/hosts\x1b[0m [127.0.0.1]:34567 run 20261122-084512-7f3a in 1.24 s at 2026-11-22T08:45:12.123Z\n";
    assert_eq!(redact(text, &places), "[PROJECT]/hosts [127.0.0.1]:[PORT] run [RUN] in [DURATION] at [TIME]\n");
}

#[test]
fn fleet_runs_with_an_environment_of_its_own() {
    let project = Project::new();
    let output = project.fleet(&["--version"]).expect_code(0);
    assert_eq!(output.stderr, "");
    run(project.command(&[]).arg("--version"));
}
