//! The values of secret variables, from their sources on this machine: `FLEET_SECRET_NAME`, then what the site's file names. Where there is
//! none, the person is asked, which is not done here.
//!
//! A command is run by `sh -c` in the project's folder, in a process group of its own, without standard input and without fleet's own
//! secrets in its environment. What it prints on standard output is the value, and is shown to nobody, also when it fails.

use std::cell::RefCell;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::FusedFuture as _;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::time::timeout;
use tracing::debug;

use crate::files;
use crate::files::project::Project;
use crate::model::inventory::inventory::SecretSource;
use crate::model::recipe::shell::quote;
use crate::model::text::hint::{Advise, Hint};
use crate::model::text::name::{SiteName, VarName};
use crate::model::text::secret::{ENVIRONMENT_PREFIX, MAX_LENGTH, Secret, SecretProblem, environment_name};

/// What is kept of the standard error of a command, in bytes, for people.
const MAX_STDERR: usize = 4 << 10;

/// How long it is waited for after a command has failed.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// A source does not give a value.
#[derive(Debug, thiserror::Error)]
#[error("{place}: secret `{name}`: {trouble}")]
pub struct SecretError {
    /// The environment variable, or the line of the site's file.
    pub place: String,
    pub name: VarName,
    pub trouble: Trouble,
}

#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error(transparent)]
    Value(#[from] SecretProblem),
    #[error("the value is not UTF-8")]
    NotUtf8,
    #[error("cannot read {}: {reason}", .path.display())]
    Unreadable { path: PathBuf, reason: io::Error },
    #[error("others can read {} (mode {mode:04o})", .path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("its command cannot be run: {0}")]
    NotRun(io::Error),
    /// With what it said on standard error.
    #[error("its command failed: {status}{}", below(.stderr))]
    Failed { status: ExitStatus, stderr: String },
    #[error("its command did not end within {} s{}", .limit.as_secs_f32(), below(.stderr))]
    Hung { limit: Duration, stderr: String },
    #[error("its command prints nothing{}", below(.stderr))]
    Silent { stderr: String },
    #[error("its command prints two lines, and the value is one")]
    TwoLines,
}

fn below(stderr: &str) -> String {
    stderr.trim().lines().fold(String::new(), |all, line| all + "\n  " + line)
}

impl Advise for SecretError {
    fn hints(&self) -> Vec<Hint> {
        vec![match &self.trouble {
            Trouble::Exposed { path, .. } => Hint::Command(format!("chmod 600 {}", quote(&path.to_string_lossy()))),
            Trouble::TwoLines => {
                Hint::advice("`| head -n 1`; or, for a key of several lines, `file` in place of `exec`")
            }
            Trouble::Hung { .. } => {
                Hint::advice("it has no terminal to ask on: unlock its store first, or raise `timeout` beside `exec`")
            }
            Trouble::Value(_)
            | Trouble::NotUtf8
            | Trouble::Unreadable { .. }
            | Trouble::NotRun(_)
            | Trouble::Failed { .. }
            | Trouble::Silent { .. } => return Vec::new(),
        }]
    }
}

/// The value of a secret of the site; `None` when it has no source. The site's file may be gone or broken when a run of it is undone.
pub async fn read(project: &Project, site: &SiteName, name: &VarName) -> Result<Option<Secret>, SecretError> {
    let variable = environment_name(name);
    let source = || project.inventory.sites.get(site)?.secrets.get(name);
    let (place, value) = match std::env::var_os(&variable).filter(|value| !value.is_empty()) {
        Some(value) => (variable, value.into_string().map_err(|_| Trouble::NotUtf8)),
        None => match source() {
            None => return Ok(None),
            Some(source) => (source.origin.to_string(), of_source(&project.root, &source.value).await),
        },
    };
    let secret = value.and_then(|value| Ok(Secret::parse(&value)?));
    debug!(%name, place, given = secret.is_ok(), "secret");
    secret.map(Some).map_err(|trouble| SecretError { place, name: name.clone(), trouble })
}

async fn of_source(root: &Path, source: &SecretSource) -> Result<String, Trouble> {
    match source {
        SecretSource::Exec { command, timeout } => printed(root, command, *timeout).await,
        SecretSource::File(path) => content(&root.join(home(path))),
    }
}

/// `~/x` is below the home of the person who runs fleet.
fn home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

/// What is in a file that, as with ssh's private keys, nobody else can read.
fn content(path: &Path) -> Result<String, Trouble> {
    let unreadable = |reason| Trouble::Unreadable { path: path.to_owned(), reason };
    // One open file for both looks.
    let file = files::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Trouble::Exposed { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    file.take(MAX_LENGTH as u64 + 2).read_to_end(&mut bytes).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|_| Trouble::NotUtf8)
}

/// The process group of a command: ended with all that is in it, unless its leader has been waited for.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

async fn printed(root: &Path, text: &str, limit: Duration) -> Result<String, Trouble> {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(text).current_dir(root).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(ENVIRONMENT_PREFIX) {
            command.env_remove(name);
        }
    }
    let mut child = command.spawn().map_err(Trouble::NotRun)?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let said = RefCell::new(Vec::new());
    let ended = async {
        let mut bytes = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(MAX_LENGTH as u64 + 3).read_to_end(&mut bytes).await.map_err(Trouble::NotRun)?;
        }
        // Nobody reads the rest, so it would not end.
        if bytes.len() > MAX_LENGTH + 2 {
            return Err(Trouble::Value(SecretProblem::Long));
        }
        Ok((child.wait().await.map_err(Trouble::NotRun)?, bytes))
    };
    let mut heard = pin!(listen(stderr, &said).fuse());
    let ended = timeout(limit, async {
        let mut ended = pin!(ended);
        loop {
            tokio::select! {
                ended = &mut ended => return ended,
                () = &mut heard => {}
            }
        }
    });
    let ended = ended.await;
    // Standard error may stay open for as long as it likes: a connection of ssh that is shared keeps it.
    if !matches!(&ended, Ok(Ok((status, _))) if status.success()) && !heard.is_terminated() {
        let _ = timeout(LAST_WORDS, &mut heard).await;
    }
    let said = || String::from_utf8_lossy(&said.borrow()).into_owned();
    let (status, bytes) = ended.map_err(|_| Trouble::Hung { limit, stderr: said() })??;
    group.0 = None;
    if !status.success() {
        return Err(Trouble::Failed { status, stderr: said() });
    }
    let value = String::from_utf8(bytes).map_err(|_| Trouble::NotUtf8)?;
    match value.trim_end_matches(['\n', '\r']) {
        "" => Err(Trouble::Silent { stderr: said() }),
        value if value.contains('\n') => Err(Trouble::TwoLines),
        value => Ok(value.to_owned()),
    }
}

/// Collects the beginning of what is said on standard error.
async fn listen(stderr: Option<impl AsyncRead + Unpin>, said: &RefCell<Vec<u8>>) {
    let Some(mut stderr) = stderr else { return };
    let mut buffer = [0; 512];
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        let room = MAX_STDERR.saturating_sub(said.borrow().len());
        said.borrow_mut().extend(buffer.iter().take(read.min(room)));
    }
}
