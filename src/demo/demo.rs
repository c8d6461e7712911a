//! The demo from its beginning to its end.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Stdio;

use futures::FutureExt as _;
use futures::future::select_all;
use tokio::process::Command;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::demo_error::DemoError;
use super::project::Project;
use super::server::EmbeddedFleet;
use super::story;

pub struct DemoOptions<'a> {
    pub keep: bool,
    /// Leave the fleet running to play with, until an interrupt.
    pub serve: bool,
    pub exe: PathBuf,
    pub out: &'a mut dyn Write,
    /// Is `out` the terminal on which fleet itself may show its live view?
    pub terminal: bool,
}

/// Plays the demo. It needs python3 and git.
pub async fn run(options: DemoOptions<'_>) -> Result<(), DemoError> {
    let DemoOptions { keep, serve, exe, out, terminal } = options;
    // From here on an interrupt waits until there is somebody to clean up.
    let mut interrupts = Interrupts::listen().map_err(DemoError::Output)?;
    let python = python().await?;
    let temporary = std::env::temp_dir();
    let folder = tempfile::Builder::new()
        .prefix("fleet-demo-")
        .tempdir()
        .map_err(|source| DemoError::Write { path: temporary, source })?;
    let project = Project::create(folder.path(), &python).await?;
    let fleet = EmbeddedFleet::start(project.hosts()).await?;
    let mut story = story::Story::new(&exe, (&project, &fleet), out, terminal);
    let mut result = tokio::select! {
        result = story.play() => result,
        signal = interrupts.next() => Err(DemoError::Interrupted { signal }),
    };
    if serve && result.is_ok() {
        result = tokio::select! {
            result = story.serve() => result,
            // This is how it ends.
            _ = interrupts.next() => Ok(()),
        };
    }
    project.end_servers();
    fleet.stop().await;
    if keep {
        let folder = folder.keep();
        let told = writeln!(
            out,
            "\nThe project is left in {}. Its hosts are gone: --serve keeps them running.",
            folder.display()
        );
        told.map_err(DemoError::Output).and(result)
    } else {
        result
    }
}

/// The interpreter's own path: what the search path has may be a shim.
async fn python() -> Result<PathBuf, DemoError> {
    let test = "import sys, sqlite3, http.server; assert sys.version_info >= (3, 7); print(sys.executable)";
    let output = Command::new("python3").args(["-c", test]).stdin(Stdio::null()).kill_on_drop(true).output().await;
    match output {
        Ok(output) if output.status.success() => {
            Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()))
        }
        Ok(_) | Err(_) => Err(DemoError::Missing { tool: "python3" }),
    }
}

/// Signals with their numbers.
struct Interrupts(Vec<(u8, Signal)>);

impl Interrupts {
    fn listen() -> io::Result<Self> {
        let kinds = [(2, SignalKind::interrupt()), (15, SignalKind::terminate()), (1, SignalKind::hangup())];
        kinds.into_iter().map(|(number, kind)| Ok((number, signal(kind)?))).collect::<Result<_, _>>().map(Self)
    }

    /// The number of the next signal.
    async fn next(&mut self) -> u8 {
        let next = self.0.iter_mut().map(|(number, signal)| Box::pin(signal.recv().map(|_| *number)));
        select_all(next).await.0
    }
}
