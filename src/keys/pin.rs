//! Pinning: lines added to a `known_hosts` file, all of them or none.
//!
//! Invariant: every byte that was in the file is still there, whatever fails, and two processes that pin at the same time both get their
//! lines in.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::files;
use crate::model::inventory::host_key::Verdict;
use crate::model::text::name::Address;
use crate::ssh::known_hosts::{lookup_name, read};
use crate::ssh::{HostKey, KnownHosts, KnownHostsError};

#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The file exists and cannot be read.
    #[error(transparent)]
    Read(#[from] KnownHostsError),
    /// It cannot be written; it still has its old content.
    #[error("cannot pin host keys in {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    /// Another key is pinned for the host, or this one is revoked.
    #[error("{name}: another key is pinned in {path}, line {line}, or this one is revoked there; nothing was pinned")]
    Conflict {
        /// The host, as the file names it.
        name: String,
        path: PathBuf,
        line: usize,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pin {
    pub address: Address,
    pub port: u16,
    pub key: HostKey,
}

/// Adds the keys to the file, which may not exist yet, and says how many were not in it already. A key that contradicts a pinned one
/// is an error, and nothing is added: taking a key out is a person's deed (`ssh-keygen -R`).
pub fn pin(path: &Path, pins: &[Pin]) -> Result<usize, PinError> {
    let write = |source| PinError::Write { path: path.to_owned(), source };
    // A link stays a link, and the lock is beside the file that it points to.
    let path = &path.canonicalize().or_else(|e| missing(path, e)).map_err(write)?;
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty() && !f.exists()) {
        files::private_dir(folder).map_err(write)?;
    }
    let _lock = lock(path).map_err(write)?;
    let (mut bytes, mode) = match read(path) {
        Ok(bytes) => (bytes, path.metadata().map_err(write)?.permissions().mode() & 0o777),
        Err(e) if e.kind() == io::ErrorKind::NotFound => (Vec::new(), 0o644),
        Err(source) => return Err(KnownHostsError::Read { path: path.clone(), source }.into()),
    };
    let mut known = KnownHosts::parse(path, &bytes);
    let mut added = 0;
    for pin in pins {
        match known.check(pin.address.as_str(), pin.port, &pin.key) {
            Verdict::Pinned => continue,
            Verdict::Changed { line, .. } | Verdict::Revoked { line, .. } => {
                let name = lookup_name(pin.address.as_str(), pin.port);
                return Err(PinError::Conflict { name, path: path.clone(), line });
            }
            Verdict::Unknown | Verdict::OtherTypeKnown { .. } | Verdict::Certificate => {}
        }
        if !bytes.is_empty() && !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        let line = pin.key.to_known_hosts_line(pin.address.as_str(), pin.port);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        known.append(line.as_bytes());
        added += 1;
    }
    if added > 0 {
        files::replace(path, mode, &bytes).map_err(write)?;
    }
    Ok(added)
}

/// A file that is not there yet is written where it is named; a link to nowhere is an error.
fn missing(path: &Path, error: io::Error) -> io::Result<PathBuf> {
    if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() {
        return Ok(path.to_owned());
    }
    Err(error)
}

/// Locks a hidden file beside `path`: the file itself is replaced by each writer. It stays, since removing it would let two in.
fn lock(path: &Path) -> io::Result<File> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(".lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path.with_file_name(name))?;
    file.lock()?;
    Ok(file)
}

#[cfg(test)]
mod tests;
