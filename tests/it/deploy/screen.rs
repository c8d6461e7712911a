//! What fleet shows on a terminal, and on one that can only print.

use std::process::Command;

use super::Site;
use crate::support::process::wait_for;
use crate::support::terminal;
use crate::support::tools::tool;

const RECIPE: &str = r#"
[[task.deploy.step]]
name = "work"
run = "echo at work; [ ! -e @SHARED@/fail ]"
undo = "true"
"#;

/// `fleet` on a terminal of this type, with `NO_COLOR` unset.
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
    // The live view moves the cursor and uses color.
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
        // `--color always` wins for color only.
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

/// The third step of web1 waits for the file `go`; web2 does not have that step.
const LAST: &str = r#"
[[task.deploy.phase]]
name = "close"
[[task.deploy.phase.step]]
name = "note"
undo = "true"
[[task.deploy.phase.step]]
name = "close"
run = "true"
undo = "true"
[[task.deploy.phase]]
name = "roll"
[[task.deploy.phase.step]]
name = "pull"
run = "true"
undo = "true"
[[task.deploy.phase.step]]
name = "wait"
on = "db"
run = "echo here; while [ ! -e @SHARED@/go ]; do sleep 0.02; done"
"#;

#[test]
fn a_host_that_is_done_is_called_so_and_one_at_work_says_which_of_its_steps_it_does() {
    let site = Site::start("", &["web1", "web2"], LAST);
    for watched in [false, true] {
        let _ = std::fs::remove_file(site.shared().join("go"));
        let running = watched.then(|| site.spawn(&["mysite", "deploy"]));
        if watched {
            wait_for("the run", || site.fleet(&["show"]).stdout.contains("was running roll/wait").then_some(()));
        }
        let args = if watched { ["attach"].as_slice() } else { &["mysite", "deploy"] };
        let texts = ["  web1  running  3/3  roll/wait", "  web2  done"];
        let mut seen = 0;
        let (code, shown) = terminal::watch((24, 100), &site.command(args), &texts, |_| {
            seen += 1;
            if seen == texts.len() {
                site.touch("go");
            }
        });
        assert_eq!(code, Some(0), "{shown}");
        assert!(shown.contains("2 hosts: 1 running, 1 done"), "{shown}");
        drop(running.map(|running| running.wait().expect_code(0)));
    }
}
