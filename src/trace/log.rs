//! The two copies, and what goes into them.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt as _, ParseError, Targets, filter_fn};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use super::debug_log::DebugLog;
use super::line::Line;
use crate::model::run::masking::{Masked, Masker};
use crate::model::text::printable::printable;
use crate::model::text::secret::Secret;

/// What `-v` shows.
pub const INFO: &str = "fleet=info,russh=warn";
/// What `-vv` shows, and what is kept beside a record. russh tells each packet at its debug level, which costs much and says little.
pub const DEBUG: &str = "fleet=debug,russh=info";

/// What is logged before the run has its record, in bytes.
const MAX_EARLY: usize = 256 << 10;
/// Lines that wait to be written together, in bytes, and how long they wait at most.
const MAX_HELD: usize = 16 << 10;
const HELD: Duration = Duration::from_millis(100);
/// How long the end waits for who reads standard error.
const FAREWELL: Duration = Duration::from_secs(10);
/// Longer lines are cut, in bytes.
const MAX_LINE: usize = 16 << 10;

static SINKS: LazyLock<Mutex<Sinks>> = LazyLock::new(Mutex::default);

/// Where lines go, and what must not be in them.
#[derive(Default)]
struct Sinks {
    masker: Arc<Masker>,
    debug_log: Option<DebugLog>,
    /// Lines that are not in it yet.
    held: Vec<u8>,
    stderr: Option<Box<dyn Write + Send>>,
}

impl Sinks {
    fn get() -> MutexGuard<'static, Self> {
        SINKS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&mut self, line: &[u8]) {
        if self.debug_log.is_some() || self.held.len() + line.len() <= MAX_EARLY {
            self.held.extend_from_slice(line);
        }
        if self.held.len() >= MAX_HELD {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if let Some(debug_log) = &mut self.debug_log
            && !self.held.is_empty()
        {
            debug_log.write(&self.held);
            self.held.clear();
        }
    }

    fn show(&mut self, line: &[u8]) {
        // Nobody reads it any more: that is no reason to stop.
        if self.stderr.as_mut().is_some_and(|stderr| stderr.write_all(line).is_err()) {
            self.stderr = None;
        }
    }
}

/// One of the two copies; it gets each line as a whole.
#[derive(Clone, Copy)]
enum Sink {
    DebugLog,
    Stderr,
}

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Not while the lock is held: a panic would want to be logged.
        let masker = Arc::clone(&Sinks::get().masker);
        let shown = fit(line, &masker);
        match self {
            Self::DebugLog => Sinks::get().keep(&shown),
            Self::Stderr => Sinks::get().show(&shown),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The line without secrets and control characters.
fn fit(line: &[u8], masker: &Masker) -> Vec<u8> {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let mut all = Masked::default();
    all.push(text);
    let open = all.give(text.len(), masker);
    let mut shown = printable(open.get(..MAX_LINE).unwrap_or(&open));
    shown.push('\n');
    shown.into_bytes()
}

/// Which lines are shown: `debug`, `fleet::ssh=debug,russh=info`, `[host{host=web1}]=debug`.
pub struct Filter {
    filter: EnvFilter,
    /// It may take more of russh's log than [`DEBUG`].
    all_of_russh: bool,
}

impl Filter {
    /// Reads the syntax of `tracing`'s `EnvFilter`.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let plain = text.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::TRACE));
        let all_of_russh = text.contains("russh::") || plain.would_enable("russh", &Level::DEBUG);
        Ok(Self { filter: EnvFilter::builder().parse(text)?, all_of_russh })
    }
}

/// As long as it lives, lines go to standard error.
pub struct Log(());

impl Drop for Log {
    fn drop(&mut self) {
        // Dropping it waits until all is out; a reader that has stopped reading does not hold up the end.
        Sinks::get().flush();
        let Some(stderr) = Sinks::get().stderr.take() else { return };
        let (sender, out) = mpsc::channel::<()>();
        let dropped = thread::Builder::new().spawn(move || {
            drop(stderr);
            drop(sender);
        });
        if dropped.is_ok() {
            let _ = out.recv_timeout(FAREWELL);
        }
    }
}

/// How much a part of the program may tell to whoever asks for all.
fn most_of(target: &str) -> LevelFilter {
    match target {
        _ if target.starts_with("russh::keys") => LevelFilter::INFO,
        _ if target.starts_with("russh") => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}

/// Begins to log; to `stderr` what the filter takes.
pub fn start(stderr: Option<(Filter, Box<dyn Write + Send>)>) -> Log {
    let (filter, stderr) = stderr.unzip();
    Sinks::get().stderr = stderr;
    let layer = |sink| fmt::layer().with_ansi(false).event_format(Line).with_writer(move || sink);
    let no_packets = filter_fn(|metadata| *metadata.level() <= most_of(metadata.target()));
    let all_of_russh = filter.as_ref().is_some_and(|filter| filter.all_of_russh);
    let stderr = filter.map(|Filter { filter, .. }| layer(Sink::Stderr).with_filter(filter.and(no_packets)).boxed());
    let debug: Targets = DEBUG.parse().unwrap_or_default();
    let layers: Vec<_> = [layer(Sink::DebugLog).with_filter(debug).boxed()].into_iter().chain(stderr).collect();
    // An error is a subscriber that is there already.
    let _ = tracing_subscriber::registry().with(layers).try_init();
    if !all_of_russh {
        // What nobody wants costs a comparison, and not a question to each filter for each packet.
        tracing_log::log::set_max_level(tracing_log::log::LevelFilter::Info);
    }
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("{panic}");
        Sinks::get().flush();
        told(panic);
    }));
    Log(())
}

/// From here on the log goes to this file, too, with what was logged before there was one.
pub fn keep(path: &Path) -> io::Result<()> {
    let debug_log = DebugLog::open(path)?;
    Sinks::get().debug_log = Some(debug_log);
    let written = thread::Builder::new().spawn(|| {
        loop {
            Sinks::get().flush();
            thread::sleep(HELD);
        }
    });
    written.map(drop)
}

/// Why lines are missing in that file, if some are and it was not asked before.
pub fn trouble() -> Option<io::Error> {
    let mut sinks = Sinks::get();
    sinks.flush();
    sinks.debug_log.as_mut()?.trouble()
}

/// From here on the value is masked in every line.
pub fn hide(secret: &str) {
    let mut sinks = Sinks::get();
    let masker = Arc::make_mut(&mut sinks.masker);
    masker.add(secret);
    // As it stands in a value that is logged with its quotes, and in one whose control characters `tracing` has escaped.
    masker.add(&secret.escape_debug().to_string());
    masker.add(&printable(secret.as_bytes()));
}

/// The same of a secret variable's value, in all forms in which it may stand.
pub fn hide_secret(secret: &Secret) {
    Arc::make_mut(&mut Sinks::get().masker).add_secret(secret);
    hide(secret.expose());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_masked_and_cannot_be_two() {
        let mut masker = Masker::default();
        masker.add("hunter2");
        assert_eq!(fit(b"a hunter2\n\x1b[2J b\n", &masker), b"a ***\\n\\x1b[2J b\n");
        assert_eq!(fit(&vec![b'x'; 2 * MAX_LINE], &masker).len(), MAX_LINE + 1);
    }

    #[test]
    fn a_secret_is_found_however_it_is_quoted() {
        hide("two words\x1b and \"quotes\"");
        let masker = Arc::clone(&Sinks::get().masker);
        for line in ["two words\\u{1b} and \\\"quotes\\\"", "two words\\x1b and \"quotes\""] {
            assert_eq!(fit(line.as_bytes(), &masker), b"***\n", "{line}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        assert!(Filter::parse("fleet::ssh=debug,[host{host=web1}]=info").is_ok());
        assert!(Filter::parse("fleet=loud").is_err());
        let all_of_russh = |text| Filter::parse(text).unwrap().all_of_russh;
        assert!([INFO, DEBUG, "fleet=trace", "info"].iter().all(|text| !all_of_russh(*text)));
        let all = ["debug", "russh=trace", "russh::client::kex=debug", "[host{host=web1}]=info,russh=debug"];
        assert!(all.iter().all(|text| all_of_russh(*text)));
    }
}
