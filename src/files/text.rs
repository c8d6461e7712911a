//! Reading the files of a project: bounded, and texts with the line ends of a shell.

use std::io::Read as _;
use std::path::Path;

use super::open::open;
use crate::model::config::file_error::FileError;
use crate::model::text::encoding::wide_encoding;

/// Longest file that is read, in bytes.
pub const LONGEST_FILE: u64 = 4 << 20;

/// The bytes as they are.
pub fn read_raw(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    open(path)?.take(LONGEST_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_FILE { Err(FileError::TooLong(LONGEST_FILE >> 20)) } else { Ok(bytes) }
}

/// The bytes of a text, which may turn out to be none.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let bytes = read_raw(path)?;
    match wide_encoding(&bytes) {
        Some(encoding) => Err(FileError::Wide(encoding)),
        None => Ok(with_lf(&bytes)),
    }
}

/// The text without byte order marks at its beginning, and with LF at the end of its lines.
pub fn with_lf(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes;
    // More than one is what tools leave that each add theirs.
    while let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        bytes = rest;
    }
    bytes.iter().fold(Vec::with_capacity(bytes.len()), |mut text, byte| {
        if *byte == b'\n' {
            // More than one CR is what a conversion of what was converted leaves.
            text.truncate(text.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1));
        }
        text.push(*byte);
        text
    })
}
