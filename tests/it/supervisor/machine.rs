//! A machine with a shell of its own choice as `/bin/sh`, and channels to it, without an sshd.

use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use fleet::model::plan::book::{Book, EffectChange};
use fleet::model::plan::command::RemoteCommand;
use fleet::model::plan::plan::HostIndex;
use fleet::model::run::scheduler::StepIndex;
use fleet::model::text::name::{RunId, SiteName, UserName};
use fleet::remote::{Claim, DurableStep, Entry, LeashOrder, Question, Scope, StepEnd, StepKey, Wire};
use tempfile::TempDir;

use crate::support::files;
use crate::support::process::wait_or;
use crate::support::tools::{PATH, tool};

pub const SHELLS: [&[&str]; 4] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"], &["ksh"]];
pub const NONCE: &str = "0123456789abcdef";
pub const RUN: &str = "20261122-084512-7f3a";
pub const AT: StepIndex = StepIndex { phase: 0, step: 0 };

pub fn key(attempt: u32) -> StepKey {
    StepKey::run(HostIndex(0), AT, attempt)
}

pub fn step(text: &str) -> DurableStep {
    DurableStep {
        run: RunId::parse(RUN).unwrap(),
        key: key(1),
        label: "roll/migrate on web1".to_owned(),
        command: RemoteCommand::shell(text),
        limit: None,
        spent: Vec::new(),
        effects: EffectChange::default(),
        book: Some(book()),
        witness: None,
        scope: Scope::Session,
    }
}

pub fn claim() -> Claim {
    Claim {
        run: RunId::parse(RUN).unwrap(),
        host: HostIndex(0),
        book: book(),
        since: "2026-11-22 by ann@desk: deploy".to_owned(),
        resumed: false,
        whole: true,
        users: Vec::new(),
    }
}

fn book() -> Book {
    let login = UserName::parse("me").unwrap();
    Book { site: SiteName::parse("mysite").unwrap(), folder: None, login, lost: false }
}

pub fn claim_in(spool: &Path) {
    std::fs::create_dir_all(spool.join(RUN)).unwrap();
    std::fs::set_permissions(spool, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let boot = files::read(Path::new("/proc/sys/kernel/random/boot_id"));
    files::write(&spool.join(RUN).join("0.boot"), boot, 0o600);
}

/// A host: a home folder, and a shell that is its `/bin/sh`.
pub struct Machine {
    pub home: TempDir,
    pub shell: &'static [&'static str],
}

/// A connection to it: a shell that reads what sshd would give it.
pub struct Channel {
    pub process: Child,
    pub leash: Option<ChildStdin>,
    pub streams: [Stream; 2],
    pub wire: Wire,
}

/// What a stream of the channel has brought, and how much of that belongs to steps that have ended.
pub struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    past: usize,
}

/// What came through: standard output, standard error, the end mark's meaning.
#[derive(Debug, PartialEq, Eq)]
pub struct Got {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub end: Option<StepEnd>,
}

impl Machine {
    pub fn new(shell: &'static [&'static str]) -> Self {
        Self { home: tempfile::tempdir().unwrap(), shell }
    }

    /// One for each shell, ready for the run.
    pub fn all() -> Vec<Self> {
        let machines: Vec<Self> = SHELLS.into_iter().map(Self::new).collect();
        machines.iter().for_each(Self::claim);
        machines
    }

    pub fn spool(&self) -> PathBuf {
        self.home.path().join(".local/state/fleet")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.spool().join(RUN).join(format!("{}.{name}", key(1).as_str()))
    }

    pub fn shell_words(&self) -> String {
        let words = [tool(self.shell[0]).display().to_string()];
        let rest = self.shell[1..].iter().map(|word| (*word).to_owned());
        words.into_iter().chain(rest).collect::<Vec<_>>().join(" ")
    }

    /// Makes the folder of the run, as the lock does.
    pub fn claim(&self) {
        claim_in(&self.spool());
    }

    /// What the shell is to read. The step's own shell is of the same kind, and the grace short: what ignores TERM is met often here.
    pub fn text(&self, wire: &Wire) -> Vec<u8> {
        let stdin = String::from_utf8(wire.stdin.clone()).unwrap();
        let stdin = stdin.replacen("_grace=50", "_grace=10", 1);
        stdin.replacen("/bin/sh -c", &format!("{} -c", self.shell_words()), 1).into_bytes()
    }

    pub fn open(&self, step: &DurableStep, entry: Entry) -> Channel {
        self.open_with(step, entry, &[])
    }

    pub fn open_with(&self, step: &DurableStep, entry: Entry, env: &[(&str, &str)]) -> Channel {
        let wire = step.wire(entry, NONCE);
        let mut command = Command::new(tool(self.shell[0]));
        command.args(&self.shell[1..]).arg("-s").env_clear().env("PATH", PATH).env("HOME", self.home.path());
        command.envs(env.iter().copied()).current_dir(self.home.path());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let streams = [
            Stream::read(process.stdout.take().unwrap()), //
            Stream::read(process.stderr.take().unwrap()),
        ];
        let mut leash = process.stdin.take().unwrap();
        leash.write_all(wire.setup.concat().as_bytes()).unwrap();
        leash.write_all(&self.text(&wire)).unwrap();
        Channel { process, leash: Some(leash), streams, wire }
    }

    pub fn run(&self, step: &DurableStep, entry: Entry) -> Got {
        self.open(step, entry).end()
    }
}

impl Stream {
    pub fn read(mut from: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let all = bytes.clone();
        let reader = std::thread::spawn(move || {
            let mut chunk = vec![0; 1 << 16];
            while let Ok(read @ 1..) = from.read(&mut chunk) {
                all.lock().unwrap().extend_from_slice(&chunk[..read]);
            }
        });
        Self { bytes, reader: Some(reader), past: 0 }
    }

    /// What the step printed between its marks, and the words of the end mark if it is there.
    pub fn step(&self, wire: &Wire) -> Option<(Vec<u8>, Option<String>)> {
        let bytes = self.bytes.lock().unwrap();
        let bytes = &bytes[self.past..];
        let newline = bytes.iter().position(|byte| *byte == b'\n')?;
        assert!(bytes.starts_with(format!("{} ", wire.begin).as_bytes()), "{}", String::from_utf8_lossy(bytes));
        let rest = &bytes[newline + 1..];
        let mark = format!("{} ", wire.end);
        // It is the last thing that comes: to look for it in all that came would take long.
        let tail = rest.len().saturating_sub(300);
        let end = rest[tail..].windows(mark.len()).position(|window| window == mark.as_bytes()).map(|at| at + tail);
        Some(match end.filter(|_| rest.ends_with(b"\n")) {
            Some(at) => {
                let words = String::from_utf8(rest[at + mark.len()..].to_vec()).unwrap();
                (rest[..at].to_vec(), Some(words.trim_end().to_owned()))
            }
            None => (rest.to_vec(), None),
        })
    }
}

impl Channel {
    pub fn say(&mut self, order: LeashOrder) {
        // It may have ended just now.
        let _ = self.leash.as_mut().unwrap().write_all(order.line().as_bytes());
    }

    /// Asks for output until the step has ended, as the controller does, or the shell.
    pub fn end(mut self) -> Got {
        self.wait()
    }

    pub fn wait(&mut self) -> Got {
        wait_or(
            || {
                self.say(LeashOrder::Poll);
                let marks =
                    self.streams.iter().filter(|stream| stream.step(&self.wire).is_some_and(|(_, end)| end.is_some()));
                let ended = marks.count() == 2;
                (ended || self.process.try_wait().unwrap().is_some()).then_some(())
            },
            || "the end of the step".to_owned(),
        );
        self.got()
    }

    /// The same shell gets its next step.
    pub fn then(&mut self, machine: &Machine, step: &DurableStep) -> Got {
        for stream in &mut self.streams {
            stream.past = stream.bytes.lock().unwrap().len();
        }
        self.wire = step.wire(Entry::Start, &step.key.as_str().replace('.', "a"));
        self.leash.as_mut().unwrap().write_all(&machine.text(&self.wire)).unwrap();
        self.wait()
    }

    /// The same shell gets a question. Gives the answer.
    pub fn ask(&mut self, question: &Question) -> String {
        for stream in &mut self.streams {
            stream.past = stream.bytes.lock().unwrap().len();
        }
        // It has read the first two scripts before its first step.
        let wire = question.wire("fedcba");
        let text = [wire.setup[2..].concat().as_bytes(), &wire.stdin].concat();
        self.leash.as_mut().unwrap().write_all(&text).unwrap();
        let answer = |stream: &Stream| {
            wait_or(
                || stream.step(&wire).filter(|(_, end)| end.is_some()),
                || format!("the answer: {}", question.text()),
            )
        };
        let [(said, end), (complaint, other)] = [&self.streams[0], &self.streams[1]].map(answer);
        assert_eq!((end, complaint), (other, Vec::new()));
        String::from_utf8(said).unwrap()
    }

    /// What came of the step.
    pub fn got(&mut self) -> Got {
        // When the shell has ended, all that it wrote is read.
        if self.process.try_wait().unwrap().is_some() {
            for stream in &mut self.streams {
                if let Some(reader) = stream.reader.take() {
                    reader.join().unwrap();
                }
            }
        }
        let [(stdout, end), (stderr, other)] =
            [&self.streams[0], &self.streams[1]].map(|stream| stream.step(&self.wire).expect("a begin mark"));
        assert_eq!(end, other);
        Got { stdout, stderr, end: end.map(|words| StepEnd::parse(&words).unwrap_or_else(|| panic!("{words}"))) }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn got(stdout: &str, stderr: &str, end: StepEnd) -> Got {
    Got { stdout: stdout.into(), stderr: stderr.into(), end: Some(end) }
}
