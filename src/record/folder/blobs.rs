//! The blobs of a plan, each in a file of `blobs/` that is named by its SHA-256.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::files;
use crate::model::plan::blob::{BlobId, Blobs};
use crate::record::history::{HistoryError, unreadable};

const FOLDER: &str = "blobs";

/// Writes them into the new folder of a run.
pub fn write(folder: &Path, blobs: &Blobs) -> io::Result<()> {
    if blobs.iter().next().is_none() {
        return Ok(());
    }
    let folder = folder.join(FOLDER);
    DirBuilder::new().mode(0o700).create(&folder)?;
    for (id, bytes) in blobs.iter() {
        files::create_new(&folder.join(id.to_string()), 0o600, bytes)?;
    }
    File::open(&folder)?.sync_all()
}

pub fn read(folder: &Path, id: &BlobId) -> Result<Vec<u8>, HistoryError> {
    let path = folder.join(FOLDER).join(id.to_string());
    let bytes = files::read(&path).map_err(unreadable(&path))?;
    if BlobId::of(&bytes) == *id { Ok(bytes) } else { Err(HistoryError::Altered { path }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_read_back_and_an_altered_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut blobs = Blobs::default();
        let blob = blobs.add(b"#!/bin/sh\necho done\n".as_slice());
        write(folder.path(), &blobs).unwrap();
        assert_eq!(read(folder.path(), &blob).unwrap(), b"#!/bin/sh\necho done\n");
        let path = folder.path().join(FOLDER).join(blob.to_string());
        files::replace(&path, 0o600, b"#!/bin/sh\nrm -rf /\n").unwrap();
        assert!(matches!(read(folder.path(), &blob), Err(HistoryError::Altered { .. })));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(read(folder.path(), &blob), Err(HistoryError::Unreadable { .. })));
    }
}
