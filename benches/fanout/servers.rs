//! The hosts: one process that listens on one port of all of 127.0.0.0/8, and answers as a host of its own on each address, with a home
//! folder of its own. Thousands of hosts need neither a socket nor a thread each.
//!
//! The port is bound to the loopback interface: nobody else can reach it. With *sshd*, each connection gets a `sshd -i`, which is what sshd's
//! listener does, too; so all that a host costs is below this process, and its kernel's sums are exact.

mod host;
mod light;
mod reaper;
mod sshd;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use nix::sys::resource::{UsageWho, getrusage};
use rustix::process::{Resource, Rlimit, Signal, getpid, getrlimit, set_child_subreaper, setrlimit};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

use crate::machine::{below, cpu_seconds};
use crate::options::Servers;
use crate::support::process::signal;
use crate::workspace::Workspace;
use reaper::Reaper;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    kind: Servers,
    /// The folder of the [`Workspace`].
    folder: PathBuf,
}

/// The server process: says its port, then answers each line with the seconds of CPU that it and all below it have had. The end of standard input ends it.
pub fn serve(arguments: Arguments) {
    set_child_subreaper(Some(getpid())).unwrap();
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    // Before the reaper, which takes every child that ends: this asks a program.
    let workspace = Workspace::at(arguments.folder);
    let reaper = Reaper::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(async { listen() });
    println!("{}", listener.local_addr().unwrap().port());
    match arguments.kind {
        Servers::Light => drop(runtime.spawn(light::serve(listener, workspace, Arc::clone(&reaper)))),
        Servers::Sshd => drop(runtime.spawn(sshd::serve(listener, workspace, Arc::clone(&reaper)))),
    }
    for line in std::io::stdin().lines() {
        line.unwrap();
        reaper.wait_for_none();
        let sum: f64 = [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN]
            .map(|who| cpu_seconds(&getrusage(who).unwrap()))
            .iter()
            .sum();
        println!("{sum}");
        std::io::stdout().flush().unwrap();
    }
    runtime.shutdown_background();
    for pid in below(std::process::id()) {
        signal(pid, Signal::KILL);
    }
    reaper.wait_for_none();
}

fn listen() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind_device(Some(b"lo")).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).unwrap();
    socket.listen(4096).unwrap();
    TcpListener::from_std(socket.into()).unwrap()
}

/// The server process, from outside. It ends on drop.
pub struct Fleet {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    pub port: u16,
}

impl Fleet {
    pub fn start(kind: Servers, workspace: &Workspace) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["serve", kind.name()]).arg(workspace.folder()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.env_clear().spawn().unwrap();
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut fleet = Self { process, input, output, port: 0 };
        fleet.port = fleet.line().parse().unwrap();
        fleet
    }

    /// What the hosts have cost so far, in seconds. It waits for what they still run.
    pub fn cpu(&mut self) -> f64 {
        self.input.as_mut().unwrap().write_all(b"\n").unwrap();
        self.line().parse().unwrap()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.process.wait();
    }
}

/// Is there an sshd?
pub fn has_sshd() -> bool {
    ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"].iter().any(|path| Path::new(path).is_file())
}
