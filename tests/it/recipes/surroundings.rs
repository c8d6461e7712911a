//! `as`, `cwd` and `env` of a recipe and of a task; `stages`; batches of a phase.

use super::printed;
use crate::deploy::Site;
use crate::support::project::Project;
use crate::support::user::{TestUser, current};

#[test]
fn a_step_says_most_then_its_task_then_the_recipe() {
    let site = Site::start("[vars]\nfolder = \"a b\"\n", &["web1"], "");
    for folder in ["a b", "task", "step"] {
        std::fs::create_dir(site["web1"].home().join(folder)).unwrap();
    }
    let home = site["web1"].home().display().to_string();
    let recipe = r#"
[recipe]
cwd = "HOME/{{folder}}"
env = { WHO = "recipe", ALL = "recipe {{fleet.host}}" }
[task.deploy]
tasks = ["plain", "own"]
[[task.plain.step]]
name = "recipe"
run = 'echo "${PWD##*/} $WHO $ALL"'
[task.own]
cwd = "HOME/task"
env = { WHO = "task" }
[[task.own.step]]
name = "task"
run = 'echo "${PWD##*/} $WHO $ALL"'
[[task.own.step]]
name = "step"
cwd = "HOME/step"
env = { WHO = "step" }
run = 'echo "${PWD##*/} $WHO $ALL"'
"#;
    site.write("recipes/test.toml", recipe.replace("HOME", &home));
    let output = site.fleet(&["mysite", "deploy"]).expect_code(0);
    assert_eq!(printed(&output.stderr), ["a b recipe recipe web1", "task task recipe web1", "step step recipe web1"]);
    let shown = site.fleet(&["tasks", "mysite"]).expect_code(0).stdout;
    assert!(shown.contains("  in HOME/task WHO=task\n".replace("HOME", &home).as_str()), "{shown}");
}

/// The same recipe serves a login that is the site's own user, and one that becomes it.
#[test]
fn a_user_from_a_variable_needs_sudo_only_where_another_one_logs_in_as_root() {
    let user = TestUser::create();
    let login = current();
    let recipe = "[recipe]\nas = \"{{web-user}}\"\n[vars.web-user]\ndefault = \"\"\n\
                  [[task.deploy.step]]\nname = \"who\"\nrun = \"id -un\"\nundo = \"true\"\n";
    let site = Site::start("", &["web1"], "");
    site.write("recipes/test.toml", recipe);
    let who = |value: &str| {
        let output = site.fleet(&["mysite", "deploy", "-e", &format!("web-user={value}")]).expect_code(0);
        let plan = site.fleet(&["-n", "mysite", "deploy", "-e", &format!("web-user={value}")]).expect_code(0).stdout;
        (printed(&output.stderr).concat(), plan.contains("[as "))
    };
    assert_eq!(who(""), (login.clone(), false), "nobody is the login user");
    assert_eq!(who(&login), (login, false));
    assert_eq!(who(&user.name), (user.name.clone(), true));
    let told = site.fleet(&["mysite", "deploy", "-e", "web-user=-u root"]).expect_code(3).stderr;
    assert!(told.contains("recipes/test.toml:2:6") && told.contains("-u root"), "{told}");
}

#[test]
fn a_task_is_refused_on_a_site_of_another_stage() {
    let project = Project::new();
    let recipe = "[task.reset]\ntasks = [\"wipe\"]\n[task.wipe]\nstages = [\"test\", \"demo\"]\n\
                  [[task.wipe.step]]\nname = \"wipe\"\nrun = \"true\"\n[[task.other.step]]\nname = \"o\"\nrun = \"true\"\n";
    project.write("recipes/test.toml", recipe);
    for (site, stage) in [("prod", "stage = \"production\""), ("test", "stage = \"test\""), ("none", "")] {
        project
            .write(&format!("hosts/{site}.toml"), format!("recipe = \"test\"\n{stage}\n[[host]]\nname = \"web1\"\n"));
    }
    let told = project.fleet(&["prod", "reset", "--yes"]).expect_code(6).stderr;
    assert_eq!(
        told,
        "error: task `wipe` is for sites of stage \"test\" or \"demo\" only (recipes/test.toml:3), and `prod` is \"production\"\n"
    );
    let told = project.fleet(&["none", "wipe", "--yes"]).expect_code(6).stderr;
    assert!(told.ends_with("and `none` has none\n"), "{told}");
    project.fleet(&["-n", "test", "reset"]).expect_code(0);
    project.fleet(&["-n", "prod", "other"]).expect_code(0);
    project.fleet(&["check"]).expect_code(0);
    let shown = project.fleet(&["tasks", "test"]).expect_code(0).stdout;
    assert!(shown.contains("wipe  (only on stage test, demo)\n"), "{shown}");
}

#[test]
fn a_phase_may_have_batches_of_its_own() {
    let project = Project::new();
    project.write("hosts/mysite.toml", "recipe = \"test\"\n[[host]]\nname = \"web[1-4]\"\n");
    project.write(
        "recipes/test.toml",
        "[[task.deploy.phase]]\nname = \"roll\"\nrolling = [\"1\", \"50%\"]\n[[task.deploy.phase.step]]\nname = \"a\"\nrun = \"true\"\n",
    );
    let batches = |args: &[&str]| {
        let plan: serde_json::Value = serde_json::from_str(&project.fleet(args).expect_code(0).stdout).unwrap();
        plan["phases"][0]["batches"].to_string()
    };
    assert_eq!(batches(&["-n", "--json", "mysite", "deploy"]), r#"["0","1-2","3"]"#);
    let serial = batches(&["-n", "--json", "mysite", "deploy", "--serial", "4"]);
    assert_eq!(serial, r#"["0-3"]"#, "the command line is above all files");
    project.write("recipes/test.toml", project.read("recipes/test.toml").replace("[\"1\", \"50%\"]", "[\"0\", 1.5]"));
    let told = project.fleet(&["check"]).expect_code(3).stderr;
    assert!(told.contains("a batch of no hosts") && told.contains("recipes/test.toml:3"), "{told}");
}

#[test]
fn surroundings_that_reach_no_step_or_name_no_user_are_refused() {
    let project = Project::new();
    project.write("hosts/mysite.toml", "recipe = \"test\"\n[[host]]\nname = \"web1\"\n");
    project.write(
        "recipes/test.toml",
        "[recipe]\nas = \"-u\"\n[task.all]\ncwd = \"/srv\"\ntasks = [\"one\"]\n[task.one]\nstages = [\"prod\"]\n\
         [[task.one.step]]\nname = \"one\"\nrun = \"true\"\n\
         [[task.status.step]]\nname = \"look\"\nrun = \"true\"\n",
    );
    insta::assert_snapshot!(project.fleet(&["check"]).expect_code(3).stderr, @r#"
    error: user name `-u` must start with a letter or a digit
     --> recipes/test.toml:2:6
      |
    2 | as = "-u"
      |      ^^^^

    error: `as`, `cwd` and `env` are for the task's own steps, and it has none
     --> recipes/test.toml:4:7
      |
    4 | cwd = "/srv"
      |       ^^^^^^ set them in the tasks that it names

    error: there is no stage "prod", only "test", "demo", "production"
     --> recipes/test.toml:7:11
      |
    7 | stages = ["prod"]
      |           ^^^^^^

    error: task `status` may only look, and step `look` is not `read-only`
      --> recipes/test.toml:12:8
       |
    12 | name = "look"
       |        ^^^^^^ in task `status`, which `fleet SITE status` runs

    4 errors in 1 file; nothing was contacted
    "#);
}
