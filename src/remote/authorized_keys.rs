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

/// Makes the file with `addition` at its end, as one step, of `size` bytes. `expected` is checksum and size of the file as it was read, if there was one;
/// `patience` is how many seconds to wait for another fleet to be done with it.
pub fn append_authorized_keys(expected: Option<&str>, addition: &str, size: usize, patience: u32) -> RemoteCommand {
    let (expected, addition) = (quote(expected.unwrap_or("none")), quote(addition));
    RemoteCommand::shell(format!(
        "expected={expected}\naddition={addition}\nsize={size}\npatience={patience}\n{FIND}{APPEND}"
    ))
}
