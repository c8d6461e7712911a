//! Steps that are repeated while a batch soaks.

use std::time::Duration;

use super::*;
use crate::model::plan::plan::Watch;

fn step(watch: &str) -> String {
    format!("[[task.t.step]]\nname = \"a\"\nrun = \"x\"\nread-only = true\nwatch = {watch}\n")
}

#[test]
fn a_step_that_changes_nothing_may_be_watched() {
    for (watch, failures) in [("{ every = \"5s\", failures = 3 }", 3), ("{ every = 5 }", 2)] {
        let recipe = read(&step(watch)).unwrap();
        let expected = Some(Watch { every: Duration::from_secs(5), failures });
        assert_eq!(recipe.steps().next().unwrap().watch, expected, "{watch}");
    }
}

#[test]
fn a_watch_that_finds_out_nothing_is_told_at_its_place() {
    for (text, wrong) in [
        (step("{ every = \"0s\" }"), "`every` must be longer than zero"),
        (step("{ every = \"5s\", failures = 0 }"), "`failures` must be a number of failures in a row, 1 to 1000"),
        (step("{ every = \"5s\", failures = \"2\" }"), "`failures` must be a number of failures in a row, 1 to 1000"),
        (step("{ every = \"5s\", failurs = 2 }"), "unknown key `failurs`"),
        (step("{ failures = 2 }"), "`every` is missing"),
        (step("\"5s\""), "`watch` must be a table, not a string"),
        (step("{ every = \"5s\" }").replace("read-only = true", ""), "`watch` is only for steps that change nothing"),
        (step("{ every = \"5s\" }").replace("read-only = true", "read-only = false"), "`watch` is only for steps"),
        ("[[task.t.step]]\nname = \"a\"\nundo = \"x\"\nwatch = { every = 1 }\n".to_owned(), "`watch` needs a `run`"),
    ] {
        let told = told(&text);
        assert!(told.contains(wrong) && told.lines().count() == 1, "{text}: {told}");
    }
}
