//! What fleet costs on many hosts at once, beside others: `cargo bench --bench fanout`.
//!
//! ```sh
//! cargo bench --bench fanout                                                # all rows
//! cargo bench --bench fanout -- run ten --servers sshd --rounds 7           # some of them
//! cargo bench --bench fanout -- --fleet old/fleet --fleet new/fleet step    # two versions of fleet, A and B
//! cargo bench --bench fanout -- --help
//! ```
//!
//! Contenders take turns, A B A B; the first round is not counted. What is printed are medians of the others, and ratios: each is the median
//! of the ratios of single rounds, with the lowest and the highest, so that what slows a round slows both sides of it. Ratios mean something
//! on another machine, milliseconds do not; of the two clocks, trust the CPU's. `others` is the share of the machine that neither the
//! contender nor the hosts had: where it is high, measure again (`--quiet` waits for it).
//!
//! * **CPU** is user and system time of the whole tree of the contender, per host. Each runs below a [`stopwatch`], which adopts what leaves
//!   its parents (the masters of `ControlMaster`), ends it, and counts it.
//! * **host CPU** is the same of the servers, with all that they run, per host.
//! * **MiB** is the highest memory of the tree: of one process what the kernel says, of many the highest sum that was seen.
//!
//! The hosts are addresses in 127.0.0.0/8 behind one port ([`servers`]). *light*: an SSH server of russh in one process, one `/bin/sh` a
//! command, so that the controller's cost stands out. *sshd*: OpenSSH's. Both know only curve25519-sha256 and aes128-gcm, and so everybody
//! uses these: the numbers compare programs, not algorithms. The bare client ([`client`]) is the floor: russh without inventory, record and report.
//!
//! Each version of fleet has a project and hosts of its own, so that neither meets what the other left. Records stay until the end: on ext4,
//! a run that follows the removal of many files pays for it.
//!
//! Not a test: nothing fails for being slow.

#[cfg(target_os = "linux")]
#[cfg(test)]
mod algorithms;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod client;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod contenders;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod figures;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod machine;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod measure;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod options;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod parts;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod rows;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod servers;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod stopwatch;
#[cfg(target_os = "linux")]
#[cfg(test)]
#[path = "../../tests/it/support/mod.rs"]
mod support;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod table;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod workspace;

// `cfg(test)` holds in a benchmark, too. It tells clippy that this is no product code.
fn main() {
    #[cfg(all(test, target_os = "linux"))]
    parts::main();
}
