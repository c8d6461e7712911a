use proptest::prelude::*;

use super::*;
use crate::model::plan::plan::{HostIndex, Plan};
use crate::model::run::event::Fact;
use crate::model::run::outcome::StepOutcome;
use crate::model::run::scripted::{Script, after, host, plan, rolling_deployment, step};
use crate::model::run::summary::any_events;

const STEPS: [(&str, &str, &str); 6] = [
    ("close/former-code", "", "restart"),
    ("close/maintenance-on", "touch m", "rm m"),
    ("roll/pull", "git pull", "git checkout"),
    ("roll/migrate", "migrate", ""),
    ("roll/health", "curl /", ""),
    ("open/maintenance-off", "rm m", ""),
];

fn five() -> Plan {
    plan(&["web1", "web2", "web3", "web4", "web5"], &STEPS)
}

fn text_of(plan: &Plan, summary: &Summary, seconds: f64, width: usize, height: usize) -> String {
    let scene = Scene { summary, agenda: &Agenda::of(&plan.clone().into()), now: after(seconds) };
    let lines: Vec<String> = view(&scene, width, height).into_iter().map(|line| line.text).collect();
    lines.join("\n")
}

/// Closing is for the first host alone.
fn text(summary: &Summary, seconds: f64, width: usize, height: usize) -> String {
    let mut plan = five();
    for step in &mut plan.phases[0].steps {
        step.hosts = [HostIndex(0)].into_iter().collect();
    }
    text_of(&plan, summary, seconds, width, height)
}

/// The scripted deployment until that moment.
fn until(seconds: f64) -> Summary {
    Summary::of(rolling_deployment().iter().filter(|event| event.at <= after(seconds)))
}

#[test]
fn the_canary_pulls() {
    insta::assert_snapshot!(text(&until(2.0), 2.0, 100, 20), @r"
    mysite deploy  2 s  phase roll, batch 1 of 3  5 hosts: 1 running, 4 waiting
      web1  running  2/5  roll/pull      0 s  HEAD is now at 3f2a91c
      web2  waiting                           for its batch
      web3  waiting                           for its batch
      web4  waiting                           for its batch
      web5  waiting                           for its batch
    ");
}

#[test]
fn a_migration_runs_on_two_hosts_while_one_does_not_answer() {
    insta::assert_snapshot!(text(&until(6.0), 8.0, 100, 20), @r#"
    mysite deploy  8 s  phase roll, batch 2 of 3  5 hosts: 2 running, 1 connecting, 2 waiting
      web1  waiting                                 for its batch
      web2  running     2/4  roll/migrate      2 s  \x1b[31mERROR\x1b[0m: column "initials" does not ex…
      web3  running     2/4  roll/migrate      2 s  applying 0042_person
      web4  connecting                         4 s
      web5  waiting                                 for its batch
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
    insta::assert_snapshot!(text(&until(6.0), 95.7, 100, 20).lines().nth(2).unwrap(), @r#"  web2  running     2/4  roll/migrate     1:30  no output for 1:30  \x1b[31mERROR\x1b[0m: column "i…"#);
}

#[test]
fn what_each_host_waits_for_is_said() {
    let mut script = Script::default();
    let hosts = ["web1", "web2", "web3", "web4", "web5"];
    script.start("mysite", "deploy", &hosts).phase("close", 1).batch("close", 1, &hosts);
    for name in hosts {
        script.connect(name);
    }
    // web1 has done its phase, web2 tries again, web3 has not begun, web4 and web5 are of the next batch.
    for name in ["web1", "web2", "web4", "web5"] {
        script.step(name, "close/maintenance-on");
    }
    insta::assert_snapshot!(text_of(&five(), &Summary::of(&script.events), 9.0, 100, 20), @r"
    mysite deploy  9 s  phase close  5 hosts: 1 waiting, 4 phase done
      web1  phase done             next: phase roll
      web2  phase done             next: phase roll
      web3  waiting
      web4  phase done             next: phase roll
      web5  phase done             next: phase roll
    ");
    script.step("web3", "close/maintenance-on").batch_end("close", 1);
    script.phase("roll", 2).batch("roll", 1, &["web1", "web2", "web3"]);
    script.step("web1", "roll/pull").step("web1", "roll/migrate").step("web1", "roll/health");
    script.step("web2", "roll/pull").begin("web2", "roll/migrate");
    script.fact(Fact::StepFinished {
        host: host("web2"),
        step: step("roll/migrate"),
        attempt: 1,
        outcome: StepOutcome::Failed { status: 1 },
        retrying: true,
        millis: 10,
    });
    insta::assert_snapshot!(text_of(&five(), &Summary::of(&script.events), 9.0, 100, 20), @r"
    mysite deploy  9 s  phase roll, batch 1 of 2  5 hosts: 1 retrying, 3 waiting, 1 phase done
      web1  phase done                              next: phase open
      web2  retrying    3/5  roll/migrate
      web3  waiting
      web4  waiting                                 for its batch
      web5  waiting                                 for its batch
    ");
    script.step("web2", "roll/migrate").step("web2", "roll/health");
    script.step("web3", "roll/pull").step("web3", "roll/migrate").step("web3", "roll/health");
    script.batch_end("roll", 1);
    insta::assert_snapshot!(text_of(&five(), &Summary::of(&script.events), 19.0, 100, 20), @r"
    mysite deploy  19 s  phase roll, batch 1 of 2 soaking  5 hosts: 2 waiting, 3 phase done
      web1  phase done             next: phase open
      web2  phase done             next: phase open
      web3  phase done             next: phase open
      web4  waiting                for its batch
      web5  waiting                for its batch
    ");
    script.batch("roll", 2, &["web4", "web5"]);
    script.step("web4", "roll/pull").step("web4", "roll/migrate").step("web4", "roll/health");
    script.step("web5", "roll/pull").step("web5", "roll/migrate").step("web5", "roll/health").batch_end("roll", 2);
    script.phase("open", 1).batch("open", 1, &hosts).step("web1", "open/maintenance-off");
    script.begin("web2", "open/maintenance-off");
    insta::assert_snapshot!(text_of(&five(), &Summary::of(&script.events), 30.0, 100, 20), @r"
    mysite deploy  30 s  phase open  5 hosts: 1 running, 3 waiting, 1 done
      web1  done
      web2  running  5/5  open/maintenance-off      8 s
      web3  waiting
      web4  waiting
      web5  waiting
    ");
    // Nobody is done any more when all is going to be undone.
    script.end("web2", "open/maintenance-off", StepOutcome::Failed { status: 1 }, 10);
    script.fact(Fact::RolloutStopped { reason: "1 host failed, 0 allowed".to_owned() });
    script.undo("web1", "roll/pull", StepOutcome::Succeeded).undo(
        "web1",
        "close/maintenance-on",
        StepOutcome::Succeeded,
    );
    script.undo("web1", "close/former-code", StepOutcome::Succeeded);
    script.undo("web3", "roll/pull", StepOutcome::Succeeded);
    insta::assert_snapshot!(text_of(&five(), &Summary::of(&script.events), 30.0, 100, 20), @r"
    mysite deploy  30 s  phase open  5 hosts: 1 failed, 3 waiting, 1 undone
    the rollout stops: 1 host failed, 0 allowed
      web1  undone
      web2  failed   5/5  open/maintenance-off
      web3  waiting
      web4  waiting
      web5  waiting
    ");
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
    assert_eq!(text(&forty(), 4.0, 40, 1).lines().count(), 1);
    assert_eq!(text(&forty(), 4.0, 40, 0), "");
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
        let scene = Scene { summary: &summary, agenda: &Agenda::of(&five().into()), now: after(100.0) };
        let lines = view(&scene, width, height);
        prop_assert!(lines.len() <= height);
        for line in lines {
            prop_assert!(console::measure_text_width(&line.text) <= width, "{:?} > {width}", line.text);
            prop_assert!(!line.text.contains(char::is_control), "{:?}", line.text);
        }
    }
}
