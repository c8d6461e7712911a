use proptest::prelude::*;

use super::*;
use crate::model::event::Fact;
use crate::model::outcome::StepOutcome;
use crate::model::scripted::{Script, after, host, rolling_deployment};
use crate::model::summary::any_events;

fn text(summary: &Summary, seconds: f64, width: usize, height: usize) -> String {
    let lines: Vec<String> = view(summary, after(seconds), width, height).into_iter().map(|line| line.text).collect();
    lines.join("\n")
}

/// The scripted deployment until that moment.
fn until(seconds: f64) -> Summary {
    Summary::of(rolling_deployment().iter().filter(|event| event.at <= after(seconds)))
}

#[test]
fn the_canary_pulls() {
    insta::assert_snapshot!(text(&until(2.0), 2.0, 100, 20), @r"
    mysite deploy  2 s  phase roll, batch 1 of 3  5 hosts: 1 running, 4 waiting
      web1  running  roll/pull      0 s  HEAD is now at 3f2a91c
      web2  waiting
      web3  waiting
      web4  waiting
      web5  waiting
    ");
}

#[test]
fn a_migration_runs_on_two_hosts_while_one_does_not_answer() {
    insta::assert_snapshot!(text(&until(6.0), 8.0, 100, 20), @r#"
    mysite deploy  8 s  phase roll, batch 2 of 3  5 hosts: 2 running, 1 connecting, 2 waiting
      web1  waiting
      web2  running     roll/migrate      2 s  \x1b[31mERROR\x1b[0m: column "initials" does not exist
      web3  running     roll/migrate      2 s  applying 0042_person
      web4  connecting                    4 s
      web5  waiting
    "#);
}

#[test]
fn it_failed_and_is_being_undone() {
    insta::assert_snapshot!(text(&until(19.3), 19.4, 100, 20), @r"
    mysite deploy  19 s  phase roll, batch 2 of 3  5 hosts: 1 undoing, 1 unreachable, 3 waiting
    the rollout stops: 1 host failed, and the rollout bears 0
      web1  waiting
      web2  undoing      roll/pull         0 s
      web3  waiting      roll/migrate
      web4  unreachable                   15 s  no TCP connection to 192.0.2.14:22 in 10 s
      web5  waiting
    ");
}

#[test]
fn all_is_over() {
    insta::assert_snapshot!(text(&until(60.0), 60.0, 80, 20), @r"
    mysite deploy  1:00  phase roll, batch 2 of 3  5 hosts: 1 held, 1 unreachable, …
    the rollout stops: 1 host failed, and the rollout bears 0
      web1  rolled back                   21 s  the rollout was stopped
      web2  rolled back  roll/migrate     16 s  roll/migrate: exit status 3
      web3  held         roll/pull        16 s  the undo of roll/pull failed
      web4  unreachable                   15 s  no TCP connection to 192.0.2.14:22 …
      web5  untouched                           the rollout was stopped
    ");
}

#[test]
fn a_silent_step_says_so() {
    insta::assert_snapshot!(text(&until(6.0), 95.7, 100, 20).lines().nth(2).unwrap(), @r#"  web2  running     roll/migrate     1:30  silent 90 s  \x1b[31mERROR\x1b[0m: column "initials" doe…"#);
}

/// Forty hosts: three run, one failed, seven are done, the others wait.
fn forty() -> Summary {
    let names: Vec<String> = (1..=40).map(|n| format!("web{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut script = Script::default();
    script.start("mysite", "deploy", &names).phase("roll", 4).batch("roll", 2, &names[8..12]);
    for name in &names[..7] {
        script.connect(name).settle(name, HostOutcome::Succeeded, None, &[]);
    }
    script.connect("web08").begin("web08", "roll/health").end(
        "web08",
        "roll/health",
        StepOutcome::Failed { status: 7 },
        1000,
    );
    script.settle("web08", HostOutcome::RolledBack, Some("roll/health: exit status 7"), &[]);
    for name in ["web09", "web10", "web11"] {
        script.connect(name).begin(name, "roll/restart").print(name, "roll/restart", "Restarting mysite …\n");
    }
    script.fact(Fact::HostStarted { host: host("web12") });
    Summary::of(&script.events)
}

#[test]
fn more_hosts_than_lines_are_folded() {
    insta::assert_snapshot!(text(&forty(), 4.0, 70, 8), @r"
    mysite deploy  4 s  phase roll, batch 2 of 4  40 hosts: 3 running, 1 …
      web09  running      roll/restart      2 s  Restarting mysite …
      web10  running      roll/restart      2 s  Restarting mysite …
      web11  running      roll/restart      1 s  Restarting mysite …
      web08  rolled back  roll/health       0 s  roll/health: exit status…
      web12  connecting                     1 s
      web13  waiting
    … 34 more: 27 waiting, 7 done
    ");
}

#[test]
fn a_tiny_screen_still_says_how_many() {
    insta::assert_snapshot!(text(&forty(), 4.0, 40, 2), @r"
    mysite deploy  4 s  phase roll, batch 2…
    … 40 more: 3 running, 1 rolled back, 1 …
    ");
    assert_eq!(view(&forty(), after(4.0), 40, 1).len(), 1);
    assert!(view(&forty(), after(4.0), 40, 0).is_empty());
}

#[test]
fn tabs_and_wide_characters_do_not_break_the_width() {
    let mut script = Script::default();
    script.start("mysite", "deploy", &["web1"]).connect("web1").begin("web1", "a/b");
    script.print("web1", "a/b", "\t更新しています\t更新しています\t更新しています\n");
    let line = text(&Summary::of(&script.events), 1.0, 50, 5).lines().nth(1).unwrap().to_owned();
    assert_eq!(line, "  web1  running  a/b      0 s  更新しています 更…");
    assert!(console::measure_text_width(&line) <= 50);
}

proptest! {
    #[test]
    fn it_fits_and_is_harmless_whatever_happens(events in any_events(), width in 0usize..200, height in 0usize..30) {
        let summary = Summary::of(&events);
        let lines = view(&summary, after(100.0), width, height);
        prop_assert!(lines.len() <= height);
        for line in lines {
            prop_assert!(console::measure_text_width(&line.text) <= width, "{:?} > {width}", line.text);
            prop_assert!(!line.text.contains(char::is_control), "{:?}", line.text);
        }
    }
}
