//! The project's key pair on disk: `keys/fleet` and `keys/fleet.pub`.
//!
//! Invariant: nothing is ever written over, and no private half stands without its public one. The public half is written first:
//! what a crash between the two leaves is a public half alone, which holds no secret, opens nothing, and is reported by the next run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use crate::files::{create_new, if_there, private_dir};
use crate::model::recipe::shell::quote;
use crate::model::text::hint::{Advise, Hint};
use crate::ssh::key::{KeyError, generate};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The private half, 0600.
    pub private: PathBuf,
    /// The public half, 0644.
    pub public: PathBuf,
    /// `SHA256:…`.
    pub fingerprint: String,
}

/// Why no pair was written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("there is a key pair already: {}", .private.display())]
    Exists { private: PathBuf },
    /// There is one half only: the rest of an interrupted run, or of a move.
    #[error(
        "{} is there without its private half {}: an interrupted run left it, or the private half was moved away",
        .public.display(), .private.display()
    )]
    PublicOnly { public: PathBuf, private: PathBuf },
    #[error("{} is there without its public half {}", .private.display(), .public.display())]
    PrivateOnly { private: PathBuf, public: PathBuf },
    #[error("cannot write {}: {reason}", .path.display())]
    Write { path: PathBuf, reason: io::Error },
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Advise for StoreError {
    fn hints(&self) -> Vec<Hint> {
        let quoted = |path: &Path| quote(&path.to_string_lossy());
        vec![match self {
            Self::Exists { .. } => Hint::advice(
                "fleet SITE distribute-keys brings it to the hosts; a new pair needs the old one out of the way",
            ),
            Self::PublicOnly { public, .. } => Hint::Command(format!("rm {}", quoted(public))),
            Self::PrivateOnly { private, public } => {
                Hint::Command(format!("ssh-keygen -y -f {} > {}", quoted(private), quoted(public)))
            }
            Self::Key(error) => return error.hints(),
            Self::Write { .. } => return Vec::new(),
        }]
    }
}

/// Makes the pair `fleet`, `fleet.pub` in `folder`, which becomes 0700. After an error there is no more than there was before.
///
/// With a passphrase this takes some tenths of a second of CPU.
pub fn generate_pair(folder: &Path, comment: &str, passphrase: Option<&SecretString>) -> Result<KeyPair, StoreError> {
    let private = folder.join("fleet");
    let public = folder.join("fleet.pub");
    refuse_existing(&private, &public)?;
    let key = generate(comment, passphrase)?;

    private_dir(folder).map_err(unwritten(folder))?;
    // Somebody may have been faster since the look above: then the error tells of their file.
    let write = |path: &Path, mode, bytes: &[u8]| create_new(path, mode, bytes).map_err(unwritten(path));
    write(&public, 0o644, format!("{}\n", key.public).as_bytes())?;
    if let Err(error) = write(&private, 0o600, key.private.expose_secret().as_bytes()) {
        // If the private half got its name after all (only the last flush failed), the pair is complete and stays.
        if !is_there(&private)? {
            fs::remove_file(&public).map_err(unwritten(&public))?;
        }
        return Err(error);
    }
    Ok(KeyPair { private, public, fingerprint: key.public.fingerprint() })
}

fn refuse_existing(private: &Path, public: &Path) -> Result<(), StoreError> {
    let (private, public, there) = (private.to_owned(), public.to_owned(), (is_there(private)?, is_there(public)?));
    match there {
        (false, false) => Ok(()),
        (true, true) => Err(StoreError::Exists { private }),
        (false, true) => Err(StoreError::PublicOnly { public, private }),
        (true, false) => Err(StoreError::PrivateOnly { private, public }),
    }
}

/// A dangling link is something, too.
fn is_there(path: &Path) -> Result<bool, StoreError> {
    Ok(if_there(path.symlink_metadata()).map_err(unwritten(path))?.is_some())
}

fn unwritten(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    |reason| StoreError::Write { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::key::{PublicKeyLine, load};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_pair_is_private_and_belongs_together() {
        let project = tempfile::tempdir().unwrap();
        let folder = project.path().join("keys");
        let pair = generate_pair(&folder, "fleet@project", Some(&"secret".into())).unwrap();
        assert_eq!((mode(&folder), mode(&pair.private), mode(&pair.public)), (0o700, 0o600, 0o644));
        let public = PublicKeyLine::load(&pair.public).unwrap();
        assert_eq!((public.fingerprint(), public.comment()), (pair.fingerprint, "fleet@project"));
        let private = load(&pair.private, Some(&"secret".into())).unwrap();
        assert_eq!(PublicKeyLine::of(private.public_key()).unwrap(), public);
    }

    #[test]
    fn nothing_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let pair = generate_pair(folder.path(), "", None).unwrap();
        let before = (fs::read(&pair.private).unwrap(), fs::read(&pair.public).unwrap());
        let refused = |expected: fn(&StoreError) -> bool| {
            let error = generate_pair(folder.path(), "", None).unwrap_err();
            assert!(expected(&error), "{error:?}");
            assert!(!error.hints().is_empty(), "{error}");
        };
        refused(|e| matches!(e, StoreError::Exists { .. }));
        assert_eq!((fs::read(&pair.private).unwrap(), fs::read(&pair.public).unwrap()), before);

        // What a kill between the two writes leaves.
        fs::remove_file(&pair.private).unwrap();
        refused(|e| matches!(e, StoreError::PublicOnly { .. }));
        assert_eq!(fs::read(&pair.public).unwrap(), before.1);

        fs::remove_file(&pair.public).unwrap();
        symlink("nowhere", &pair.private).unwrap();
        refused(|e| matches!(e, StoreError::PrivateOnly { .. }));
        assert!(!pair.public.exists());
    }

    #[test]
    fn a_failure_leaves_no_half_pair() {
        let project = tempfile::tempdir().unwrap();
        create_new(&project.path().join("keys"), 0o600, b"a file").unwrap();
        let folder = project.path().join("keys");
        assert!(matches!(generate_pair(&folder, "", None), Err(StoreError::Write { .. })));
        fs::remove_file(&folder).unwrap();
        // The comment is refused before anything is made.
        assert!(matches!(generate_pair(&folder, "a\nb", None), Err(StoreError::Key(KeyError::Comment))));
        assert!(!folder.exists());
    }
}
