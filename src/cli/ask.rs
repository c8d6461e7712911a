//! Questions to the person at the terminal. Each is asked once, before the first connection.

use std::fs::File;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;
use tokio::runtime::Handle;
use tokio::task::{block_in_place, spawn_blocking};

use super::args::Flags;
use super::context::say;
use super::failure::Failure;
use super::interrupts;
use crate::model::run::event::Signal;
use crate::model::run::exit;
use crate::model::text::hint::Hint;
use crate::trace;

/// Bytes of a secret file that are looked at.
const LONGEST_SECRET: u64 = 64 << 10;

pub fn is_interactive(flags: &Flags) -> bool {
    !flags.no_input && io::stdin().is_terminal() && io::stderr().is_terminal()
}

pub fn why_not(flags: &Flags) -> &'static str {
    if flags.no_input { "--no-input forbids questions" } else { "there is no terminal to ask on" }
}

/// Asks for one line. `instead` says which flag answers without a question.
fn line(flags: &Flags, question: &str, instead: &str) -> Result<String, Failure> {
    if !is_interactive(flags) {
        let hint = Hint::Advice(format!("{}{instead}", why_not(flags)));
        return Err(Failure::refused(format!("not confirmed: {question}")).hint(hint));
    }
    write!(io::stderr(), "{question} ")?;
    io::stderr().flush()?;
    let read = || {
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map(|_| answer)
    };
    Ok(interruptible(Echo::On, read)??.trim().to_owned())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Echo {
    On,
    /// Before the question appears: who answers at once is not faster than it.
    Off,
}

/// Waits for the person, or for a signal. Left to itself, Ctrl-C would end fleet with the terminal's echo still off.
fn interruptible(
    echo: Echo,
    read: impl FnOnce() -> io::Result<String> + Send + 'static,
) -> Result<io::Result<String>, Failure> {
    let terminal = File::open("/dev/tty").ok();
    let before = terminal.as_ref().and_then(|terminal| tcgetattr(terminal).ok());
    let set = |modes: &Termios| terminal.as_ref().map(|terminal| tcsetattr(terminal, OptionalActions::Now, modes));
    if let (Echo::Off, Some(before)) = (echo, &before) {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        set(&silent);
    }
    let answered = async {
        let (mut signals, _listening) = interrupts::listen()?;
        // A thread that still reads when a signal has come is left behind when fleet ends.
        let signal = tokio::select! {
            answer = spawn_blocking(read) => match answer.map_err(Failure::environment)? {
                // The reader may learn of it first.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(Signal::Int),
                answer => return Ok(answer),
            },
            signal = signals.recv() => signal,
        };
        say("\ninterrupted");
        Err(Failure::Told(if signal == Some(Signal::Term) { exit::TERMINATED } else { exit::INTERRUPTED }))
    };
    let answer = block_in_place(|| Handle::current().block_on(answered));
    before.as_ref().map(set);
    answer
}

/// Asks a question that is answered with `yes`.
pub fn confirm(flags: &Flags, question: &str) -> Result<(), Failure> {
    if flags.yes { Ok(()) } else { yes_or_no(flags, question, "--yes") }
}

/// The same, whatever the flags.
pub fn yes_or_no(flags: &Flags, question: &str, instead: &str) -> Result<(), Failure> {
    match line(flags, &format!("{question} [yes/no]"), &format!("; {instead} answers it"))?.as_str() {
        "yes" | "y" | "Yes" => Ok(()),
        _ => Err(Failure::refused("not confirmed; nothing was changed")),
    }
}

/// Asks for the name of what is about to be touched.
pub fn confirm_by_name(flags: &Flags, question: &str, name: &str) -> Result<(), Failure> {
    if flags.yes { Ok(()) } else { named(&line(flags, question, "; --yes answers it")?, name) }
}

fn named(answer: &str, name: &str) -> Result<(), Failure> {
    if answer == name {
        return Ok(());
    }
    Err(Failure::refused(format!("`{answer}` is not `{name}`; nothing was changed")))
}

/// The same where `--yes` is no answer.
pub fn insist_on(flags: &Flags, question: &str, name: &str) -> Result<(), Failure> {
    named(&line(flags, question, ", and --yes does not answer this")?, name)
}

/// Asks for a secret, without showing it.
pub fn secret(flags: &Flags, question: &str, instead: &str) -> Result<SecretString, Failure> {
    if !is_interactive(flags) {
        let hint = Hint::Advice(format!("{}; use {instead}", why_not(flags)));
        return Err(Failure::environment(format!("cannot ask: {question}")).hint(hint));
    }
    let asked = format!("{question} ");
    let answer =
        interruptible(Echo::Off, || rpassword::prompt_password(asked))?.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Failure::refused(format!("no answer to: {question}")),
            _ => Failure::environment(error),
        })?;
    trace::hide(&answer);
    Ok(SecretString::from(answer))
}

/// Reads a secret from the first line of a file that only its owner can read.
pub fn secret_file(path: &Path) -> Result<SecretString, Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let fail = |reason: String| Failure::environment(format!("cannot use {}: {reason}", path.display()));
    // One open file for both looks, so that nobody can put another in its place between them.
    let file = File::open(path).map_err(|e| fail(e.to_string()))?;
    let mode = file.metadata().map_err(|e| fail(e.to_string()))?.permissions().mode();
    if mode & 0o077 != 0 {
        let command = format!("chmod 600 {}", crate::model::recipe::shell::quote(&path.to_string_lossy()));
        let failure = fail(format!("others can read it (mode {:04o})", mode & 0o7777));
        return Err(failure.hint(Hint::Command(command)));
    }
    let mut line = String::new();
    io::BufReader::new(file.take(LONGEST_SECRET)).read_line(&mut line).map_err(|e| fail(e.to_string()))?;
    // A byte order mark is an editor's: nobody types one.
    match line.trim_start_matches('\u{feff}').lines().next() {
        Some(line) if !line.is_empty() => {
            trace::hide(line);
            Ok(SecretString::from(line))
        }
        _ => Err(fail("its first line is empty".to_owned())),
    }
}
