//! What a recipe names beside itself: scripts and files.
//!
//! A path does not leave its folder, but a link in it may: a recipe that somebody else wrote sends no file from elsewhere to hosts, and no
//! private key.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::text;
use crate::model::config::file_error::FileError;
use crate::model::recipe::files::{Found, MOST_BYTES, OF_PROJECT, RecipeFolder};

/// Most files that one path of `files` may stand for.
const MOST_FILES: usize = 1000;

/// Where a recipe finds what it names.
pub struct Folder<'a> {
    pub project: &'a Path,
    pub own: Own<'a>,
}

pub enum Own<'a> {
    /// The folder `recipes/` of the project.
    Path(&'a Path),
    /// In the binary: paths and bytes.
    BuiltIn(&'a [(&'a str, &'a [u8])]),
}

impl RecipeFolder for Folder<'_> {
    fn script(&self, path: &str) -> Result<String, FileError> {
        let bytes = match self.own {
            Own::Path(folder) => text::read(&resolved(folder, &folder.join(path))?)?,
            Own::BuiltIn(files) => files
                .iter()
                .find(|(name, _)| *name == path)
                .map(|(_, bytes)| bytes.to_vec())
                .ok_or(FileError::Missing)?,
        };
        String::from_utf8(bytes).map_err(|error| FileError::NotUtf8(error.utf8_error().valid_up_to()))
    }

    fn files(&self, path: &str) -> Result<Vec<Found>, FileError> {
        match (path.strip_prefix(OF_PROJECT), &self.own) {
            (Some(path), _) => self.found(self.project, path),
            (None, Own::Path(folder)) => self.found(folder, path),
            (None, Own::BuiltIn(files)) => built_in(files, path),
        }
    }
}

impl Folder<'_> {
    fn found(&self, root: &Path, path: &str) -> Result<Vec<Found>, FileError> {
        let keys = self.project.join("keys").canonicalize().ok();
        let named = root.join(path);
        let is_folder = fs::metadata(&named)?.is_dir();
        // The files of a folder stay in it, and not only in the one above.
        let (within, paths) = if is_folder { (named.as_path(), listed(&named)?) } else { (root, vec![named.clone()]) };
        resolved(root, &named)?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        for path in paths {
            let target = resolved(within, &path)?;
            if keys.as_ref().is_some_and(|keys| target.starts_with(keys)) {
                return Err(FileError::Keys);
            }
            let content = text::read_raw(&target)?;
            bytes += content.len();
            if bytes > MOST_BYTES {
                return Err(FileError::TooLong(MOST_BYTES as u64 >> 20));
            }
            let executable = fs::metadata(&target)?.permissions().mode() & 0o100 != 0;
            found.push(Found { path: relative(root, &path)?, content, executable });
        }
        Ok(found)
    }
}

/// Where a path leads to, which is in the folder.
fn resolved(folder: &Path, path: &Path) -> Result<PathBuf, FileError> {
    let path = path.canonicalize()?;
    if path.starts_with(folder.canonicalize()?) { Ok(path) } else { Err(FileError::Outside) }
}

fn relative(root: &Path, path: &Path) -> Result<String, FileError> {
    let relative: PathBuf = path.strip_prefix(root).unwrap_or(path).components().collect();
    relative.into_os_string().into_string().map_err(|_| FileError::Name)
}

/// All files in a folder and in those below it. Names that begin with a dot are an editor's, or git's.
fn listed(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let (mut open, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            // A link to a folder is not followed: it could lead in a circle.
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else {
                files.push(entry.path());
            }
            if files.len() + open.len() > MOST_FILES {
                return Err(FileError::TooMany(MOST_FILES));
            }
        }
    }
    files.sort();
    Ok(files)
}

fn built_in(files: &[(&str, &[u8])], path: &str) -> Result<Vec<Found>, FileError> {
    let folder = format!("{}/", path.trim_end_matches('/'));
    let is_named = |name: &str| name == path || name.starts_with(&folder);
    let found = |(name, bytes): &(&str, &[u8])| Found {
        path: (*name).to_owned(),
        content: bytes.to_vec(),
        executable: bytes.starts_with(b"#!"),
    };
    let found: Vec<Found> = files.iter().filter(|(name, _)| is_named(name)).map(found).collect();
    if found.is_empty() { Err(FileError::Missing) } else { Ok(found) }
}
