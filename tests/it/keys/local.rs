//! A session that runs the wire's bytes on this machine, with a home folder, a shell and tools of the test's choice.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use fleet::model::run::event::Stream;
use fleet::remote::{Exec, ExecEnd, OutputChunk, Session};
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

/// What a login shell would run, run through `prefix`: `sh -c` with an environment, or `ssh` to somewhere.
pub struct ShellSession {
    /// Program and arguments; the text for the login shell comes last.
    pub prefix: Vec<OsString>,
    /// The environment, and nothing besides.
    pub environment: Vec<(OsString, OsString)>,
    /// What stands in for `/bin/sh`.
    pub shell: String,
    /// Called before each command with its number, from 0.
    pub before: Box<dyn FnMut(usize) + Send>,
    /// How many commands ran.
    pub commands: usize,
}

impl ShellSession {
    /// Commands run here, with `home` as home folder and the tools of `path`.
    pub fn local(shell: &str, home: &Path, path: &str) -> Self {
        Self {
            prefix: ["/bin/sh", "-c"].map(OsString::from).to_vec(),
            environment: vec![("HOME".into(), home.into()), ("PATH".into(), path.into())],
            shell: shell.to_owned(),
            before: Box::new(|_| {}),
            commands: 0,
        }
    }
}

fn between_marks(output: &[u8], begin: &str, end: &str) -> Option<(Vec<u8>, u8)> {
    let find = |haystack: &[u8], needle: &[u8]| haystack.windows(needle.len()).position(|w| w == needle);
    let output = &output[find(output, format!("{begin} ").as_bytes())?..];
    let output = &output[find(output, b"\n")? + 1..];
    let at = find(output, format!("{end} ").as_bytes())?;
    let status = String::from_utf8_lossy(&output[at..]).trim().rsplit(' ').next()?.parse().ok()?;
    Some((output[..at].to_vec(), status))
}

impl Session for ShellSession {
    fn exec<'a>(&'a mut self, exec: Exec<'a>) -> BoxFuture<'a, ExecEnd> {
        Box::pin(async move {
            (self.before)(self.commands);
            self.commands += 1;
            let wire = exec.command.wire("0123456789abcdef", false);
            let with_shell = |text: &str| text.replace("/bin/sh", &self.shell);
            let mut child = Command::new(&self.prefix[0])
                .args(&self.prefix[1..])
                .arg(with_shell(&wire.exec))
                .env_clear()
                .envs(self.environment.iter().cloned())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            // Stays open to the end: it is the leash.
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(with_shell(&String::from_utf8(wire.stdin).unwrap()).as_bytes()).await.unwrap();
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
            let (a, b) = tokio::join!(out.read_to_end(&mut stdout), err.read_to_end(&mut stderr));
            a.and(b).unwrap();
            child.wait().await.unwrap();
            let Some((bytes, status)) = between_marks(&stdout, &wire.begin, &wire.end) else {
                return ExecEnd::Lost(String::from_utf8_lossy(&stderr).into_owned().into());
            };
            let printed = between_marks(&stderr, &wire.begin, &wire.end).map_or(stderr.clone(), |(bytes, _)| bytes);
            exec.output.send(OutputChunk { stream: Stream::Stdout, bytes }).await.unwrap();
            exec.output.send(OutputChunk { stream: Stream::Stderr, bytes: printed }).await.unwrap();
            ExecEnd::Exited(status)
        })
    }

    fn is_alive(&self) -> bool {
        true
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// A folder with nothing but links to busybox under the names of the tools that a host must have.
pub fn busybox_tools(folder: &Path, names: &[&str]) -> String {
    for name in names {
        std::os::unix::fs::symlink("/usr/bin/busybox", folder.join(name)).unwrap();
    }
    folder.display().to_string()
}

/// A shell that hosts have, with its tools.
pub struct Shell {
    /// What stands in for `/bin/sh`.
    pub command: &'static str,
    /// Its `PATH`.
    pub path: String,
    /// Keeps the tools.
    _folder: tempfile::TempDir,
}

/// What the scripts need of a host. `flock`, `restorecon` and `readlink` they use where they are.
pub const TOOLS: [&str; 13] =
    ["cat", "chmod", "cp", "id", "ls", "mkdir", "mv", "rm", "rmdir", "sha256sum", "sleep", "sync", "wc"];

/// dash and bash with the tools of this system; busybox with its own and no others. Debian's has no `flock` and no `cksum`.
pub fn shells() -> Vec<Shell> {
    for program in ["/usr/bin/dash", "/usr/bin/bash", "/usr/bin/busybox"] {
        assert!(PathBuf::from(program).exists(), "no {program}\nhint: apt-get install dash bash busybox");
    }
    let mut shells: Vec<_> = ["/usr/bin/dash", "/usr/bin/bash"]
        .map(|command| Shell { command, path: "/usr/bin:/bin".into(), _folder: tempfile::tempdir().unwrap() })
        .into();
    let folder = tempfile::tempdir().unwrap();
    let path = busybox_tools(folder.path(), &[&TOOLS[..], &["readlink", "setsid"]].concat());
    shells.push(Shell { command: "/usr/bin/busybox sh", path, _folder: folder });
    shells
}
