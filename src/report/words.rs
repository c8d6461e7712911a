//! Words and short texts that the live view, the lines and the final table share.

use crate::model::text::hint::Hint;
use crate::model::text::name::{SiteName, StepPath};
use crate::model::text::printable::{printable, printable_line};
use crate::model::text::tail::Tail;

/// The step's own name, without phase and task.
pub(super) fn short(step: &str) -> &str {
    step.rsplit('/').next().unwrap_or_default()
}

/// `shop-a,shop-b deploy`.
pub(super) fn sites_and_task(sites: &[SiteName], task: &str) -> String {
    format!("{} {}", with_commas(sites), printable(task.as_bytes()))
}

/// `shop-a,shop-b`: as an argument.
pub(super) fn with_commas(sites: &[SiteName]) -> String {
    sites.iter().map(SiteName::as_str).collect::<Vec<_>>().join(",")
}

/// One line each. What a host said was made one line where it came in, so a host cannot hint.
pub fn hint_lines(hints: &[Hint]) -> Vec<String> {
    hints.iter().map(|hint| format!("hint: {}", printable(hint.to_string().as_bytes()))).collect()
}

/// `held: the undo of roll/pull failed`, `locked by run ...`: not `locked: locked by run ...`.
pub(super) fn because(outcome: &str, reason: &str) -> String {
    match reason.strip_prefix(outcome) {
        _ if reason.is_empty() => outcome.to_owned(),
        Some(rest) => format!("{outcome}{rest}"),
        None => format!("{outcome}: {reason}"),
    }
}

/// `a, b`.
pub(super) fn paths<'a>(steps: impl IntoIterator<Item = &'a StepPath>) -> String {
    steps.into_iter().map(StepPath::as_str).collect::<Vec<_>>().join(", ")
}

/// `1 host`, `5 hosts`.
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Empty for one line, ` (5 lines)` for five.
pub(super) fn lines_in_words(count: usize) -> String {
    if count == 1 { String::new() } else { format!(" ({count} lines)") }
}

/// What an interrupt of that level does, and what the next one would do.
pub(super) fn interrupt_in_words(level: u8) -> &'static str {
    match level {
        0 => "",
        1 => "interrupted: no new step starts; Ctrl-C again ends the running ones",
        2 => "interrupted: running steps are being ended; Ctrl-C again lets go of them",
        _ => "interrupted: fleet lets go; hosts end what they were told to end, all else goes on",
    }
}

/// The last lines of a step, fit for a terminal.
pub(super) fn last_lines(tail: &Tail, count: usize) -> impl Iterator<Item = String> {
    tail.lines().skip(tail.lines().len().saturating_sub(count)).map(|line| printable_line(&line.bytes))
}
