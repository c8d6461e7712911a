//! Why a file of the project does not serve.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("there is no such file")]
    Missing,
    #[error("permission denied")]
    Denied,
    /// That many MiB are taken.
    #[error("longer than {0} MiB")]
    TooLong(u64),
    #[error("the file is {0}; save it as UTF-8")]
    Wide(&'static str),
    #[error("the file is not UTF-8 from byte {0} on")]
    NotUtf8(usize),
    #[error("a link leads out of its folder")]
    Outside,
    #[error("more than {0} files")]
    TooMany(usize),
    #[error("a file's name is not UTF-8")]
    Name,
    #[error("private keys are sent to no host")]
    Keys,
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Denied,
            _ => Self::Io(error),
        }
    }
}
