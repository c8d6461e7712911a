//! Files that a recipe brings along: `files = ["helper.py", "@/fixes/"]`.

use std::path::{Component, Path};
use std::sync::Arc;

use crate::model::config::diagnostic::Place;
use crate::model::config::file_error::FileError;

/// Longest file of a recipe, and all its files together, in bytes. They travel as text of a shell; larger things are no part of a recipe.
pub const MOST_BYTES: usize = 4 << 20;

/// The prefix of a path in the project's folder; other paths are in that of the recipe.
pub const OF_PROJECT: &str = "@/";

/// The variable that names the folder of the files to a step.
pub const VARIABLE: &str = "FLEET_FILES";

/// A file as it lies in the folder `"$FLEET_FILES"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeFile {
    /// Relative to that folder.
    pub path: String,
    pub content: Arc<[u8]>,
    pub executable: bool,
    /// Where it is named.
    pub place: Place,
}

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Relative to the folder from which it was named.
    pub path: String,
    pub content: Vec<u8>,
    pub executable: bool,
}

/// The folder of a recipe, as it is read.
pub trait RecipeFolder {
    /// A script beside the recipe, with LF at the end of its lines.
    fn script(&self, path: &str) -> Result<String, FileError>;

    /// A file, or all that are in a folder and in those below it, byte for byte. `@/PATH` is in the project's folder.
    fn files(&self, path: &str) -> Result<Vec<Found>, FileError>;
}

#[cfg(test)]
impl<F: Fn(&str) -> Result<String, FileError>> RecipeFolder for F {
    fn script(&self, path: &str) -> Result<String, FileError> {
        self(path)
    }

    fn files(&self, path: &str) -> Result<Vec<Found>, FileError> {
        let content = self(path)?.into_bytes();
        Ok(vec![Found { path: path.trim_start_matches(OF_PROJECT).to_owned(), content, executable: false }])
    }
}

/// A path that does not leave its folder.
pub fn inside(path: &str) -> bool {
    let mut components = Path::new(path).components().peekable();
    components.peek().is_some()
        && components.all(|component| matches!(component, Component::Normal(_) | Component::CurDir))
        && !path.chars().any(char::is_control)
}
