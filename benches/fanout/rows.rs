//! What is measured.

use crate::contenders::{self, Contender, Scene, Version, Work, planned};
use crate::machine::number;
use crate::options::{Kind, Options, Servers};
use crate::servers::{self, Fleet};
use crate::support::files;
use crate::workspace::Workspace;

/// One comparison.
pub struct Row {
    pub title: String,
    /// None when nobody is called.
    pub servers: Option<Fleet>,
    pub contenders: Vec<Contender>,
    pub left_out: Vec<String>,
    pub unit: Unit,
}

/// What CPU is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Hosts(usize),
    /// MiB of output of all hosts together, told for 100.
    Output(usize),
    /// The whole of it; the size of what is printed is told, too.
    Whole,
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Self::Hosts(_) => "ms/host",
            Self::Output(_) => "ms/100MiB",
            Self::Whole => "ms",
        }
    }

    /// Milliseconds a unit.
    pub fn share(self, seconds: f64) -> f64 {
        seconds * 1000.0
            / match self {
                Self::Hosts(hosts) => number(hosts as u64),
                Self::Output(mib) => number(mib as u64) / 100.0,
                Self::Whole => 1.0,
            }
    }
}

/// All comparisons of a kind, each made when it is its turn: its servers run until it is dropped.
pub fn rows<'a>(
    kind: Kind,
    options: &'a Options,
    versions: &'a [Version],
    workspace: &'a Workspace,
) -> Box<dyn Iterator<Item = Row> + 'a> {
    if kind == Kind::Plan {
        return Box::new(hosts(kind, Servers::Light, options).into_iter().flat_map(move |hosts| {
            let verbs: [(&str, &[&str]); 5] = [
                ("list", &["list"]),
                ("run", &["bench", "run", "--dry-run", "--", "true"]),
                ("dry", &["bench", "deploy", "--dry-run"]),
                ("json", &["bench", "deploy", "--dry-run", "--json"]),
                ("check", &["check"]),
            ];
            verbs.into_iter().map(move |(name, arguments)| Row {
                title: format!("fleet {}, git-site, {hosts} hosts, nobody is called", arguments.join(" ")),
                servers: None,
                contenders: planned(workspace, versions, hosts, &format!("{hosts}-{name}"), arguments),
                left_out: Vec::new(),
                unit: Unit::Whole,
            })
        }));
    }
    let cases = options
        .servers
        .iter()
        .flat_map(move |servers| hosts(kind, *servers, options).into_iter().map(move |hosts| (*servers, hosts)));
    Box::new(cases.map(move |(servers, hosts)| called(kind, servers, hosts, &(options, versions, workspace))))
}

fn hosts(kind: Kind, servers: Servers, options: &Options) -> Vec<usize> {
    // 10,000 sshds are three minutes of their CPU a turn, and tell nothing of fleet.
    if kind == Kind::Many && servers == Servers::Sshd {
        return Vec::new();
    }
    if !options.hosts.is_empty() {
        return options.hosts.clone();
    }
    match (kind, servers) {
        (Kind::Run | Kind::Step, Servers::Light) => vec![100, 500],
        (Kind::Run | Kind::Step, Servers::Sshd) => vec![100],
        (Kind::Ten | Kind::Plain, _) => vec![50],
        (Kind::Output, _) => vec![5],
        (Kind::Many | Kind::Plan, _) => vec![10_000],
    }
}

fn called(
    kind: Kind,
    servers: Servers,
    hosts: usize,
    (options, versions, workspace): &(&Options, &[Version], &Workspace),
) -> Row {
    let fleet = Fleet::start(servers, workspace);
    let once = Work { command: "true".to_owned(), steps: 1, task: None, keep: false };
    let (what, work) = match kind {
        Kind::Run | Kind::Many => ("one command".to_owned(), once),
        Kind::Step => ("one durable step".to_owned(), Work { task: Some("step"), ..once }),
        Kind::Ten => ("ten durable steps".to_owned(), Work { task: Some("ten"), steps: 10, ..once }),
        Kind::Plain => ("ten plain steps".to_owned(), Work { task: Some("plain"), steps: 10, ..once }),
        Kind::Output => (
            format!("{} MiB of lines into logs", options.mib),
            Work { command: output(workspace, options.mib), keep: true, ..once },
        ),
        Kind::Plan => unreachable!("nobody is called"),
    };
    // A process of ssh for each of 10,000 is a minute and a half of CPU a turn.
    let alone = options.alone || kind == Kind::Many;
    let row = format!("{kind:?}-{}-{hosts}", servers.name());
    let scene = Scene { options, workspace, row, alone, port: fleet.port, hosts };
    let (contenders, left_out) = contenders::all(&scene, versions, &work);
    Row {
        title: format!("{what} | {} | {hosts} hosts, {} at a time", servers.name(), options.parallel),
        servers: Some(fleet),
        contenders,
        left_out,
        unit: if kind == Kind::Output { Unit::Output(hosts * options.mib) } else { Unit::Hosts(hosts) },
    }
}

/// A command that prints so much, in lines of 100 bytes.
fn output(workspace: &Workspace, mib: usize) -> String {
    let file = workspace.folder().join("lines");
    let line = format!("{}\n", "0123456789".repeat(10).split_at(99).0);
    let mut text = line.repeat((mib << 20) / line.len() + 1);
    text.truncate(mib << 20);
    files::write(&file, text, 0o644);
    format!("cat {}", file.display())
}

/// Why rows of these servers cannot be measured here.
pub fn missing(servers: Servers) -> Option<&'static str> {
    let missing = servers == Servers::Sshd && !servers::has_sshd();
    missing.then_some("sshd is not installed: its rows are left out\nhint: apt-get install openssh-server")
}
