//! A follower that is asked for what is proven by another name: a tag, a short hash, a branch.

use super::*;

/// As in `RECIPE`, but `pin` only looks.
fn case() -> Case {
    let recipe = RECIPE.replace("run = \"git rev-parse", "read-only = true\nrun = \"git rev-parse");
    let mut case = Case::of(&SITES.replace("stage", "follows = \"s-test\"\nstage"), &recipe);
    case.proof = Some(Proof {
        name: VarName::parse("revision").unwrap(),
        value: "abc".to_owned(),
        also: BTreeMap::new(),
        accepted: BTreeMap::new(),
        run: RunId::parse("20260101-000000-1111").unwrap(),
        sequence: 1,
        by: "me@desk".to_owned(),
        age: None,
    });
    case.overrides.vars.insert(VarName::parse("revision").unwrap(), "v1.2".to_owned());
    case
}

#[test]
fn it_reaches_the_step_that_registers_the_variable_and_no_later_one() {
    let plan = case().plan(&["deploy"]).unwrap();
    assert_eq!(text_of(&plan, "pin/pin", 0), "git rev-parse v1.2");
    assert_eq!(text_of(&plan, "roll/pull", 1), "pull {{revision}}");
    let basis = plan.basis.clone().unwrap();
    assert_eq!(basis.value, "abc", "what is compared");
    let told = "revision v1.2 asked for; revision abc, proven on s-test by run 20260101-000000-1111 of me@desk";
    assert_eq!(basis.describe(), told);
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap().basis, Some(basis));
}

#[test]
fn the_proven_value_itself_is_asked_for_by_no_other_name() {
    let mut case = case();
    case.overrides.vars.insert(VarName::parse("revision").unwrap(), "abc".to_owned());
    let plan = case.plan(&["deploy"]).unwrap();
    assert_eq!(text_of(&plan, "pin/pin", 0), "git rev-parse abc");
    assert_eq!(plan.basis.unwrap().given, BTreeMap::new());
}

/// Without the step nobody finds out what it means.
#[test]
fn it_is_refused_where_no_step_of_the_plan_registers_the_variable() {
    let mut skipped = case();
    skipped.overrides.steps.skip = vec!["pin".to_owned()];
    assert!(matches!(skipped.plan(&["deploy"]), Err(PlanError::OtherProven { .. })));
    let mut later = case();
    later.overrides.steps.start_at = Some("migrate".to_owned());
    assert!(matches!(later.plan(&["deploy"]), Err(PlanError::OtherProven { .. })));
}

/// A step that changes something would have it before it is compared: an earlier one, one of a host on which it is not registered, or the
/// undo of an earlier one.
#[test]
fn it_is_refused_where_a_step_that_changes_something_takes_it() {
    let with = |from: &str, to: &str| {
        let mut case = case();
        let text = RECIPE.replace("run = \"git rev-parse", "read-only = true\nrun = \"git rev-parse");
        assert!(text.contains(from));
        case.recipe = recipe(&text.replacen(from, to, 1));
        case.plan(&["deploy"]).map(|plan| plan.basis.unwrap().given.len())
    };
    let pin = "[[task.deploy.phase]]\nname = \"pin\"\nonce = true\n";
    let before = |step: &str| {
        format!(
            "[[task.deploy.phase]]\nname = \"before\"\n[[task.deploy.phase.step]]\nname = \"before\"\n{step}\n{pin}"
        )
    };
    assert_eq!(with(pin, &before("read-only = true\nrun = \"echo {{revision}}\"")).unwrap(), 1);
    for step in ["run = \"pull {{revision}}\"", "run = \"true\"\nundo = \"echo {{revision}}\""] {
        assert!(matches!(with(pin, &before(step)), Err(PlanError::OtherProven { .. })), "{step}");
    }
    let on_web = pin.replace("once = true", "on = \"web\"");
    assert!(matches!(with(pin, &on_web), Err(PlanError::OtherProven { .. })), "db1 migrates, and has not looked");
    // In the default of another variable, which is what it is before any step runs.
    let state = "default = \"{{home}}/state\"";
    assert!(matches!(with(state, "default = \"{{home}}/{{revision}}\""), Err(PlanError::OtherProven { .. })));
}
