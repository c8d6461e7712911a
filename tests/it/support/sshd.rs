//! A host: a real `sshd` on a loopback port that the kernel picked, with a folder of its own.
//!
//! All hosts are one machine, and everybody logs in as who runs the tests. What makes a host of each: a `ForceCommand` starts what the
//! client asked for in the login shell as `sshd` does, but with the host's own `HOME` as the login folder and a `bin` of its own
//! first in `PATH`. `authorized_keys` is read from that home folder, so keys are distributed there as anywhere else.
//! Rejected: containers, which CI has not, and a Unix user for each host, which only root can make.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::process::{self, descendants, marked, run, wait_or};
use super::tools::{PATH, tool};
use super::{files, user};

/// In the environment of all that a host runs, so that nothing of it outlives the test.
const MARK: &str = "FLEET_TEST_HOST";

/// A host, running; gone on drop with all that was started on it.
#[derive(Debug)]
pub struct Sshd {
    folder: TempDir,
    port: u16,
    process: Option<Child>,
    settings: Settings,
}

/// How a host shall be; [`Settings::start`] starts it.
#[derive(Debug, Clone)]
pub struct Settings {
    key_types: Vec<&'static str>,
    password: bool,
    login_shell: String,
    lines: Vec<String>,
}

impl Settings {
    /// The types of its host keys: `ed25519`, `ecdsa`, `rsa`. Default: ed25519.
    pub fn key_types(mut self, types: &[&'static str]) -> Self {
        self.key_types = types.to_vec();
        self
    }

    /// Accepts passwords; make a [`user::TestUser`] for one.
    pub fn password(mut self) -> Self {
        self.password = true;
        self
    }

    /// The login shell: `fish`, `tcsh`, `zsh`, … Default: `sh`.
    pub fn login_shell(mut self, shell: &str) -> Self {
        self.login_shell = tool(shell).display().to_string();
        self
    }

    /// A line of `sshd_config`, before all others: the first one of a name counts.
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Starts the host.
    pub fn start(self) -> Sshd {
        let folder = tempfile::tempdir().unwrap();
        // Another user, logged in by password, has to get into it.
        files::set_mode(folder.path(), 0o755);
        let mut sshd = Sshd { folder, port: 0, process: None, settings: self };
        for key_type in sshd.settings.key_types.clone() {
            sshd.make_host_key(key_type);
        }
        for name in ["home/.ssh", "bin"] {
            std::fs::create_dir_all(sshd.folder.path().join(name)).unwrap();
        }
        files::set_mode(&sshd.home().join(".ssh"), 0o700);
        files::write(&sshd.authorized_keys(), "", 0o600);
        files::write(&sshd.folder.path().join("session"), sshd.session_script(), 0o755);
        sshd.launch();
        sshd
    }
}

impl Sshd {
    /// A host with an ed25519 key and `sh`, where only keys log in.
    pub fn start() -> Self {
        Self::settings().start()
    }

    /// A host with other settings: `Sshd::settings().login_shell("fish").start()`.
    pub fn settings() -> Settings {
        Settings {
            key_types: vec!["ed25519"],
            password: false,
            login_shell: tool("sh").display().to_string(),
            lines: Vec::new(),
        }
    }

    /// The port on 127.0.0.1. It stays over [`Sshd::stop`] and [`Sshd::launch`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its home folder: where commands start, and what `HOME` says.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A folder that comes first in `PATH`, empty: for commands that only this host has.
    pub fn bin(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    /// `~/.ssh/authorized_keys`. It exists, empty, with mode 600.
    pub fn authorized_keys(&self) -> PathBuf {
        self.home().join(".ssh/authorized_keys")
    }

    /// Adds a line to `authorized_keys`.
    pub fn authorize(&self, public_key: &str) {
        let before = files::read(&self.authorized_keys());
        files::write(&self.authorized_keys(), format!("{before}{public_key}\n"), 0o600);
    }

    /// Type and key of one of its host keys: `ssh-ed25519 AAAA…`.
    pub fn host_key(&self, key_type: &str) -> String {
        let line = files::read(&self.key_file(key_type).with_extension("pub"));
        line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// `SHA256:…` of a host key, as `ssh-keygen` says it.
    pub fn fingerprint(&self, key_type: &str) -> String {
        let said = process::stdout_of(Command::new(tool("ssh-keygen")).arg("-lf").arg(self.key_file(key_type)));
        said.split_whitespace().nth(1).unwrap().to_owned()
    }

    /// The lines that pin all of its host keys.
    pub fn known_hosts(&self) -> String {
        self.settings.key_types.iter().fold(String::new(), |mut lines, key_type| {
            let _ = writeln!(lines, "[127.0.0.1]:{} {}", self.port, self.host_key(key_type));
            lines
        })
    }

    /// What sshd has logged so far, at level VERBOSE.
    pub fn log(&self) -> String {
        files::read(&self.folder.path().join("log"))
    }

    /// Waits until sshd has logged this.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        wait_or(|| self.log().contains(text).then_some(()), || format!("{text:?} in the log of sshd:\n{}", self.log()));
    }

    /// How many TCP connections it has taken, the one that saw it come up among them.
    pub fn calls(&self) -> usize {
        self.log().matches("Connection from ").count()
    }

    /// How many logins by this method it has accepted: `publickey`, `password`.
    pub fn logins(&self, method: &str) -> usize {
        self.log().matches(&format!("Accepted {method} for ")).count()
    }

    /// Makes a new host key in the place of the old one, and restarts: what a reinstalled host, or somebody else's, looks like.
    pub fn change_host_key(&mut self, key_type: &'static str) {
        self.stop();
        self.renew_host_key(key_type);
        self.launch();
    }

    /// Makes a new host key in the place of the old one, for the next [`Sshd::launch`].
    pub fn renew_host_key(&self, key_type: &'static str) {
        let file = self.key_file(key_type);
        let _ = std::fs::remove_file(file.with_extension("pub"));
        let _ = std::fs::remove_file(file);
        self.make_host_key(key_type);
    }

    /// The host goes down: connections are refused, and those there were are cut, with the commands on them.
    pub fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let started = descendants(process.id());
        let _ = process.kill();
        let _ = process.wait();
        for pid in started {
            process::signal(pid, Signal::KILL);
        }
        // What has left its session and its parents, until the last one is gone.
        let left = || {
            let left = marked(MARK, &self.mark());
            for pid in &left {
                process::signal(*pid, Signal::KILL);
            }
            left.is_empty().then_some(())
        };
        wait_or(left, || format!("the end of {:?}", self.commands()));
    }

    /// Only sshd itself ends, with its processes for connections; commands live on. [`Sshd::launch`] brings it back.
    pub fn stop_daemon(&mut self) {
        let connections = self.connections();
        let Some(mut process) = self.process.take() else { return };
        let _ = process.kill();
        let _ = process.wait();
        for pid in connections {
            process::signal(pid, Signal::KILL);
        }
    }

    /// The connections are cut as by a reset line: sshd's processes for them die. Commands live on, and so does the listener.
    pub fn cut_connections(&self) {
        for pid in self.connections() {
            process::signal(pid, Signal::KILL);
        }
    }

    /// The host answers nothing any more, but refuses nothing either, as when its power or its line fails.
    pub fn freeze(&self) {
        for pid in self.connections().into_iter().chain(self.process.iter().map(Child::id)) {
            process::signal(pid, Signal::STOP);
        }
    }

    /// The end of [`Sshd::freeze`].
    pub fn thaw(&self) {
        for pid in self.process.iter().map(Child::id).chain(self.connections()) {
            process::signal(pid, Signal::CONT);
        }
    }

    /// All processes that were started on this host and still run, sshd's own left out: what a test leaves behind is found here.
    pub fn commands(&self) -> Vec<u32> {
        let sshd: Vec<u32> = self.connections();
        marked(MARK, &self.mark())
            .into_iter()
            .filter(|pid| !sshd.contains(pid) && Some(*pid) != self.process.as_ref().map(Child::id))
            .collect()
    }

    fn connections(&self) -> Vec<u32> {
        let Some(listener) = &self.process else { return Vec::new() };
        let is_sshd = |pid: &u32| {
            files::try_read(Path::new(&format!("/proc/{pid}/comm"))).is_some_and(|comm| comm.starts_with("sshd"))
        };
        descendants(listener.id()).into_iter().filter(is_sshd).collect()
    }

    /// Comes up again, on the same port and with the same keys; after [`Sshd::stop`].
    pub fn launch(&mut self) {
        if user::is_root() {
            // Debian's init script would make it.
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        for _ in 0..20 {
            if self.port == 0 {
                self.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            }
            files::write(&self.folder.path().join("sshd_config"), self.config(), 0o644);
            let log = File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
            let mut command = Command::new(tool("sshd"));
            command.args(["-D", "-e", "-f"]).arg(self.folder.path().join("sshd_config")).env_clear().env("PATH", PATH);
            let mut process =
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::from(log)).spawn().unwrap();
            let answers = wait_or(
                || if process.try_wait().unwrap().is_some() { Some(false) } else { self.answers().then_some(true) },
                || format!("sshd:\n{}", self.log()),
            );
            if answers {
                self.process = Some(process);
                return;
            }
            assert!(self.log().contains("in use"), "sshd does not start:\n{}", self.log());
            // Somebody else was given the port in between.
            self.port = 0;
        }
        panic!("no port for sshd:\n{}", self.log());
    }

    fn answers(&self) -> bool {
        let Ok(stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut banner = Vec::new();
        BufReader::new(stream).read_until(b'\n', &mut banner).is_ok() && banner.starts_with(b"SSH-2.0-")
    }

    fn config(&self) -> String {
        let mut config = self.settings.lines.join("\n") + "\n";
        for key_type in &self.settings.key_types {
            let _ = writeln!(config, "HostKey {}", self.key_file(key_type).display());
        }
        // StrictModes: temporary folders lie below /tmp, which all may write to. SHLVL: bash, started by sshd on the lowest level,
        // would read the .bashrc of whoever runs the tests; the session script has the host's own read instead.
        let _ = write!(
            config,
            "Port {port}
ListenAddress 127.0.0.1
PidFile none
AuthorizedKeysFile {keys}
StrictModes no
UsePAM no
PasswordAuthentication {password}
KbdInteractiveAuthentication no
PermitRootLogin yes
PermitUserEnvironment no
MaxStartups 200
LogLevel VERBOSE
UseDNS no
PrintMotd no
PrintLastLog no
SetEnv SHLVL=2 {MARK}={mark}
ForceCommand /bin/sh {session}
Subsystem sftp /usr/lib/openssh/sftp-server
{penalties}",
            port = self.port,
            keys = self.authorized_keys().display(),
            password = if self.settings.password { "yes" } else { "no" },
            mark = self.mark(),
            session = self.folder.path().join("session").display(),
            // Since 9.8 a source that fails to log in is refused for a while, and all of ours come from one address.
            penalties = if *HAS_PENALTIES { "PerSourcePenalties no\n" } else { "" },
        );
        config
    }

    /// What every session begins with. `~/.session` stands for what PAM sets in the environment: these servers have no PAM.
    fn session_script(&self) -> String {
        format!(
            "export HOME='{home}' PATH='{bin}:{PATH}' SHELL='{shell}'
unset SHLVL
cd \"$HOME\" || exit 1
[ ! -e .session ] || . ./.session
[ -n \"${{SSH_ORIGINAL_COMMAND+x}}\" ] || exec \"$SHELL\" -l
command=$SSH_ORIGINAL_COMMAND
unset SSH_ORIGINAL_COMMAND
exec \"$SHELL\" -c \"$command\"
",
            home = self.home().display(),
            bin = self.bin().display(),
            shell = self.settings.login_shell,
        )
    }

    fn mark(&self) -> String {
        self.folder.path().display().to_string()
    }

    fn key_file(&self, key_type: &str) -> PathBuf {
        self.folder.path().join(format!("host_{key_type}"))
    }

    fn make_host_key(&self, key_type: &str) {
        let mut keygen = Command::new(tool("ssh-keygen"));
        run(keygen.args(["-q", "-N", "", "-C", "", "-t", key_type, "-f"]).arg(self.key_file(key_type)));
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

static HAS_PENALTIES: LazyLock<bool> = LazyLock::new(|| {
    let output =
        Command::new(tool("sshd")).args(["-t", "-f", "/dev/null", "-o", "PerSourcePenalties=no"]).output().unwrap();
    !String::from_utf8_lossy(&output.stderr).contains("Bad configuration option")
});
