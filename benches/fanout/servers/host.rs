//! A host, as a server process sees it.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::workspace::Workspace;

/// A host that was called.
pub struct Host {
    pub home: PathBuf,
    pub workspace: Workspace,
}

impl Host {
    /// The host at this address, with its home folder.
    pub fn at(address: SocketAddr, workspace: &Workspace) -> Self {
        let IpAddr::V4(address) = address.ip() else { panic!("{address} is not of loopback") };
        let home = workspace.home_of(address);
        fs::create_dir_all(&home).unwrap();
        Self { home, workspace: workspace.clone() }
    }
}
