//! Trust and logins.

use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use fleet::model::run::reason::Reason;
use fleet::model::text::name::{Address, SiteName};
use fleet::remote::Connect;
use fleet::ssh::{
    Admission, ConnectError, Credentials, KnownHosts, PasswordGate, SshConnector, Timeouts, Verdict, scan_host_key,
};

use super::{connector, endpoint, pair, refused, run_text, session, timeouts, web1, with_key};
use crate::support::agent::Agent;
use crate::support::process::{run, wait_for};
use crate::support::sshd::Sshd;
use crate::support::tools::tool;
use crate::support::user::TestUser;

#[tokio::test]
async fn a_pinned_host_and_an_authorized_key_give_a_session() {
    let sshd = Sshd::start();
    let mut session = session(&sshd).await;
    assert!(session.is_alive());
    assert_eq!(run_text(&mut *session, "echo hello").await.stdout, "hello\n");
    session.close().await;
    sshd.wait_for_log("Disconnected from user");
}

#[tokio::test]
async fn rsa_and_ecdsa_keys_log_in() {
    let sshd = Sshd::start();
    for key_type in ["rsa", "ecdsa"] {
        let pair = pair(key_type);
        sshd.authorize(&pair.public);
        let session =
            connector(&sshd.known_hosts(), with_key(&pair)).connect(&web1(), &endpoint(sshd.port())).await.unwrap();
        session.close().await;
    }
    wait_for("two logins", || (sshd.logins("publickey") == 2).then_some(()));
}

#[tokio::test]
async fn a_key_that_is_not_authorized_is_named_in_the_error() {
    let sshd = Sshd::start();
    let error = refused(&connector(&sshd.known_hosts(), with_key(&pair("ed25519"))), sshd.port()).await.to_string();
    assert!(error.ends_with("failed: tried key `keys/fleet`; the server takes publickey"), "{error}");
}

#[tokio::test]
async fn nothing_to_log_in_with_is_said_so() {
    let sshd = Sshd::start();
    let error = refused(&connector(&sshd.known_hosts(), Credentials::default()), sshd.port()).await.to_string();
    assert!(error.ends_with("failed: there was nothing to try; the server takes publickey"), "{error}");
}

/// The host key is refused before any of the login: no user name, no key, no password has been sent.
fn assert_no_login(sshd: &Sshd) {
    sshd.wait_for_log("preauth");
    for word in ["for invalid user", "Failed", "Accepted", "Postponed", "authenticating user", "userauth"] {
        assert!(!sshd.log().contains(word), "{word} in\n{}", sshd.log());
    }
}

#[tokio::test]
async fn an_unknown_host_is_refused_before_the_login() {
    let sshd = Sshd::settings().line("LogLevel DEBUG2").start();
    let pair = pair("ed25519");
    sshd.authorize(&pair.public);
    let error = refused(&connector("", with_key(&pair)), sshd.port()).await;
    let expected = format!(
        "the key of 127.0.0.1:{} is not pinned: it offers ssh-ed25519 {}\n\
         hint: compare it with what the host's owner tells you, then `fleet mysite trust`",
        sshd.port(),
        sshd.fingerprint("ed25519")
    );
    assert!(matches!(&error, ConnectError::HostKey(refusal) if refusal.verdict == Verdict::Unknown), "{error:?}");
    let Reason { text, hints, .. } = error.reason(&SiteName::parse("mysite").unwrap());
    assert_eq!(format!("{text}\nhint: {}", hints[0]), expected);
    assert!(!sshd.log().contains("userauth-request"), "{}", sshd.log());
    assert_eq!(sshd.logins("publickey"), 0);
}

#[tokio::test]
async fn a_changed_host_key_is_refused_before_the_login() {
    let mut sshd = Sshd::start();
    let (pair, pinned, old) = (pair("ed25519"), sshd.known_hosts(), sshd.fingerprint("ed25519"));
    sshd.authorize(&pair.public);
    sshd.change_host_key("ed25519");
    let error = refused(&connector(&pinned, with_key(&pair)), sshd.port()).await;
    let error = error.reason(&SiteName::parse("mysite").unwrap()).in_one_line();
    for part in [&*old, &*sshd.fingerprint("ed25519"), "keys/known_hosts, line 1", "fleet mysite trust"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    assert!(error.contains(&format!("`ssh-keygen -R '[127.0.0.1]:{}' -f keys/known_hosts`", sshd.port())), "{error}");
    assert_no_login(&sshd);
}

#[tokio::test]
async fn a_key_of_another_type_than_the_pinned_one_is_refused() {
    let sshd = Sshd::settings().key_types(&["ecdsa"]).start();
    let other = Sshd::start();
    let pinned = format!("[127.0.0.1]:{} {}", sshd.port(), other.host_key("ed25519"));
    let error = refused(&connector(&pinned, with_key(&pair("ed25519"))), sshd.port()).await.to_string();
    assert!(error.contains("another type"), "{error}");
    assert_no_login(&sshd);
}

#[tokio::test]
async fn a_revoked_key_is_refused_though_it_is_pinned() {
    let sshd = Sshd::start();
    let lines = format!("{}@revoked * {}\n", sshd.known_hosts(), sshd.host_key("ed25519"));
    let error = refused(&connector(&lines, with_key(&pair("ed25519"))), sshd.port()).await.to_string();
    assert!(error.contains("revoked (keys/known_hosts, line 2)"), "{error}");
    assert_no_login(&sshd);
}

#[tokio::test]
async fn of_several_host_keys_the_pinned_one_is_asked_for() {
    let sshd = Sshd::settings().key_types(&["ed25519", "ecdsa", "rsa"]).start();
    let pair = pair("ed25519");
    sshd.authorize(&pair.public);
    for key_type in ["rsa", "ecdsa"] {
        let pinned = format!("[127.0.0.1]:{} {}", sshd.port(), sshd.host_key(key_type));
        connector(&pinned, with_key(&pair)).connect(&web1(), &endpoint(sshd.port())).await.unwrap().close().await;
    }
}

#[tokio::test]
async fn scanning_gives_the_key_and_tries_no_login() {
    let sshd = Sshd::settings().key_types(&["ed25519", "ecdsa"]).start();
    let (host, admission) = (endpoint(sshd.port()), Admission::default());
    let first = scan_host_key(&host, &timeouts(), &[], &admission).await.unwrap();
    let prefer = ["ecdsa-sha2-nistp256".to_owned()];
    let preferred = scan_host_key(&host, &timeouts(), &prefer, &admission).await.unwrap();
    assert_eq!(first.fingerprint(), sshd.fingerprint("ed25519"));
    assert_eq!((preferred.key_type(), preferred.fingerprint()), ("ecdsa-sha2-nistp256", sshd.fingerprint("ecdsa")));
    let line = first.to_known_hosts_line("127.0.0.1", sshd.port());
    assert!(sshd.known_hosts().contains(&line));
    let known = KnownHosts::parse(std::path::Path::new("x"), line.as_bytes());
    assert_eq!(known.check("127.0.0.1", sshd.port(), &first), Verdict::Pinned);
    assert_no_login(&sshd);
}

fn impatient() -> SshConnector {
    let mut connector = connector("", Credentials::default());
    connector.timeouts = Timeouts { handshake: Duration::from_millis(200), ..timeouts() };
    connector
}

#[tokio::test]
async fn a_silent_listener_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let error = refused(&impatient(), port).await.to_string();
    assert_eq!(error, format!("no SSH handshake with 127.0.0.1:{port}: no SSH banner in 0.2 s"));
}

#[tokio::test]
async fn a_listener_that_says_no_more_than_its_banner_is_given_up_and_let_go() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = async {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-Silent\r\n").await.unwrap();
        // Ends when fleet lets go of the connection: nothing may hold it once the error is told.
        let mut sent = Vec::new();
        let _ = stream.read_to_end(&mut sent).await;
    };
    let (error, ()) = tokio::join!(async { refused(&impatient(), port).await.to_string() }, server);
    assert_eq!(error, format!("no SSH handshake with 127.0.0.1:{port}: key exchange not finished in 0.2 s"));
}

/// The error for a server that sends this, and then goes away or waits for an answer.
async fn said(text: &[u8], waits: bool) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = async {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(text).await.unwrap();
        if !waits {
            // All that fleet sends is read, or closing would be a reset.
            stream.shutdown().await.unwrap();
        }
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    let (error, ()) = tokio::join!(async { refused(&impatient(), port).await.to_string() }, server);
    let error = error.strip_prefix(&format!("no SSH handshake with 127.0.0.1:{port}: ")).unwrap();
    error.to_owned()
}

#[tokio::test]
async fn what_is_not_ssh_is_named() {
    let http = "HTTP/1.1 400 Bad Request\r\n".repeat(40);
    for waits in [false, true] {
        for (text, line) in [
            (http.as_bytes(), "HTTP/1.1 400 Bad Request"),
            (b"220 mail ESMTP\r\n", "220 mail ESMTP"),
            (b"\r\n\x1b[31mhello", "\\x1b[31mhello"),
            (b"SSH-3.0-Future\r\n", "SSH-3.0-Future"),
        ] {
            assert_eq!(said(text, waits).await, format!("what listens there does not speak SSH 2; it says: {line}"));
        }
    }
}

#[tokio::test]
async fn a_server_of_the_old_protocol_is_named() {
    for waits in [false, true] {
        for text in ["SSH-1.5-OpenSSH_3.4\n", "Welcome\r\nSSH-1.5-OpenSSH_3.4\r\n"] {
            let error = said(text.as_bytes(), waits).await;
            let told = "the server speaks only protocol 1 of SSH, which is not safe: SSH-1.5-OpenSSH_3.4";
            assert_eq!(error, told);
        }
    }
    // Both protocols: what comes next is the key exchange.
    let error = said(b"SSH-1.99-Both\r\n", false).await;
    assert_eq!(error, "the connection was closed during the key exchange");
}

#[tokio::test]
async fn a_server_that_closes_before_its_banner_is_told_from_a_silent_one() {
    assert_eq!(said(b"", false).await, "the connection was closed before an SSH banner came");
    for words in ["Exceeded MaxStartups", "Not allowed at this time"] {
        let told = said(format!("{words}\r\n").as_bytes(), false).await;
        assert_eq!(told, format!("the server takes no connection now; it says: {words}"));
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        // To close it with something unread is a reset.
        stream.peek(&mut [0]).await.unwrap();
    };
    let (error, ()) = tokio::join!(async { refused(&impatient(), port).await.to_string() }, server);
    assert!(error.contains("the connection was closed before an SSH banner came"), "{error}");
}

#[tokio::test]
async fn a_refused_port_and_an_unknown_name_are_told_apart() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let connector = connector("", Credentials::default());
    let error = refused(&connector, port).await.to_string();
    assert_eq!(error, format!("cannot connect to 127.0.0.1:{port}: connection refused"));
    let mut host = endpoint(22);
    host.address = Address::parse("no-such-host.invalid").unwrap();
    let error = connector.connect(&web1(), &host).await.err().unwrap();
    assert!(matches!(error, ConnectError::Resolve { .. }), "{error:?}");
}

fn agent(pairs: &[&super::Pair]) -> Agent {
    let agent = Agent::start();
    for pair in pairs {
        agent.add(&pair.folder.path().join("key"), "");
    }
    agent
}

fn keys_of(agent: &Agent) -> Credentials {
    Credentials { agent: Some(agent.socket()), ..Credentials::default() }
}

#[tokio::test]
async fn the_agents_keys_log_in() {
    let sshd = Sshd::start();
    let (wrong, rsa) = (pair("ed25519"), pair("rsa"));
    sshd.authorize(&rsa.public);
    let agent = agent(&[&wrong, &rsa]);
    connector(&sshd.known_hosts(), keys_of(&agent))
        .connect(&web1(), &endpoint(sshd.port()))
        .await
        .unwrap()
        .close()
        .await;
    sshd.wait_for_log("Accepted publickey for ");
}

#[tokio::test]
async fn an_agents_certificate_logs_in() {
    let sshd_folder = tempfile::tempdir().unwrap();
    let (authority, me) = (pair("ed25519"), pair("ed25519"));
    let user = crate::support::user::current();
    run(Command::new(tool("ssh-keygen"))
        .args(["-q", "-I", "me", "-n", &user, "-V", "-1d:+1d", "-s"])
        .arg(authority.folder.path().join("key"))
        .arg(me.folder.path().join("key.pub")));
    let ca = sshd_folder.path().join("ca.pub");
    crate::support::files::write(&ca, &authority.public, 0o644);
    let sshd = Sshd::settings().line(&format!("TrustedUserCAKeys {}", ca.display())).start();
    let agent = agent(&[&me]);
    connector(&sshd.known_hosts(), keys_of(&agent))
        .connect(&web1(), &endpoint(sshd.port()))
        .await
        .unwrap()
        .close()
        .await;
}

#[tokio::test]
async fn no_more_than_five_agent_keys_are_offered() {
    let sshd = Sshd::start();
    let pairs: Vec<_> = (0..8).map(|_| pair("ed25519")).collect();
    let agent = agent(&pairs.iter().collect::<Vec<_>>());
    let error = refused(&connector(&sshd.known_hosts(), keys_of(&agent)), sshd.port()).await.to_string();
    assert_eq!(error.matches("agent key `me` (ssh-ed25519)").count(), 5, "{error}");
    assert!(error.ends_with("the server takes publickey"), "{error}");
}

#[tokio::test]
async fn a_server_that_closes_after_too_many_failures_is_told() {
    let sshd = Sshd::settings().line("MaxAuthTries 2").start();
    let pairs: Vec<_> = (0..4).map(|_| pair("ed25519")).collect();
    let agent = agent(&pairs.iter().collect::<Vec<_>>());
    let error = refused(&connector(&sshd.known_hosts(), keys_of(&agent)), sshd.port()).await.to_string();
    assert!(error.contains("oo many authentication failures"), "{error}");
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_named() {
    let sshd = Sshd::start();
    let credentials = Credentials { agent: Some("/nonexistent/agent".into()), ..Credentials::default() };
    let error = refused(&connector(&sshd.known_hosts(), credentials), sshd.port()).await.to_string();
    assert!(error.contains("agent /nonexistent/agent: No such file"), "{error}");
}

fn with_password(password: &str) -> Credentials {
    let password = Some(Arc::new(PasswordGate::new(password.to_owned().into())));
    Credentials { password, ..Credentials::default() }
}

fn host_of(user: &TestUser, sshd: &Sshd) -> fleet::model::inventory::ssh::Endpoint {
    let mut host = endpoint(sshd.port());
    host.user = fleet::model::text::name::UserName::parse(&user.name).unwrap();
    host
}

#[tokio::test]
async fn a_password_logs_in_as_root() {
    let (user, sshd) = (TestUser::create(), Sshd::settings().password().start());
    let connector = connector(&sshd.known_hosts(), with_password(&user.password));
    connector.connect(&web1(), &host_of(&user, &sshd)).await.unwrap().close().await;
    sshd.wait_for_log("Accepted password for ");
}

#[tokio::test]
async fn a_password_answers_the_prompt_of_keyboard_interactive_as_root() {
    let user = TestUser::create();
    let sshd = Sshd::settings().line("UsePAM yes").line("KbdInteractiveAuthentication yes").start();
    let connector = connector(&sshd.known_hosts(), with_password(&user.password));
    connector.connect(&web1(), &host_of(&user, &sshd)).await.unwrap().close().await;
    sshd.wait_for_log("Accepted keyboard-interactive/pam for ");
}

#[tokio::test]
async fn a_wrong_password_is_tried_on_one_host_only_as_root() {
    let user = TestUser::create();
    let hosts: Vec<_> = (0..4).map(|_| Sshd::settings().password().start()).collect();
    let known_hosts: String = hosts.iter().map(Sshd::known_hosts).collect();
    let connector = connector(&known_hosts, with_password("wrong"));
    let attempts = hosts.iter().map(|sshd| {
        let (connector, host) = (&connector, host_of(&user, sshd));
        async move { connector.connect(&web1(), &host).await.err().unwrap().to_string() }
    });
    let errors = futures::future::join_all(attempts).await;
    let tried = || hosts.iter().map(|sshd| sshd.log().matches("Failed password for").count()).sum::<usize>();
    wait_for("the attempt in the log", || (tried() > 0).then_some(()));
    assert_eq!(tried(), 1, "{errors:#?}");
    let spared = errors.iter().filter(|e| e.contains("password refused by web1; not tried elsewhere")).count();
    assert_eq!(spared, 3, "{errors:#?}");
    assert!(!errors.concat().contains("wrong"), "the password must not be told: {errors:#?}");
}
