//! Runs a program on a terminal of its own, and answers its questions.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::process::wait_for;
use super::tools::tool;

/// Runs the command; for each `(text, reply)` in turn waits until the text is shown after what was answered before, then types the
/// reply. Tells the exit code and all that the terminal showed.
pub fn run(command: &Command, dialogue: &[(&str, &str)]) -> (Option<i32>, String) {
    run_on((40, 100), command, dialogue)
}

/// The same on a terminal of so many rows and columns.
pub fn run_on(size: (u16, u16), command: &Command, dialogue: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut answers = dialogue.iter();
    let texts: Vec<&str> = dialogue.iter().map(|(text, _)| *text).collect();
    watch(size, command, &texts, |to| {
        to.write_all(answers.next().unwrap().1.as_bytes()).unwrap();
    })
}

/// Does something when each of the texts is shown, one after another.
pub fn watch(
    size: (u16, u16),
    command: &Command,
    texts: &[&str],
    mut then: impl FnMut(&mut File),
) -> (Option<i32>, String) {
    let (controller, terminal) = open(size);
    let mut child = start(command, terminal);
    let shown = Arc::new(Mutex::new(Vec::new()));
    let mut from = controller.try_clone().unwrap();
    let into = Arc::clone(&shown);
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        // The last process's end is an error on Linux, EIO.
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            into.lock().unwrap().extend_from_slice(&buffer[..n]);
        }
    });
    let mut to = controller;
    let mut answered = 0;
    for text in texts {
        answered = wait_for(&format!("{text:?} on the terminal"), || {
            // Asked first: what is shown later than this is looked at in the next round.
            let done = reader.is_finished();
            let all = shown.lock().unwrap().clone();
            let found = all.get(answered..)?.windows(text.len()).position(|window| window == text.as_bytes());
            // The reader is done when nobody has the terminal open any more.
            assert!(found.is_some() || !done, "it ended without {text:?}:\n{}", String::from_utf8_lossy(&all));
            found.map(|at| answered + at + text.len())
        });
        assert!(!is_for_a_secret(text) || !echoes(&to), "{text:?} appears while what is typed is still shown");
        then(&mut to);
    }
    let status = wait_for("the end of a program on a terminal", || child.try_wait().unwrap());
    reader.join().unwrap();
    let shown = String::from_utf8_lossy(&shown.lock().unwrap()).into_owned();
    (status.code(), shown)
}

/// Runs the command until the condition holds, then closes the terminal under it. Tells the exit code with which it ends nevertheless.
pub fn hang_up(command: &Command, mut until: impl FnMut() -> Option<()>, then: impl FnOnce()) -> Option<i32> {
    let (mut controller, terminal) = open((40, 100));
    fcntl_setfl(&controller, OFlags::RDWR | OFlags::NONBLOCK).unwrap();
    let mut child = start(command, terminal);
    wait_for("the moment to close the terminal", || {
        // Whoever writes to it must not be held up.
        let _ = controller.read(&mut [0; 4096]);
        until()
    });
    drop(controller);
    then();
    wait_for("the end of a program without its terminal", || child.try_wait().unwrap()).code()
}

/// Starts the command as the leader of a session whose terminal this is.
fn start(command: &Command, terminal: OwnedFd) -> Child {
    // `setsid --ctty` makes the terminal the controlling one, without which /dev/tty, and so a password prompt, would not open.
    // Whoever has the tests run in the background of a script has Ctrl-C ignored in all that they start.
    let mut on_terminal = Command::new(tool("env"));
    on_terminal
        .arg("--default-signal=INT,QUIT")
        .arg(tool("setsid"))
        .args(["--ctty", "--wait"])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .env("TERM", "xterm");
    for (name, value) in command.get_envs() {
        on_terminal.env(name, value.unwrap_or_default());
    }
    on_terminal.current_dir(command.get_current_dir().unwrap());
    // The terminal's other end is closed with `on_terminal`, or a reader would wait for its end for ever.
    on_terminal
        .stdin(Stdio::from(terminal.try_clone().unwrap()))
        .stdout(Stdio::from(terminal.try_clone().unwrap()))
        .stderr(Stdio::from(terminal))
        .spawn()
        .unwrap()
}

fn is_for_a_secret(question: &str) -> bool {
    ["assword", "assphrase", "Again"].iter().any(|word| question.contains(word))
}

fn echoes(controller: &File) -> bool {
    tcgetattr(controller).unwrap().local_modes.contains(LocalModes::ECHO)
}

fn open((rows, columns): (u16, u16)) -> (File, OwnedFd) {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    tcsetwinsize(&controller, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap();
    let terminal = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    (File::from(controller), terminal)
}
