use proptest::prelude::*;

use super::*;
use crate::model::run::event::{Fact, Signal};
use crate::model::run::outcome::StepOutcome;
use crate::model::run::scripted::{Script, host, plan, rolling_deployment};
use crate::model::run::summary::any_events;

fn told(summary: &Summary, color: bool) -> String {
    table(&plan(&[], &[]).into(), summary, color)
}

#[test]
fn a_rolling_deployment_that_fails() {
    insta::assert_snapshot!(told(&Summary::of(&rolling_deployment()), false), @r#"
    HOST  OUTCOME      TIME    FAILED STEP
    web1  rolled back  21.1 s
    web2  rolled back  16.9 s  roll/migrate: exit status 3
    web3  held         16.7 s  undo of roll/pull: exit status 1
    web4  unreachable  15.5 s
    web5  untouched

    web1: rolled back: the rollout was stopped
      undone: roll/pull, close/maintenance-on
    web2: rolled back: roll/migrate: exit status 3
      last lines of roll/migrate:
        | applying 0042_person
        | \x1b[31mERROR\x1b[0m: column "initials" does not exist
      undone: roll/pull
    web3: held: the undo of roll/pull failed
      not undone: roll/pull: exit status 1
      still in force: roll/pull
    web4: unreachable: no TCP connection to 192.0.2.14:22 in 10 s

    mysite deploy failed after 21.2 s: 1 untouched, 2 rolled back, 1 unreachable, 1 held (exit code 10)

    next:
      fleet show 20261122-084512-7f3a                      all that is known about this run
      fleet logs 20261122-084512-7f3a web2 --step migrate  what it printed
      fleet mysite run -l web3 -- COMMAND                  put right what is held: web3
      fleet mysite deploy                                  again, when the cause is gone
    "#);
}

#[test]
fn all_succeeded() {
    let mut script = Script::default();
    script.start("mysite-test", "deploy", &["web1", "web2"]);
    for name in ["web1", "web2"] {
        script.connect(name).step(name, "roll/pull").settle(name, HostOutcome::Succeeded, None, &[]);
    }
    script.finish(0, Some("3f2a91c"));
    insta::assert_snapshot!(told(&Summary::of(&script.events), false), @r"
    HOST  OUTCOME    TIME
    web1  succeeded  1.2 s
    web2  succeeded  1.2 s

    mysite-test deploy succeeded after 2.4 s: 2 succeeded
    proven: revision = 3f2a91c
    ");
}

#[test]
fn without_a_record_nothing_is_said_to_be_proven() {
    let mut script = Script::default();
    script.start("mysite-test", "deploy", &["web1"]).connect("web1").settle("web1", HostOutcome::Succeeded, None, &[]);
    script.finish(0, Some("3f2a91c"));
    let mut summary = Summary::of(&script.events);
    summary.dropped.push(("record".to_owned(), ".fleet/runs/x: No space left\u{1b}[2J".to_owned()));
    insta::assert_snapshot!(told(&summary, false).lines().skip(3).collect::<Vec<_>>().join("\n"), @r"
    mysite-test deploy succeeded after 0.2 s: 1 succeeded
    warning: record got no more events: .fleet/runs/x: No space left\x1b[2J
    ");
}

#[test]
fn many_hosts_that_ended_alike_share_a_row() {
    let names: Vec<String> = (1..=40).map(|n| format!("web{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut script = Script::default();
    script.start("mysite", "backup deploy", &names);
    for name in &names {
        match *name {
            "web07" | "web19" => {
                script.connect(name).begin(name, "roll/health").print(name, "roll/health", "502 Bad Gateway\n");
                script.end(name, "roll/health", StepOutcome::Failed { status: 22 }, 400);
                script.undo(name, "roll/pull", StepOutcome::Succeeded);
                script.settle(name, HostOutcome::RolledBack, Some("roll/health: exit status 22"), &[]);
            }
            _ => {
                script.connect(name).step(name, "roll/pull").settle(name, HostOutcome::Succeeded, None, &[]);
            }
        }
    }
    script.finish(10, None);
    insta::assert_snapshot!(told(&Summary::of(&script.events), false), @r"
    HOST                    OUTCOME      TIME   FAILED STEP
    web[01-06,08-18,20-40]  succeeded    1.2 s
    web[07,19]              rolled back  0.7 s  roll/health: exit status 22

    web[07,19]: rolled back: roll/health: exit status 22
      last lines of roll/health on web07:
        | 502 Bad Gateway
      undone: roll/pull

    mysite backup deploy failed after 47.0 s: 38 succeeded, 2 rolled back (exit code 10)

    next:
      fleet show 20261122-084512-7f3a                      all that is known about this run
      fleet logs 20261122-084512-7f3a web07 --step health  what it printed
      fleet mysite backup deploy -l web07,web19            again, when the cause is gone
    ");
}

/// Forty of them, told in forty lines, pushed all else off the screen.
#[test]
fn one_cause_on_forty_hosts_is_one_line() {
    let names: Vec<String> = (1..=40).map(|n| format!("web{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut script = Script::default();
    script.start("mysite", "deploy", &names);
    for (n, name) in names.iter().enumerate() {
        let reason = match n {
            0..30 => format!("cannot connect to 192.0.2.{}:22: connection refused", n + 11),
            30..35 => "cannot resolve the jump host".to_owned(),
            // Not its own address: that is another cause for each.
            35 => "cannot connect to 192.0.2.11:22: connection refused".to_owned(),
            _ => format!("the key of 192.0.2.{}:22 is not pinned: SHA256:{n}abc\nhint: fleet mysite trust", n + 11),
        };
        script.settle(name, HostOutcome::Unreachable, Some(&reason), &[]);
        script.fact(Fact::LessPromised { host: host(name), what: format!("no setsid on {name}") });
    }
    script.finish(11, None);
    let text = table(&plan(&names, &[]).into(), &Summary::of(&script.events), false);
    insta::assert_snapshot!(text.split("\nnext:").next().unwrap(), @r"
    HOST        OUTCOME      TIME
    web[01-40]  unreachable

    web[01-30]: unreachable: cannot connect to its address: connection refused
    web[31-35]: unreachable: cannot resolve the jump host
    web36: unreachable: cannot connect to 192.0.2.11:22: connection refused
    web[37-40]: unreachable: the key of its address is not pinned: SHA256:…
      hint: fleet mysite trust

    mysite deploy did not reach every host after 0.0 s: 40 unreachable (exit code 11)
    warning: web[01-40]: no setsid on the host
    ");
}

#[test]
fn an_interrupt_that_let_go() {
    let mut script = Script::default();
    script.start("mysite", "run", &["web1", "web2"]).connect("web1").begin("web1", "run/run").wait(2.0);
    script.fact(Fact::Interrupted { level: 3, signal: Signal::Int });
    script.settle("web1", HostOutcome::Unknown, Some("let go while run/run was running"), &["run/run"]);
    script.settle("web2", HostOutcome::Untouched, None, &[]).finish(13, None);
    insta::assert_snapshot!(told(&Summary::of(&script.events), false), @r"
    HOST  OUTCOME    TIME   FAILED STEP
    web1  unknown    2.2 s  run/run: outcome unknown: the run let go of it while it was running
    web2  untouched

    web1: unknown: let go while run/run was running
      nothing was undone on it since, and its command may still be running there
      still in force: run/run

    mysite run ended in doubt after 2.2 s: 1 untouched, 1 unknown (exit code 13)

    next:
      fleet show 20261122-084512-7f3a                  all that is known about this run
      fleet logs 20261122-084512-7f3a web1 --step run  what it printed
      fleet mysite run -l web1 -- COMMAND              look first: web1 is unknown
    ");
}

#[test]
fn a_run_that_never_finished() {
    let mut script = Script::default();
    script.start("mysite", "deploy", &["web1"]).connect("web1").begin("web1", "roll/pull");
    insta::assert_snapshot!(told(&Summary::of(&script.events), false), @r"
    HOST  OUTCOME     TIME
    web1  unfinished

    web1: unfinished
      was running roll/pull when the record ends

    mysite deploy is unfinished after 0.2 s: 1 unfinished

    next:
      fleet show 20261122-084512-7f3a      all that is known about this run
      fleet mysite run -l web1 -- COMMAND  look first: web1 is unknown
      fleet resume 20261122-084512-7f3a    go on with it
      fleet undo 20261122-084512-7f3a      or take back what it has done
    ");
}

proptest! {
    #[test]
    fn it_is_total_and_harmless(events in any_events()) {
        let text = told(&Summary::of(&events), false);
        prop_assert!(!text.contains(|c: char| c.is_control() && c != '\t' && c != '\n'), "{text:?}");
        let colored = told(&Summary::of(&events), true);
        prop_assert_eq!(console::strip_ansi_codes(&colored), text);
    }
}

fn changed(script: &mut Script, name: &str, text: &str, shared: bool) {
    script.fact(Fact::ChangeDescribed { host: host(name), text: text.to_owned(), shared });
}

#[test]
fn what_a_run_changes_is_one_line_where_it_is_the_same_on_all_hosts() {
    let lines = |shared: bool, texts: &[(&str, &str)]| {
        let mut script = Script::default();
        script.start("mysite", "deploy", &["web1", "web2", "web3"]);
        for (name, text) in texts {
            script.connect(name);
            changed(&mut script, name, text, shared);
        }
        let told = told(&Summary::of(&script.events), false);
        told.lines().filter(|line| line.starts_with("change: ")).collect::<Vec<_>>().join("\n")
    };
    let same = "1a2b3c4..5d6e7f8 Fix the login";
    assert_eq!(lines(false, &[("web1", same), ("web2", same), ("web3", same)]), format!("change: {same}"));
    // A step that ran once says it for all.
    assert_eq!(lines(true, &[("web1", same)]), format!("change: {same}"));
    insta::assert_snapshot!(lines(false, &[("web1", same), ("web2", "9f9f9f9..5d6e7f8 \u{1b}[2JFix"), ("web3", same)]), @r"
    change: 1a2b3c4..5d6e7f8 Fix the login (web[1,3])
    change: 9f9f9f9..5d6e7f8 \x1b[2JFix (web2)
    ");
    assert_eq!(lines(false, &[("web2", same)]), format!("change: {same} (web2)"), "of the others nothing is known");
    let long = "x".repeat(300);
    assert_eq!(lines(true, &[("web1", &long)]), format!("change: {}…", "x".repeat(99)));
}
