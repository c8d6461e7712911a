//! The lines of the README that deploy to the container fleet, as somebody types them who has just cloned the repository.

use super::fleet::{Fleet, repository};
use crate::support::files;

/// The lines below the heading, each with its comment.
fn lines() -> Vec<(String, String)> {
    let readme = files::read(&repository().join("README.md"));
    let section = readme.split("\n## Try it on containers\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let lines = section.lines().filter_map(|line| line.strip_prefix("    "));
    lines
        .map(|line| {
            let (command, comment) = line.split_once('#').unwrap_or((line, ""));
            (command.trim().to_owned(), comment.trim().to_owned())
        })
        .collect()
}

#[test]
fn the_lines_of_the_readme_work_one_after_another() {
    let fleet = Fleet::start_without_keys(&["test", "web1", "web2", "db", "systemd"]);
    let mut seen = 0;
    for (command, comment) in lines() {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words[0] {
            // The build, and what a `Fleet` does itself.
            "cargo" | "docker/up" | "docker/down" => continue,
            "curl" => {
                let port = words[1].trim_end_matches('/').rsplit(':').next().unwrap();
                let service = match port {
                    "2282" => "test",
                    "2283" => "web1",
                    other => panic!("nothing is at port {other}"),
                };
                let page = fleet.page(service);
                assert!(page.starts_with(&format!("200\n{comment}\n")), "{command}: {page}");
            }
            "fleet" => {
                let answers: &[(&str, &str)] = match words[1..] {
                    ["all", "distribute-keys"] => &[("assword", "deploy\n")],
                    ["shop", "deploy"] => &[("Type `shop`", "shop\n")],
                    _ => &[],
                };
                let code = if comment.contains("fails") { 10 } else { 0 };
                fleet.fleet_pty(&words[1..], answers).expect_code(code);
            }
            other => panic!("what does {other} do in the README?"),
        }
        seen += 1;
    }
    assert!(seen >= 7, "only {seen} lines were followed");
    fleet.runs("shop-test", "v2", &["1 tea somebody"]);
    fleet.runs("shop", "v2", &["1 tea somebody"]);
}
