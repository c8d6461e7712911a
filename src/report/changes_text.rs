//! What a run changes, or was to change, in the words of its recipe.

use std::fmt::Write as _;

use crate::model::run::event::Changes;
use crate::model::run::summary::Summary;
use crate::model::text::fold::fold_names;
use crate::model::text::printable::one_line;

/// Columns that the words have below the table of a run, and in the list of runs.
const WIDTH: usize = 100;
const SHORT: usize = 40;

/// Lines below a table; with more, all else would be off the screen.
const LINES: usize = 16;

/// One line when the same is said of all hosts, else one for each group of hosts.
pub fn changes(summary: &Summary) -> String {
    let changes = summary.changes();
    let mut text = String::new();
    for (change, hosts) in changes.iter().take(LINES) {
        let of = if hosts.len() == summary.hosts().len() {
            String::new()
        } else {
            format!(" ({})", fold_names(hosts.iter().map(|host| host.as_str())))
        };
        let _ = writeln!(text, "change: {}{of}", cut(change, WIDTH));
    }
    if changes.len() > LINES {
        let _ = writeln!(text, "and {} other changes", changes.len() - LINES);
    }
    text
}

pub fn in_short(Changes { first, others }: &Changes) -> String {
    match others {
        0 => cut(first, SHORT),
        1 => format!("{} and 1 other", cut(first, SHORT)),
        others => format!("{} and {others} others", cut(first, SHORT)),
    }
}

fn cut(text: &str, width: usize) -> String {
    console::truncate_str(&one_line(text), width, "…").into_owned()
}
