//! A step that fails without any output is shown with its command.

use super::Site;
use crate::support::screen::{Kind, Screen};

const SECRET: &str = r#"
[[task.deploy.step]]
name = "secret"
run = "echo hunter2"
register = "pw"
secret-output = true
[[task.deploy.step]]
name = "first"
run = "true"
undo = "@UNDO@"
"#;

/// The lines about commands that a failing run prints: while it runs, and in its final table.
fn told(step: &str) -> (String, String) {
    let (undo, step) = step.split_once('|').unwrap_or(("true", step));
    let recipe = format!("{}[[task.deploy.step]]\nname = \"check\"\n{step}\n", SECRET.replace("@UNDO@", undo));
    let site = Site::start("", &["web1"], &recipe);
    let output = site.fleet(&["mysite", "deploy"]).expect_code(10);
    let shown = site.fleet(&["show"]).expect_code(0).stdout;
    // On a fresh site: a failed undo keeps its site locked.
    let live = Site::start("", &["web1"], &recipe).fleet_pty(&["mysite", "deploy"], &[]).expect_code(10).stdout;
    let lines = |text: &str| {
        assert!(!text.contains("hunter2"), "{text}");
        let about = text.lines().filter(|line| line.contains("command"));
        about.map(|line| line.replace(|c: char| c.is_ascii_digit(), "0").trim().to_owned()).collect::<Vec<_>>()
    };
    let said = |line: &String| line.split_once("00:00:00 ").map_or(line.clone(), |(_, said)| said.to_owned());
    let (narration, table) = (lines(&output.stderr), lines(&output.stdout));
    let narration: Vec<String> = narration.iter().map(said).collect();
    assert_eq!(lines(&shown), table, "{shown}");
    let mut screen = Screen::new(Kind::Plain, 40, 100);
    screen.feed(&live);
    let on_screen: Vec<String> = lines(&screen.history().join("\n")).iter().map(said).collect();
    assert_eq!(on_screen, [narration.as_slice(), &table].concat(), "{live}");
    (narration.join("\n"), table.join("\n"))
}

#[test]
fn a_step_that_fails_without_a_word_says_its_command() {
    for (step, narration, table) in [
        ("run = '[ -f nothing ]'", "command: [ -f nothing ]", "command of deploy/check: [ -f nothing ]"),
        // The shell does not report which line failed.
        (
            "run = '''\nset -eu\ntouch a\nfalse\ntest -d a\n'''",
            "command (0 lines): touch a",
            "command of deploy/check (0 lines): touch a",
        ),
        // A registered secret is a placeholder in the text.
        ("run = 'test {{pw}} = x'", "command: test {{pw}} = x", "command of deploy/check: test {{pw}} = x"),
        ("run = 'kill -9 $$'", "command: kill -0 $$", "command of deploy/check: kill -0 $$"),
        ("run = 'sleep 60'\ntimeout = '1s'", "command: sleep 00", "command of deploy/check: sleep 00"),
        // The undo of the step before fails as well.
        ("exit 3|run = 'echo this; exit 1'", "command: exit 0", "command of the undo of deploy/first: exit 0"),
        // These printed something, or their output is secret.
        ("run = 'echo why >&2; false'", "", ""),
        ("run = 'printf half; false'", "", ""),
        ("run = 'false'\nsecret-output = true", "", ""),
        ("run = 'true'\ncwd = '/nowhere'", "", ""),
    ] {
        assert_eq!(told(step), (narration.to_owned(), table.to_owned()), "{step}");
    }
}
