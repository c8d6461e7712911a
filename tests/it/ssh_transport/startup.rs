//! Startup files of the login shell that take something away from what is run.

use std::time::Duration;

use fleet::model::plan::command::RemoteCommand;
use fleet::remote::{Connect as _, ExecEnd};

use super::{connector, done, endpoint, pair, run_command, run_text, session, web1, with_key};
use crate::support::files;
use crate::support::sshd::Sshd;

fn host(bashrc: &str) -> Sshd {
    let sshd = Sshd::settings().login_shell("bash").start();
    files::write(&sshd.home().join(".bashrc"), format!("{bashrc}\n"), 0o644);
    sshd
}

const TOLD: &str = "fleet: a startup file of the login shell (.bashrc) redirects standard error: \
                    what this printed there is lost, or came with the rest\n";

#[tokio::test]
async fn a_command_whose_standard_error_goes_elsewhere_tells_so_with_its_status() {
    for (bashrc, stdout) in [("exec 2>/dev/null", "out\n"), ("exec 2>>log", "out\n"), ("exec 2>&1", "out\nerr\n")] {
        let sshd = host(bashrc);
        let mut session = session(&sshd).await;
        for status in [3, 0] {
            let run = run_text(&mut *session, &format!("echo out; echo err >&2; exit {status}")).await;
            assert_eq!(run, done(ExecEnd::Exited(status), stdout, TOLD), "{bashrc}");
        }
    }
}

#[tokio::test]
async fn a_command_whose_standard_output_goes_elsewhere_is_lost_and_it_is_told_why() {
    for (bashrc, why) in [
        ("exec >/dev/null", "; a startup file of the login shell (.bashrc) sends standard output elsewhere"),
        ("exec >/dev/null 2>&1", "; do startup files of the login shell hang, or send its output elsewhere?"),
    ] {
        let (sshd, pair) = (host(bashrc), pair("ed25519"));
        sshd.authorize(&pair.public);
        let mut connector = connector(&sshd.known_hosts(), with_key(&pair));
        connector.timeouts.channel = Duration::from_secs(5);
        let mut session = connector.connect(&web1(), &endpoint(sshd.port())).await.unwrap();
        // Longer than the wait, so that its shell says nothing.
        let end = run_command(&mut *session, &RemoteCommand::shell("sleep 60")).await.end;
        assert_eq!(end, ExecEnd::Lost(format!("no sign of its shell in 5 s{why}").into()), "{bashrc}");
    }
}

#[tokio::test]
async fn a_startup_file_that_reads_eats_nothing_of_the_command() {
    let sshd = host("read answer; read -r other");
    let mut session = session(&sshd).await;
    let run = run_text(&mut *session, "echo out; cat; echo err >&2; exit 3").await;
    assert_eq!(run, done(ExecEnd::Exited(3), "out\n", "err\n"));
}
