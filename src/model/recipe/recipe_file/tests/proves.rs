//! What a task proves: one variable, or a list.

use super::*;

const STEPS: &str = "[[task.t.step]]\nname = \"a\"\nrun = \"x\"\nregister = \"revision\"\n\
    [[task.t.step]]\nname = \"b\"\nrun = \"x\"\nregister = \"fixes\"\n";

#[test]
fn a_task_proves_one_variable_or_several() {
    for (key, expected) in [
        ("", &[][..]),
        ("proves = \"fixes\"", &["fixes"]),
        ("proves = [\"revision\", \"fixes\"]", &["revision", "fixes"]),
    ] {
        let recipe = read(&format!("[task.t]\n{key}\n{STEPS}")).unwrap();
        let proves: Vec<&str> = recipe.tasks[0].proves.iter().map(|proves| proves.value.as_str()).collect();
        assert_eq!(proves, expected);
    }
    for (key, told) in [
        ("proves = []", "`proves` is empty"),
        ("proves = [\"fixes\", \"fixes\"]", "`fixes` is listed twice"),
        ("proves = [\"fixes\", \"revison\"]", "no step registers the variable `revison`"),
        ("proves = [3]", "an element of `proves` must be a string"),
        ("proves = 3", "`proves` must be an array"),
    ] {
        let errors = read(&format!("[task.t]\n{key}\n{STEPS}")).unwrap_err();
        assert!(errors.iter().any(|error| error.message.contains(told)), "{key}: {errors:?}");
    }
}
