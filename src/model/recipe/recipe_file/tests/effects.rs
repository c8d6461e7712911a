//! What a step leaves in force, and where the book lies.

use super::*;

#[test]
fn an_effect_is_said_on_one_line_by_a_step_that_may_have_one() {
    let fine = "[recipe]\nlock = \"{{home}}/.book\"\n[vars.home]\n[[task.t.step]]\nname = \"a\"\nrun = \"x\"\nin-force = \"closed\"\n\
                [[task.u.step]]\nname = \"b\"\nrun = \"x\"\nends = [\"a\"]\n";
    let recipe = read(fine).unwrap();
    assert_eq!(recipe.steps().next().unwrap().in_force.as_deref(), Some("closed"));
    assert_eq!(recipe.lock.unwrap().value.to_string(), "{{home|raw}}/.book");
    for (wrong, told) in [
        ("in-force = \"closed\"\nrun = \"x\"", "no step ends what `a` leaves in force: closed"),
        ("in-force = \"\"\nrun = \"x\"", "`in-force` says on one line what the step leaves"),
        ("in-force = \"two\\nlines\"\nrun = \"x\"", "`in-force` says on one line what the step leaves"),
        ("in-force = \"\\u001b[1m\"\nrun = \"x\"", "`in-force` says on one line what the step leaves"),
        ("in-force = true\nrun = \"x\"", "in-force"),
        ("in-force = \"closed\"\nread-only = true\nrun = \"x\"", "a step that is `read-only` leaves nothing in force"),
        ("in-force = \"closed\"\nundo = \"x\"", "`in-force` needs a `run`"),
    ] {
        let text = format!("[[task.t.step]]\nname = \"a\"\n{wrong}\n");
        let errors = read(&text).unwrap_err();
        assert!(errors.iter().any(|error| format!("{error:?}").contains(told)), "{wrong}: {errors:?}");
    }
}
