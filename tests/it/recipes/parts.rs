//! `fleet tasks SITE`: what is typed first, and what that is made of.

use crate::support::project::Project;

const RECIPE: &str = r#"
[recipe]
doc = "A shop"
[task.restart]
doc = "Restart the shop"
[[task.restart.step]]
name = "restart"
run = "true"
[task.deploy-check]
doc = "Is the release there?"
[[task.deploy-check.step]]
name = "check"
read-only = true
run = "true"
[task.deploy]
doc = "Upgrade"
preview = "deploy-preview"
tasks = ["deploy-check", "switch", "restart"]
[[task.switch.step]]
name = "switch"
run = "true"
[task.deploy-preview]
doc = "From what to what"
[[task.deploy-preview.step]]
name = "look"
read-only = true
run = "true"
[task.deploy-log]
doc = "What was deployed"
[[task.deploy-log.step]]
name = "log"
read-only = true
run = "true"
"#;

#[test]
fn the_parts_of_tasks_come_last() {
    let project = Project::new();
    project.write("recipes/shop.toml", RECIPE);
    project.write("hosts/shop.toml", "recipe = \"shop\"\n[[host]]\nname = \"web1\"\n");
    let shown = project.fleet(&["tasks", "shop"]).expect_code(0).stdout;
    insta::assert_snapshot!(shown, @r"
    shop: A shop

    restart  Restart the shop
      step restart

    deploy  Upgrade
      tasks deploy-check, switch, restart

    deploy-log  What was deployed
      step log  (read-only)

    parts of these tasks:

    deploy-check  Is the release there?
      step check  (read-only)

    switch
      step switch

    deploy-preview  From what to what
      step look  (read-only)
    ");
}

/// What the recipe says of itself stays said.
#[test]
fn a_recipe_inherits_the_line_about_it() {
    let project = Project::new();
    project.write("recipes/shop.toml", RECIPE);
    project.write(
        "recipes/own.toml",
        "[recipe]\nextends = \"shop\"\n[[task.switch.step]]\nname = \"switch\"\nrun = \"true\"\n",
    );
    project.write("hosts/shop.toml", "recipe = \"own\"\n[[host]]\nname = \"web1\"\n");
    let shown = project.fleet(&["tasks", "shop"]).expect_code(0).stdout;
    assert!(shown.starts_with("own: A shop\n"), "{shown}");
}
