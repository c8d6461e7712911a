//! Bytes that are no text, from the hosts: what a step prints, what it registers, what its file names hold.

use crate::support::hosts::ReadyProject;

fn ready(step: &str) -> ReadyProject {
    let ready = ReadyProject::start("recipe = \"own\"", &["web1"]);
    ready.write("recipes/own.toml", format!("[task.go]\n{step}"));
    ready
}

/// A program of the host that prints these bytes: the recipe itself has to be text.
fn prints(ready: &ReadyProject, name: &str, bytes: &[u8]) {
    let script = [b"#!/bin/sh\ncat <<'end'\n", bytes, b"end\n"].concat();
    crate::support::files::write(&ready["web1"].bin().join(name), script, 0o755);
}

#[test]
fn output_that_is_no_text_is_escaped_for_eyes_and_kept_in_the_log() {
    let ready = ready("[[task.go.step]]\nname = \"say\"\nrun = \"say\"\n");
    let bytes = b"caf\xe9 \xff\xfe\nt\xc3\xa4glich \xe2\x82\n\x1b]0;title\x07\x9b31m\n";
    prints(&ready, "say", bytes);
    let output = ready.fleet(&["mysite", "go"]).expect_code(0);
    for line in ["say | caf\\xe9 \\xff\\xfe\n", "say | t\u{e4}glich \\xe2\\x82\n", "say | \\x1b]0;title\\x07\\x9b31m\n"]
    {
        assert!(output.stderr.contains(line), "{}", output.stderr);
    }
    // As bytes, when it goes to a file.
    let mut logs = ready.command(&["logs", "last", "web1", "--step", "say"]);
    let log = logs.output().unwrap().stdout;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        assert!(log.windows(line.len()).any(|window| window == line), "{}", String::from_utf8_lossy(&log));
    }
    // And an event is JSON, whatever was printed.
    let output = ready.fleet(&["mysite", "go", "--json"]).expect_code(0);
    assert!(output.events().iter().any(|event| event.to_string().contains("output")), "{}", output.stdout);
}

#[test]
fn a_registered_value_that_is_no_text_fails_its_step_and_goes_nowhere() {
    let ready = ready(
        "[[task.go.step]]\nname = \"ask\"\nrun = \"ask\"\nregister = \"answer\"\n[[task.go.step]]\nname = \"use\"\nrun = \"echo {{answer}} > used\"\n",
    );
    prints(&ready, "ask", b"K\xf6ln\n");
    let output = ready.fleet(&["mysite", "go"]).expect_code(10);
    assert!(output.all().contains("not UTF-8"), "{}", output.all());
    assert!(!ready["web1"].home().join("used").exists());
    prints(&ready, "ask", "K\u{f6}ln it's\n".as_bytes());
    ready.fleet(&["mysite", "go"]).expect_code(0);
    assert_eq!(crate::support::files::read(&ready["web1"].home().join("used")), "K\u{f6}ln it's\n");
}

#[test]
fn a_command_for_all_hosts_takes_any_text() {
    let ready = ReadyProject::start("", &["web1"]);
    let output = ready
        .fleet(&["mysite", "run", "--", "printf", "%s|", "it's", "K\u{f6}ln", "a\nb", "", "$HOME", "-n"])
        .expect_code(0);
    assert!(
        output.stderr.contains("it's|K\u{f6}ln|a\n") && output.stderr.contains("b||$HOME|-n|"),
        "{}",
        output.stderr
    );
}
