//! The examples of the documentation, and the commented lines of the starter site, are what they say: valid.

use crate::support::project::Project;

const RECIPES: &str = include_str!("../../docs/recipes.md");

/// The code block that begins with this line, to its end.
fn block(first: &str) -> &'static str {
    let from = RECIPES.find(&format!("```toml\n{first}\n")).unwrap() + "```toml\n".len();
    RECIPES[from..].split("```\n").next().unwrap()
}

#[test]
fn the_example_recipe_is_valid_and_plans_as_it_is_told() {
    let project = Project::new();
    project.write("recipes/shop.toml", block("# recipes/shop.toml"));
    project.write("hosts/shop.toml", block("# hosts/shop.toml"));
    let commands = RECIPES.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let outputs: Vec<_> = commands
        .lines()
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().skip(1).collect();
            project.fleet(&words).expect_code(0)
        })
        .collect();
    let [checked, planned, next] = outputs.as_slice() else { panic!("{commands}") };
    assert_eq!(checked.stderr, "1 site with 2 hosts, 2 recipes: no errors\n");
    for part in ["test -d 2026-11", "pg_restore", "sudo systemctl restart shop", "roll/switch", "roll/health"] {
        assert!(planned.stdout.contains(part), "{part}: {}", planned.stdout);
    }
    assert!(next.stdout.contains("test -d 2026-12"), "{}", next.stdout);
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
        "name" | "script" | "only-if" | "tasks" | "step" | "read-only" | "watch" => None,
        "once" | "rolling" | "idempotent" | "durable" | "secret-output" => Some("true"),
        "retry" => Some("3"),
        "timeout" | "idle-timeout" => Some("\"1s\""),
        "env" => Some("{ A = \"b\" }"),
        "ends" => Some("[\"s\"]"),
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
            "[task.t]\n{}[[task.t.phase]]\nname = \"p\"\n{}[[task.t.phase.step]]\nname = \"s\"\n{}",
            lines("key of a task | means | default", ""),
            lines("key of a phase | means | default", "rolling"),
            lines("key of a step | means | default", ""),
        ),
    );
    project.fleet(&["check"]).expect_code(0);
    assert_eq!(keys("key of a step | means | default").len(), 21);
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
    assert_eq!(shown, ["backup", "restore", "schema", "migrate", "restart", "health", "crontab"]);
    project.fleet(&["check"]).expect_code(0);
    let plan = project.fleet(&["mysite", "deploy", "--dry-run"]).expect_code(0).stdout;
    assert!(plan.contains("pg_restore --create -e -d postgres \"$BACKUP/mysite\""), "{plan}");
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
