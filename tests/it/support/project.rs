//! A project folder, and `fleet` run in it as a user would: a process with an environment of its own.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::Signal;
use tempfile::TempDir;

use super::output::Output;
use super::process::{self, wait_for, wait_or};
use super::tools::PATH;
use super::{files, terminal};

/// A project folder beside an empty home folder, both gone on drop.
#[derive(Debug)]
pub struct Project {
    folder: TempDir,
}

impl Project {
    /// An empty project: it has a `hosts` folder and nothing else.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["project/hosts", "home"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    /// The project folder.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("project")
    }

    /// `HOME` of every `fleet` that is run here.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Writes a file of the project, with mode 644.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        files::write(&self.root().join(path), text, 0o644);
    }

    /// Reads a file of the project.
    pub fn read(&self, path: &str) -> String {
        files::read(&self.root().join(path))
    }

    /// `fleet`, ready to run: in the project folder, with nothing of the caller's environment, and nothing to read from.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet"));
        command.args(args).current_dir(self.root()).env_clear().env("HOME", self.home()).env("PATH", PATH);
        command.env("TZ", "UTC").env("LC_ALL", "C.UTF-8").env("COLUMNS", "100").env("NO_COLOR", "1");
        // Most hosts that are down stay down here.
        command.env("FLEET_CONNECT_RETRY", "0s");
        command.env("USER", super::user::current()).env("TMPDIR", self.folder.path());
        command.stdin(Stdio::null());
        command
    }

    /// Runs `fleet` to its end.
    pub fn fleet(&self, args: &[&str]) -> Output {
        self.run(args, &mut self.command(args))
    }

    /// Runs a command from [`Project::command`] to its end: for a further variable, another folder, something on stdin.
    pub fn run(&self, args: &[&str], command: &mut Command) -> Output {
        self.start(args, command).wait()
    }

    /// Runs `fleet` in the background: for signals, and for a second one beside it.
    pub fn spawn(&self, args: &[&str]) -> Running {
        self.start(args, &mut self.command(args))
    }

    /// Runs a command from [`Project::command`] in the background.
    pub fn spawn_command(&self, args: &[&str], command: &mut Command) -> Running {
        self.start(args, command)
    }

    /// Runs `fleet` on a terminal of 100 x 40, and answers: waits for each text in turn, then types the reply.
    pub fn fleet_pty(&self, args: &[&str], dialogue: &[(&str, &str)]) -> Output {
        let command = self.command(args);
        let (code, stdout) = terminal::run(&command, dialogue);
        Output { args: args.join(" "), code, stdout, stderr: String::new(), places: self.places() }
    }

    /// Makes the project's key pair, `keys/fleet`, without fleet. Tells the public key's line.
    pub fn generate_key(&self) -> String {
        self.generate_key_at("keys/fleet", "")
    }

    /// Makes a key pair at a path of the project, with a passphrase or `""`. Tells the public key's line.
    pub fn generate_key_at(&self, path: &str, passphrase: &str) -> String {
        let file = self.root().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let mut keygen = Command::new(super::tools::tool("ssh-keygen"));
        process::run(keygen.args(["-q", "-t", "ed25519", "-C", "test", "-N", passphrase, "-f"]).arg(&file));
        files::read(&file.with_extension("pub")).trim().to_owned()
    }

    fn start(&self, args: &[&str], command: &mut Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Stream::read(child.stdout.take().unwrap());
        let stderr = Stream::read(child.stderr.take().unwrap());
        Running { child, stdout, stderr, args: args.join(" "), places: self.places() }
    }

    fn places(&self) -> Vec<(String, &'static str)> {
        let real = |path: PathBuf| std::fs::canonicalize(&path).unwrap_or(path).display().to_string();
        vec![
            (real(self.root()), "[PROJECT]"),
            (real(self.home()), "[HOME]"),
            (real(self.folder.path().into()), "[TMP]"),
        ]
    }
}

/// A `fleet` in the background; killed on drop.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Stream,
    stderr: Stream,
    args: String,
    places: Vec<(String, &'static str)>,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far on standard output.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Sends a signal to it alone; a terminal's Ctrl-C is `Signal::INT`.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.child.id(), signal);
    }

    /// How often it has printed this, on either stream.
    pub fn count_of(&self, text: &str) -> usize {
        self.said().matches(text).count()
    }

    fn said(&self) -> String {
        format!("{}{}", self.stdout.text(), self.stderr.text())
    }

    /// Waits until it has printed this, on either stream.
    #[track_caller]
    pub fn wait_for_text(&mut self, text: &str) {
        self.wait_for_more(text, 0);
    }

    /// Waits until it has printed this more than so many times.
    #[track_caller]
    pub fn wait_for_more(&mut self, text: &str, count: usize) {
        wait_for(&format!("{text:?} from fleet {}", self.args), || {
            // Asked before what it said is read: it may say this and end in between.
            let ended: Option<ExitStatus> = self.child.try_wait().unwrap();
            if ended.is_some() {
                self.stdout.finish();
                self.stderr.finish();
            }
            if self.count_of(text) > count {
                return Some(());
            }
            assert!(ended.is_none(), "fleet {} ended ({ended:?}) without {text:?}:\n{}", self.args, self.said());
            None
        });
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let Self { child, stdout, stderr, args, .. } = &mut self;
        let status = wait_or(
            || child.try_wait().unwrap(),
            || format!("the end of fleet {args}\n--- stdout\n{}--- stderr\n{}", stdout.text(), stderr.text()),
        );
        Output {
            args: self.args.clone(),
            code: status.code(),
            stdout: self.stdout.finish(),
            stderr: self.stderr.finish(),
            places: self.places.clone(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Collects what a process prints while nobody waits for it.
#[derive(Debug)]
struct Stream {
    seen: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Stream {
    fn read(mut from: impl Read + Send + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                into.lock().unwrap().extend_from_slice(&buffer[..n]);
            }
        });
        Self { seen, reader: Some(reader) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    fn finish(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.text()
    }
}
