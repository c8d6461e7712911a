//! The file `debug.log` of a run: its beginning and its end, on bounded disk.
//!
//! What a run began with and how it ended tell most of why it went as it did, and what is in between repeats itself: a line that breaks all
//! night, ten thousand hosts that do the same. So the first bytes stay, and when the rest has grown too long, its older part goes.
//!
//! Lines are written a few at a time, ten times a second: a write for each of them was a tenth of what a host costs. A panic writes what is
//! held; a crash that leaves no time for that loses the last tenth of a second.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::files;

/// How much is kept, in bytes.
#[derive(Clone, Copy)]
struct Limits {
    /// From the beginning.
    head: u64,
    /// From the end, at least; at most twice that.
    tail: u64,
}

/// 8 MiB are some 60,000 lines: all of a run with a thousand hosts. 24 MiB in all, where a host's log may have 256.
const LIMITS: Limits = Limits { head: 8 << 20, tail: 8 << 20 };

/// Takes lines until the run ends, whatever happens to the disk.
pub struct DebugLog {
    path: PathBuf,
    file: File,
    size: u64,
    limits: Limits,
    /// Lines that could not be written.
    lost: u64,
    /// Why the first of them could not.
    trouble: Option<io::Error>,
}

impl DebugLog {
    /// Creates the file, or appends to that of an earlier controller. Only its owner can read it.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::with_limits(path, LIMITS)
    }

    fn with_limits(path: &Path, limits: Limits) -> io::Result<Self> {
        let file = match files::append_new(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => files::append(path)?,
            made => made?,
        };
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, limits, lost: 0, trouble: None })
    }

    /// Writes whole lines. Those that a full disk does not take are counted, and that is said when it takes some again.
    pub fn write(&mut self, lines: &[u8]) {
        if self.lost > 0 {
            let told = format!("\n({} lines before this one could not be written)\n", self.lost);
            self.lost = if self.append(told.as_bytes()).is_ok() { 0 } else { self.lost };
        }
        if let Err(error) = self.append(lines) {
            self.lost += lines.split(|byte| *byte == b'\n').count() as u64 - 1;
            self.trouble
                .get_or_insert_with(|| io::Error::new(error.kind(), format!("{}: {error}", self.path.display())));
        }
    }

    /// Why lines are missing, if some are and it was not asked before.
    pub fn trouble(&mut self) -> Option<io::Error> {
        self.trouble.take()
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        if self.size > self.limits.head + 2 * self.limits.tail { self.shorten() } else { Ok(()) }
    }

    /// Takes away the middle.
    fn shorten(&mut self) -> io::Result<()> {
        let Limits { head, tail } = self.limits;
        let head = self.next_line(head)?;
        let from = self.next_line(self.size - tail)?;
        let mut last = vec![0; usize::try_from(self.size - from).unwrap_or_default()];
        self.file.read_exact_at(&mut last, from)?;
        self.file.set_len(head)?;
        let cut = "(the log has grown too long: lines are missing here, from before the next one)\n";
        self.size = head + (cut.len() + last.len()) as u64;
        self.file.write_all(cut.as_bytes())?;
        self.file.write_all(&last)
    }

    /// Where the first line begins that does not begin before this place.
    fn next_line(&self, at: u64) -> io::Result<u64> {
        let mut bytes = vec![0; 64 << 10];
        let read = self.file.read_at(&mut bytes, at)?;
        let end = bytes.get(..read).and_then(|bytes| bytes.iter().position(|byte| *byte == b'\n'));
        Ok(at + end.map_or(0, |end| end as u64 + 1))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_beginning_and_the_end_stay_and_the_file_stays_short() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("debug.log");
        let limits = Limits { head: 1000, tail: 1000 };
        let mut longest = 0;
        for part in 0..4 {
            // Each a further controller of the same run.
            let mut log = DebugLog::with_limits(&path, limits).unwrap();
            for n in 0..1000 {
                log.write(format!("line {part}.{n}\n").as_bytes());
                longest = longest.max(path.metadata().unwrap().len());
            }
        }
        assert!(longest < 3300, "{longest}");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let text = String::from_utf8(files::read(&path).unwrap()).unwrap();
        assert!(text.starts_with("line 0.0\nline 0.1\n") && text.ends_with("\nline 3.998\nline 3.999\n"), "{text}");
        assert_eq!(text.matches("missing here").count(), 1);
        assert!(text.lines().all(|line| line.starts_with("line ") || line.starts_with("(the log")), "{text}");
        assert!(text.len() > 2000);
    }

    #[test]
    fn lines_lost_to_a_full_disk_are_reported_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("debug.log");
        let full = std::fs::OpenOptions::new().append(true).open("/dev/full").unwrap();
        let mut log = DebugLog { file: full, ..DebugLog::open(&path).unwrap() };
        log.write(b"one\n");
        log.write(b"two\n");
        let told = log.trouble().unwrap().to_string();
        assert!(told.starts_with(&format!("{}: No space left", path.display())), "{told}");
        assert!(log.trouble().is_none());
        let mut log = DebugLog { file: files::append(&path).unwrap(), ..log };
        log.write(b"three\n");
        let text = String::from_utf8(files::read(&path).unwrap()).unwrap();
        assert_eq!(text, "\n(2 lines before this one could not be written)\nthree\n");
    }

    #[test]
    fn a_link_or_a_folder_in_its_place_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("elsewhere", folder.path().join("debug.log")).unwrap();
        assert!(DebugLog::open(&folder.path().join("debug.log")).is_err());
        assert!(!folder.path().join("elsewhere").exists());
        assert!(DebugLog::open(folder.path()).is_err());
    }
}
