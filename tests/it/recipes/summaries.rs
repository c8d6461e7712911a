//! What a run changes, in words of the recipe: in the table, the list of runs, and the events.

use crate::deploy::Site;
use crate::support::files;

/// Each host says what it would change: a file that all of them see.
const RECIPE: &str = r#"
[vars.token]
secret = true
[task.deploy]
doc = "Upgrade"
summary = "change"
[[task.deploy.step]]
name = "pin"
read-only = true
register = "change"
env = { TOKEN = "{{token}}" }
run = "sed s/TOKEN/$TOKEN/ @SHARED@/change.{{fleet.host}}"
[[task.deploy.step]]
name = "roll"
run = "echo {{fleet.host}} >>@SHARED@/journal; [ ! -e @SHARED@/bad ]"
undo = "true"
"#;

fn say(site: &Site, host: &str, text: &str) {
    files::write(&site.shared().join(format!("change.{host}")), text, 0o644);
}

fn deploy(site: &Site, more: &[&str]) -> crate::support::output::Output {
    let args = [&["mysite", "deploy"], more].concat();
    site.run(&args, site.command(&args).env("FLEET_SECRET_TOKEN", "swordfish"))
}

#[test]
fn what_a_run_changes_is_told_where_people_look() {
    let site = Site::start("", &["web1", "web2", "web3"], RECIPE);
    let change = "1a2b3c4..5d6e7f8 Fix the login";
    for host in ["web1", "web2", "web3"] {
        say(&site, host, &format!("{change}\nand more\n"));
    }
    let output = deploy(&site, &[]).expect_code(0);
    assert!(output.stdout.contains(&format!("\nchange: {change}\n")), "{}", output.stdout);
    assert!(site.fleet(&["show"]).expect_code(0).stdout.contains(&format!("\nchange: {change}\n")));
    let runs = site.fleet(&["runs"]).expect_code(0).stdout;
    assert!(runs.lines().nth(1).unwrap().ends_with(&format!("succeeded  {change}")), "{runs}");

    say(&site, "web2", "9f9f9f9..5d6e7f8 \u{1b}[2JFix\n");
    say(&site, "web3", "1a2b3c4..5d6e7f8 for swordfish\n");
    site.touch("bad");
    let output = deploy(&site, &["--json"]).expect_code(10);
    let told = format!(
        "\nchange: {change} (web1)\nchange: 9f9f9f9..5d6e7f8 \\x1b[2JFix (web2)\nchange: 1a2b3c4..5d6e7f8 for *** (web3)\n"
    );
    assert!(output.stderr.contains(&told), "{}", output.stderr);
    let events = output.events();
    let described = events.iter().filter(|event| event["event"] == "change-described").count();
    assert_eq!(described, 3);
    let changes = &events.last().unwrap()["changes"];
    assert_eq!((changes["first"].as_str(), changes["others"].as_u64()), (Some(change), Some(2)));
    let runs = site.fleet(&["runs"]).expect_code(0).stdout;
    assert!(runs.lines().nth(1).unwrap().ends_with(&format!("failed     {change} and 2 others")), "{runs}");
    assert!(site.fleet(&["show"]).expect_code(0).stdout.contains(&told));
    for entry in std::fs::read_dir(site.root().join(".fleet/runs")).unwrap() {
        let folder = entry.unwrap().path();
        if folder.is_dir() {
            assert!(!files::read(&folder.join("events.jsonl")).contains("swordfish"), "{}", folder.display());
        }
    }
}

/// A recipe that wraps the task has the same words, and so has the step that runs once for all.
#[test]
fn a_task_that_wraps_another_one_says_the_same() {
    let recipe = "[task.deploy]\nsummary = \"change\"\n[[task.deploy.phase]]\nname = \"pin\"\nonce = true\n\
        [[task.deploy.phase.step]]\nname = \"pin\"\nread-only = true\nregister = \"change\"\nrun = \"echo a..b\"\n\
        [[task.deploy.phase]]\nname = \"roll\"\n[[task.deploy.phase.step]]\nname = \"roll\"\nrun = \"true\"\n";
    let site = Site::start("", &["web1", "web2"], recipe);
    let own = "[recipe]\nextends = \"test\"\n[task.deploy]\ntasks = [\"test:deploy\", \"warm-up\"]\n\
        [[task.warm-up.step]]\nname = \"warm-up\"\nrun = \"true\"\n";
    site.write("recipes/own.toml", own);
    let file = site.read("hosts/mysite.toml");
    site.write("hosts/mysite.toml", file.replace("recipe = \"test\"", "recipe = \"own\""));
    let output = site.fleet(&["mysite", "deploy"]).expect_code(0);
    assert!(output.stdout.contains("\nchange: a..b\n"), "for both hosts: {}", output.stdout);
}
