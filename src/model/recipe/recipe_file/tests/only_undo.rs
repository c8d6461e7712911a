//! Steps without a `run`.

use super::*;

#[test]
fn a_step_may_be_only_an_undo_and_has_no_keys_of_a_run_then() {
    let fine = r#"
[[task.t.step]]
name = "restart-if-undone"
on = "web"
as = "www"
cwd = "/srv"
env = { A = "b" }
timeout = "1m"
idle-timeout = "10s"
secret-output = true
undo = "systemctl restart shop"
"#;
    let recipe = read(fine).unwrap();
    let step = recipe.steps().next().unwrap();
    assert!(step.action.is_none() && step.undo.is_some());
    let text = r#"
[[task.t.step]]
name = "a"
undo = "true"
unless = "true"
register = "x"
retry = 3
idempotent = true
read-only = false
ends = ["b"]
durable = false
[[task.t.step]]
name = "b"
undo = " "
only-if = "true"
[[task.t.step]]
name = "c"
cwd = "/"
"#;
    insta::assert_snapshot!(told(text), @r#"
    5:1 unless ~ `unless` needs a `run` [this step is only an `undo`: nothing runs until it is undone]
    6:1 register ~ `register` needs a `run` [this step is only an `undo`: nothing runs until it is undone]
    7:1 retry ~ `retry` needs a `run` [this step is only an `undo`: nothing runs until it is undone]
    8:1 idempotent ~ `idempotent` needs a `run` [this step is only an `undo`: nothing runs until it is undone]
    9:1 read-only ~ `read-only` needs a `run` [this step is only an `undo`: nothing runs until it is undone]
    10:1 ends ~ `ends` needs a `run` [this step is only an `undo`: nothing runs until it is undone]
    11:1 durable ~ `durable` needs a `run` [this step is only an `undo`: nothing runs until it is undone]
    14:8 " " ~ `undo` is empty
    15:1 only-if ~ `only-if` needs a `run` [this step is only an `undo`: nothing runs until it is undone]
    16:1 [[task.t.step]] ~ nothing to do here [it needs `run` or `script` or `local`]
    "#);
}
