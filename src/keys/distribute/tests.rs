use super::*;
use crate::model::run::event::Stream;
use crate::model::text::hint::Hint;
use crate::remote::{Exec, OutputChunk};
use futures::future::BoxFuture;

/// Answers each command with the next of its lines.
struct Scripted(Vec<(ExecEnd, &'static [u8])>);

impl Session for Scripted {
    fn exec<'a>(&'a mut self, exec: Exec<'a>) -> BoxFuture<'a, ExecEnd> {
        let (end, bytes) = self.0.remove(0);
        Box::pin(async move {
            // In crumbs, as a network may deliver it.
            for byte in bytes {
                let stream = if end == ExecEnd::Exited(0) { Stream::Stdout } else { Stream::Stderr };
                exec.output.send(OutputChunk { stream, bytes: vec![*byte] }).await.unwrap();
            }
            end
        })
    }

    fn is_alive(&self) -> bool {
        true
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK2pr+Bfus1hvPof4Wb/plZCzSbqadHH0u+/f4ODtKnE";

async fn distribute_with(script: &[(ExecEnd, &'static [u8])]) -> Result<Distributed, DistributeError> {
    let mut session = Scripted(script.to_vec());
    let result = distribute(&mut session, &PublicKeyLine::parse(KEY).unwrap()).await;
    assert!(session.0.is_empty(), "{result:?} before {:?}", session.0);
    result
}

fn ok(answer: &'static [u8]) -> (ExecEnd, &'static [u8]) {
    (ExecEnd::Exited(0), answer)
}

#[tokio::test]
async fn a_file_cut_short_is_not_the_whole() {
    let cut = ok(b"content\t99 100\t\nssh-rsa AAAA\n");
    assert_eq!(distribute_with(&vec![cut.clone(); ATTEMPTS]).await, Err(DistributeError::Changing));
    let whole = distribute_with(&[cut, ok(b"content\t99 4\t\n\nab\n"), ok(b"added\n")]).await;
    assert_eq!(whole, Ok(Distributed { change: Change::Added, warnings: vec![] }));
}

#[tokio::test]
async fn no_answer_or_a_strange_one_is_never_success() {
    for answer in [&b""[..], b"added", b"\n", b"hello\nadded\n", b"content\t1 0\t\n"] {
        let result = distribute_with(&[ok(b"none\n"), ok(answer)]).await;
        assert!(matches!(result, Err(DistributeError::Unknown { .. })), "{answer:?} {result:?}");
    }
}

#[tokio::test]
async fn how_a_command_ends_decides_what_is_known() {
    let end =
        |end: ExecEnd| async { distribute_with(&[ok(b"none\n"), (end, b"cp: No space left\ncannot copy\n")]).await };
    let failed = DistributeError::Failed { status: 1, message: "cp: No space left; cannot copy".into() };
    assert_eq!(failed.to_string(), "nothing was changed: cp: No space left; cannot copy");
    assert_eq!(end(ExecEnd::Exited(1)).await, Err(failed));
    assert!(matches!(end(ExecEnd::NotStarted("x".into())).await, Err(DistributeError::NotStarted { .. })));
    for unknown in [ExecEnd::Exited(143), ExecEnd::Lost("x".into()), ExecEnd::TimedOut, ExecEnd::Stopped] {
        assert!(matches!(end(unknown).await, Err(DistributeError::Unknown { .. })));
    }
}

#[tokio::test]
async fn a_hosts_words_cannot_play_with_the_terminal() {
    let refused = distribute_with(&[ok(b"writable\t/home/\x1b[2J x\xe2\x80\xae\tdrwx\xff\x07\n")]).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "/home/\\x1b[2J x\\u{202e} is writable by others (drwx\u{fffd}\\x07): sshd would not read keys there"
    );
    assert_eq!(refused.hints(), [Hint::advice("on the host, chmod go-w '/home/\\x1b[2J x\\u{202e}'")]);
}
