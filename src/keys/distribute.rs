//! Brings the public key into `~/.ssh/authorized_keys` of a logged-in user.
//!
//! Two commands go to the host: one reads the file, one appends what [`review`] decided, unless the file has changed since. Both first
//! refuse what sshd would not read.
//!
//! Invariant: under the name `authorized_keys` there is the old file or the complete new one, every foreign byte kept. So whatever
//! is lost on the way, a connection, the disk's last block, the same call again does the right thing.

use std::time::Duration;

use crate::model::plan::command::RemoteCommand;
use crate::model::recipe::shell::quote;
use crate::model::run::reason::Reason;
use crate::model::text::hint::{Advise, Hint};
use crate::model::text::printable::one_line;
use crate::remote::{ExecEnd, Remote, Session, append_authorized_keys, collect, read_authorized_keys};
use crate::ssh::key::PublicKeyLine;

use super::authorized_keys::{Decision, review};

/// Longest running time of one of the two commands: it includes a flush of the host's disk.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Seconds to wait for another fleet to be done with the file; it holds the lock for moments.
const PATIENCE: u32 = 20;
/// No `authorized_keys` file is larger, in bytes.
const LARGEST_FILE: usize = 1 << 20;
/// Bytes kept of each stream: the file, and some lines about it.
const LARGEST_OUTPUT: usize = LARGEST_FILE + (64 << 10);
/// How often the file may change under our hands.
const ATTEMPTS: usize = 10;

/// The key is in the file. Whether sshd takes it is another question, see [`super::rollout::prove`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distributed {
    pub change: Change,
    pub warnings: Vec<Warning>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Added,
    AlreadyThere,
}

/// What may keep the key, or another, from working.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    #[error("authorized_keys starts with a byte order mark: sshd cannot read the key on its first line")]
    ByteOrderMark,
    #[error("the key was there before, restricted, on line {line} of authorized_keys: {options}")]
    Options { line: usize, options: String },
    #[error("{path} is writable by the user's group ({mode}): Debian's sshd bears with that, others do not")]
    GroupWritable { path: String, mode: String },
    #[error("restorecon {path} failed: SELinux may keep sshd from reading it")]
    Unlabelled { path: String },
}

/// Why the key is not in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DistributeError {
    /// What is on the host must not be touched, or would not be read by sshd.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Another fleet works on the file.
    #[error("another run has locked authorized_keys for more than {PATIENCE} s")]
    Locked,
    /// Another fleet works on the file, or a killed one left its lock, on a host without `flock`.
    #[error("another run has locked authorized_keys for more than {PATIENCE} s")]
    LockFolder { folder: String },
    /// Somebody else keeps writing to the file.
    #[error("authorized_keys changed each time while the key was being added; nothing was done")]
    Changing,
    /// A tool on the host failed. Nothing was changed.
    #[error("nothing was changed: {message}")]
    Failed { status: u8, message: String },
    #[error("nothing was changed: {reason}")]
    NotStarted { reason: Reason },
    /// Nobody knows how the command ended.
    #[error("{reason}; authorized_keys is as before, or has the key as well: the same again is safe")]
    Unknown { reason: Reason },
}

/// What is on the host must not be touched, or would not be read by sshd. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{path} belongs to user number {uid}: sshd would not read keys there")]
    Foreign { path: String, uid: String },
    #[error("{path} is writable by others ({mode}): sshd would not read keys there")]
    Writable { path: String, mode: String },
    #[error("{path} is a symbolic link to {target}: whoever manages that file has to add the key")]
    Link { path: String, target: String },
    #[error("{path} is not a folder")]
    NotAFolder { path: String },
    #[error("{path} is not a regular file")]
    NotAFile { path: String },
    /// It is larger than 1 MiB.
    #[error("{path} has {size} bytes: no more than {LARGEST_FILE} are read")]
    TooLarge { path: String, size: String },
    /// A copy would not have its owner and mode.
    #[error("{path} cannot be replaced by this user without changing its owner or mode ({attributes})")]
    NotKept {
        path: String,
        /// Mode, owner and group.
        attributes: String,
    },
}

/// Makes sure that the key is in the login user's `authorized_keys`.
pub async fn distribute(session: &mut dyn Session, public_key: &PublicKeyLine) -> Result<Distributed, DistributeError> {
    for _ in 0..ATTEMPTS {
        let answer = run(session, &read_authorized_keys(LARGEST_FILE)).await?;
        let (before, mut warnings) = match parse(&answer)? {
            (End::None, warnings) => (None, warnings),
            // A file cut short must not pass for the whole: our key could be in the rest. Or somebody replaced it while it was read.
            (End::Content(file), _) if !file.is_whole() => continue,
            (End::Content(file), warnings) => (Some(file), warnings),
            (End::Added | End::Changed, _) => return Err(not_understood()),
        };
        let review = review(before.as_ref().map_or(&[], |file| file.content), public_key);
        if review.byte_order_mark {
            warnings.push(Warning::ByteOrderMark);
        }
        match review.decision {
            Decision::AlreadyThere { line, options } => {
                warnings.extend(options.map(|options| Warning::Options { line, options: one_line(&options) }));
                return Ok(Distributed { change: Change::AlreadyThere, warnings });
            }
            Decision::Append(addition) => {
                match parse(&run(session, &append_command(before.as_ref(), &addition)).await?)? {
                    (End::Added, more) => {
                        warnings.extend(more.into_iter().filter(|w| !matches!(w, Warning::GroupWritable { .. })));
                        return Ok(Distributed { change: Change::Added, warnings });
                    }
                    (End::Changed, _) => {}
                    (End::None | End::Content(_), _) => return Err(not_understood()),
                }
            }
        }
    }
    Err(DistributeError::Changing)
}

fn append_command(before: Option<&HostFile<'_>>, addition: &str) -> RemoteCommand {
    let (expected, length) = before.map_or((None, 0), |file| (Some(file.checksum.as_str()), file.content.len()));
    append_authorized_keys(expected, addition, length + addition.len(), PATIENCE)
}

fn not_understood() -> DistributeError {
    DistributeError::Unknown { reason: "the host's answer makes no sense".into() }
}

struct HostFile<'a> {
    /// What `cksum` said of it: checksum and size.
    checksum: String,
    content: &'a [u8],
}

impl HostFile<'_> {
    fn is_whole(&self) -> bool {
        self.checksum.split_once(' ').and_then(|(_, size)| size.parse().ok()) == Some(self.content.len())
    }
}

/// How a host's answer ends.
enum End<'a> {
    None,
    Content(HostFile<'a>),
    Added,
    Changed,
}

/// Reads a host's answer: how it ends, and what may keep a key from working.
fn parse(mut output: &[u8]) -> Result<(End<'_>, Vec<Warning>), DistributeError> {
    let mut warnings = Vec::new();
    let mut end = None;
    while let Some(newline) = output.iter().position(|&b| b == b'\n') {
        let (line, rest) = output.split_at(newline);
        output = rest.get(1..).unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let mut parts = line.split('\t').map(one_line);
        let (word, path, detail) =
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match word.as_str() {
            "content" => return Ok((End::Content(HostFile { checksum: path, content: output }), warnings)),
            "none" => return Ok((End::None, warnings)),
            "changed" => return Ok((End::Changed, warnings)),
            "added" => end = Some(End::Added),
            "group-writable" => warnings.push(Warning::GroupWritable { path, mode: detail }),
            "unlabelled" => warnings.push(Warning::Unlabelled { path }),
            "locked" if detail == "mkdir" => {
                return Err(DistributeError::LockFolder { folder: format!("{path}/.fleet-lock") });
            }
            "locked" => return Err(DistributeError::Locked),
            "foreign" => return Err(Refusal::Foreign { path, uid: detail }.into()),
            "writable" => return Err(Refusal::Writable { path, mode: detail }.into()),
            "link" => return Err(Refusal::Link { path, target: detail }.into()),
            "not-a-folder" => return Err(Refusal::NotAFolder { path }.into()),
            "not-a-file" => return Err(Refusal::NotAFile { path }.into()),
            "too-large" => return Err(Refusal::TooLarge { path, size: detail }.into()),
            "not-kept" => return Err(Refusal::NotKept { path, attributes: detail }.into()),
            _ => return Err(not_understood()),
        }
    }
    end.map(|end| (end, warnings)).ok_or_else(not_understood)
}

/// Runs a command and gives its standard output; everything but exit status 0 is an error.
pub(super) async fn run(session: &mut dyn Session, command: &RemoteCommand) -> Result<Vec<u8>, DistributeError> {
    let (end, [stdout, stderr]) = collect(session, Remote::Plain(command), TIMEOUT, LARGEST_OUTPUT).await;
    let reason = match end {
        ExecEnd::Exited(0) => return Ok(stdout),
        // A signal may have come after the file got its name.
        ExecEnd::Exited(status @ 129..) => format!("the command was ended, status {status}").into(),
        ExecEnd::Exited(status) => {
            return Err(DistributeError::Failed { status, message: last_words(&stderr, status) });
        }
        ExecEnd::TimedOut | ExecEnd::IdleTimedOut => format!("no answer in {} s", TIMEOUT.as_secs()).into(),
        ExecEnd::Stopped => "stopped".into(),
        ExecEnd::NotStarted(reason) => return Err(DistributeError::NotStarted { reason }),
        ExecEnd::Absent => return Err(DistributeError::NotStarted { reason: "it was never started".into() }),
        ExecEnd::Lost(reason) | ExecEnd::Unknown(reason) | ExecEnd::Detached(reason) => reason,
    };
    Err(DistributeError::Unknown { reason })
}

impl Advise for DistributeError {
    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Refused(refusal) => refusal.hints(),
            Self::LockFolder { folder } => {
                vec![Hint::Advice(format!("if none is at work, on the host: rmdir {}", quote(folder)))]
            }
            Self::NotStarted { reason } | Self::Unknown { reason } => reason.hints.clone(),
            Self::Locked | Self::Changing | Self::Failed { .. } => Vec::new(),
        }
    }
}

impl Advise for Refusal {
    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Foreign { .. } => vec![Hint::advice("chown it on the host")],
            Self::Writable { path, .. } => vec![Hint::Advice(format!("on the host, chmod go-w {}", quote(path)))],
            _ => Vec::new(),
        }
    }
}

/// The last two lines: a tool's complaint, and what it means to us.
fn last_words(stderr: &[u8], status: u8) -> String {
    let text = String::from_utf8_lossy(stderr);
    let mut lines: Vec<_> = text.lines().rev().filter(|l| !l.trim().is_empty()).take(2).map(one_line).collect();
    lines.reverse();
    if lines.is_empty() { format!("exit status {status}") } else { lines.join("; ") }
}

#[cfg(test)]
mod tests;
