//! What Linux tells of processes and of itself.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::resource::Usage;
use nix::sys::time::TimeValLike as _;

/// All processes below one, without itself. Only the tree is read, not all of `/proc`.
pub fn below(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut new = vec![pid];
    while let Some(parent) = new.pop() {
        // A child hangs on the thread that made it.
        let threads = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            let children = children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok());
            new.extend(children.inspect(|pid| found.push(*pid)));
        }
    }
    found
}

/// Memory of a process, in bytes.
pub fn resident(pid: u32) -> u64 {
    let pages = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = pages.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * rustix::param::page_size() as u64
}

/// User and system time.
pub fn cpu_seconds(used: &Usage) -> f64 {
    let micros = (used.user_time() + used.system_time()).num_microseconds();
    Duration::from_micros(u64::try_from(micros).unwrap()).as_secs_f64()
}

/// Seconds that all processors together have worked since the start of the machine.
pub fn busy_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let total: Vec<f64> =
        stat.lines().next().unwrap().split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guests are in user.
    let busy: f64 = total.iter().take(8).sum::<f64>() - total[3] - total[4];
    busy / number(rustix::param::clock_ticks_per_second())
}

pub fn processors() -> f64 {
    number(std::thread::available_parallelism().unwrap().get() as u64)
}

/// A number that is not enormous.
pub fn number(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}

pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// Waits until the machine is less busy than this, in percent. While it is measured, this program does nothing.
pub fn wait_for_quiet(percent: f64) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(300) {
        let (busy, moment) = (busy_seconds(), Instant::now());
        std::thread::sleep(Duration::from_millis(500));
        let all = moment.elapsed().as_secs_f64() * processors();
        if (busy_seconds() - busy) / all * 100.0 < percent {
            return;
        }
    }
}
