mod asked_for;
mod optional;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::model::config::diagnostic::Source;
use crate::model::config::file_error::FileError;
use crate::model::inventory::inventory::Inventory;
use crate::model::inventory::inventory_file::{Known, read_inventory};
use crate::model::recipe::recipe_file::read_recipe;
use crate::model::text::hint::Advise as _;
use crate::model::text::name::{RecipeName, RunId, TaskName};

const SITES: &str = r#"
recipe = "r"
stage = "production"
[vars]
home = "/srv/site"
[rollout]
batches = [1, "50%"]
[[host]]
name = "web[1-4]"
roles = ["web"]
[[host]]
name = "db1"
roles = ["db"]
vars = { home = "/srv/it's" }
"#;

const RECIPE: &str = r#"
[recipe]
doc = "a recipe"
[vars.home]
doc = "where"
required = true
[vars.state]
doc = "state"
default = "{{home}}/state"
[vars.revision]
doc = "what"
default = "main"
[task.close]
doc = "close"
[[task.close.step]]
name = "close"
run = "touch {{state}}/closed"
undo = "rm -f {{state}}/closed"
[task.open]
doc = "open"
[[task.open.step]]
name = "open"
run = "rm -f {{state}}/closed"
ends = ["close"]
[task.deploy]
doc = "deploy"
proves = "revision"
[[task.deploy.phase]]
name = "pin"
once = true
[[task.deploy.phase.step]]
name = "pin"
run = "git rev-parse {{revision}}"
register = "revision"
[[task.deploy.phase]]
name = "close"
tasks = ["close"]
[[task.deploy.phase]]
name = "migrate"
on = "db"
once = true
[[task.deploy.phase.step]]
name = "migrate"
run = "migrate {{revision}}"
[[task.deploy.phase]]
name = "roll"
on = "web"
rolling = true
[[task.deploy.phase.step]]
name = "pull"
run = "pull {{revision}}"
[[task.deploy.phase]]
name = "open"
tasks = ["open"]
"#;

fn source(path: &str, text: &str) -> Arc<Source> {
    Arc::new(Source { path: path.to_owned(), text: text.to_owned() })
}

fn inventory(text: &str) -> Inventory {
    let followed = ("s-test".to_owned(), source("hosts/s-test.toml", "recipe = \"r\"\n[[host]]\nname = \"t1\"\n"));
    let known = Known { verbs: &[], recipes: Some(&["r"]), unread: &[] };
    read_inventory(None, &[("s".to_owned(), source("hosts/s.toml", text)), followed], known)
}

fn recipe(text: &str) -> Recipe {
    read_recipe(RecipeName::parse("r").unwrap(), &source("recipes/r.toml", text), &|_: &str| Err(FileError::Missing))
        .unwrap()
}

struct Case {
    inventory: Inventory,
    recipe: Recipe,
    overrides: Overrides,
    proof: Option<Proof>,
    unproven: bool,
    limit: Option<&'static str>,
}

impl Case {
    fn new() -> Self {
        Self::of(SITES, RECIPE)
    }

    fn of(sites: &str, text: &str) -> Self {
        Self {
            inventory: inventory(sites),
            recipe: recipe(text),
            overrides: Overrides::default(),
            proof: None,
            unproven: false,
            limit: None,
        }
    }

    fn plan(&self, tasks: &[&str]) -> Result<Plan, PlanError> {
        let site = &self.inventory.sites["s"];
        let names = site.hosts.iter().map(|host| host.name.clone());
        let hosts: Vec<HostName> =
            names.filter(|name| self.limit.is_none_or(|l| name.as_str().starts_with(l))).collect();
        let tasks: Vec<TaskName> = tasks.iter().map(|task| TaskName::parse(task).unwrap()).collect();
        plan(Request {
            site,
            hosts: &hosts,
            recipe: &self.recipe,
            tasks: &tasks,
            overrides: &self.overrides,
            run: Some(&RunId::parse("20260101-000000-0000").unwrap()),
            login: &UserName::parse("me").unwrap(),
            proof: self.proof.as_ref(),
            unproven: self.unproven,
        })
    }
}

fn text_of(plan: &Plan, path: &str, host: usize) -> String {
    let (at, ..) = plan.steps().find(|(.., step)| step.path.as_str() == path).unwrap();
    plan.run(HostIndex(host), at).unwrap().text.to_string()
}

fn batch_sizes(plan: &Plan, phase: &str) -> Vec<usize> {
    let phase = plan.phases.iter().find(|p| p.name.as_str() == phase).unwrap();
    phase.batches.iter().map(Vec::len).collect()
}

#[test]
fn a_plan_holds_every_command_final_but_for_what_is_registered() {
    let plan = Case::new().plan(&["deploy"]).unwrap();
    assert_eq!(text_of(&plan, "pin/pin", 0), "git rev-parse main");
    assert_eq!(text_of(&plan, "close/close", 0), "touch /srv/site/state/closed");
    assert_eq!(text_of(&plan, "close/close", 4), r"touch '/srv/it'\''s/state'/closed");
    assert_eq!(text_of(&plan, "roll/pull", 1), "pull {{revision}}");
    assert_eq!(batch_sizes(&plan, "roll"), [1, 2, 1]);
    assert_eq!(batch_sizes(&plan, "migrate"), [1]);
    assert_eq!(plan.proves, [VarName::parse("revision").unwrap()]);
}

#[test]
fn a_step_that_ends_another_names_it_by_its_path() {
    let plan = Case::new().plan(&["deploy"]).unwrap();
    let open = plan.phases.last().unwrap().steps.last().unwrap();
    assert_eq!(open.ends, [StepPath::parse("close/close").unwrap()]);
}

#[test]
fn the_command_line_wins_over_host_site_and_recipe() {
    let mut case = Case::new();
    case.overrides.vars.insert(VarName::parse("home").unwrap(), "/x".to_owned());
    assert_eq!(text_of(&case.plan(&["close"]).unwrap(), "close/close", 4), "touch /x/state/closed");
}

#[test]
fn a_part_of_the_site_or_of_the_task_proves_nothing() {
    let mut case = Case::new();
    case.limit = Some("web");
    assert_eq!(case.plan(&["deploy"]).unwrap().proves, []);
    let mut case = Case::new();
    case.overrides.steps.skip = vec!["migrate".to_owned()];
    assert_eq!(case.plan(&["deploy"]).unwrap().proves, []);
}

#[test]
fn a_phase_whose_role_is_not_targeted_is_left_out() {
    let mut case = Case::new();
    case.limit = Some("web");
    let plan = case.plan(&["deploy"]).unwrap();
    assert!(!plan.phases.iter().any(|phase| phase.name.as_str() == "migrate"));
}

#[test]
fn a_role_that_no_host_of_the_site_has_is_an_error() {
    let case = Case::of(&SITES.replace("\"db\"", "\"dbx\""), RECIPE);
    let Err(PlanError::Roles(errors)) = case.plan(&["deploy"]) else { panic!() };
    assert_eq!(errors[0].message, "no host of site `s` has the role `db`");
}

#[test]
fn a_site_that_follows_gets_what_was_proven_there_or_nothing() {
    let follows = SITES.replace("stage", "follows = \"s-test\"\nstage");
    let mut case = Case::of(&follows, RECIPE);
    let error = case.plan(&["deploy"]).unwrap_err();
    assert!(error.hints()[0].to_string().starts_with("fleet s-test deploy"), "{error}");
    // Nothing of these uses the revision.
    case.plan(&["close"]).unwrap();

    let name = VarName::parse("revision").unwrap();
    let run = RunId::parse("20260101-000000-1111").unwrap();
    case.proof = Some(Proof {
        name: name.clone(),
        value: "abc".to_owned(),
        also: BTreeMap::new(),
        accepted: std::collections::BTreeMap::new(),
        run,
        sequence: 1,
        by: "me@desk".to_owned(),
        age: None,
    });
    assert_eq!(text_of(&case.plan(&["deploy"]).unwrap(), "pin/pin", 0), "git rev-parse abc");
    case.overrides.vars.insert(name, "main".to_owned());
    // `pin` changes something before it is known what `main` means.
    assert!(matches!(case.plan(&["deploy"]), Err(PlanError::OtherProven { .. })));
    // Somebody has typed the site's name to have it all the same, which does not outdo what is proven.
    case.unproven = true;
    assert!(matches!(case.plan(&["deploy"]), Err(PlanError::OtherProven { .. })));
    case.proof = None;
    let basis = case.plan(&["deploy"]).unwrap().basis.unwrap();
    assert_eq!(basis.describe(), "revision main, not proven on s-test");
}

/// The recipe proves a second variable, which a step registers.
#[test]
fn each_value_that_a_follower_takes_or_registers_must_be_proven() {
    let follows = SITES.replace("stage", "follows = \"s-test\"\nstage");
    let recipe = RECIPE.replace("proves = \"revision\"", "proves = [\"revision\", \"fixes\"]");
    let pin = "register = \"revision\"\n";
    let fixes = "[[task.deploy.phase.step]]\nname = \"fixes\"\nrun = \"sha256sum fixes\"\nregister = \"fixes\"\n";
    let recipe = recipe.replace(pin, &format!("{pin}{fixes}"));
    let look = "[task.look]\n[[task.look.step]]\nname = \"look\"\nread-only = true\nrun = \"echo {{revision}}\"\n";
    let mut case = Case::of(&follows, &format!("{recipe}{look}"));
    // What only looks needs nothing.
    assert_eq!(case.plan(&["look"]).unwrap().basis, None);
    let name = |name: &str| VarName::parse(name).unwrap();
    let proof = Proof {
        name: name("revision"),
        value: "abc".to_owned(),
        also: BTreeMap::new(),
        accepted: std::collections::BTreeMap::new(),
        run: RunId::parse("20260101-000000-1111").unwrap(),
        sequence: 1,
        by: "me@desk".to_owned(),
        age: None,
    };
    // By a fleet, or a recipe, that knew one variable.
    case.proof = Some(proof.clone());
    let error = case.plan(&["deploy"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "run 20260101-000000-1111, the last that was proven on `s-test`, has not proven a fixes"
    );
    assert_eq!(error.hints()[0].to_string(), "fleet s-test deploy");
    case.proof = Some(Proof { also: BTreeMap::from([(name("fixes"), "9c1f".to_owned())]), ..proof });
    let plan = case.plan(&["deploy"]).unwrap();
    assert_eq!(text_of(&plan, "pin/pin", 0), "git rev-parse abc");
    assert_eq!(plan.proves, [name("revision"), name("fixes")]);
    let json = serde_json::to_string(&plan).unwrap();
    assert!(json.contains("\"proves\":[\"revision\",\"fixes\"]"), "{json}");
    // As the plans before have it.
    let one = json.replace("[\"revision\",\"fixes\"]", "\"revision\"");
    assert_eq!(serde_json::from_str::<Plan>(&one).unwrap().proves, [name("revision")]);
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap().proves, plan.proves);
    let basis = plan.basis.unwrap().describe();
    assert_eq!(basis, "revision abc, fixes 9c1f, proven on s-test by run 20260101-000000-1111 of me@desk");
}

#[test]
fn an_undefined_variable_is_told_once_with_its_place_and_the_nearest_name() {
    let text = RECIPE.replace("{{state}}/closed", "{{sate}}/closed");
    let Err(PlanError::Diagnostics(errors)) = Case::of(SITES, &text).plan(&["close"]) else { panic!() };
    let told: Vec<String> = errors.iter().map(|e| format!("{} ({})", e.message, e.label.as_deref().unwrap())).collect();
    assert_eq!(told[0], "`sate` has no value on host `web1` of site `s` (did you mean `state`?)");
    assert_eq!(told.len(), 2, "run and undo, not once a host: {told:?}");
}

#[test]
fn a_required_variable_that_nobody_sets_is_an_error_with_a_hint() {
    let case = Case::of(&SITES.replace("home = \"/srv/site\"", "x = 1"), RECIPE);
    let error = case.plan(&["close"]).unwrap_err();
    let hint = &error.hints()[0];
    insta::assert_snapshot!(format!("{error}\nhint: {hint}"), @r#"
    recipe `r` needs the variable `home` (where), and host `web1` of site `s` has none
    hint: set it in hosts/s.toml, below [vars]: home = "..."
    "#);
}

#[test]
fn a_mistyped_task_or_step_gets_the_nearest_name() {
    let error = Case::new().plan(&["deplyo"]).unwrap_err().to_string();
    assert_eq!(error, "recipe `r` has no task `deplyo`; did you mean `deploy`?");
    let mut case = Case::new();
    case.overrides.steps.start_at = Some("migrat".to_owned());
    let error = case.plan(&["deploy"]).unwrap_err().to_string();
    assert_eq!(error, "--start-at migrat: no such step; did you mean `migrate`?");
}

#[test]
fn start_at_leaves_out_what_comes_before_and_tells_what_is_then_missing() {
    let mut case = Case::new();
    case.overrides.steps.start_at = Some("migrate".to_owned());
    let plan = case.plan(&["deploy"]).unwrap();
    // `revision` is no longer registered, so the given value is used.
    assert_eq!(text_of(&plan, "migrate/migrate", 4), "migrate main");
    assert_eq!(plan.phases[0].name.as_str(), "migrate");
}

#[test]
fn a_step_that_stands_in_a_plan_twice_has_two_paths() {
    let plan = Case::new().plan(&["close", "close"]).unwrap();
    let paths: Vec<&str> = plan.phases.iter().flat_map(|p| &p.steps).map(|s| s.path.as_str()).collect();
    assert_eq!(paths, ["close/close", "close-2/close"]);
}

#[test]
fn batches_repeat_the_last_size_and_are_never_empty() {
    let hosts: Vec<HostIndex> = (0..10).map(HostIndex).collect();
    let sizes = |sizes: &[Share]| batches(&hosts, sizes).iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes(&[Share::Hosts(1), Share::Percent(25), Share::Percent(100)]), [1, 2, 7]);
    assert_eq!(sizes(&[Share::Percent(1)]), [1; 10]);
    assert_eq!(sizes(&[Share::Hosts(0)]), [1; 10]);
    assert_eq!(sizes(&[]), [10]);
}

/// `deploy` asks for what was proven; so must every other way to bring the same variable to the hosts.
#[test]
fn no_task_of_a_following_site_gets_around_the_proof() {
    let more = format!("{RECIPE}[task.pull]\n[[task.pull.step]]\nname = \"pull\"\nrun = \"pull {{{{revision}}}}\"\n");
    let mut case = Case::of(&format!("follows = \"s-test\"\n{SITES}"), &more);
    let refused = case.plan(&["pull"]).unwrap_err();
    assert!(refused.hints()[0].to_string().starts_with("fleet s-test deploy"), "{refused}");
    case.overrides.vars.insert(VarName::parse("revision").unwrap(), "evil".to_owned());
    assert!(matches!(case.plan(&["pull"]), Err(PlanError::Unproven { .. })));
    assert!(case.plan(&["close"]).is_ok(), "a task that does not use it needs no proof");
}
