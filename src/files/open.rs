//! Opening what may have been put there by somebody else: a folder that was cloned or unpacked holds links and pipes as well as files.
//!
//! Invariant: nothing here waits for a writer, and nothing that a link leads to is written to.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a regular file for reading. A link is followed.
pub fn open(path: &Path) -> io::Result<File> {
    regular(path, OpenOptions::new().read(true), OFlags::NONBLOCK)
}

/// Opens a regular file, which must be there, for reading and for writing at its end. A link is refused.
pub fn append(path: &Path) -> io::Result<File> {
    refuse_link(path)?;
    regular(path, OpenOptions::new().read(true).append(true), OFlags::NONBLOCK | OFlags::NOFOLLOW)
}

/// Makes a file, which must not be there, for reading and for writing at its end. Only its owner can read it.
pub fn append_new(path: &Path) -> io::Result<File> {
    // O_EXCL: fails on anything that is there already, a link included.
    OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(path)
}

/// The content of a regular file. A link is followed.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Refuses a link, in words that say what it is. What is not there is none.
pub fn refuse_link(path: &Path) -> io::Result<()> {
    match if_there(path.symlink_metadata())? {
        Some(metadata) if metadata.is_symlink() => {
            Err(io::Error::other("it is a link, and fleet does not write through links"))
        }
        _ => Ok(()),
    }
}

/// Where nothing is of that name, there is nothing, which is no error.
pub fn if_there<T>(looked: io::Result<T>) -> io::Result<Option<T>> {
    match looked {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        looked => looked.map(Some),
    }
}

/// Without `NONBLOCK`, opening a named pipe would wait for whoever is at its other end; to a file it is nothing.
fn regular(path: &Path, options: &mut OpenOptions, flags: OFlags) -> io::Result<File> {
    let not_regular = || io::Error::other("not a regular file");
    let file = options.custom_flags(flags.bits().cast_signed()).open(path).map_err(|error| {
        // A pipe without a reader, a socket.
        if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) { not_regular() } else { error }
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    #[test]
    fn what_is_no_file_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert!(Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        let _socket = UnixListener::bind(path("socket")).unwrap();
        std::fs::create_dir(path("folder")).unwrap();
        symlink("pipe", path("link")).unwrap();
        for name in ["pipe", "socket", "folder", "link", "/dev/null"] {
            assert_eq!(read(&path(name)).unwrap_err().to_string(), "not a regular file", "{name}");
            assert!(append(&path(name)).is_err(), "{name}");
        }
        assert_eq!(read(&path("nothing")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(append(&path("nothing")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_link_is_read_and_never_written() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link, dangling) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("c"));
        crate::files::create_new(&file, 0o600, b"kept").unwrap();
        symlink("a", &link).unwrap();
        symlink("nothing", &dangling).unwrap();
        assert_eq!(read(&link).unwrap(), b"kept");
        for link in [&link, &dangling] {
            let told = append(link).unwrap_err().to_string();
            assert_eq!(told, "it is a link, and fleet does not write through links");
        }
        io::Write::write_all(&mut append(&file).unwrap(), b", and more").unwrap();
        assert_eq!(read(&file).unwrap(), b"kept, and more");
    }
}
