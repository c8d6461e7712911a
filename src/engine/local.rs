//! A worker's local steps: commands that run where fleet runs.

use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::NamedTempFile;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::contact::{CHUNKS, Contact, Stops};
use super::message::Message;
use super::output::Output;
use super::task::Task;
use crate::model::plan::command::RemoteCommand;
use crate::model::run::event::Stream;
use crate::model::run::finding::MAX_BYTES;
use crate::model::text::secret::ENVIRONMENT_PREFIX;
use crate::remote::{ExecEnd, OutputChunk};
use crate::ssh::GRACE;

/// Runs the text in `FLEET_TEXT` by a shell of its own, with nothing to read. Standard input is a pipe that fleet holds: when fleet is killed, its
/// end ends the process group.
const SHELL: &str = r#"exec 3<&0 </dev/null
{ read -r _ <&3; kill -TERM -$$; } >/dev/null 2>&1 &
/bin/sh -c 'FLEET_LINES=$FLEET_TEXT; unset FLEET_TEXT; eval "$FLEET_LINES"' sh 3<&-
FLEET_STATUS=$?
kill $! 2>/dev/null
exit $FLEET_STATUS"#;

/// How long output is read that comes after the end of the command, from what it has left in the background.
const LINGER: Duration = Duration::from_millis(200);

impl Contact {
    /// Runs a command in the project's folder, in a process group of its own.
    pub(super) async fn run_here(
        &mut self,
        (command, project): (&RemoteCommand, &Path),
        (task, stops): (&Task, &Stops),
        told: &mut Output,
    ) -> ExecEnd {
        if stops.stop.is_cancelled() {
            return ExecEnd::NotStarted(stops.why_not_started().into());
        }
        // What it reports about itself.
        let report = told.reports.then(NamedTempFile::new).transpose();
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                return ExecEnd::NotStarted(format!("no file for its findings can be made here: {error}").into());
            }
        };
        let mut child = match start(command, project, report.as_ref().map(NamedTempFile::path)) {
            Ok(child) => child,
            Err(error) => return ExecEnd::NotStarted(format!("no shell can be started here: {error}").into()),
        };
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        // Filled by the two readers, emptied below.
        let (sender, mut chunks) = mpsc::channel::<OutputChunk>(CHUNKS);
        let (out, err) = (child.stdout.take(), child.stderr.take());
        // Open as long as fleet lives; waiting for the command would close it.
        let _leash = child.stdin.take();
        let readers = async {
            tokio::join!(read(out, Stream::Stdout, sender.clone()), read(err, Stream::Stderr, sender.clone()))
        };
        tokio::pin!(readers);
        let mut limits = Limits::new(task);
        let (mut reading, mut status) = (true, None::<ExitStatus>);
        // Why it is being ended, and until when it may end by itself.
        let mut ending = None::<ExecEnd>;
        while reading || status.is_none() {
            tokio::select! {
                Some(chunk) = chunks.recv() => {
                    limits.heard();
                    if let Some(bytes) = told.take(&chunk) {
                        self.tell(Message::Output(chunk.stream, bytes)).await;
                    }
                }
                _ = &mut readers, if reading => reading = false,
                ended = child.wait(), if status.is_none() => {
                    status = Some(ended.unwrap_or_default());
                    // What is being ended is ended with all that it has started.
                    if ending.is_none() {
                        limits.last(LINGER);
                    }
                }
                () = stops.stop.cancelled(), if ending.is_none() && status.is_none() => {
                    ending = Some(ExecEnd::Stopped);
                    end(group, Signal::TERM);
                    limits.last(GRACE);
                }
                () = sleep_until(limits.next().unwrap_or_else(Instant::now)), if limits.next().is_some() => {
                    match (limits.over(), status) {
                        // What still writes is not the command.
                        (_, Some(_)) if ending.is_none() => break,
                        (_, Some(_)) => {
                            end(group, Signal::KILL);
                            break;
                        }
                        (Some(over), None) => {
                            ending = Some(over);
                            end(group, Signal::TERM);
                            limits.last(GRACE);
                        }
                        (None, None) => {
                            end(group, Signal::KILL);
                            limits.last(LINGER);
                        }
                    }
                }
            }
        }
        if ending.is_some() {
            end(group, Signal::KILL);
        }
        while let Ok(chunk) = chunks.try_recv() {
            if let Some(bytes) = told.take(&chunk) {
                self.tell(Message::Output(chunk.stream, bytes)).await;
            }
        }
        // One that cannot be read is an empty one, which is a block; one that is empty is none.
        told.report = report.and_then(|report| match read_report(report.path()) {
            Ok(report) if report.is_empty() => None,
            read => Some(read.unwrap_or_default()),
        });
        let end = ending.unwrap_or_else(|| ExecEnd::Exited(status.map_or(u8::MAX, status_of)));
        debug!(?end, received = told.received(), "local command ended");
        end
    }
}

/// The text goes by the environment, as on a host: others can read a process list.
fn start(command: &RemoteCommand, project: &Path, report: Option<&Path>) -> std::io::Result<Child> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", SHELL, "sh"]);
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(ENVIRONMENT_PREFIX.as_bytes()))
    {
        shell.env_remove(name);
    }
    let secrets = command.secret_env.iter().map(|(name, secret)| (name, secret.expose()));
    shell.envs(&command.env).envs(secrets).env("FLEET_TEXT", &command.text);
    shell.envs(report.map(|report| ("FLEET_FINDINGS", report)));
    shell.current_dir(command.cwd.as_ref().map_or(project.to_owned(), |cwd| project.join(cwd)));
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    shell.spawn()
}

/// One byte more than is read, by which it is known that there is more.
fn read_report(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut report = Vec::new();
    // What the command has put in its place is not read, nor waited for.
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut report)?;
    Ok(report)
}

async fn read(stream: Option<impl AsyncRead + Unpin>, of: Stream, sender: mpsc::Sender<OutputChunk>) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; 32 << 10];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
        if sender.send(OutputChunk { stream: of, bytes }).await.is_err() {
            return;
        }
    }
}

fn end(group: Option<Pid>, signal: Signal) {
    // It may be gone by now, which is what was wanted.
    let _ = group.map(|group| kill_process_group(group, signal));
}

/// As a shell has it: 128 and the number of the signal that ended it.
fn status_of(status: ExitStatus) -> u8 {
    let number = status.code().or_else(|| status.signal().map(|signal| signal + 128));
    number.and_then(|number| u8::try_from(number).ok()).unwrap_or(u8::MAX)
}

/// When the command is ended, and why.
struct Limits {
    running: Option<Instant>,
    silence: Option<(Duration, Instant)>,
    /// It has ended, or is about to: so long it is waited for.
    last: Option<Instant>,
    over: bool,
}

impl Limits {
    fn new(task: &Task) -> Self {
        let now = Instant::now();
        let silence = task.idle_timeout.map(|limit| (limit, now + limit));
        Self { running: task.timeout.map(|limit| now + limit), silence, last: None, over: false }
    }

    fn heard(&mut self) {
        self.silence = self.silence.map(|(limit, _)| (limit, Instant::now() + limit));
    }

    fn last(&mut self, wait: Duration) {
        (self.last, self.over) = (Some(Instant::now() + wait), true);
    }

    fn next(&self) -> Option<Instant> {
        if self.over { self.last } else { self.running.into_iter().chain(self.silence.map(|(_, at)| at)).min() }
    }

    /// Which limit is over, unless the command is being ended already.
    fn over(&self) -> Option<ExecEnd> {
        let now = Instant::now();
        match () {
            () if self.over => None,
            () if self.running.is_some_and(|at| at <= now) => Some(ExecEnd::TimedOut),
            () => Some(ExecEnd::IdleTimedOut),
        }
    }
}
