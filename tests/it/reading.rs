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
            "note: task `deploy`: no host of site `shop-test` has the role `db`\n2 sites with 5 hosts, 3 recipes: no errors\n"
        )
    );
}

#[test]
fn init_writes_a_project_that_is_free_of_errors() {
    let project = Project::new();
    std::fs::remove_dir(project.root().join("hosts")).unwrap();
    insta::assert_snapshot!("init", project.fleet(&["init"]).expect_code(0).snapshot());
    let output = project.fleet(&["check"]).expect_code(0);
    assert_eq!(output.stderr, "1 site with 1 host, 2 recipes: no errors\n");
    let plan = project.fleet(&["mysite", "deploy", "--dry-run"]).expect_code(0).stdout;
    assert!(plan.starts_with("mysite deploy: 1 host (web1)\n"), "{plan}");
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

/// What `fleet check` notes, and nothing else, of a site and its recipe that are free of errors.
fn notes(site: &str, recipe: &str) -> Vec<String> {
    let project = Project::new();
    project.write("hosts/shop.toml", format!("recipe = \"own\"\n{site}[[host]]\nname = \"web1\"\n"));
    project.write("recipes/own.toml", recipe);
    project.write("recipes/go.sh", "#!/bin/sh\n# a\u{a0}b\ntrue\u{a0}x\n");
    project.write("recipes/go.pl", "#!/usr/bin/perl\ntrue\u{a0}x\n");
    let said = project.fleet(&["check"]).expect_code(0).stderr;
    let lines = said.strip_suffix("1 site with 1 host, 3 recipes: no errors\n").unwrap_or_else(|| panic!("{said}"));
    lines.lines().map(|line| line.strip_prefix("note: ").unwrap_or_else(|| panic!("{said}")).to_owned()).collect()
}

/// A folder called `~` was looked for on the hosts, and nobody said why.
#[test]
fn check_notes_a_home_folder_that_no_shell_expands() {
    let step = |lines: &str| format!("[[task.go.step]]\nname = \"go\"\nrun = \"cd {{{{home}}}}\"\n{lines}\n");
    let declared = |lines: &str| format!("[vars.home]\nrequired = true\n{}", step(lines));
    for (value, word, instead) in [
        ("~/shop", "~", "write \"shop\", which starts in the login folder, or an absolute path"),
        ("~", "~", "write \".\" for the login folder, or an absolute path"),
        ("~/", "~", "write \".\" for the login folder, or an absolute path"),
        ("~alice/shop", "~alice", "write an absolute path"),
        ("$HOME/a b", "$HOME", "write \"a b\", which starts in the login folder, or an absolute path"),
        ("${HOME}/shop", "${HOME}", "write \"shop\", which starts in the login folder, or an absolute path"),
        ("$HOME", "$HOME", "write \".\" for the login folder, or an absolute path"),
        ("/srv/$HOME", "$HOME", "write an absolute path"),
        ("$HOME.old", "$HOME", "write an absolute path"),
    ] {
        let told = |place: &str, key: &str| {
            format!("{place}: `{word}` in `{key}` is not expanded, because fleet quotes the value; {instead}")
        };
        let vars = format!("[vars]\nhome = \"{value}\"\n");
        assert_eq!(notes(&vars, &declared("")), [told("hosts/shop.toml:3", "home")]);
        let default = format!("[vars.home]\ndefault = \"{value}\"\n{}", step(""));
        assert_eq!(notes("", &default), [told("recipes/own.toml:1", "home")]);
        let cwd = step(&format!("cwd = \"{value}\"")).replace("{{home}}", "/srv");
        assert_eq!(notes("", &cwd), [told("recipes/own.toml:4", "cwd")]);
        let lock = format!("[recipe]\nlock = \"{value}\"\n{}", step("").replace("{{home}}", "/srv"));
        assert_eq!(notes("", &lock), [told("recipes/own.toml:2", "lock")]);
        let env = step(&format!("env = {{ A = \"x\", B = \"{value}\" }}")).replace("{{home}}", "/srv");
        assert_eq!(
            notes("", &env),
            [format!(
                "recipes/own.toml:4: `{word}` in `env.B` is not expanded, because fleet quotes the value; \
                 write an absolute path, or set `B` in the command itself"
            )]
        );
    }
    // No home folder, or a shell's to expand.
    for value in ["/srv/~x", "a~", "~a b", "$HOMES", "$home", "HOME", "/srv/shop~/x"] {
        let vars = format!("[vars]\nhome = \"{value}\"\n");
        assert_eq!(notes(&vars, &declared(&format!("cwd = \"{value}\""))), [""; 0], "{value}");
    }
    let raw =
        "[vars.home]\n[vars.all]\ndefault = \"cd {{home}}\"\n[[task.go.step]]\nname = \"go\"\nrun = \"{{all|raw}}\"\n";
    assert_eq!(notes("[vars]\nhome = \"~/shop\"\n", raw), [""; 0]);
    // Those of the built-in recipe, too.
    let project = Project::new();
    let site =
        "recipe = \"git-site\"\n[vars]\nhome = \"/srv\"\nmaintenance = \"~/flag\"\nbackup = \"cp ~/x $HOME/y\"\n";
    project.write(
        "hosts/shop.toml",
        format!("{site}[[host]]\nname = \"a\"\nroles = [\"web\", \"db\"]\nvars = {{ home = \"~/shop\" }}\n"),
    );
    insta::assert_snapshot!(project.fleet(&["check"]).expect_code(0).stderr, @r#"
    note: hosts/shop.toml:4: `~` in `maintenance` is not expanded, because fleet quotes the value; write an absolute path
    note: hosts/shop.toml:9: `~` in `home` is not expanded, because fleet quotes the value; write "shop", which starts in the login folder, or an absolute path
    1 site with 1 host, 2 recipes: no errors
    "#);
}

/// `rm -rf x` with a non-breaking space looked for a program of that name.
#[test]
fn check_notes_a_blank_in_a_command_that_is_none() {
    let note = |place: &str, key: &str| {
        vec![format!(
            "recipes/own.toml:{place}: {key} holds a non-breaking space (U+00A0), which a shell takes for a part of the word; \
             type a plain space here"
        )]
    };
    let step = |lines: &str| format!("[[task.go.step]]\nname = \"go\"\n{lines}\n");
    assert_eq!(notes("", &step("run = \"rm\u{a0}-rf x\"")), note("3", "`run`"));
    assert_eq!(notes("", &step("run = \"rm\\u00a0-rf x\"")), note("3", "`run`"));
    assert_eq!(notes("", &step("run = '''\necho 'a\u{a0}b' # \u{a0}\nrm\u{a0}-rf\u{a0}x\n'''")), note("5", "`run`"));
    assert_eq!(notes("", &step("run = \"true\"\nundo = \"a\u{a0}b\"")), note("4", "`undo`"));
    assert_eq!(notes("", &step("run = \"true\"\nunless = \"a\u{a0}b\"")), note("4", "`unless`"));
    assert_eq!(notes("", &step("run = \"true\"\nonly-if = \"a `b\u{a0}c`\"")), note("4", "`only-if`"));
    assert_eq!(notes("", &step("script = \"go.sh\"")), note("3", "line 3 of `go.sh`"));
    assert_eq!(notes("", &step("script = \"go.pl\"")), [""; 0]);
    for (blank, told) in [
        (
            '\u{202f}',
            "a narrow non-breaking space (U+202F), which a shell takes for a part of the word; type a plain space here",
        ),
        (
            '\u{3000}',
            "an ideographic space (U+3000), which a shell takes for a part of the word; type a plain space here",
        ),
        ('\u{200b}', "a zero-width space (U+200B), which a shell takes for a part of the word; delete it"),
        ('\u{202e}', "an invisible character (U+202E), which a shell takes for a part of the word; delete it"),
    ] {
        assert_eq!(
            notes("", &step(&format!("run = \"a {blank}b\""))),
            [format!("recipes/own.toml:3: `run` holds {told}")]
        );
    }
    // Text is its author's: in quotes, in a comment, in a here-document, in a word that fleet quotes.
    for text in ["echo \\\"10\u{a0}km\\\"", "echo '\u{a0}'", "true # \u{a0}", "cat <<x\\n\u{a0}\\nx\\n", "echo {{x}}"] {
        assert_eq!(
            notes("[vars]\nx = \"a\u{a0}b\"\n", &step(&format!("run = \"{text}\"\nundo = \"{{{{x}}}}\""))),
            [""; 0]
        );
    }
    // What a site's file has for a command.
    let raw = format!("[vars.all]\ndefault = \"true; {{{{x|raw}}}}\"\n[vars.x]\n{}", step("run = \"{{all|raw}}\""));
    let told = notes("[vars]\nx = \"a\u{a0}b\"\n", &raw);
    assert!(told.len() == 1 && told[0].starts_with("hosts/shop.toml:3: `x` holds a non-breaking space"), "{told:?}");
}
