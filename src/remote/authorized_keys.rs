//! The scripts for `~/.ssh/authorized_keys`: to read it, and to append to it unless it has changed since. Both first refuse what sshd
//! would not read (`authorized_keys/find.sh`).

use crate::model::plan::command::RemoteCommand;
use crate::model::recipe::shell::quote;

const FIND: &str = include_str!("authorized_keys/find.sh");
const READ: &str = include_str!("authorized_keys/read.sh");
const APPEND: &str = include_str!("authorized_keys/append.sh");

/// Reads the file, unless it has more bytes than `limit`.
pub fn read_authorized_keys(limit: usize) -> RemoteCommand {
    RemoteCommand::shell(format!("limit={limit}\n{FIND}{READ}"))
}

/// What is appended to which file.
pub struct Addition<'a> {
    /// Checksum and size of the file as it was read; none: there was none.
    pub expected: Option<&'a str>,
    /// What comes at its end.
    pub text: &'a str,
    /// Of the new file, in bytes.
    pub size: usize,
    /// Seconds to wait for another fleet to be done with the file.
    pub patience: u32,
}

/// Makes the file with the addition, as one step.
pub fn append_authorized_keys(addition: &Addition<'_>) -> RemoteCommand {
    let Addition { expected, text, size, patience } = addition;
    let (expected, text) = (quote(expected.unwrap_or("none")), quote(text));
    RemoteCommand::shell(format!(
        "expected={expected}\naddition={text}\nsize={size}\npatience={patience}\n{FIND}{APPEND}"
    ))
}
