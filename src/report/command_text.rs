//! The command of a step that failed without any output: all that there is to show.
//!
//! Which of several lines failed is unknown: a POSIX shell does not report it, and whatever would make it (`set -x`, a trap) changes what the
//! command prints or does. The text is the plan's, so values that steps registered appear as placeholders.

use crate::model::run::agenda::Agenda;
use crate::model::run::host_summary::StepKind;
use crate::model::run::outcome::StepOutcome;
use crate::model::text::name::{HostLabel, StepPath};
use crate::model::text::printable::printable;
use crate::model::text::tail::Tail;

/// Maximum width, in columns.
const WIDTH: usize = 100;

/// Did the command run, fail, and print nothing?
pub fn failed_silently(outcome: &StepOutcome, tail: &Tail) -> bool {
    outcome.is_own_failure() && tail.last().is_none()
}

/// The number of lines of a step's command, or of its undo, and the first line that does something, fit for a terminal. None for an
/// unknown step or host, and for a step with secret output: it may have printed why it failed, and its text may contain the secret.
pub fn command(agenda: &Agenda, host: &HostLabel, step: &StepPath, kind: StepKind) -> Option<(usize, String)> {
    let (_, command) = agenda.step(host, step, kind).filter(|(step, _)| !step.secret_output)?;
    let text = command.text.to_string();
    let lines = || text.trim().lines().map(str::trim);
    let first = lines().find(|line| does_something(line)).or_else(|| lines().next())?;
    let first = printable(first.as_bytes()).replace('\t', " ");
    Some((lines().count(), console::truncate_str(&first, WIDTH, "…").into_owned()))
}

/// Is it more than an empty line, a comment, or `set -eu`?
fn does_something(line: &str) -> bool {
    let is_option = |word: &str| word.starts_with(['-', '+']) && word != "--" || word == "pipefail";
    let sets_options = |command: &str| command.split_whitespace().skip(1).all(is_option);
    let is_set = |command: &str| command.split_whitespace().next().is_none_or(|word| word == "set");
    !line.starts_with('#') && !line.split(';').all(|command| is_set(command) && sets_options(command))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run::scripted::{host, plan, step};

    fn shown(text: &str) -> Option<(usize, String)> {
        command(&Agenda::of(&plan(&["web1"], &[("a/b", text, "")]).into()), &host("web1"), &step("a/b"), StepKind::Run)
    }

    #[test]
    fn the_first_line_that_does_something_stands_for_all() {
        for (text, lines, first) in [
            ("[ -f x ]", 1, "[ -f x ]"),
            ("set -eu\n", 1, "set -eu"),
            ("\n# why\nset -eu; set -o pipefail\n\n  cp\ta b\nfalse\ntest -d x\n", 6, "cp a b"),
            ("set -- a b\nfalse", 2, "set -- a b"),
            ("#!/usr/bin/python3\nimport sys", 2, "import sys"),
            ("cat {{db-password}}", 1, "cat {{db-password}}"),
            ("printf '\x1b[2J\u{202e}'", 1, r"printf '\x1b[2J\u{202e}'"),
        ] {
            assert_eq!(shown(text), Some((lines, first.to_owned())), "{text:?}");
        }
        assert_eq!(shown(&format!("echo {}", "x".repeat(500))).unwrap().1.chars().count(), WIDTH);
    }

    #[test]
    fn what_may_hold_a_secret_is_not_shown() {
        let mut plan = plan(&["web1"], &[("a/b", "echo hunter2", "")]);
        plan.phases[0].steps[0].secret_output = true;
        let agenda = Agenda::of(&plan.into());
        assert_eq!(command(&agenda, &host("web1"), &step("a/b"), StepKind::Run), None);
        assert_eq!(command(&agenda, &host("web1"), &step("a/b"), StepKind::Undo), None);
        assert_eq!(command(&agenda, &host("web2"), &step("a/b"), StepKind::Run), None);
        assert_eq!(command(&agenda, &host("web1"), &step("a/c"), StepKind::Run), None);
    }
}
