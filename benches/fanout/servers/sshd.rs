//! Hosts that are OpenSSH's: one `sshd -i` a connection.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};

use super::host::Host;
use super::reaper::Reaper;
use crate::algorithms::{CIPHER, KEX};
use crate::support::files;
use crate::support::tools::{PATH, tool};
use crate::workspace::Workspace;

/// Takes connections for ever.
pub async fn serve(listener: TcpListener, workspace: Workspace, reaper: Arc<Reaper>) {
    let program = tool("sshd");
    if rustix::process::getuid().is_root() {
        // Debian's init script would make it.
        fs::create_dir_all("/run/sshd").unwrap();
    }
    let config = workspace.folder().join("sshd_config");
    files::write(&config, self::config(&workspace), 0o644);
    let log = File::options().create(true).append(true).open(workspace.folder().join("sshd.log")).unwrap();
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let Ok(address) = socket.local_addr() else { continue };
        let host = Host::at(address, &workspace);
        let socket = blocking(socket);
        let mut command = Command::new(&program);
        command.args(["-i", "-e", "-f"]).arg(&config).arg("-o").arg(format!("ForceCommand={}", session(&host.home)));
        command.env_clear().env("PATH", PATH).stdin(Stdio::from(socket.try_clone().unwrap()));
        command.stdout(Stdio::from(socket)).stderr(Stdio::from(log.try_clone().unwrap()));
        reaper.spawn(&mut command).unwrap();
    }
}

fn blocking(socket: TcpStream) -> OwnedFd {
    let socket = socket.into_std().unwrap();
    socket.set_nonblocking(false).unwrap();
    socket.into()
}

/// What sshd has the login shell do: what the client asked for, in the host's own home folder.
fn session(home: &Path) -> String {
    format!("unset SHLVL; cd '{0}' && HOME='{0}' exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"", home.display())
}

fn config(workspace: &Workspace) -> String {
    let mut config = format!(
        "HostKey {host_key}
AuthorizedKeysFile {keys}
PidFile none
KexAlgorithms {KEX}
Ciphers {CIPHER}
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
PermitUserRC no
LogLevel ERROR
UseDNS no
PrintMotd no
PrintLastLog no
",
        host_key = workspace.host_key().display(),
        keys = workspace.key().with_extension("pub").display(),
    );
    // bash, started by sshd on the lowest level, would read the .bashrc of whoever measures.
    let _ = writeln!(config, "SetEnv SHLVL=2");
    config
}
