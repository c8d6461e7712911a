//! What is sent to a host, through the shells that may be its `/bin/sh`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::thread;

use fleet::model::plan::command::RemoteCommand;
use fleet::model::text::secret::Secret;
use fleet::remote::Wire;

use crate::support::files::try_read;
use crate::support::process::wait_or;
use crate::support::tools::tool;

const SHELLS: [&[&str]; 4] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"], &["ksh"]];
const NONCE: &str = "0123456789abcdef";

/// A shell that reads a command as sshd gives it. Ended when the test is.
struct Run {
    process: Child,
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads a stream up to its end mark: the text between the marks, the status. `at_line` gets the process group with every line.
fn read(stream: impl Read, wire: &Wire, mut at_line: impl FnMut(&str)) -> (String, u32) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    let pid = line.trim_end().strip_prefix(&format!("{} ", wire.begin)).unwrap_or_else(|| panic!("no begin: {line:?}"));
    let mut output = Vec::new();
    let end = format!("{} ", wire.end);
    loop {
        let read = stream.read_until(b'\n', &mut output).unwrap();
        at_line(pid);
        let text = String::from_utf8_lossy(&output);
        if let Some((before, status)) = text.split_once(&end)
            && let Some(status) = status.strip_suffix('\n')
        {
            return (before.to_owned(), status.parse().unwrap());
        }
        assert!(read > 0, "no end mark: {text:?}");
    }
}

/// Standard output, standard error, status. `signals` are written to the leash when the command has printed its first line.
fn run_with(shell: &[&str], command: &RemoteCommand, signals: &[&str]) -> (String, String, u32) {
    let wire = command.wire(NONCE);
    let mut inner = tool(shell[0]).display().to_string();
    inner.extend(shell[1..].iter().flat_map(|argument| [" ", argument]));
    // The command's own shell is of the same kind.
    let stdin = String::from_utf8(wire.stdin.clone()).unwrap().replacen("/bin/sh -c", &format!("{inner} -c"), 1);
    let mut process = Command::new(tool(shell[0]));
    process.args(&shell[1..]).arg("-s").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = Run { process: process.spawn().unwrap() };
    let mut leash = run.process.stdin.take().unwrap();
    let (stdout, stderr) = (run.process.stdout.take().unwrap(), run.process.stderr.take().unwrap());
    thread::scope(|scope| {
        let errors = scope.spawn(|| read(stderr, &wire, |_| {}));
        leash.write_all(stdin.as_bytes()).unwrap();
        let mut signals = signals.iter();
        let (output, status) = read(stdout, &wire, |pid| {
            for signal in signals.by_ref() {
                writeln!(leash, "{signal} {pid}").unwrap();
            }
        });
        let (errors, same) = errors.join().unwrap();
        assert_eq!(status, same);
        (output, errors, if status > 255 { 128 + (status & 0x7f) } else { status })
    })
}

fn run(shell: &[&str], command: &RemoteCommand) -> (String, String, u32) {
    run_with(shell, command, &[])
}

#[test]
fn output_status_and_signals() {
    for shell in SHELLS {
        let cases = [
            ("echo out; echo err >&2; exit 3", "out\n", "err\n", 3),
            ("printf x; cat", "x", "", 0),
            ("kill -9 $$", "", "", 137),
            ("setsid sleep 3 & echo started", "started\n", "", 0),
            ("sleep 3 & echo started", "started\n", "", 0),
            ("exec 2>&1; echo 'a  b' \"$#\" '$x'", "a  b 0 $x\n", "", 0),
        ];
        for (text, stdout, stderr, status) in cases {
            let expected = (stdout.to_owned(), stderr.to_owned(), status);
            assert_eq!(run(shell, &RemoteCommand::shell(text)), expected, "{shell:?}: {text}");
        }
    }
}

#[test]
fn folders_variables_scripts_and_long_texts() {
    for shell in SHELLS {
        let mut command = RemoteCommand::shell("printf '%s|' \"$A\"; pwd; env | grep -c -e FLEET_TEXT -e FLEET_MARK");
        command.env = BTreeMap::from([("A".to_owned(), "it's \"$x\"\n`y`\\".to_owned())]);
        command.cwd = Some("/tmp".to_owned());
        assert_eq!(run(shell, &command), ("it's \"$x\"\n`y`\\|/tmp\n0\n".to_owned(), String::new(), 1), "{shell:?}");

        // A secret, under a name that is unset before it, and in a text so long that it goes by a here-document.
        let text = "printf '%s|' \"$GIT_DIR\"; env | grep -c -e FLEET_SECRET -e FLEET_TEXT";
        for text in [text.to_owned(), format!("{}{text}", "x=1\n".repeat(40_000))] {
            let mut secret = RemoteCommand::shell(text);
            secret.secret_env.insert("GIT_DIR".to_owned(), Secret::of("it's \"$x\"\n`y`\\".to_owned()));
            assert_eq!(run(shell, &secret), ("it's \"$x\"\n`y`\\|0\n".to_owned(), String::new(), 1), "{shell:?}");
        }

        command.cwd = Some("/no/such/folder".to_owned());
        let (stdout, stderr, status) = run(shell, &command);
        assert!(stdout.is_empty() && stderr.contains("/no/such/folder") && status > 0, "{shell:?}: {stderr}");

        let mut script = RemoteCommand::shell("import os\nprint(os.environ['A'])\nraise SystemExit(4)");
        script.interpreter = Some("/usr/bin/python3".to_owned());
        script.env = BTreeMap::from([("A".to_owned(), "b".to_owned())]);
        assert_eq!(run(shell, &script), ("b\n".to_owned(), String::new(), 4), "{shell:?}");
        script.text = format!("{}\n{}", "x = 1\n".repeat(30_000), script.text);
        assert_eq!(run(shell, &script), ("b\n".to_owned(), String::new(), 4), "{shell:?}");

        let long = RemoteCommand::shell("x=1\n".repeat(40_000) + "echo \"$x\"; exit 5");
        assert_eq!(run(shell, &long), ("1\n".to_owned(), String::new(), 5), "{shell:?}");
    }
}

#[test]
fn the_leash_ends_the_whole_process_group() {
    let marker = format!("31{}", std::process::id());
    for shell in SHELLS {
        let sleeps = format!("echo ready; sleep {marker} | sleep {marker}");
        let (_, stderr, status) = run_with(shell, &RemoteCommand::shell(&*sleeps), &["TERM"]);
        assert_eq!((&*stderr, status), ("", 143), "{shell:?}");
        let stubborn = format!("trap '' TERM; {sleeps}");
        let (_, stderr, status) = run_with(shell, &RemoteCommand::shell(&*stubborn), &["TERM", "KILL"]);
        assert_eq!((&*stderr, status), ("", 137), "{shell:?}");
        let running = || {
            std::fs::read_dir("/proc").unwrap().any(|process| {
                let line = try_read(&process.unwrap().path().join("cmdline")).unwrap_or_default();
                line.starts_with(&format!("sleep\0{marker}"))
            })
        };
        wait_or(|| (!running()).then_some(()), || format!("left by {shell:?}"));
    }
}
