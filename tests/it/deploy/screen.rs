//! What a terminal gets to see: nothing that it does not understand.

use std::process::Command;

use super::Site;
use crate::support::terminal;
use crate::support::tools::tool;

const RECIPE: &str = r#"
[[task.deploy.step]]
name = "work"
run = "echo at work; [ ! -e @SHARED@/fail ]"
undo = "true"
"#;

/// `fleet` on a terminal of that type, with colour when the terminal can.
fn command(site: &Site, term: Option<&str>, args: &[&str]) -> Command {
    let fleet = site.command(args);
    let mut command = Command::new(tool("env"));
    command.args(["-u", "NO_COLOR"]);
    match term {
        Some(term) => command.arg(format!("TERM={term}")),
        None => command.args(["-u", "TERM"]),
    };
    command.arg(fleet.get_program()).args(args).current_dir(site.root());
    command.env_clear().envs(fleet.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

#[test]
fn a_terminal_that_can_only_print_gets_plain_lines() {
    let site = Site::start("", &["web1"], RECIPE);
    let run = |term, args: &[&str]| terminal::run(&command(&site, term, args), &[]).1;
    // Moves the cursor, and has colour.
    let live = run(Some("xterm"), &["mysite", "deploy"]);
    assert!(live.contains("\x1b[A") && live.contains("\x1b[32m"), "{live:?}");
    for term in [Some("dumb"), Some(""), None] {
        for args in [["mysite", "deploy"].as_slice(), &["mysite", "run", "--", "echo at work"]] {
            let shown = run(term, args);
            assert!(!shown.contains('\x1b'), "{term:?} {args:?}: {shown:?}");
            assert!(shown.contains(" | at work") && shown.contains(" started"), "{term:?} {args:?}: {shown:?}");
        }
        site.touch("fail");
        run(term, &["mysite", "deploy"]);
        std::fs::remove_file(site.shared().join("fail")).unwrap();
        for args in [
            ["undo"].as_slice(),
            &["show"],
            &["runs"],
            &["logs"],
            &["list"],
            &["mysite", "status"],
            &["mysite", "deploy", "--dry-run"],
            &["mysite", "deploi"],
        ] {
            let shown = run(term, args);
            assert!(!shown.is_empty() && !shown.contains('\x1b'), "{term:?} {args:?}: {shown:?}");
        }
        // Whoever insists gets colour; the cursor still cannot be moved.
        let shown = run(term, &["mysite", "deploy", "--color", "always"]);
        assert!(shown.contains("\x1b[32m"), "{term:?}: {shown:?}");
        assert!(
            shown
                .split("\x1b[")
                .skip(1)
                .all(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('m'))
        );
    }
}
