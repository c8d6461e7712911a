//! The command line of the benchmark.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// What fleet costs on many hosts at once, beside others.
#[derive(Debug, Clone, Parser)]
#[command(name = "fanout")]
pub struct Options {
    /// What to measure; all when none is named
    pub rows: Vec<Kind>,
    /// A fleet to measure; twice for two versions, A and B. Without it, the one that cargo has just built
    #[arg(long, value_name = "PATH", env = "FLEET_BENCH_FLEET", value_delimiter = ',')]
    pub fleet: Vec<PathBuf>,
    /// Which servers
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["light", "sshd"])]
    pub servers: Vec<Servers>,
    /// Number of hosts, instead of each row's own
    #[arg(long, value_delimiter = ',')]
    pub hosts: Vec<usize>,
    /// Counted rounds
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Hosts at a time
    #[arg(long, default_value_t = 50)]
    pub parallel: usize,
    /// Output of each host in the row `output`, in MiB
    #[arg(long, default_value_t = 20)]
    pub mib: usize,
    /// Only fleet and the bare client
    #[arg(long)]
    pub alone: bool,
    /// Before each turn, wait until others use less than this share of the machine, in percent (5 minutes at most)
    #[arg(long, value_name = "PERCENT")]
    pub quiet: Option<f64>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// Rows of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// One command: `fleet SITE run -- true`
    Run,
    /// A task of one durable step
    Step,
    /// A task of ten durable steps
    Ten,
    /// A task of ten steps that are not durable
    Plain,
    /// Output into logs
    Output,
    /// One command on 10,000 hosts
    Many,
    /// What a project of 10,000 hosts costs before anybody is called
    Plan,
}

/// What the hosts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Servers {
    /// A server of russh, one process for all hosts
    Light,
    /// OpenSSH's
    Sshd,
}

impl Servers {
    pub fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Sshd => "sshd",
        }
    }
}
