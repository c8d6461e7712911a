//! Servers that do what no `sshd` does.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fleet::model::plan::book::EffectChange;
use fleet::model::plan::command::RemoteCommand;
use fleet::model::plan::plan::HostIndex;
use fleet::model::run::cause::Cause;
use fleet::model::run::reason::Reason;
use fleet::model::run::scheduler::StepIndex;
use fleet::model::text::name::RunId;
use fleet::remote::{Connect, DurableStep, Entry, ExecEnd, Remote, Scope, Session, StepKey};
use fleet::ssh::{Credentials, KnownHosts, PasswordGate, SshConnector};
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::{PrivateKey, PublicKeyBase64 as _};
use russh::server::{self, Auth, ChannelOpenHandle, Msg, Response, RunningSession};
use russh::{Channel, ChannelId, Disconnect, MethodKind, MethodSet};
use tokio::net::TcpListener;

use super::{Limits, connector, endpoint, run_remote, run_text, web1};

/// What a server answers to keyboard-interactive.
#[derive(Clone, Copy)]
enum Asks {
    /// No login is needed at all.
    Nothing,
    /// Requests without a prompt, for ever.
    Emptily,
    /// One secret after the other, for ever.
    Secrets,
    /// After the password, a code.
    Code,
    /// Nothing to be answered: somebody approves it on another device.
    Approval,
    /// After each password, one more.
    Passwords,
}

#[derive(Clone)]
struct Hostile {
    asks: Asks,
    /// What it says of the end of a command, on standard output and standard error. Without it, it runs nothing.
    ends: Option<[&'static str; 2]>,
    read: Vec<u8>,
    /// Answers that were not empty.
    secrets: Arc<AtomicUsize>,
    rounds: Arc<AtomicUsize>,
}

impl server::Handler for Hostile {
    type Error = russh::Error;

    async fn auth_none(&mut self, _: &str) -> Result<Auth, russh::Error> {
        Ok(if matches!(self.asks, Asks::Nothing) { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_password(&mut self, _: &str, _: &str) -> Result<Auth, russh::Error> {
        let next = match self.asks {
            Asks::Code => MethodKind::KeyboardInteractive,
            Asks::Passwords => MethodKind::Password,
            Asks::Nothing | Asks::Emptily | Asks::Secrets | Asks::Approval => return Ok(Auth::reject()),
        };
        self.rounds.fetch_add(1, Ordering::Relaxed);
        Ok(Auth::Reject { proceed_with_methods: Some(MethodSet::from(&[next][..])), partial_success: true })
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let answers = response.into_iter().flatten().filter(|answer| !answer.is_empty()).count();
        self.secrets.fetch_add(answers, Ordering::Relaxed);
        self.rounds.fetch_add(1, Ordering::Relaxed);
        let prompts = match self.asks {
            Asks::Nothing | Asks::Passwords => return Ok(Auth::reject()),
            Asks::Approval => return Ok(Auth::Accept),
            Asks::Code => vec![(Cow::Borrowed("Verification code: "), false)],
            Asks::Emptily => Vec::new(),
            Asks::Secrets => vec![(Cow::Borrowed("Password: "), false)],
        };
        Ok(Auth::Partial { name: "".into(), instructions: "".into(), prompts: prompts.into() })
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut server::Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _: &[u8],
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        if self.ends.is_some() { session.channel_success(channel) } else { session.channel_failure(channel) }
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut server::Session,
    ) -> Result<(), russh::Error> {
        self.read.extend_from_slice(data);
        let text = String::from_utf8_lossy(&self.read);
        let Some((before, _)) = text.split_once("-begin") else { return Ok(()) };
        let nonce = before.get(before.len() - 32..).unwrap();
        if let Some([out, err]) = self.ends.take() {
            let said = |end: &str| format!("{nonce}-begin 7\nsaid\n{nonce}-end {end}\n");
            session.data(channel, said(out).into_bytes())?;
            session.extended_data(channel, 1, said(err).into_bytes())?;
        }
        Ok(())
    }
}

/// A server, and the connection to it.
struct Meeting {
    connection: Result<Box<dyn Session>, String>,
    server: RunningSession<Hostile>,
    hostile: Hostile,
}

async fn meet(asks: Asks, credentials: Credentials) -> Meeting {
    meet_one(asks, credentials, None).await
}

async fn meet_one(asks: Asks, credentials: Credentials, ends: Option<[&'static str; 2]>) -> Meeting {
    let key = PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&[7; 32])), "").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let line = format!("[127.0.0.1]:{port} ssh-ed25519 {}", key.public_key().public_key_base64());
    let config = server::Config {
        keys: vec![key],
        auth_rejection_time: Duration::ZERO,
        max_auth_attempts: 1000,
        ..server::Config::default()
    };
    let hostile = Hostile { asks, ends, read: Vec::new(), secrets: Arc::default(), rounds: Arc::default() };
    #[expect(clippy::async_yields_async, reason = "the server runs on after the meeting")]
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        server::run_stream(Arc::new(config), stream, hostile.clone()).await.unwrap()
    };
    let known_hosts = Arc::new(KnownHosts::parse(Path::new("known_hosts"), line.as_bytes()));
    let connector = SshConnector { known_hosts, ..connector("", credentials) };
    let host = endpoint(port);
    let label = web1();
    let (connection, server) = tokio::join!(connector.connect(&label, &host), server);
    Meeting { connection: connection.map_err(|e| e.to_string()), server, hostile }
}

fn password() -> Credentials {
    Credentials { password: Some(Arc::new(PasswordGate::new("secret".to_owned().into()))), ..Credentials::default() }
}

#[tokio::test]
async fn a_server_can_open_no_channel_to_us() {
    let meeting = meet(Asks::Nothing, Credentials::default()).await;
    let (mut session, server) = (meeting.connection.unwrap(), meeting.server.handle());
    let opened = [
        ("agent", server.channel_open_agent().await.is_ok()),
        ("session", server.channel_open_session().await.is_ok()),
        ("x11", server.channel_open_x11("127.0.0.1", 1).await.is_ok()),
        ("forwarded tcp", server.channel_open_forwarded_tcpip("127.0.0.1", 1, "127.0.0.1", 2).await.is_ok()),
        ("direct tcp", server.channel_open_direct_tcpip("127.0.0.1", 22, "127.0.0.1", 2).await.is_ok()),
        ("forwarded socket", server.channel_open_forwarded_streamlocal("/x").await.is_ok()),
        ("direct socket", server.channel_open_direct_streamlocal("/x").await.is_ok()),
    ];
    assert!(opened.iter().all(|(_, opened)| !opened), "{opened:?}");
    // The connection is none the worse for it.
    let end = run_text(&mut *session, "true").await.end;
    assert_eq!(end, ExecEnd::NotStarted(Reason::new(Cause::NoShell, "the server refuses to run commands")));
    assert!(session.is_alive());
}

#[tokio::test]
async fn endless_requests_without_a_prompt_are_given_up() {
    let meeting = meet(Asks::Emptily, password()).await;
    let error = meeting.connection.err().unwrap();
    assert!(error.contains("the server asked 20 times"), "{error}");
    assert!(meeting.hostile.rounds.load(Ordering::Relaxed) <= 21);
    assert_eq!(meeting.hostile.secrets.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_password_is_sent_once_however_often_it_is_asked_for() {
    let meeting = meet(Asks::Secrets, password()).await;
    let error = meeting.connection.err().unwrap();
    assert!(error.contains("the server asks for more than a password"), "{error}");
    assert_eq!(meeting.hostile.secrets.load(Ordering::Relaxed), 1);
}

/// Else it would go to all other hosts at once, as one that is known to be right.
#[tokio::test]
async fn a_password_that_nobody_looked_at_is_not_proven() {
    let gate = Arc::new(PasswordGate::new("secret".to_owned().into()));
    let credentials = || Credentials { password: Some(Arc::clone(&gate)), ..Credentials::default() };
    assert!(meet(Asks::Approval, credentials()).await.connection.is_ok());
    // Two at once: the second waits for the first, and is spared.
    let (first, second) = tokio::join!(meet(Asks::Secrets, credentials()), meet(Asks::Secrets, credentials()));
    let secrets = |meeting: &Meeting| meeting.hostile.secrets.load(Ordering::Relaxed);
    assert_eq!(secrets(&first) + secrets(&second), 1);
}

#[tokio::test]
async fn a_password_is_no_code() {
    let meeting = meet(Asks::Code, password()).await;
    let error = meeting.connection.err().unwrap();
    assert!(error.contains("failed: password accepted, and the server wants an answer"), "{error}");
    assert!(error.contains("the server asks for more than a password: `Verification code:`"), "{error}");
    assert_eq!(meeting.hostile.secrets.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_password_that_was_accepted_is_not_sent_for_ever() {
    let meeting = meet(Asks::Passwords, password()).await;
    let error = meeting.connection.err().unwrap();
    assert!(error.contains("failed: password accepted, and the server wants a password as well"), "{error}");
    assert_eq!(meeting.hostile.rounds.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_server_that_says_good_bye_is_quoted() {
    let meeting = meet(Asks::Nothing, Credentials::default()).await;
    let mut session = meeting.connection.unwrap();
    let server = meeting.server.handle();
    let bye = server.disconnect(Disconnect::ByApplication, "maintenance".to_owned(), String::new());
    bye.await.unwrap();
    let _ = meeting.server.await;
    while session.is_alive() {
        tokio::task::yield_now().await;
    }
    let end = run_text(&mut *session, "true").await.end;
    assert_eq!(end, ExecEnd::NotStarted("the server closed the connection: maintenance".into()));
}

/// Both streams carry the same end: one that says something else is no success, and no failure either.
#[tokio::test]
async fn ends_that_disagree_are_no_end() {
    let step = DurableStep {
        run: RunId::parse("20261122-084512-7f3a").unwrap(),
        key: StepKey::run(HostIndex(0), StepIndex { phase: 0, step: 0 }, 1),
        label: "a step".to_owned(),
        command: RemoteCommand::shell("true"),
        limit: None,
        spent: Vec::new(),
        effects: EffectChange::default(),
        book: None,
        witness: None,
        scope: Scope::Session,
    };
    let (plain, durable) = (Remote::Plain(&step.command), Remote::Durable(&step, Entry::Start));
    for (command, ends, told) in [
        (plain, ["0", "0"], None),
        (plain, ["0", "3"], Some("0; 3")),
        (plain, ["3", "0"], Some("3; 0")),
        (durable, ["exit 0", "exit 0"], None),
        (durable, ["exit 0", "exit 3"], Some("exit 0; exit 3")),
        (durable, ["exit 0", "exit 0 timeout"], Some("exit 0; exit 0 timeout")),
        (durable, ["absent", "exit 0"], Some("absent; exit 0")),
        (durable, ["exit 0", "gone"], Some("exit 0; gone")),
    ] {
        let meeting = meet_one(Asks::Nothing, Credentials::default(), Some(ends)).await;
        let mut session = meeting.connection.unwrap();
        let end = run_remote(&mut *session, command, Limits::default()).await.end;
        let unknown = |ends| ExecEnd::Unknown(format!("its two streams say that it ended differently: {ends}").into());
        assert_eq!(end, told.map_or(ExecEnd::Exited(0), unknown), "{ends:?}");
    }
}
