//! `extends`: a recipe that is another one but for some tasks and variables.

use super::printed;
use crate::deploy::Site;
use crate::support::project::Project;

const PARENT: &str = r#"
[recipe]
doc = "the parent"
[vars.word]
doc = "what is said"
default = "parent"
[task.deploy]
doc = "all of it"
tasks = ["stop", "restart"]
[[task.stop.step]]
name = "stop"
run = "echo stop {{word}}"
[[task.restart.step]]
name = "restart"
run = "echo restart {{word}}"
"#;

#[test]
fn a_task_and_a_variable_of_the_same_name_replace_the_inherited_ones_wherever_they_are_used() {
    let recipe = r#"
[vars.word]
default = "child"
[[task.restart.step]]
name = "reload"
run = "echo reload {{word}}"
"#;
    let site = Site::start("", &["web1"], "[[task.x.step]]\nname = \"x\"\nrun = \"true\"\n");
    site.write("recipes/parent.toml", PARENT);
    site.write("recipes/test.toml", format!("[recipe]\nextends = \"parent\"\n{recipe}"));
    let output = site.fleet(&["mysite", "deploy"]).expect_code(0);
    assert_eq!(printed(&output.stderr), ["stop child", "reload child"]);
    assert!(!output.stderr.contains("restart parent"), "{}", output.stderr);
}

#[test]
fn a_replaced_task_can_be_wrapped_by_name_over_several_generations() {
    let site = Site::start("", &["web1"], "[[task.x.step]]\nname = \"x\"\nrun = \"true\"\n");
    site.write("recipes/parent.toml", PARENT);
    site.write(
        "recipes/middle.toml",
        "[recipe]\nextends = \"parent\"\n[task.restart]\ntasks = [\"parent:restart\", \"warm-up\"]\n\
         [[task.warm-up.step]]\nname = \"warm-up\"\nrun = \"echo warm\"\n",
    );
    site.write(
        "recipes/test.toml",
        "[recipe]\nextends = \"middle\"\n[task.restart]\ntasks = [\"announce\", \"middle:restart\"]\n\
         [[task.announce.step]]\nname = \"announce\"\nrun = \"echo announce\"\n\
         [[task.warm-up.step]]\nname = \"warm-up\"\nrun = \"echo hot\"\n",
    );
    let output = site.fleet(&["mysite", "deploy"]).expect_code(0);
    assert_eq!(printed(&output.stderr), ["stop parent", "announce", "restart parent", "hot"]);
    let origin = site.fleet(&["tasks", "mysite", "--origin"]).expect_code(0).stdout;
    for line in [
        "  extends middle, which extends parent",
        "deploy  all of it  [recipes/parent.toml:7]",
        "  step stop  [recipes/parent.toml:11]",
        "restart  [recipes/test.toml:3]",
        "  tasks announce, middle:restart",
        "  step warm-up  [recipes/test.toml:9]",
        "middle:restart  [recipes/middle.toml:3]",
        "parent:restart  [recipes/parent.toml:13]",
    ] {
        assert!(origin.lines().any(|shown| shown.trim_end().starts_with(line)), "{line}\n{origin}");
    }
}

/// What `fleet check` says to recipes, of which `test` is the site's.
fn check(recipes: &[(&str, &str)]) -> String {
    let project = Project::new();
    project.write("hosts/mysite.toml", "recipe = \"test\"\n[[host]]\nname = \"web1\"\n");
    for (name, text) in recipes {
        project.write(&format!("recipes/{name}.toml"), text);
    }
    project.fleet(&["check"]).expect_code(3).stderr
}

#[test]
fn recipes_that_extend_each_other_in_a_circle_are_refused_with_the_circle() {
    let told = check(&[
        ("test", "[recipe]\nextends = \"b\"\n"),
        ("b", "[recipe]\nextends = \"c\"\n"),
        ("c", "[recipe]\nextends = \"b\"\n"),
        ("self", "[recipe]\nextends = \"self\"\n"),
    ]);
    insta::assert_snapshot!(told, @r#"
    error: recipes extend each other in a circle: `b` -> `c` -> `b`
     --> recipes/b.toml:2:11
      |
    2 | extends = "c"
      |           ^^^

    error: recipes extend each other in a circle: `b` -> `c` -> `b`
     --> recipes/c.toml:2:11
      |
    2 | extends = "b"
      |           ^^^

    error: recipes extend each other in a circle: `self` -> `self`
     --> recipes/self.toml:2:11
      |
    2 | extends = "self"
      |           ^^^^^^

    error: recipe `b` has errors
     --> recipes/test.toml:2:11
      |
    2 | extends = "b"
      |           ^^^

    4 errors in 4 files; nothing was contacted
    "#);
}

#[test]
fn what_a_recipe_extends_must_be_there_and_whole() {
    let told = check(&[
        ("test", "[recipe]\nextends = \"git-sit\"\n"),
        ("other", "[recipe]\nextends = \"broken\"\n"),
        ("broken", "[task.x]\n"),
        (
            "wrong",
            "[recipe]\nextends = \"git-site\"\n[task.restart]\ntasks = [\"git-sit:restart\", \"gti-site:x\", \"git-site:restrt\"]\n",
        ),
    ]);
    insta::assert_snapshot!(told, @r#"
    error: nothing to do here
     --> recipes/broken.toml:1:7
      |
    1 | [task.x]
      |       ^ it needs `phase` or `step` or `tasks`

    error: recipe `broken` has errors
     --> recipes/other.toml:2:11
      |
    2 | extends = "broken"
      |           ^^^^^^^^

    error: there is no recipe `git-sit`; did you mean `git-site`?
     --> recipes/test.toml:2:11
      |
    2 | extends = "git-sit"
      |           ^^^^^^^^^

    error: `git-sit` is no recipe that `wrong` extends
     --> recipes/wrong.toml:4:10
      |
    4 | tasks = ["git-sit:restart", "gti-site:x", "git-site:restrt"]
      |          ^^^^^^^^^^^^^^^^^ did you mean `git-site`?

    error: `gti-site` is no recipe that `wrong` extends
     --> recipes/wrong.toml:4:29
      |
    4 | tasks = ["git-sit:restart", "gti-site:x", "git-site:restrt"]
      |                             ^^^^^^^^^^^^ did you mean `git-site`?

    error: there is no task `git-site:restrt`
     --> recipes/wrong.toml:4:43
      |
    4 | tasks = ["git-sit:restart", "gti-site:x", "git-site:restrt"]
      |                                           ^^^^^^^^^^^^^^^^^ did you mean `restart`?

    6 errors in 4 files; nothing was contacted
    "#);
}

#[test]
fn a_task_that_others_use_in_a_phase_cannot_be_replaced_by_one_with_batches() {
    let told = check(&[
        (
            "parent",
            "[task.deploy]\n[[task.deploy.phase]]\nname = \"roll\"\nrolling = true\ntasks = [\"switch\"]\n\
             [[task.switch.step]]\nname = \"switch\"\nrun = \"true\"\n",
        ),
        (
            "test",
            "[recipe]\nextends = \"parent\"\n[[task.switch.phase]]\nname = \"one-by-one\"\nrolling = [\"1\"]\n\
             [[task.switch.phase.step]]\nname = \"switch\"\nrun = \"true\"\n",
        ),
    ]);
    insta::assert_snapshot!(told, @r#"
    error: `switch` cannot have a phase that is `once` or `rolling`
     --> recipes/test.toml:4:8
      |
    4 | name = "one-by-one"
      |        ^^^^^^^^^^^^ phase `roll` of task `deploy` is made of it (recipes/parent.toml:5)

    1 error in 1 file; nothing was contacted
    "#);
}

/// The promise of the README: no copy of the built-in recipe for one step of it.
#[test]
fn one_step_of_the_built_in_recipe_is_replaced_in_five_lines() {
    let project = Project::new();
    project.write(
        "hosts/mysite.toml",
        "recipe = \"shop\"\n[vars]\nhome = \"/srv/shop\"\n[[host]]\nname = \"web1\"\nroles = [\"web\", \"db\"]\n",
    );
    project.write("recipes/shop.toml", "[recipe]\nextends = \"git-site\"\n[[task.restart.step]]\nname = \"restart\"\nrun = \"sudo systemctl reload shop\"\n");
    project.fleet(&["check"]).expect_code(0);
    let plan = project.fleet(&["-n", "mysite", "deploy"]).expect_code(0).stdout;
    assert!(plan.contains("sudo systemctl reload shop"), "{plan}");
}

/// A task named `check` runs with `fleet SITE check`, which changes nothing: whatever it is made of, and whoever has replaced that.
#[test]
fn a_check_that_leads_to_a_changing_step_is_refused() {
    let told = check(&[
        (
            "parent",
            "[task.check]\ntasks = [\"look\"]\n[[task.look.step]]\nname = \"look\"\nread-only = true\nrun = \"true\"\n\
             [[task.deploy.step]]\nname = \"deploy\"\nrun = \"true\"\n",
        ),
        ("test", "[recipe]\nextends = \"parent\"\n[task.look]\ntasks = [\"deploy\"]\n"),
    ]);
    let expected =
        "error: task `check` may only look, and step `deploy` is not `read-only`\n --> recipes/parent.toml:8:8\n";
    assert!(told.starts_with(expected), "{told}");
}
