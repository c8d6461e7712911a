//! The examples of the documentation, and the commented lines of the starter site, are what they say: valid.

use crate::support::files;
use crate::support::hosts::ReadyProject;
use crate::support::project::Project;

const RECIPES: &str = include_str!("../../docs/recipes.md");

/// The code block that begins with these lines, to its end.
fn block(language: &str, first: &str) -> &'static str {
    let fence = format!("```{language}\n");
    let from = RECIPES.find(&format!("{fence}{first}\n")).unwrap() + fence.len();
    RECIPES[from..].split("```\n").next().unwrap()
}

/// On real hosts: a release that works, one that turns out bad when it runs, and one that is not there.
#[test]
fn the_example_deploys_goes_back_and_refuses() {
    let site = ReadyProject::start("recipe = \"shop\"\n[vars]\nhome = \"shop\"", &["web1", "web2"]);
    site.write("recipes/shop.toml", block("toml", "# recipes/shop.toml"));
    files::write(&site.root().join("recipes/shop/look.sh"), block("sh", "#!/bin/sh\n# recipes/shop/look.sh"), 0o755);
    for (_, host) in site.hosts() {
        let home = host.home().join("shop");
        for (release, health) in [("2026-10", "true"), ("2026-11", "true"), ("2026-12", "false")] {
            files::write(&home.join(release).join("health"), format!("#!/bin/sh\n{health}\n"), 0o755);
            files::write(&home.join(release).join("migrate"), format!("#!/bin/sh\necho {release} >>data\n"), 0o755);
        }
        files::write(&home.join("data"), "rows\n", 0o644);
        std::os::unix::fs::symlink("2026-10", home.join("current")).unwrap();
    }
    let state = |host: &str| {
        let home = site[host].home().join("shop");
        (std::fs::read_link(home.join("current")).unwrap().display().to_string(), files::read(&home.join("data")))
    };
    site.fleet(&["check"]).expect_code(0);
    site.fleet(&["mysite", "check"]).expect_code(0);
    site.fleet(&["mysite", "deploy", "-e", "release=2026-11"]).expect_code(0);
    let deployed = [("2026-11".to_owned(), "rows\n2026-11\n".to_owned()), ("2026-11".to_owned(), "rows\n".to_owned())];
    assert_eq!(["web1", "web2"].map(state), deployed);
    site.fleet(&["mysite", "deploy", "-e", "release=2026-12"]).expect_code(10);
    assert_eq!(["web1", "web2"].map(state), deployed, "rolled back");
    let refused = site.fleet(&["mysite", "deploy", "-e", "release=2026-13"]).expect_code(6);
    assert!(refused.stderr.contains("there is no release 2026-13"), "{}", refused.stderr);
    assert_eq!(["web1", "web2"].map(state), deployed);
    // The site's file of the page is valid, too.
    site.write("hosts/shop.toml", block("toml", "# hosts/shop.toml"));
    site.fleet(&["shop", "deploy", "-e", "release=2026-12", "--dry-run"]).expect_code(0);
}

#[test]
fn the_page_about_recipes_stays_short() {
    assert!(RECIPES.split_whitespace().count() <= 2200);
}

#[test]
fn the_example_of_inheriting_is_valid() {
    let project = Project::new();
    project.write("recipes/shop.toml", block("toml", "[recipe]\nextends = \"git-site\""));
    project.write("hosts/shop.toml", "recipe = \"shop\"\n[vars]\nhome = \"/srv/shop\"\n[[host]]\nname = \"web1\"\n");
    project.fleet(&["check"]).expect_code(0);
    let shown = project.fleet(&["tasks", "shop", "--origin"]).expect_code(0).stdout;
    assert!(shown.contains("step restart  [recipes/shop.toml:4]"), "{shown}");
}

/// The parser refuses keys that it does not know.
#[test]
fn the_tables_name_the_keys_that_there_are() {
    let keys = |heading: &str| -> Vec<&str> {
        let rows = RECIPES.split(&format!("| {heading} |")).nth(1).unwrap().lines().skip(2);
        let cells = rows.take_while(|row| row.starts_with('|')).map(|row| row.split('|').nth(1).unwrap());
        cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
    };
    let values = |key: &str| match key {
        // Given already; and of each two that exclude each other, one, and what belongs to the other.
        "name" | "script" | "local" | "only-if" | "tasks" | "step" | "read-only" | "watch" => None,
        "once" | "rolling" | "idempotent" | "optional" | "durable" | "secret-output" => Some("true"),
        "retry" => Some("3"),
        "timeout" | "idle-timeout" => Some("\"1s\""),
        "env" => Some("{ A = \"b\" }"),
        "ends" => Some("[\"s\"]"),
        "preview" => Some("\"look\""),
        "stages" => Some("[\"test\"]"),
        "when" => Some("{ x = \"y\" }"),
        "on-failure" => Some("\"hold\""),
        _ => Some("\"x\""),
    };
    let lines = |heading: &str, without: &str| -> String {
        let keys = keys(heading).into_iter().filter(|key| *key != without);
        keys.filter_map(|key| Some(format!("{key} = {}\n", values(key)?))).collect()
    };
    let project = Project::new();
    project.write(
        "recipes/all.toml",
        format!(
            "[[task.look.step]]\nname = \"look\"\nrun = \"x\"\nread-only = true\n[task.t]\n{}[[task.t.phase]]\nname = \"p\"\n{}[[task.t.phase.step]]\nname = \"s\"\n{}",
            lines("key of a task | means | default", ""),
            lines("key of a phase | means | default", "rolling"),
            lines("key of a step | means | default", ""),
        ),
    );
    project.fleet(&["check"]).expect_code(0);
    assert_eq!(keys("key of a step | means | default").len(), 23);
}

#[test]
fn what_the_starter_site_shows_in_comments_is_valid() {
    let project = Project::new();
    std::fs::remove_dir(project.root().join("hosts")).unwrap();
    project.fleet(&["init"]).expect_code(0);
    let site = project.read("hosts/mysite.toml");
    let mut shown = Vec::new();
    let lines = site.lines().map(|line| match line.strip_prefix("# ").and_then(|rest| rest.split_once(" = ")) {
        Some((key, _)) if key != "follows" && !key.contains(' ') => {
            shown.push(key);
            &line[2..]
        }
        _ => line,
    });
    let all: Vec<_> = lines.collect();
    project.write("hosts/mysite.toml", all.join("\n"));
    assert_eq!(shown, ["database", "migrate", "restart", "health", "url", "crontab"]);
    project.fleet(&["check"]).expect_code(0);
    let plan = project.fleet(&["mysite", "deploy", "--dry-run"]).expect_code(0).stdout;
    assert!(plan.contains("FLEET_DATABASE=postgresql") && plan.contains("FLEET_DATABASE_NAME=mysite"), "{plan}");
}

/// The sites and the recipe of the page about `git-site`, and that its table names all variables.
#[test]
fn the_page_about_git_site_says_what_there_is() {
    let page = include_str!("../../docs/git-site.md");
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [one, two, recipe] = blocks.as_slice() else { panic!("{} blocks", blocks.len()) };
    let project = Project::new();
    project.write("hosts/one.toml", one);
    project.write("hosts/two.toml", format!("recipe = \"git-site\"\n{two}"));
    project.write("recipes/balanced.toml", recipe);
    let balanced = two.replace("[vars]\n", "recipe = \"balanced\"\n[vars]\nbalancer = \"http://192.0.2.1\"\n");
    project.write("hosts/three.toml", balanced);
    project.fleet(&["check"]).expect_code(0);
    let plan = project.fleet(&["three", "deploy", "--dry-run"]).expect_code(0).stdout;
    assert!(plan.contains("local   curl -fsS -X POST http://192.0.2.1/drain/web1"), "{plan}");
    assert!(
        plan.contains("close/drain") || plan.contains("maintenance-on/drain") || plan.contains("/drain/drain"),
        "{plan}"
    );
    // What a host of the database alone has nothing to do with.
    let db1 = project.fleet(&["two:db", "deploy", "--dry-run"]).expect_code(0).stdout;
    assert!(db1.contains("migrate-database") && !db1.contains("site.sh restarts"), "{db1}");

    let table = page.split("| variable | what it is for |").nth(1).unwrap().split("\n\n").next().unwrap();
    let cells = table.lines().skip(2).map(|row| row.split('|').nth(1).unwrap());
    let named: std::collections::BTreeSet<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let shipped: toml::Table = include_str!("../../recipes/git-site.toml").parse().unwrap();
    let declared = shipped["vars"].as_table().unwrap().keys().map(String::as_str);
    // What steps register is nobody's to set.
    let declared: std::collections::BTreeSet<&str> =
        declared.filter(|name| !["closing", "work"].contains(name)).collect();
    assert_eq!(named, declared);
}

#[test]
fn the_ssh_settings_are_the_ones_that_there_are() {
    let page = include_str!("../../docs/connecting.md");
    let settings = page.split("## Settings").nth(1).unwrap().split("\n## ").next().unwrap();
    let project = Project::new();
    let (mut ssh, mut defaults) = (String::new(), String::new());
    for row in settings.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (key, flag) = (cells[1].trim_matches('`'), cells[2].trim_matches('`'));
        let value = match key {
            "port" => "22".to_owned(),
            "user" | "identity" => "\"x\"".to_owned(),
            _ => format!("\"{}\"", cells[3]),
        };
        let line = format!("{key} = {value}\n");
        ssh += &line;
        if !value.contains('x') {
            defaults += &line;
        }
        if flag.starts_with("--") {
            // A value that is none is refused for what it is: the flag is known.
            let told = project.fleet(&["mysite", "run", flag, "soon", "--", "true"]).expect_code(2).stderr;
            assert!(told.contains("invalid value 'soon'"), "{told}");
        }
    }
    let explained = |defaults: &str, host: &str| {
        project.write("hosts/mysite.toml", format!("[ssh]\n{defaults}[[host]]\nname = \"web1\"\n{host}"));
        project.fleet(&["check"]).expect_code(0);
        let told = project.fleet(&["list", "--explain", "mysite"]).expect_code(0).stdout;
        let words = |line: &str| {
            line.split("  ").map(str::trim).filter(|word| !word.is_empty()).take(2).collect::<Vec<_>>().join("=")
        };
        told.lines().map(words).collect::<Vec<_>>()
    };
    explained(&ssh, &ssh);
    assert_eq!(explained("", ""), explained(&defaults, ""));
}
