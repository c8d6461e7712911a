//! Phases and steps that a site does without when none of its hosts has their role.

use super::*;

/// Its database is looked at by an optional phase, which registers `schema`; the variable has a default.
const SHOP: &str = r#"
[vars.schema]
default = "none"
[task.deploy]
[[task.deploy.phase]]
name = "look"
on = "db"
once = true
optional = true
[[task.deploy.phase.step]]
name = "look"
run = "pg_dump -s"
register = "schema"
[[task.deploy.phase]]
name = "roll"
on = "web"
[[task.deploy.phase.step]]
name = "switch"
run = "switch {{schema}}"
[[task.deploy.phase.step]]
name = "count"
on = "db"
optional = true
run = "count"
[task.all]
[[task.all.phase]]
name = "all"
tasks = ["deploy-parts"]
[task.deploy-parts]
[[task.deploy-parts.phase]]
name = "look"
on = "db"
optional = true
[[task.deploy-parts.phase.step]]
name = "look"
run = "look"
[[task.deploy-parts.phase]]
name = "switch"
on = "web"
[[task.deploy-parts.phase.step]]
name = "switch"
run = "switch"
"#;

fn case(sites: &str) -> Case {
    Case::of(&sites.replace("home = \"/srv/site\"", "").replace("vars = { home = \"/srv/it's\" }", ""), SHOP)
}

fn without_db() -> String {
    SITES.replace("roles = [\"db\"]", "roles = [\"web\"]")
}

fn paths(plan: &Plan) -> Vec<&str> {
    plan.steps().map(|(.., step)| step.path.as_str()).collect()
}

#[test]
fn with_the_role_a_registered_value_is_taken() {
    let plan = case(SITES).plan(&["deploy"]).unwrap();
    assert_eq!(paths(&plan), ["look/look", "roll/switch", "roll/count"]);
    assert_eq!(text_of(&plan, "roll/switch", 0), "switch {{schema}}");
}

#[test]
fn without_the_role_the_phase_is_left_out_and_its_variable_has_the_default() {
    let plan = case(&without_db()).plan(&["deploy"]).unwrap();
    assert_eq!(paths(&plan), ["roll/switch"]);
    assert_eq!(text_of(&plan, "roll/switch", 0), "switch none");
    assert_eq!(plan.left_out, Vec::<String>::new(), "nothing to tell: it is how the site is");
    assert_eq!(plan.hosts.len(), 5);
}

#[test]
fn when_its_host_is_not_targeted_that_is_told_and_its_variable_has_the_default() {
    let mut case = case(SITES);
    case.limit = Some("web");
    let plan = case.plan(&["deploy"]).unwrap();
    assert_eq!(paths(&plan), ["roll/switch", "roll/count"]);
    assert_eq!(text_of(&plan, "roll/switch", 0), "switch none");
    assert_eq!(plan.left_out, ["phase `look` is left out: it runs once, on db1, which is not targeted"]);
}

/// `web` is needed as before, and so is `db` where it is not optional.
#[test]
fn a_role_of_something_that_is_not_optional_is_needed() {
    let sites = SITES.replace("roles = [\"web\"]", "roles = [\"db\"]");
    let Err(PlanError::Roles(errors)) = case(&sites).plan(&["deploy"]) else { panic!() };
    assert_eq!(
        errors.iter().map(|e| e.message.as_str()).collect::<Vec<_>>(),
        ["no host of site `s` has the role `web`"]
    );
}

#[test]
fn a_phase_made_of_the_task_leaves_out_its_optional_phases() {
    let plan = case(&without_db()).plan(&["all"]).unwrap();
    assert_eq!(paths(&plan), ["all/deploy-parts/switch"]);
    assert_eq!(paths(&case(SITES).plan(&["all"]).unwrap()), ["all/deploy-parts/look", "all/deploy-parts/switch"]);
}

/// One command for sites with and without a database; what is left is what counts.
#[test]
fn a_step_that_is_left_out_may_be_named() {
    let mut case = case(&without_db());
    case.overrides.steps.skip = vec!["look".to_owned()];
    assert_eq!(paths(&case.plan(&["deploy"]).unwrap()), ["roll/switch"]);
    case.overrides.steps = StepSelection { only: vec!["look".to_owned()], ..StepSelection::default() };
    assert!(matches!(case.plan(&["deploy"]), Err(PlanError::Empty(_))));
}

#[test]
fn a_role_that_looks_misspelt_is_told() {
    let plan = case(&SITES.replace("roles = [\"db\"]", "roles = [\"web\", \"dbs\"]")).plan(&["deploy"]).unwrap();
    assert_eq!(paths(&plan), ["roll/switch"]);
    assert_eq!(plan.left_out, ["no task of recipe `r` is for the role `dbs`; did you mean `db`?"]);
}
