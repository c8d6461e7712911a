//! What only reads, or writes a first project: `list`, `tasks`, `check`, `init`, `--dry-run`.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::files;
use crate::support::hosts::ReadyProject;
use crate::support::output::redact;
use crate::support::project::Project;

const RECIPE: &str = r#"[recipe]
doc = "the shop"
[vars.greeting]
doc = "what to say"
default = "hello from {{fleet.host}}"
[vars.text]
default = """
first line
second line
"""
[task.deploy]
doc = "say it"
[[task.deploy.step]]
name = "greet"
run = "echo {{greeting}} >> greeted"
undo = "rm greeted"
[[task.deploy.step]]
name = "only-db"
on = "db"
run = "echo {{fleet.run}} {{text}} > db"
"#;

fn shop() -> Project {
    let project = Project::new();
    project.write(
        "hosts/defaults.toml",
        "[ssh]\nuser = \"release\"\n[vars]\ngreeting = \"hi\"\n[rollout]\nsoak = \"30s\"\n",
    );
    project.write(
        "hosts/shop.toml",
        "recipe = \"shop\"\nstage = \"production\"\nfollows = \"shop-test\"\n[rollout]\nbatches = [1, \"25%\"]\n\
         [[host]]\nname = \"web[01-03]\"\naddress = \"192.0.2.[1-3]\"\nroles = [\"web\"]\n\
         [[host]]\nname = \"db\"\nroles = [\"db\"]\nvars = { greeting = \"it's me\" }\n",
    );
    project.write(
        "hosts/shop-test.toml",
        "recipe = \"shop\"\nstage = \"test\"\n[ssh]\nport = 2222\n[[host]]\nname = \"t1\"\n",
    );
    project.write("recipes/shop.toml", RECIPE);
    project
}

#[test]
fn list_shows_sites_and_explain_says_where_values_came_from() {
    let project = shop();
    insta::assert_snapshot!("list", project.fleet(&["list"]).expect_code(0).snapshot());
    let output = project.fleet(&["list", "--explain", "shop:db,shop-test", "-e", "text=one line"]).expect_code(0);
    insta::assert_snapshot!("explain", output.snapshot());
    // Also when a recipe's value is a page of shell text.
    project.write("hosts/git.toml", "recipe = \"git-site\"\n[vars]\nhome = \"/srv\"\n[[host]]\nname = \"g1\"\n");
    let output = project.fleet(&["list", "--explain", "git"]).expect_code(0);
    let widest = output.stdout.lines().map(|line| line.chars().count()).max();
    assert!(widest < Some(140), "{}", output.stdout);
}

#[test]
fn tasks_shows_what_can_be_done_and_with_what() {
    let project = shop();
    insta::assert_snapshot!(project.fleet(&["tasks", "shop"]).expect_code(0).snapshot());
    project.fleet(&["tasks", "ship"]).expect_code(4);
}

#[test]
fn check_counts_what_it_has_read() {
    let output = shop().fleet(&["check"]).expect_code(0);
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        (
            "",
            "note: task `deploy`: no host of site `shop-test` has the role `db`\n2 sites with 5 hosts, 2 recipes: no errors\n"
        )
    );
}

#[test]
fn init_writes_a_project_that_is_free_of_errors() {
    let project = Project::new();
    std::fs::remove_dir(project.root().join("hosts")).unwrap();
    insta::assert_snapshot!("init", project.fleet(&["init"]).expect_code(0).snapshot());
    let output = project.fleet(&["check"]).expect_code(0);
    assert_eq!(output.stderr, "1 site with 1 host, 1 recipe: no errors\n");
    let plan = project.fleet(&["mysite", "deploy", "--dry-run"]).expect_code(0).stdout;
    assert!(plan.starts_with("mysite deploy\n"), "{plan}");
    // The private key and the records are not shared; the public key and the pins are.
    project.fleet(&["generate-keys"]).expect_code(0);
    project.write("keys/known_hosts", "");
    project.write(".fleet/runs/x/plan.json", "");
    crate::support::process::run(crate::support::git::git(&project.root()).args(["init", "-q"]));
    let listed = crate::support::process::stdout_of(crate::support::git::git(&project.root()).args([
        "ls-files",
        "--others",
        "--exclude-standard",
    ]));
    let shared = [".gitignore", "hosts/defaults.toml", "hosts/mysite.toml", "keys/fleet.pub", "keys/known_hosts"];
    assert_eq!(listed.lines().collect::<Vec<_>>(), shared);
}

#[test]
fn init_writes_over_nothing() {
    let project = Project::new();
    project.write("hosts/shop.toml", "# mine\n");
    project.write(".gitignore", "# mine, too\n");
    let output = project.fleet(&["init"]).expect_code(0);
    assert_eq!(
        (project.read("hosts/shop.toml"), project.read(".gitignore")),
        ("# mine\n".into(), "# mine, too\n".into())
    );
    assert!(!project.root().join("hosts/mysite.toml").exists(), "there are sites already");
    insta::assert_snapshot!("init_again", output.snapshot());
    // A file in the place of the folder.
    let folder = project.home().join("taken");
    files::write(&folder, "a file", 0o644);
    let output = project.fleet(&["init", "--project", folder.to_str().unwrap()]).expect_code(5);
    assert!(
        output.stderr.starts_with("error: cannot write into ") && output.stderr.contains("taken"),
        "{}",
        output.stderr
    );
    assert_eq!(files::read(&folder), "a file");
}

#[test]
fn a_dry_run_contacts_nobody_and_shows_what_a_run_then_sends() {
    let ready = ReadyProject::start("recipe = \"shop\"\nstage = \"production\"", &["web1", "web2"]);
    ready.write("recipes/shop.toml", RECIPE);
    let calls = |ready: &ReadyProject| ["web1", "web2"].map(|name| ready[name].calls());
    let before = calls(&ready);
    let args = ["mysite", "deploy", "-e", "greeting=it's $HOME"];
    // Neither a confirmation nor a key is asked for.
    let text = ready.fleet(&[&args[..], &["--dry-run", "--no-input"]].concat()).expect_code(0);
    insta::assert_snapshot!(text.snapshot());
    let planned = ready.fleet(&[&args[..], &["-n", "--json"]].concat()).expect_code(0).stdout;
    assert_eq!(calls(&ready), before, "nobody was contacted");
    assert!(!ready.root().join(".fleet").exists(), "nothing was recorded");

    ready.fleet(&[&args[..], &["--yes"]].concat()).expect_code(0);
    let runs: Vec<_> =
        std::fs::read_dir(ready.root().join(".fleet/runs")).unwrap().map(|run| run.unwrap().path()).collect();
    let [run] = runs.as_slice() else { panic!("{runs:?}") };
    let id = run.file_name().unwrap().to_str().unwrap();
    let without_run = |text: &str| serde_json::from_str::<serde_json::Value>(&redact(text, &[])).unwrap();
    assert_eq!(without_run(&files::read(&run.join("plan.json"))), without_run(&planned));
    for name in ["web1", "web2"] {
        assert_eq!(files::read(&ready[name].home().join("greeted")), "it's $HOME\n");
    }
    assert_eq!(files::read(&ready["web1"].home().join("db")), format!("{id} first line\nsecond line\n\n"));
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(run), mode(&run.join("plan.json"))), (0o700, 0o600));
}
