//! Commands: what comes back, and the truth about how they ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleet::model::plan::command::RemoteCommand;
use fleet::model::text::name::UserName;
use fleet::remote::{Connect, ExecEnd};
use fleet::ssh::{Credentials, PasswordGate, Timeouts};
use tokio_util::sync::CancellationToken;

use super::{
    Limits, connector, done, endpoint, exec, pair, run_command, run_limited, run_text, session, timeouts, web1,
    with_key,
};
use crate::support::files;
use crate::support::process::{run, wait_or};
use crate::support::sshd::Sshd;
use crate::support::user::TestUser;

#[tokio::test]
async fn output_and_status_come_back_exactly() {
    let sshd = Sshd::start();
    let mut session = session(&sshd).await;
    let cases = [
        ("true", done(ExecEnd::Exited(0), "", "")),
        ("echo out; echo err >&2; exit 3", done(ExecEnd::Exited(3), "out\n", "err\n")),
        ("printf 'no newline'", done(ExecEnd::Exited(0), "no newline", "")),
        ("printf '\\n\\n'", done(ExecEnd::Exited(0), "\n\n", "")),
        ("exec >&- 2>&-; exit 4", done(ExecEnd::Exited(4), "", "")),
        ("cat", done(ExecEnd::Exited(0), "", "")),
        ("kill -9 $$", done(ExecEnd::Exited(137), "", "")),
        ("kill -TERM $$; sleep 30", done(ExecEnd::Exited(143), "", "")),
        ("exit 255", done(ExecEnd::Exited(255), "", "")),
        ("env | grep -c -e FLEET_TEXT -e FLEET_MARK", done(ExecEnd::Exited(1), "0\n", "")),
        ("trap", done(ExecEnd::Exited(0), "", "")),
    ];
    for (text, expected) in cases {
        assert_eq!(run_text(&mut *session, text).await, expected, "{text}");
    }
    let ignored = run_text(&mut *session, "sed -n 's/^SigIgn:.//p' /proc/self/status").await.stdout;
    let int_and_quit = u64::from_str_radix(ignored.trim(), 16).unwrap() & 0b110;
    assert_eq!(int_and_quit, 0, "a service that a step starts would ignore them for ever");
}

#[tokio::test]
async fn all_bytes_pass() {
    let sshd = Sshd::start();
    let mut session = session(&sshd).await;
    let all: Vec<u8> = (0..=255).collect();
    files::write(&sshd.home().join("bytes"), all.repeat(1000), 0o644);
    let mut seen = Vec::new();
    let command = RemoteCommand::shell("cat bytes");
    let end = exec(&mut *session, &command, Limits::default(), |chunk| seen.extend_from_slice(&chunk.bytes)).await;
    assert_eq!((end, seen == all.repeat(1000)), (ExecEnd::Exited(0), true));
}

#[tokio::test]
async fn folder_and_environment() {
    let sshd = Sshd::start();
    let mut session = session(&sshd).await;
    let value = "it's \"$HOME\" `id`\n\\ end";
    let mut command = RemoteCommand::shell("printf '%s|' \"$VALUE\"; pwd");
    command.env = BTreeMap::from([("VALUE".to_owned(), value.to_owned())]);
    command.cwd = Some("/usr/../tmp".to_owned());
    assert_eq!(run_command(&mut *session, &command).await.stdout, format!("{value}|/tmp\n"));

    command.cwd = Some("/no such folder".to_owned());
    let failed = run_command(&mut *session, &command).await;
    assert!(matches!(failed.end, ExecEnd::Exited(1..)) && failed.stdout.is_empty(), "{failed:?}");
    assert!(failed.stderr.contains("cd") && failed.stderr.contains("/no such folder"), "{failed:?}");

    command.cwd = Some(String::new());
    let failed = run_command(&mut *session, &command).await;
    assert_eq!(failed, done(ExecEnd::Exited(1), "", "fleet: the folder to run in (cwd) is empty\n"));

    command = RemoteCommand::shell("echo ran");
    command.env = BTreeMap::from([("A; echo injected".to_owned(), "x".to_owned())]);
    let failed = run_command(&mut *session, &command).await;
    assert!(matches!(failed.end, ExecEnd::Exited(1..)) && failed.stdout.is_empty(), "{failed:?}");
}

#[tokio::test]
async fn scripts_and_texts_of_any_length() {
    let sshd = Sshd::start();
    let mut session = session(&sshd).await;
    let mut script =
        RemoteCommand::shell("import os, sys\nprint(os.environ['A'], sys.stdin.read() == '')\nsys.exit(5)\n");
    script.interpreter = Some("/usr/bin/python3".to_owned());
    script.env = BTreeMap::from([("A".to_owned(), "a b".to_owned())]);
    assert_eq!(run_command(&mut *session, &script).await, done(ExecEnd::Exited(5), "a b True\n", ""));
    script.text = "x = 1\n".repeat(60_000) + "print(x)";
    assert_eq!(run_command(&mut *session, &script).await, done(ExecEnd::Exited(0), "1\n", ""));

    let long = "x=1\n".repeat(60_000) + "echo $x; exit 6";
    assert_eq!(run_text(&mut *session, &long).await, done(ExecEnd::Exited(6), "1\n", ""));
    let document = format!("cat <<E | wc -c\n{}E\n", "123456789\n".repeat(30_000));
    assert_eq!(run_text(&mut *session, &document).await, done(ExecEnd::Exited(0), "300000\n", ""));
    script.interpreter = Some("/no/such/interpreter".to_owned());
    assert_eq!(run_command(&mut *session, &script).await.end, ExecEnd::Exited(127));
    // No script stays behind.
    let left = run_text(&mut *session, "for f in /tmp/tmp.*; do grep -lx 'x = 1' $f 2>/dev/null; done; true").await;
    assert_eq!(left, done(ExecEnd::Exited(0), "", ""));
}

#[tokio::test]
async fn login_shells_that_are_not_posix_and_startup_files_that_print() {
    let noise = "echo Welcome!; printf 'no newline'; echo warning >&2\n";
    let shells = [
        ("bash", ".bashrc", noise),
        ("dash", ".profile", noise),
        ("tcsh", ".cshrc", "echo Welcome!\necho warning\n"),
        ("fish", ".config/fish/config.fish", "echo Welcome!\necho warning >&2\n"),
        ("zsh", ".zshenv", noise),
        ("ksh", ".profile", noise),
    ];
    for (shell, file, content) in shells {
        let sshd = Sshd::settings().login_shell(shell).start();
        files::write(&sshd.home().join(file), content, 0o644);
        let mut session = session(&sshd).await;
        let run = run_text(&mut *session, "echo 'it'\\''s' \"$0\"; echo e >&2; exit 3").await;
        assert_eq!(run, done(ExecEnd::Exited(3), "it's sh\n", "e\n"), "{shell}");
        session.close().await;
    }
}

#[tokio::test]
async fn a_login_shell_that_runs_nothing_is_told_with_its_words() {
    let sshd = Sshd::settings().login_shell("nologin").start();
    let mut session = session(&sshd).await;
    let ExecEnd::NotStarted(reason) = run_text(&mut *session, "echo no").await.end else { panic!("it cannot start") };
    assert_eq!(reason.text, "no shell for it (exit status 1): This account is currently not available.");
    assert!(session.is_alive());
}

#[tokio::test]
async fn a_server_that_opens_no_session_starts_nothing() {
    let sshd = Sshd::settings().line("MaxSessions 0").start();
    let mut session = session(&sshd).await;
    let end = run_text(&mut *session, "echo no").await.end;
    assert!(matches!(&end, ExecEnd::NotStarted(reason) if reason.text.contains("opens no channel")), "{end:?}");
}

#[tokio::test]
async fn sudo_runs_as_another_user_as_root() {
    let (user, sshd) = (TestUser::create(), Sshd::start());
    let mut session = session(&sshd).await;
    let mut command = RemoteCommand::shell("id -un; echo \"$HOME\"; exit 9");
    command.as_user = Some(UserName::parse(&user.name).unwrap());
    let run = run_command(&mut *session, &command).await;
    assert_eq!(run, done(ExecEnd::Exited(9), &format!("{}\n/\n", user.name), ""));
}

#[tokio::test]
async fn sudo_that_wants_a_password_is_told_with_a_hint_as_root() {
    let (user, sshd) = (TestUser::create(), Sshd::settings().password().start());
    let password = Some(Arc::new(PasswordGate::new(user.password.clone().into())));
    let mut host = endpoint(sshd.port());
    host.user = UserName::parse(&user.name).unwrap();
    let credentials = Credentials { password, ..Credentials::default() };
    let mut session = connector(&sshd.known_hosts(), credentials).connect(&web1(), &host).await.unwrap();
    let mut command = RemoteCommand::shell("echo no");
    command.as_user = Some(UserName::parse("root").unwrap());
    let ExecEnd::NotStarted(reason) = run_command(&mut *session, &command).await.end else { panic!("no rights") };
    assert!(reason.text.ends_with("sudo: a password is required"), "{reason}");
    assert!(reason.hints[0].to_string().starts_with("let sudo run it without a password"), "{reason:?}");
}

#[tokio::test]
async fn a_daemon_that_keeps_the_output_open_holds_nobody_up() {
    // One session at a time: a channel that stays open would be found by the next command.
    let sshd = Sshd::settings().line("MaxSessions 1").start();
    let mut session = session(&sshd).await;
    for _ in 0..5 {
        let started = tokio::time::Instant::now();
        let run = run_text(&mut *session, "setsid sleep 300 & echo started").await;
        assert_eq!(run, done(ExecEnd::Exited(0), "started\n", ""));
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    wait_or(|| (sshd.commands().len() == 5).then_some(()), || format!("they run on: {:?}", sshd.commands()));
}

/// Nothing that the host ran is left.
fn assert_nothing_runs(sshd: &Sshd) {
    wait_or(|| sshd.commands().is_empty().then_some(()), || format!("still running: {:?}", sshd.commands()));
}

#[tokio::test]
async fn a_time_limit_ends_the_whole_process_group() {
    let sshd = Sshd::start();
    let mut session = session(&sshd).await;
    let limits = || Limits { timeout: Some(Duration::from_millis(300)), ..Limits::default() };
    let run = run_limited(&mut *session, &RemoteCommand::shell("echo on; sleep 301 | sleep 302"), limits()).await;
    assert_eq!(run, done(ExecEnd::TimedOut, "on\n", ""));
    assert_nothing_runs(&sshd);
    let stubborn = RemoteCommand::shell("trap '' TERM; sleep 303 & sleep 304; sleep 305");
    assert_eq!(run_limited(&mut *session, &stubborn, limits()).await, done(ExecEnd::TimedOut, "", ""));
    assert_nothing_runs(&sshd);
    let polite = RemoteCommand::shell("trap 'echo cleaned; exit 0' TERM; sleep 306");
    assert_eq!(run_limited(&mut *session, &polite, limits()).await.stdout, "cleaned\n");
    assert_eq!(run_text(&mut *session, "echo next").await.stdout, "next\n");
}

#[tokio::test]
async fn silence_has_a_limit_of_its_own() {
    let sshd = Sshd::start();
    let mut session = session(&sshd).await;
    let limits = || Limits { idle_timeout: Some(Duration::from_secs(2)), ..Limits::default() };
    let lively = RemoteCommand::shell("for i in 1 2 3 4 5 6; do sleep 0.5; echo $i; done");
    assert_eq!(run_limited(&mut *session, &lively, limits()).await.end, ExecEnd::Exited(0));
    let run = run_limited(&mut *session, &RemoteCommand::shell("echo on; sleep 300"), limits()).await;
    assert_eq!(run, done(ExecEnd::IdleTimedOut, "on\n", ""));
    assert_nothing_runs(&sshd);
}

#[tokio::test]
async fn stopping_ends_it_and_before_the_start_sends_nothing() {
    let sshd = Sshd::start();
    let mut session = session(&sshd).await;
    let stop = CancellationToken::new();
    let limits = Limits { stop: stop.clone(), ..Limits::default() };
    let end = exec(&mut *session, &RemoteCommand::shell("echo on; sleep 300"), limits, |_| stop.cancel()).await;
    assert_eq!(end, ExecEnd::Stopped);
    assert_nothing_runs(&sshd);
    let limits = Limits { stop, ..Limits::default() };
    let end = exec(&mut *session, &RemoteCommand::shell("touch ran"), limits, |_| {}).await;
    assert!(matches!(end, ExecEnd::NotStarted(_)), "{end:?}");
    assert!(session.is_alive() && !sshd.home().join("ran").exists());
}

#[tokio::test]
async fn stopping_between_the_request_and_the_start_ends_it_too() {
    let sshd = Sshd::settings().login_shell("bash").start();
    files::write(&sshd.home().join(".bashrc"), "touch starting; sleep 1", 0o644);
    let mut session = session(&sshd).await;
    let stop = CancellationToken::new();
    let limits = Limits { stop: stop.clone(), ..Limits::default() };
    let command = RemoteCommand::shell("sleep 300");
    let canceller = async {
        while !sshd.home().join("starting").exists() {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let (end, ()) = tokio::join!(exec(&mut *session, &command, limits, |_| {}), canceller);
    assert_eq!(end, ExecEnd::Stopped);
    assert_nothing_runs(&sshd);
}

#[tokio::test]
async fn a_lost_connection_is_never_an_exit_status() {
    let sshd = Sshd::start();
    let mut session = session(&sshd).await;
    let command = RemoteCommand::shell("echo on; sleep 300");
    let end = exec(&mut *session, &command, Limits::default(), |_| sshd.cut_connections()).await;
    assert!(matches!(&end, ExecEnd::Lost(reason) if reason.text.contains("lost")), "{end:?}");
    assert!(!session.is_alive());
    let end = run_text(&mut *session, "echo no").await.end;
    assert!(matches!(&end, ExecEnd::NotStarted(_)), "{end:?}");
    session.close().await;
}

#[tokio::test]
async fn a_killed_shell_is_no_success() {
    let sshd = Sshd::start();
    let mut session = session(&sshd).await;
    let end = run_text(&mut *session, "kill -9 $PPID; sleep 1; exit 0").await.end;
    assert!(
        matches!(&end, ExecEnd::Lost(reason) if reason.text.contains("the shell that waited for it is gone")),
        "{end:?}"
    );
    assert!(session.is_alive());
    assert_eq!(run_text(&mut *session, "echo next").await.stdout, "next\n");
}

#[tokio::test]
async fn a_host_that_falls_silent_holds_nobody_up() {
    let sshd = Sshd::start();
    let pair = pair("ed25519");
    sshd.authorize(&pair.public);
    let mut connector = connector(&sshd.known_hosts(), with_key(&pair));
    connector.timeouts = Timeouts { channel: Duration::from_millis(300), ..timeouts() };
    let mut session = connector.connect(&web1(), &endpoint(sshd.port())).await.unwrap();
    // sshd may still be about to make the process that serves the login; once it has served, it is there to be stopped.
    assert_eq!(run_text(&mut *session, "true").await.end, ExecEnd::Exited(0));
    sshd.freeze();
    let end = run_text(&mut *session, "echo no").await.end;
    assert_eq!(end, ExecEnd::NotStarted("the server opened no channel in 0.3 s".into()));
    assert!(!session.is_alive());
    session.close().await;
    sshd.thaw();
}

/// In a process of its own: the memory of the other tests would count too.
#[test]
fn much_output_is_not_kept_in_memory() {
    let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
    alone.args(["--exact", "ssh_transport::commands::much_output"]).env("FLEET_TEST_ALONE", "1");
    run(&mut alone);
}

/// By itself it does nothing.
#[tokio::test]
async fn much_output() {
    if std::env::var_os("FLEET_TEST_ALONE").is_none() {
        return;
    }
    let sshd = Sshd::start();
    let mut session = session(&sshd).await;
    let mut seen = 0;
    let command = RemoteCommand::shell("head -c 104857600 /dev/zero; echo end >&2");
    let end = exec(&mut *session, &command, Limits::default(), |chunk| seen += chunk.bytes.len()).await;
    assert_eq!((end, seen), (ExecEnd::Exited(0), 104_857_600 + "end\n".len()));
    let status = files::read("/proc/self/status".as_ref());
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB");
    assert!(peak.parse::<u32>().unwrap() < 40 << 10, "peak memory: {peak} kB");
}

#[tokio::test]
async fn output_that_nobody_takes_is_let_go_and_the_status_comes() {
    let sshd = Sshd::start();
    let mut session = session(&sshd).await;
    let (output, receiver) = tokio::sync::mpsc::channel(1);
    drop(receiver);
    let command = RemoteCommand::shell("head -c 50000000 /dev/zero; exit 2");
    let stop = CancellationToken::new();
    let run = fleet::remote::Exec {
        command: fleet::remote::Remote::Plain(&command),
        timeout: None,
        idle_timeout: None,
        stop,
        output,
        findings: None,
    };
    assert_eq!(session.exec(run).await, ExecEnd::Exited(2));
}
