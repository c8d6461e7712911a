//! Rounds.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use clap::ValueEnum as _;

use crate::contenders::{Contender, Version};
use crate::figures::Figures;
use crate::machine::{busy_seconds, load, number, processors, wait_for_quiet};
use crate::options::{Kind, Options};
use crate::rows::{Row, missing, rows};
use crate::servers::Fleet;
use crate::stopwatch::Cost;
use crate::support::process::stdout_of;
use crate::support::tools::tool;
use crate::table;
use crate::workspace::Workspace;

/// All comparisons, printed.
pub fn all(options: &Options) {
    let versions = Version::all(options);
    println!("{}", heading(options, &versions));
    let mut options = options.clone();
    options.servers.retain(|servers| match missing(*servers) {
        None => true,
        Some(reason) => {
            println!("{reason}");
            false
        }
    });
    let workspace = Workspace::create();
    let kinds = if options.rows.is_empty() { Kind::value_variants() } else { &options.rows };
    for kind in kinds {
        for mut row in rows(*kind, &options, &versions, &workspace) {
            let before = load();
            let figures = rounds(&mut row, &options, &workspace);
            println!("\n{}", table::table(&row, &figures));
            println!("load {before} before, {} after", load());
        }
    }
}

/// For each contender, the figures of its counted rounds.
fn rounds(row: &mut Row, options: &Options, workspace: &Workspace) -> Vec<Vec<Figures>> {
    let mut figures = vec![Vec::new(); row.contenders.len()];
    for round in 0..=options.rounds {
        for (at, figures) in figures.iter_mut().enumerate() {
            if let Some(percent) = options.quiet {
                wait_for_quiet(percent);
            }
            let turn = turn(row, at, workspace);
            // The first one meets cold caches and makes home folders.
            if round > 0 {
                figures.push(turn);
            }
        }
    }
    figures
}

fn turn(row: &mut Row, at: usize, workspace: &Workspace) -> Figures {
    let mut hosts = || row.servers.as_mut().map_or(0.0, Fleet::cpu);
    let (busy, before) = (busy_seconds(), hosts());
    let cost = run(&row.contenders[at], workspace);
    let (host, busy) = (hosts() - before, busy_seconds() - busy);
    let others = (busy - cost.cpu - host).max(0.0) / (cost.wall * processors()) * 100.0;
    Figures {
        cpu: row.unit.share(cost.cpu),
        wall: cost.wall,
        host: row.unit.share(host),
        memory: cost.memory,
        output: number(cost.output >> 10),
        others: others.min(100.0),
    }
}

/// Runs the contender below a stopwatch. It must succeed.
fn run(contender: &Contender, workspace: &Workspace) -> Cost {
    let mut command = workspace.command(&std::env::current_exe().unwrap(), &contender.room);
    command.args(["stopwatch", "--"]).args(&contender.command).stdin(Stdio::null());
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {told}", contender.name);
    let cost: Cost = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(cost.code, Some(0), "{}: {:?}\n{told}", contender.name, contender.command);
    cost
}

fn heading(options: &Options, versions: &[Version]) -> String {
    let ssh = Command::new(tool("ssh")).arg("-V").output().unwrap();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut heading = format!(
        "{}, Linux {}, {} processors; curve25519-sha256, aes128-gcm; medians of {} rounds in turn, one more uncounted\n\
         CPU: user and system time of the whole tree; host CPU: the servers and all that they run; (lowest - highest)",
        String::from_utf8_lossy(&ssh.stderr).trim(),
        kernel.trim(),
        processors(),
        options.rounds,
    );
    for Version { name, program } in versions {
        let version = stdout_of(Command::new(program).arg("--version"));
        let _ = write!(heading, "\n{name} is {} ({version})", program.display());
    }
    heading
}
