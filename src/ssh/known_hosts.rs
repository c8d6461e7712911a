//! Pinned host keys: an own reader of OpenSSH's `known_hosts` format.
//!
//! Invariant: only [`Verdict::Pinned`] lets a connection go on. `russh::keys::known_hosts` is not used: it accepts revoked keys and
//! negated names, takes an unreadable file for an unknown host, and reports a full disk as success. Nor is `ssh_key::known_hosts`: it reads only
//! UTF-8 and only single spaces between the fields, cuts a line at any `#`, has one error for all that can be wrong, and matches no names.
//!
//! Differences from OpenSSH, all on the strict side but the first and the last: a byte order mark at the start of the file is ignored; a key pinned
//! for `host` does not stand for `[host]:2222`; a key of another type than the pinned ones is refused and not asked about;
//! certificates are refused, so `@cert-authority` lines give no trust; an IP address stands for itself in every spelling, in negated names
//! and revoked keys, too, where OpenSSH knows only the one of the resolver.

mod line;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use super::host_key::HostKey;
pub use super::host_key::lookup_name;
use crate::files;
use crate::model::inventory::host_key::Verdict;
use crate::model::text::encoding::wide_encoding;
use line::{Entry, Marker};

/// The content of a `known_hosts` file, read once and shared by all connections.
#[derive(Debug, Clone)]
pub struct KnownHosts {
    path: String,
    lines: usize,
    entries: Vec<(usize, Entry)>,
    /// Indices of entries that name hosts literally. The others, hashed or with patterns, are tried one by one.
    by_name: HashMap<Vec<u8>, Vec<usize>>,
    others: Vec<usize>,
    skipped: Vec<(usize, &'static str)>,
}

/// Why the file of pinned host keys could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KnownHostsError {
    #[error("cannot read the pinned host keys in {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
}

impl KnownHosts {
    /// Reads a file. A missing file is an empty one; an unreadable file is an error.
    pub fn load(path: &Path) -> Result<Self, KnownHostsError> {
        match read(path) {
            Ok(bytes) => Ok(Self::parse(path, &bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Self::parse(path, b"")),
            Err(source) => Err(KnownHostsError::Read { path: path.to_owned(), source }),
        }
    }

    /// Reads the content of a file. `path` is only named in verdicts.
    pub fn parse(path: &Path, bytes: &[u8]) -> Self {
        let mut this = Self {
            path: path.display().to_string(),
            lines: 0,
            entries: Vec::new(),
            by_name: HashMap::new(),
            others: Vec::new(),
            skipped: Vec::new(),
        };
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let lines = bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|&b| b == b'\n');
        lines.filter(|_| !bytes.is_empty()).for_each(|line| this.append(line));
        this
    }

    pub fn append(&mut self, text: &[u8]) {
        self.lines += 1;
        let entry = match line::parse(text) {
            Ok(Some(entry)) => entry,
            Ok(None) => return,
            Err(reason) => return self.skipped.push((self.lines, reason)),
        };
        let index = self.entries.len();
        match entry.names.literals() {
            Some(names) => names.for_each(|name| self.by_name.entry(name.to_owned()).or_default().push(index)),
            None => self.others.push(index),
        }
        self.entries.push((self.lines, entry));
    }

    /// Lines that were skipped, as OpenSSH skips them, and why.
    pub fn skipped(&self) -> &[(usize, &'static str)] {
        &self.skipped
    }

    pub fn check(&self, address: &str, port: u16, key: &HostKey) -> Verdict {
        let found = self.find(address, port);
        if let Some((line, _)) = found.iter().find(|(_, e)| e.marker == Marker::Revoked && e.key == *key) {
            return Verdict::Revoked { path: self.path.clone(), line: *line };
        }
        let pinned: Vec<_> = found.iter().filter(|(_, e)| e.marker == Marker::Pinned).collect();
        if pinned.iter().any(|(_, e)| e.key == *key) {
            return Verdict::Pinned;
        }
        if let Some((line, entry)) = pinned.iter().find(|(_, e)| e.key.key_type() == key.key_type()) {
            let (pinned, name) = (entry.key.fingerprint(), entry.names.spelling_of(lookup_name(address, port)));
            return Verdict::Changed { path: self.path.clone(), line: *line, pinned, name };
        }
        match pinned.first() {
            Some((line, entry)) => Verdict::OtherTypeKnown {
                path: self.path.clone(),
                line: *line,
                types: self.pinned_types(address, port),
                name: entry.names.spelling_of(lookup_name(address, port)),
            },
            None => Verdict::Unknown,
        }
    }

    /// The types of the keys that are pinned for a host, in the file's order: what to ask the host for first.
    pub fn pinned_types(&self, address: &str, port: u16) -> Vec<String> {
        let mut types = Vec::new();
        for (_, entry) in self.find(address, port) {
            let key_type = entry.key.key_type();
            if entry.marker == Marker::Pinned && !types.iter().any(|t| t == key_type) {
                types.push(key_type.to_owned());
            }
        }
        types
    }

    fn find(&self, address: &str, port: u16) -> Vec<&(usize, Entry)> {
        let name = lookup_name(address, port).into_bytes();
        let named = self.by_name.get(&name).into_iter().flatten();
        let matching =
            self.others.iter().filter(|&&i| self.entries.get(i).is_some_and(|(_, e)| e.names.matches(&name)));
        let mut indices: Vec<usize> = named.chain(matching).copied().collect();
        indices.sort_unstable();
        indices.dedup();
        indices.into_iter().filter_map(|i| self.entries.get(i)).collect()
    }
}

/// What is in the file. A shell on Windows writes what `ssh-keyscan` prints as UTF-16, in which no line could be read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = files::read(path)?;
    match wide_encoding(&bytes) {
        Some(encoding) => Err(io::Error::other(format!("the file is {encoding}; save it as UTF-8"))),
        None => Ok(bytes),
    }
}
