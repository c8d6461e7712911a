//! The embedded SSH servers, asked by OpenSSH's client.

#![expect(clippy::disallowed_methods, reason = "a fixture that a full disk spoils fails its test")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fleet::demo::server::{EmbeddedFleet, Faults, HostSpec};
use secrecy::ExposeSecret as _;

struct Fixture {
    fleet: EmbeddedFleet,
    folder: tempfile::TempDir,
}

impl Fixture {
    /// One host, `web1`, with a key in its `authorized_keys`.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        fs::create_dir_all(home.join(".ssh")).unwrap();
        let keygen = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(folder.path().join("key"))
            .status()
            .expect("ssh-keygen is missing: apt-get install openssh-client");
        assert!(keygen.success());
        fs::copy(folder.path().join("key.pub"), home.join(".ssh/authorized_keys")).unwrap();
        let fleet = EmbeddedFleet::start(vec![HostSpec { name: "web1".to_owned(), folder: home }]).await.unwrap();
        let known = format!("[127.0.0.1]:{} {}\n", fleet.port("web1").unwrap(), fleet.host_key("web1").unwrap());
        fs::write(folder.path().join("known_hosts"), known).unwrap();
        Self { fleet, folder }
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn ssh(&self, options: &[&str], command: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.folder.path())
            .args(["-F", "none", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-o"])
            .arg(format!("UserKnownHostsFile={}", self.folder.path().join("known_hosts").display()))
            .args(options)
            .arg("-i")
            .arg(self.folder.path().join("key"))
            .args(["-l", "release", "-p", &self.fleet.port("web1").unwrap().to_string(), "127.0.0.1", command])
            .stdin(Stdio::null());
        ssh
    }

    fn run(&self, command: &str) -> Output {
        self.ssh(&["-o", "BatchMode=yes"], command).output().unwrap()
    }

    fn fifo(&self, name: &str) -> PathBuf {
        let path = self.home().join(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_has_its_own_streams_status_folder_and_environment() {
    let fixture = Fixture::start().await;
    let output = fixture.run("echo out; echo err >&2; exit 7");
    assert_eq!((text(&output.stdout), text(&output.stderr), output.status.code()), ("out\n", "err\n", Some(7)));

    let home = fixture.home();
    let output = fixture.run("pwd; printf '%s\\n' \"$HOME\" \"$USER\" \"${PATH%%:*}\" \"${CARGO_MANIFEST_DIR-unset}\"");
    let home = home.canonicalize().unwrap();
    assert_eq!(text(&output.stdout), format!("{0}\n{0}\nrelease\n{0}/bin\nunset\n", home.display()));
    assert_eq!(fixture.fleet.seen("web1").unwrap().commands, 2);
    fixture.fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn input_of_many_packets_comes_back_byte_for_byte_and_its_end_is_told() {
    let fixture = Fixture::start().await;
    let bytes: Vec<u8> =
        (0..5_000_000_u32).map(|i| u8::try_from(i.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
    let mut ssh = fixture
        .ssh(&["-o", "BatchMode=yes"], "cat; exec cat >&2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = ssh.stdin.take().unwrap();
    let copy = bytes.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&copy).unwrap());
    let output = ssh.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    assert!(output.stdout == bytes, "{} bytes came back", output.stdout.len());
    fixture.fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn death_by_a_signal_is_told_as_such() {
    let fixture = Fixture::start().await;
    let output = fixture.ssh(&["-v", "-o", "BatchMode=yes"], "kill -KILL $$").output().unwrap();
    assert_eq!(output.status.code(), Some(255), "OpenSSH has no other status for it");
    assert!(text(&output.stderr).contains("client_input_channel_req: channel 0 rtype exit-signal"));
    fixture.fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn authorized_keys_is_read_at_each_login_and_compared_by_key_data() {
    let fixture = Fixture::start().await;
    let keys = fixture.home().join(".ssh/authorized_keys");
    let line = fs::read_to_string(&keys).unwrap();
    let mut words = line.split(' ');
    let bare = format!("{} {}", words.next().unwrap(), words.next().unwrap());
    for (content, accepted) in [
        (format!("# comment\n{bare} another comment\n"), true),
        (format!("no-pty,restrict {bare}\r\n"), true),
        (format!("#{bare}\n"), false),
        (format!("\u{feff}{bare}\n"), false),
        (format!("ssh-ed25519 AAAA{bare}\n"), false),
        (String::new(), false),
    ] {
        fs::write(&keys, &content).unwrap();
        assert_eq!(fixture.run("true").status.success(), accepted, "{content:?}");
    }
    fixture.fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_of_the_fleet_opens_and_another_does_not() {
    let fixture = Fixture::start().await;
    fs::remove_file(fixture.home().join(".ssh/authorized_keys")).unwrap();
    let ask = fixture.folder.path().join("askpass");
    for (password, accepted) in [(fixture.fleet.password().expose_secret(), true), ("guess", false)] {
        fs::write(&ask, format!("#!/bin/sh\necho '{password}'\n")).unwrap();
        fs::set_permissions(&ask, fs::Permissions::from_mode(0o700)).unwrap();
        let status = fixture
            .ssh(&["-o", "NumberOfPasswordPrompts=1"], "true")
            .env("SSH_ASKPASS", &ask)
            .env("SSH_ASKPASS_REQUIRE", "force")
            .status()
            .unwrap();
        assert_eq!(status.success(), accepted);
    }
    assert_eq!(fixture.fleet.seen("web1").unwrap().passwords, 2);
    fixture.fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_outlives_its_connection_but_not_the_fleet() {
    let fixture = Fixture::start().await;
    let (started, gate, finished) = (fixture.fifo("started"), fixture.fifo("gate"), fixture.fifo("finished"));
    let command = "echo $$ >started; read x <gate; echo \"over $x\" >finished; exec tail -f /dev/null";
    let mut ssh = fixture.ssh(&["-o", "BatchMode=yes"], command).stderr(Stdio::null()).spawn().unwrap();
    let id = fs::read_to_string(started).unwrap();
    fixture.fleet.cut("web1");
    assert_eq!(ssh.wait().unwrap().code(), Some(255));
    fs::write(gate, "now\n").unwrap();
    assert_eq!(fs::read_to_string(finished).unwrap(), "over now\n");

    fixture.fleet.stop().await;
    // Ended, or a zombie that tokio is about to reap: in both cases it has no memory any more.
    let memory = fs::read(Path::new("/proc").join(id.trim()).join("cmdline")).unwrap_or_default();
    assert!(memory.is_empty(), "process {id} is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_writes_to_a_broken_connection_is_told_by_sigpipe() {
    let fixture = Fixture::start().await;
    let (started, finished) = (fixture.fifo("started"), fixture.fifo("finished"));
    let command = "echo up >started; yes; echo $? >finished";
    let mut ssh =
        fixture.ssh(&["-o", "BatchMode=yes"], command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(fs::read_to_string(started).unwrap(), "up\n");
    fixture.fleet.cut("web1");
    assert_eq!(fs::read_to_string(finished).unwrap(), "141\n", "128 and SIGPIPE's 13");
    ssh.wait().unwrap();
    fixture.fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_holds_the_output_holds_the_channel_and_stop_ends_it() {
    let fixture = Fixture::start().await;
    let started = fixture.fifo("started");
    let mut ssh = fixture
        .ssh(&["-o", "BatchMode=yes"], "setsid sh -c 'echo $$ >started; exec tail -f /dev/null' & exit 3")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let id = fs::read_to_string(started).unwrap();
    assert!(ssh.try_wait().unwrap().is_none(), "sshd would keep the channel open");
    fixture.fleet.stop().await;
    assert!(fs::read(Path::new("/proc").join(id.trim()).join("cmdline")).unwrap_or_default().is_empty());
    assert!(!ssh.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_as_told() {
    let fixture = Fixture::start().await;
    let fails = |faults: Faults, words: &str| {
        fixture.fleet.set_faults("web1", faults);
        let output = fixture.ssh(&["-o", "BatchMode=yes", "-o", "ConnectTimeout=1"], "echo hello").output().unwrap();
        assert_eq!(output.status.code(), Some(255), "{words}");
        assert!(text(&output.stderr).contains(words), "{words}: {}", text(&output.stderr));
    };
    fails(Faults { close_at_once: true, ..Faults::default() }, "Connection");
    fails(Faults { silent_banner: true, ..Faults::default() }, "timed out during banner exchange");
    fails(Faults { refuse_auth: true, ..Faults::default() }, "Permission denied (publickey,password)");
    fails(Faults { other_host_key: true, ..Faults::default() }, "Host key verification failed");
    fails(Faults { cut_after: Some(300), ..Faults::default() }, "Connection");
    fails(Faults { refuse_exec: true, ..Faults::default() }, "exec request failed on channel 0");
    fixture.fleet.set_faults("web1", Faults { noise: Some("it's noisy\n".to_owned()), ..Faults::default() });
    assert_eq!(text(&fixture.run("echo hello").stdout), "it's noisy\nhello\n");
    fixture.fleet.stop().await;
}
