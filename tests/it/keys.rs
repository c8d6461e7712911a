//! Keys against the real things: `ssh-keygen`, the shells that hosts have, and `sshd`.

mod format;
mod host;
mod local;
mod login;

use std::path::Path;
use std::process::{Command, Output};

use fleet::ssh::key::PublicKeyLine;

/// Runs a tool that the tests need, or fails and says where it comes from.
fn tool(command: &mut Command) -> Output {
    let program = command.get_program().to_string_lossy().into_owned();
    command.output().unwrap_or_else(|e| {
        panic!("cannot run {program}: {e}\nhint: apt-get install openssh-server openssh-client dash bash busybox")
    })
}

fn ssh_keygen(arguments: &[&str], path: &Path) -> Output {
    tool(Command::new("ssh-keygen").args(arguments).arg("-f").arg(path))
}

/// A key that nobody has the private half of.
fn public_key(comment: &str) -> PublicKeyLine {
    fleet::ssh::key::generate(comment, None).unwrap().public
}
