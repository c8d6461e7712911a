//! Which process writes a record: it has the locks of two files, which go with it however it ends.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::EVENTS_FILE;
use crate::files;

/// The process that writes the record, while one does.
pub const CONTROLLER_FILE: &str = "controller";

/// Writes down which process carries out the run, in a file that is locked before it has its name. Both locks go with the process, however
/// it ends; the file stays. Only who has the lock of the events may do this.
pub fn note_controller(folder: &Path) -> io::Result<File> {
    let new = folder.join(".controller.new");
    files::if_there(std::fs::remove_file(&new))?;
    let mut file = files::append_new(&new)?;
    writeln!(file, "{}", std::process::id())?;
    file.try_lock()?;
    std::fs::rename(&new, folder.join(CONTROLLER_FILE))?;
    Ok(file)
}

/// For how long a record is looked at again that is just being taken up, and with which pause.
pub const MOMENT: (u32, Duration) = (200, Duration::from_millis(10));

/// The process that works on the run; none when nobody does. Never one that worked on it before: its number may be another's by now.
pub fn controller(folder: &Path) -> Option<i32> {
    for _ in 0..MOMENT.0 {
        locked(&folder.join(EVENTS_FILE))?;
        // Whoever took the lock writes down at once who it is.
        if let Some(mut file) = locked(&folder.join(CONTROLLER_FILE)) {
            let mut pid = String::new();
            file.read_to_string(&mut pid).ok()?;
            return pid.trim().parse().ok();
        }
        sleep(MOMENT.1);
    }
    None
}

/// The file, if a process has its lock.
fn locked(path: &Path) -> Option<File> {
    let file = files::open(path).ok()?;
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)).then_some(file)
}
