//! An `ssh-agent`, with the keys of files that it is given.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::files;
use super::process::{run, wait_for};
use super::tools::tool;

/// A real agent; ended on drop.
#[derive(Debug)]
pub struct Agent {
    process: Child,
    folder: TempDir,
}

impl Agent {
    /// Holds the key of this file, which has no passphrase.
    pub fn with(key: &Path) -> Self {
        let agent = Self::start();
        agent.add(key, "");
        agent
    }

    /// Holds nothing.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let process =
            Command::new(tool("ssh-agent")).args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        wait_for("the agent", || UnixStream::connect(&socket).ok());
        Self { process, folder }
    }

    /// For `SSH_AUTH_SOCK`.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// With its certificate, when one lies beside it.
    pub fn add(&self, key: &Path, passphrase: &str) {
        let askpass = self.folder.path().join("askpass");
        files::write(&askpass, format!("#!/bin/sh\necho '{passphrase}'\n"), 0o700);
        let mut add = Command::new(tool("ssh-add"));
        add.env("SSH_ASKPASS", askpass).env("SSH_ASKPASS_REQUIRE", "force").env("SSH_AUTH_SOCK", self.socket());
        run(add.arg("-q").arg(key));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
