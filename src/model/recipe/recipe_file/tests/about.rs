//! What a task says about a run of it: `summary` and `preview`.

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

#[test]
fn a_preview_is_a_task_that_changes_nothing_by_whatever_it_is_made_of() {
    let recipe = |preview: &str, step: &str| {
        format!(
            "[task.deploy]\npreview = \"{preview}\"\n[[task.deploy.step]]\nname = \"deploy\"\nrun = \"x\"\n\
             [task.look]\ntasks = [\"part\"]\n[[task.part.step]]\nname = \"part\"\n{step}\n"
        )
    };
    let fine = read(&recipe("look", "run = \"x\"\nread-only = true")).unwrap();
    assert_eq!(fine.previews_of(&[fine.task("deploy").unwrap()]), [TaskName::parse("look").unwrap()]);
    for step in ["run = \"x\"", "undo = \"x\""] {
        assert_eq!(
            told(&recipe("look", step)),
            "2:11 \"look\" ~ a preview may only look, and step `part` of task `look` is not `read-only` \
             [written in recipes/r.toml:9]"
        );
    }
    assert_eq!(
        told(&recipe("lock", "run = \"x\"\nread-only = true")),
        "2:11 \"lock\" ~ there is no task `lock` [did you mean `look`?]"
    );
}
