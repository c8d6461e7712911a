//! `optional`, of a phase and of a step.

use super::*;

#[test]
fn only_what_is_on_a_role_can_be_optional() {
    let recipe = |phase: &str, step: &str| {
        format!(
            "[task.t]\n[[task.t.phase]]\nname = \"p\"\n{phase}\n[[task.t.phase.step]]\nname = \"s\"\nrun = \"x\"\n{step}\n"
        )
    };
    let on = "on = \"db\"\noptional = true";
    let read = read(&recipe(on, on)).unwrap();
    let TaskBody::Phases(phases) = &read.tasks[0].body else { panic!() };
    assert!(phases[0].optional && read.steps().all(|step| step.optional));
    let needs = "optional ~ `optional` needs `on` [it is left out where no host of the site has that role]";
    assert_eq!(told(&recipe("optional = true", "")), format!("4:1 {needs}"));
    assert_eq!(told(&recipe("", "optional = true")), format!("8:1 {needs}"));
    assert!(told(&recipe("on = \"db\"\noptional = 1", "")).contains("must be `true` or `false`"));
}
