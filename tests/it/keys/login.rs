//! The whole way against a real `sshd`: log in with the old key, add the new one, prove it.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use fleet::keys::distribute::{Change, Warning};
use fleet::keys::rollout::{Distribution, HostKeyOutcome, HostKeyResult, distribute_to_all, prove};
use fleet::keys::store::{KeyPair, generate_pair};
use fleet::model::inventory::ssh::Endpoint;
use fleet::model::plan::plan::PlanHost;
use fleet::model::run::cause::Cause;
use fleet::model::text::name::{Address, HostLabel, HostName, SiteName, UserName};
use fleet::remote::{Connect, Connecting, Session};
use fleet::ssh::ConnectError;
use fleet::ssh::key::PublicKeyLine;
use tokio_util::sync::CancellationToken;

use super::local::ShellSession;
use super::{ssh_keygen, tool};

/// An `sshd` of its own, whose users find their home folder in the fixture's. Killed by its pid.
struct Sshd {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("sshd ends");
    }
}

impl Sshd {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host_key = folder.path().join("host_key");
        assert!(ssh_keygen(&["-q", "-t", "ed25519", "-N", ""], &host_key).status.success());
        fleet::files::private_dir(&folder.path().join("home/.ssh")).unwrap();
        if user() == "root" {
            // Where the system's own sshd has never been started.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        // Another process may take the port between our look and sshd's.
        let (child, port) = (0..5).find_map(|_| Self::try_port(folder.path(), &host_key)).expect("sshd listens");
        let sshd = Self { child, port, folder };
        let public = fs::read_to_string(host_key.with_extension("pub")).unwrap();
        let known = format!("[127.0.0.1]:{port} {public}");
        fleet::files::replace(&sshd.folder.path().join("known_hosts"), 0o600, known.as_bytes()).unwrap();
        sshd
    }

    fn try_port(folder: &Path, host_key: &Path) -> Option<(Child, u16)> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let home = folder.join("home");
        // StrictModes looks at all parents up to the root, which are not ours.
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nPidFile none\nUsePAM no\nKexAlgorithms curve25519-sha256\nStrictModes no\nPasswordAuthentication no\n\
             PermitRootLogin prohibit-password\nAuthorizedKeysFile {home}/.ssh/authorized_keys\nSetEnv HOME={home}\n",
            host_key.display(),
            home = home.display()
        );
        let path = folder.join("sshd_config");
        fleet::files::replace(&path, 0o600, config.as_bytes()).unwrap();
        let mut child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(path)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run sshd: {e}\nhint: apt-get install openssh-server"));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listens = lines.by_ref().map_while(Result::ok).any(|line| line.contains("Server listening on"));
        if !listens {
            child.wait().unwrap();
            return None;
        }
        // A full pipe would stop sshd. The thread ends with it.
        std::thread::spawn(move || lines.for_each(drop));
        Some((child, port))
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn authorized_keys(&self) -> PathBuf {
        self.home().join(".ssh/authorized_keys")
    }

    fn authorize(&self, content: &str) {
        fleet::files::replace(&self.authorized_keys(), 0o600, content.as_bytes()).unwrap();
    }

    fn pair(&self, name: &str, passphrase: Option<&str>) -> KeyPair {
        let folder = self.folder.path().join(name);
        generate_pair(&folder, name, passphrase.map(Into::into).as_ref()).unwrap()
    }

    fn host(&self) -> PlanHost {
        PlanHost {
            book: None,
            values: std::sync::Arc::default(),
            label: HostLabel::parse("web1").unwrap(),
            site: SiteName::parse("mysite").unwrap(),
            name: HostName::parse("web1").unwrap(),
            endpoint: Endpoint {
                port: self.port,
                connect_retry: Duration::ZERO,
                reconnect_timeout: Duration::from_secs(1),
                ..Endpoint::new(Address::parse("127.0.0.1").unwrap(), &UserName::parse(&user()).unwrap())
            },
            roles: Vec::new(),
        }
    }

    fn with(&self, pair: &KeyPair) -> Ssh {
        Ssh {
            identity: pair.private.clone(),
            known_hosts: self.folder.path().join("known_hosts"),
            home: self.home(),
            environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        }
    }

    async fn distribute(&self, login: &KeyPair, new: &KeyPair) -> HostKeyOutcome {
        let distribution = Distribution {
            login: Arc::new(self.with(login)),
            proof: Arc::new(self.with(new)),
            key: Arc::new(PublicKeyLine::load(&new.public).unwrap()),
        };
        distribute_to_all(&distribution, &[self.host()], 1, &CancellationToken::new()).await.remove(0)
    }
}

fn user() -> String {
    String::from_utf8(tool(Command::new("id").arg("-un")).stdout).unwrap().trim().to_owned()
}

fn public_text(pair: &KeyPair) -> String {
    fs::read_to_string(&pair.public).unwrap().trim().to_owned()
}

/// OpenSSH's client with one key and nothing else.
#[derive(Clone)]
struct Ssh {
    identity: PathBuf,
    known_hosts: PathBuf,
    home: PathBuf,
    environment: Vec<(OsString, OsString)>,
}

impl Ssh {
    fn prefix(&self, host: &Endpoint) -> Vec<OsString> {
        let known_hosts = format!("UserKnownHostsFile={}", self.known_hosts.display());
        let destination = format!("ssh://{}@{}:{}", host.user, host.address, host.port);
        let options =
            ["IdentitiesOnly=yes", "IdentityAgent=none", "StrictHostKeyChecking=yes", "NumberOfPasswordPrompts=1"];
        let mut prefix: Vec<OsString> = ["ssh", "-F", "none", "-T", "-o", &known_hosts].map(Into::into).to_vec();
        prefix.extend(options.iter().flat_map(|option| ["-o".into(), option.into()]));
        prefix.extend(["-i".into(), self.identity.clone().into(), destination.into()]);
        prefix
    }
}

impl Connect for Ssh {
    fn connect<'a>(&'a self, _: &'a HostLabel, host: &'a Endpoint) -> Connecting<'a> {
        Box::pin(async move {
            let prefix = self.prefix(host);
            let output = tokio::process::Command::new(&prefix[0])
                .args(&prefix[1..])
                .arg("printf 'home=%s' \"$HOME\"")
                .env_clear()
                .envs(self.environment.iter().cloned())
                .stdin(Stdio::null())
                .output()
                .await
                .unwrap();
            let stdout = String::from_utf8(output.stdout).unwrap();
            if output.status.code() == Some(255) {
                let reason = String::from_utf8(output.stderr).unwrap().trim().to_owned();
                return Err(ConnectError::Auth {
                    user: host.user.to_string(),
                    reason,
                    cause: Cause::LoginRefused,
                    key: fleet::ssh::KeyAnswer::Refused,
                });
            }
            // A forced command prints nothing. But never shall a test edit the keys of who runs it.
            assert!(stdout.is_empty() || stdout == format!("home={}", self.home.display()), "{stdout}");
            let session: Box<dyn Session> = Box::new(ShellSession {
                prefix,
                environment: self.environment.clone(),
                shell: "/bin/sh".to_owned(),
                before: Box::new(|_| {}),
                commands: 0,
            });
            Ok(session)
        })
    }
}

#[tokio::test]
async fn a_key_is_added_beside_the_old_one_and_proven() {
    let sshd = Sshd::start();
    let (old, new) = (sshd.pair("old", None), sshd.pair("new", None));
    // As a careless editor leaves it: glued to this line, the new key would lock both out.
    sshd.authorize(&public_text(&old));
    assert!(prove(&sshd.with(&new), &sshd.host()).await.is_err());

    let outcome = sshd.distribute(&old, &new).await;
    assert_eq!((outcome.result, outcome.warnings), (HostKeyResult::Proven(Change::Added), vec![]));
    assert_eq!(
        fs::read_to_string(sshd.authorized_keys()).unwrap(),
        format!("{}\n{}\n", public_text(&old), public_text(&new))
    );
    for login in [&old, &new] {
        assert_eq!(sshd.distribute(login, &new).await.result, HostKeyResult::Proven(Change::AlreadyThere));
    }
}

#[tokio::test]
async fn what_sshd_cannot_read_does_not_count_as_there() {
    let sshd = Sshd::start();
    let (old, new) = (sshd.pair("old", None), sshd.pair("new", None));
    let (old_text, new_text) = (public_text(&old), public_text(&new));
    for (before, warnings) in [
        (format!("\u{feff}{new_text}\r\n{old_text}\r\n"), vec![Warning::ByteOrderMark]),
        (format!("{old_text}\r\n"), vec![]),
        (format!("{old_text}{new_text}\n{old_text}\n"), vec![]),
        (format!("cert-authority {new_text}\n{old_text}"), vec![]),
    ] {
        sshd.authorize(&before);
        assert!(prove(&sshd.with(&new), &sshd.host()).await.is_err(), "{before}");
        let outcome = sshd.distribute(&old, &new).await;
        assert_eq!((outcome.result, outcome.warnings), (HostKeyResult::Proven(Change::Added), warnings), "{before}");
    }
    // And what it can read does.
    for before in [
        format!("{new_text}\r\n{old_text}\r\n"),
        format!("  \t{}\n{old_text}\n", new_text.replace(' ', " \t ")),
        format!("no-pty,environment=\"A=\\\"b c\\\"\" {new_text}\n{old_text}\n"),
    ] {
        sshd.authorize(&before);
        let outcome = sshd.distribute(&old, &new).await;
        assert_eq!(outcome.result, HostKeyResult::Proven(Change::AlreadyThere), "{before}");
        assert_eq!(fs::read_to_string(sshd.authorized_keys()).unwrap(), before);
    }
}

#[tokio::test]
async fn a_key_that_does_not_open_the_host_is_never_called_proven() {
    let sshd = Sshd::start();
    let (old, new) = (sshd.pair("old", None), sshd.pair("new", None));
    for options in ["from=\"192.0.2.1\"", "command=\"true\"", "no-such-option"] {
        let before = format!("{}\n{options} {}\n", public_text(&old), public_text(&new));
        sshd.authorize(&before);
        let outcome = sshd.distribute(&old, &new).await;
        assert!(
            matches!(
                &outcome.result,
                HostKeyResult::NotProven { change: Change::AlreadyThere, error: ConnectError::Auth { .. } }
            ),
            "{outcome:?}"
        );
        assert!(!outcome.result.is_success());
        assert_eq!(outcome.warnings, [Warning::Options { line: 2, options: options.to_owned() }]);
        assert_eq!(fs::read_to_string(sshd.authorized_keys()).unwrap(), before, "a restriction is not lifted");
    }

    sshd.authorize("# nobody\n");
    let outcome = sshd.distribute(&old, &new).await;
    assert!(matches!(outcome.result, HostKeyResult::NoLogin(ConnectError::Auth { .. })), "{outcome:?}");
    assert_eq!(fs::read_to_string(sshd.authorized_keys()).unwrap(), "# nobody\n");
}

#[tokio::test]
async fn ssh_logs_in_with_a_key_that_has_a_passphrase() {
    let sshd = Sshd::start();
    let pair = sshd.pair("new", Some("open sesame"));
    sshd.authorize(&format!("{}\n", public_text(&pair)));
    for (said, works) in [("open sesame", true), ("open", false)] {
        let askpass = sshd.folder.path().join("askpass");
        fleet::files::replace(&askpass, 0o700, format!("#!/bin/sh\necho '{said}'\n").as_bytes()).unwrap();
        let mut ssh = sshd.with(&pair);
        ssh.environment.push(("SSH_ASKPASS".into(), askpass.into()));
        ssh.environment.push(("SSH_ASKPASS_REQUIRE".into(), "force".into()));
        assert_eq!(prove(&ssh, &sshd.host()).await.is_ok(), works);
    }
}
