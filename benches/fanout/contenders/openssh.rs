//! OpenSSH's client, a process a command, as many at a time as fleet has hosts at a time. More than one step goes through one connection
//! (`ControlMaster`), which ends with the row.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::contender::{Contender, Role, Scene, Work, words};
use crate::algorithms::{CIPHER, KEX};
use crate::support::files;
use crate::support::tools::tool;

pub fn contender(scene: &Scene, work: &Work) -> Contender {
    let room = scene.room("ssh");
    let config = config(scene, &room, work.steps > 1);
    let ssh = format!("{} -F {}", tool("ssh").display(), config.display());
    let (name, script) = if work.steps > 1 {
        let steps = (0..work.steps).map(|step| step.to_string()).collect::<Vec<_>>().join(" ");
        ("ssh, ControlMaster", format!("for step in {steps}; do {ssh} \"$1\" \"$2\" || exit 1; done"))
    } else if work.keep {
        ("ssh > file", format!("exec {ssh} \"$1\" \"$2\" >'{}'/\"$1\"", scene.room("ssh/output").display()))
    } else {
        ("ssh", format!("exec {ssh} \"$1\" \"$2\""))
    };
    let mut command = vec![tool("xargs").into_os_string(), "-a".into(), scene.list(&room).into()];
    command.extend(words(["-P", &scene.parallel(), "-I{}", "/bin/sh", "-c", &script, "sh", "{}", &work.command]));
    Contender { name: name.to_owned(), role: Role::Other, command, room }
}

/// Its settings. All hosts have one key, and one line pins it: a longer file would take longer to read.
pub fn config(scene: &Scene, room: &Path, master: bool) -> PathBuf {
    let pins = room.join("known_hosts");
    files::write(&pins, format!("[127.*]:{} {}\n", scene.port, scene.workspace.pin()), 0o644);
    let mut config = format!(
        "User {user}
Port {port}
IdentityFile {key}
IdentitiesOnly yes
UserKnownHostsFile {pins}
GlobalKnownHostsFile /dev/null
StrictHostKeyChecking yes
HostKeyAlgorithms ssh-ed25519
KexAlgorithms {KEX}
Ciphers {CIPHER}
UpdateHostKeys no
CheckHostIP no
BatchMode yes
LogLevel ERROR
",
        user = scene.workspace.user(),
        port = scene.port,
        key = scene.workspace.key().display(),
        pins = pins.display(),
    );
    if master {
        let sockets = room.join("m");
        std::fs::create_dir_all(&sockets).unwrap();
        let _ = write!(config, "ControlMaster auto\nControlPersist 60\nControlPath {}/%h\n", sockets.display());
    }
    let file = room.join("config");
    files::write(&file, config, 0o600);
    file
}
