//! Whole files, written so that a crash, a full disk or a second writer loses nothing.
//!
//! Invariant: under the final name there is the old file or the complete new one, never anything else. The new bytes are
//! written to a temporary file beside it, flushed to the disk, and only then given the name. What a power cut may leave is a
//! hidden `.NAME.RANDOM.tmp`, with the mode of a private file.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use tempfile::NamedTempFile;

use super::open::refuse_link;

/// Gives `path` the content `bytes` and the mode `mode`, whatever the umask. A symbolic link at `path` is replaced, not followed.
///
/// On an error the old file is untouched, with one exception: when only the last flush of the folder fails, the new content is there,
/// but may not survive a power cut.
pub fn replace(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let folder = open_folder(path)?;
    temporary(path, mode, bytes)?.persist(path).map_err(|e| e.error)?;
    flush(&folder)
}

/// Makes a new file `path`. If there is anything of that name already, even a dangling link, it stays, and the error is
/// [`io::ErrorKind::AlreadyExists`].
pub fn create_new(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let folder = open_folder(path)?;
    temporary(path, mode, bytes)?.persist_noclobber(path).map_err(|e| e.error)?;
    flush(&folder)
}

/// Makes sure that `path` is a folder that only its owner can enter (0700), whatever the umask. Missing parents are made the same
/// way; a folder that is there already gets the mode, its parents are left alone. A link is refused: its target may be anybody's.
pub fn private_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound && parent(path) != path => {
            private_dir(parent(path))?;
            return private_dir(path);
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            refuse_link(path)?;
            let metadata = path.metadata()?;
            if !metadata.is_dir() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            // Saves a needless error when the mode is right and the folder is somebody else's.
            if metadata.permissions().mode() & 0o7777 == 0o700 {
                return Ok(());
            }
        }
        Err(e) => return Err(e),
    }
    // The mode of mkdir is cut by the umask.
    std::fs::set_permissions(path, Permissions::from_mode(0o700))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// Opened before anything is written, so that what can fail fails early.
fn open_folder(path: &Path) -> io::Result<File> {
    File::open(parent(path))
}

/// A rename is only on the disk once its folder is.
fn flush(folder: &File) -> io::Result<()> {
    match folder.sync_all() {
        // Some network file systems know no flush of a folder.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

/// A complete file beside `path`, on the disk, that removes itself unless it gets its name.
fn temporary(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    // Created with 0600: the bytes are never readable by others, and the wanted mode comes before the name does.
    let mut file = tempfile::Builder::new().prefix(&prefix).suffix(".tmp").tempfile_in(parent(path))?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::process::Command;

    fn mode(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().permissions().mode() & 0o7777
    }

    fn names(folder: &Path) -> Vec<OsString> {
        let mut names: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn replace_changes_content_and_mode_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known_hosts");
        replace(&path, 0o644, b"one").unwrap();
        assert_eq!((std::fs::read(&path).unwrap().as_slice(), mode(&path)), (&b"one"[..], 0o644));
        replace(&path, 0o600, b"two").unwrap();
        assert_eq!((std::fs::read(&path).unwrap().as_slice(), mode(&path)), (&b"two"[..], 0o600));
        assert_eq!(names(folder.path()), ["known_hosts"]);
    }

    #[test]
    fn replace_does_not_write_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        replace(&target, 0o600, b"kept").unwrap();
        symlink(&target, &link).unwrap();
        replace(&link, 0o600, b"new").unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"kept");
        assert!(link.symlink_metadata().unwrap().is_file());
    }

    #[test]
    fn create_new_never_touches_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet");
        create_new(&path, 0o600, b"first").unwrap();
        assert_eq!(create_new(&path, 0o600, b"second").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"first");

        let dangling = folder.path().join("dangling");
        symlink("nowhere", &dangling).unwrap();
        assert_eq!(create_new(&dangling, 0o600, b"x").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(names(folder.path()), ["dangling", "fleet"]);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        replace(&file, 0o600, b"kept").unwrap();
        let below = file.join("below");
        assert_eq!(replace(&below, 0o600, b"x").unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert_eq!(create_new(&below, 0o600, b"x").unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert_eq!(private_dir(&below).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert_eq!(private_dir(&file).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        let nowhere = folder.path().join("no/where");
        assert_eq!(replace(&nowhere, 0o600, b"x").unwrap_err().kind(), io::ErrorKind::NotFound);
        // A folder of that name: the rename fails last of all, and the temporary file goes.
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        replace(&folder.path().join("folder"), 0o600, b"x").unwrap_err();
        assert_eq!(names(folder.path()), ["file", "folder"]);
        assert_eq!(std::fs::read(&file).unwrap(), b"kept");
    }

    #[test]
    fn private_dir_tightens_what_is_there_and_leaves_parents_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (outer, inner) = (folder.path().join("outer"), folder.path().join("outer/a/b"));
        DirBuilder::new().create(&outer).unwrap();
        std::fs::set_permissions(&outer, Permissions::from_mode(0o755)).unwrap();
        private_dir(&inner).unwrap();
        assert_eq!((mode(&outer), mode(&outer.join("a")), mode(&inner)), (0o755, 0o700, 0o700));
        std::fs::set_permissions(&inner, Permissions::from_mode(0o2775)).unwrap();
        private_dir(&inner).unwrap();
        assert_eq!(mode(&inner), 0o700);
    }

    /// The part of a test that runs in a process with a umask or a limit of its own. By itself it does nothing.
    #[test]
    fn child() {
        let Some(folder) = std::env::var_os("FLEET_TEST_ATOMIC").map(PathBuf::from) else { return };
        private_dir(&folder.join("p/q")).unwrap();
        create_new(&folder.join("p/q/private"), 0o600, b"x").unwrap();
        replace(&folder.join("p/q/public"), 0o644, b"x").unwrap();
        replace(&folder.join("big"), 0o644, &vec![0; 8 << 20]).unwrap();
    }

    fn run_child(prepare: &str, folder: &Path) -> std::process::Output {
        Command::new("/bin/sh")
            .args(["-c", &format!("{prepare}; exec \"$0\" --exact files::atomic::tests::child")])
            .arg(std::env::current_exe().unwrap())
            .env("FLEET_TEST_ATOMIC", folder)
            .output()
            .unwrap()
    }

    #[test]
    fn the_umask_changes_no_mode() {
        for umask in ["000", "022", "077", "777"] {
            let folder = tempfile::tempdir().unwrap();
            let output = run_child(&format!("umask {umask}"), folder.path());
            assert!(output.status.success(), "{output:?}");
            let modes = ["p", "p/q", "p/q/private", "p/q/public"].map(|name| mode(&folder.path().join(name)));
            assert_eq!(modes, [0o700, 0o700, 0o600, 0o644], "umask {umask}");
        }
    }

    /// A file size limit stands for the full disk: the write fails in the middle of the file.
    #[test]
    fn a_write_that_fails_half_way_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        replace(&folder.path().join("big"), 0o644, b"old").unwrap();
        // SIGXFSZ ignored, so that write(2) returns EFBIG. 2048 blocks of 512 bytes.
        let output = run_child("trap '' XFSZ; ulimit -f 2048", folder.path());
        assert!(!output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("FileTooLarge"), "{output:?}");
        assert_eq!(std::fs::read(folder.path().join("big")).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["big", "p"]);
    }
}
