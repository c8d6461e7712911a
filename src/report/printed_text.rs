//! What hosts printed, host by host: for a run that only looked, whose output is its result.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Write as _;
use std::hash::{Hash as _, Hasher as _};
use std::io::{self, BufRead, Read as _};

use crate::model::plan::plan::{Plan, PlanStep};
use crate::model::run::event::Stream;
use crate::model::text::fold::fold_names;
use crate::model::text::name::{HostLabel, RunId};
use crate::model::text::printable::printable_line;
use crate::record::history::{HistoryError, unreadable};
use crate::record::log_line::LogLine;
use crate::record::store::Store;

/// Lines that are shown of a host: a preview is looked at, not read for an hour.
const LINES: usize = 40;

/// Bytes of a line that are shown.
const PART: u64 = 4096;

/// What a host printed: all of it is compared, the first lines are shown.
#[derive(Default, PartialEq, Eq)]
struct Printed {
    first: Vec<String>,
    lines: usize,
    hash: u64,
}

/// What the hosts of a run printed. What a step registers is for other steps, and left out, unless it is the summary of the task. Those that printed the same share it; those that printed nothing are left out.
pub fn printed(store: &dyn Store, run: &RunId, plan: &Plan) -> Result<String, HistoryError> {
    let mut groups: Vec<(Printed, Vec<&HostLabel>)> = Vec::new();
    let is_value = |step: &&PlanStep| step.register.is_some() && step.register != plan.summary;
    let values: BTreeSet<&str> =
        plan.steps().map(|(.., step)| step).filter(is_value).map(|step| step.path.as_str()).collect();
    for host in plan.hosts.iter().map(|host| &host.label) {
        let Some(log) = store.log(run, host)? else { continue };
        let printed = Printed::read(log.lines, &values).map_err(unreadable(&log.place))?;
        match groups.iter_mut().find(|(other, _)| *other == printed) {
            Some((_, hosts)) => hosts.push(host),
            None => groups.push((printed, vec![host])),
        }
    }
    let mut text = String::new();
    for (Printed { first, lines, .. }, hosts) in groups {
        let names = fold_names(hosts.iter().map(|host| host.as_str()));
        match first.as_slice() {
            [] => {}
            [line] => _ = writeln!(text, "{names}: {line}"),
            _ => {
                let _ = writeln!(text, "{names}:");
                for line in &first {
                    let _ = writeln!(text, "  {line}");
                }
            }
        }
        if let (more @ 1.., Some(host)) = (lines - first.len(), hosts.first()) {
            let _ = writeln!(text, "  and {more} more lines: fleet logs {run} {host}");
        }
    }
    Ok(text)
}

impl Printed {
    fn read(mut log: impl BufRead, values: &BTreeSet<&str>) -> io::Result<Self> {
        let (mut printed, mut hasher) = (Self::default(), DefaultHasher::new());
        let (mut part, mut at_start, mut is_output) = (Vec::new(), true, false);
        loop {
            part.clear();
            if (&mut log).take(PART).read_until(b'\n', &mut part)? == 0 {
                break;
            }
            let line = if at_start { LogLine::parse(&part) } else { None };
            if at_start {
                let is_value = |line: &LogLine<'_>| line.stream() == Some(Stream::Stdout) && values.contains(line.step);
                is_output = line.is_some_and(|line| line.stream().is_some() && !is_value(&line));
            }
            // Its time is of no interest.
            let text = line.map_or(part.as_slice(), |line| line.text);
            if is_output {
                text.hash(&mut hasher);
            }
            if is_output && at_start {
                printed.lines += 1;
                if printed.first.len() < LINES {
                    printed.first.push(printable_line(text));
                }
            }
            at_start = part.ends_with(b"\n");
        }
        printed.hash = hasher.finish();
        Ok(printed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Printed {
        let lines: Vec<String> =
            text.lines().map(|line| format!("2026-11-22T08:45:12.123Z look/look {line}\n")).collect();
        Printed::read(lines.concat().as_bytes(), &BTreeSet::new()).unwrap()
    }

    #[test]
    fn what_fleet_says_in_a_log_and_when_is_not_what_a_host_printed() {
        let later = "2026-11-22T09:00:00.000Z look/look out| a..b\n";
        let printed = read("fleet| started\nout| a..b");
        assert!(printed == Printed::read(later.as_bytes(), &BTreeSet::new()).unwrap());
        assert_eq!(printed.first, ["a..b"]);
        assert!(read("fleet| started").first.is_empty());
        assert_eq!(read("out| \x1b[2J\nerr~| x").first, ["\\x1b[2J", "x"]);
    }

    #[test]
    fn what_a_step_registers_is_for_other_steps() {
        let log = "2026-11-22T09:00:00.000Z look/pin out| abc\n2026-11-22T09:00:00.000Z look/pin err| warning\n\
                   2026-11-22T09:00:00.000Z look/list out| a..b\n";
        let printed = Printed::read(log.as_bytes(), &BTreeSet::from(["look/pin"])).unwrap();
        assert_eq!(printed.first, ["warning", "a..b"]);
    }

    #[test]
    fn hosts_that_differ_in_a_line_that_is_not_shown_differ() {
        let many = |last: &str| read(&format!("{}out| {last}", "out| the same\n".repeat(50)));
        assert_eq!((many("a").first.len(), many("a").lines), (LINES, 51));
        assert!(many("a") != many("b"));
        assert!(many("a") == many("a"));
    }
}
