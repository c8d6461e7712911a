//! What a task says about a run of it: `summary`.

use super::*;

#[test]
fn a_summary_is_registered_by_a_step_of_the_task() {
    let recipe = |key: &str| {
        format!(
            "[task.all]\n{key}\ntasks = [\"pin\", \"roll\"]\n\
             [[task.pin.step]]\nname = \"pin\"\nrun = \"x\"\nregister = \"change\"\n\
             [[task.roll.step]]\nname = \"roll\"\nrun = \"x\"\n\
             [[task.other.step]]\nname = \"other\"\nrun = \"x\"\nregister = \"others\"\n"
        )
    };
    let of = |text: &str, task: &str| {
        let recipe = read(text).unwrap();
        recipe.summary_of(recipe.task(task).unwrap()).map(ToString::to_string)
    };
    assert_eq!(of(&recipe("summary = \"change\""), "all").as_deref(), Some("change"));
    assert_eq!(of(&recipe(""), "all"), None);
    // A task that wraps another one says the same, unless it says something else.
    let wrapped = format!("{}[task.wrap]\ntasks = [\"all\", \"other\"]\n", recipe("summary = \"change\""));
    assert_eq!(of(&wrapped, "wrap").as_deref(), Some("change"));
    let own = wrapped.replace("[task.wrap]\n", "[task.wrap]\nsummary = \"others\"\n");
    assert_eq!(of(&own, "wrap").as_deref(), Some("others"));
    assert_eq!(
        told(&recipe("summary = \"chance\"")),
        "2:11 \"chance\" ~ no step of task `all` registers the variable `chance` [did you mean `change`?]"
    );
    // One of another task is not enough.
    assert!(told(&recipe("summary = \"others\"")).contains("no step of task `all` registers the variable `others`"));
}
