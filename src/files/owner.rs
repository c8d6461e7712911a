//! Whose project it is: what a site's file or a recipe says is done with the keys of whoever runs fleet.
//!
//! As git does with repositories (its `safe.directory`, CVE-2022-24765), fleet takes nothing from a folder that another user made, such as
//! `/tmp/hosts`, which is found upward from everywhere below `/tmp`. root by way of `sudo` may use the project of the user who typed it.
//!
//! Rejected: a list of folders that are trusted nevertheless. The records and keys of a project are its owner's alone (0700), so that a second
//! user could do nothing in it; who has a copy of his own, or becomes the owner by `sudo -u`, can. A group that may write is let be: many
//! systems give each user a group of his own, and make folders that it may write to.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::project::ProjectError;

/// The folders of a project that fleet reads from or writes to, and itself.
const FOLDERS: [&str; 5] = ["", "hosts", "recipes", "keys", ".fleet"];

/// Refuses a project that belongs to none of these users, or that everybody may write to. A link is followed.
pub fn refuse_foreign(root: &Path, users: &[u32]) -> Result<(), ProjectError> {
    for name in FOLDERS {
        let folder = if name.is_empty() { root.to_owned() } else { root.join(name) };
        // What is not there, or cannot be looked at, is told when it is needed.
        let Ok(metadata) = folder.metadata() else { continue };
        let shown = folder.display().to_string();
        if !users.contains(&metadata.uid()) {
            return Err(ProjectError::Foreign { owner: metadata.uid(), folder: shown });
        }
        if metadata.mode() & 0o002 != 0 {
            return Err(ProjectError::Open { folder: shown });
        }
    }
    Ok(())
}

/// The users whose projects this process may use. `sudo` is the user that sudo names.
pub fn trusted_users(sudo: Option<&str>) -> Vec<u32> {
    let me = rustix::process::geteuid();
    let by_sudo = sudo.filter(|_| me.is_root()).and_then(|uid| uid.parse().ok());
    std::iter::once(me.as_raw()).chain(by_sudo).collect()
}
