//! Which run is the last one: the one that was recorded last, whatever a clock said.

use std::process::Command;

use super::Site;
use crate::support::files;
use crate::support::output::Output;
use crate::support::tools::tool;

const RECIPE: &str = r#"
[[task.deploy.step]]
name = "work"
run = "echo {{fleet.run}} done >>@SHARED@/journal; echo {{what}}"
undo = "echo {{fleet.run}} undone >>@SHARED@/journal"
[vars.what]
default = "nothing"
"#;

/// Fleet on a machine whose clock is that far off.
pub fn with_clock(site: &Site, offset: &str, args: &[&str]) -> Output {
    let fleet = site.command(args);
    let mut faked = Command::new(tool("faketime"));
    faked.args(["-f", offset]).arg(fleet.get_program()).args(args).current_dir(site.root()).env_clear();
    faked
        .envs(fleet.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    faked.stdin(std::process::Stdio::null());
    site.run(args, &mut faked)
}

/// The runs that have done something, in the order in which they did.
fn done(site: &Site) -> Vec<String> {
    site.journal().iter().filter_map(|line| line.strip_suffix(" done")).map(str::to_owned).collect()
}

/// For a month, `undo`, `show` and the others would have taken the run of the future for the last one.
#[test]
fn the_last_run_is_the_one_recorded_last_also_after_a_clock_was_ahead() {
    let site = Site::start("", &["web1"], RECIPE);
    site.fleet(&["mysite", "deploy", "-e", "what=first"]).expect_code(0);
    with_clock(&site, "+30d", &["mysite", "deploy", "-e", "what=ahead"]).expect_code(0);
    site.fleet(&["mysite", "deploy", "-e", "what=now"]).expect_code(0);
    let [first, ahead, now] = done(&site).try_into().unwrap();
    assert!(ahead > now && now > first, "the clock was not ahead: {ahead} {now}");

    let listed = site.fleet(&["runs"]).expect_code(0).stdout;
    let listed: Vec<&str> = listed.lines().skip(1).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(listed, [&now, &ahead, &first]);
    assert!(site.fleet(&["show"]).expect_code(0).stdout.contains(&now));
    assert!(site.fleet(&["logs", "last"]).expect_code(0).stdout.contains("out| now\n"));
    let over = site.fleet(&["resume"]).expect_code(6).stderr;
    assert!(over.contains(&format!("run {now} has succeeded")), "{over}");
    site.fleet(&["undo"]).expect_code(0);
    assert_eq!(site.journal().last().unwrap(), &format!("{now} undone"));
    // And the other way round: a clock that is behind hides nothing.
    with_clock(&site, "-30d", &["mysite", "deploy", "-e", "what=behind"]).expect_code(0);
    let behind = done(&site).pop().unwrap();
    assert!(behind < first);
    assert!(site.fleet(&["show"]).expect_code(0).stdout.contains(&behind));
    // Runs from before there was an order come first, by their names.
    std::fs::remove_file(site.root().join(".fleet/order")).unwrap();
    site.fleet(&["mysite", "deploy"]).expect_code(0);
    let newest = done(&site).pop().unwrap();
    let listed = site.fleet(&["runs"]).expect_code(0).stdout;
    let listed: Vec<&str> = listed.lines().skip(1).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(listed, [&newest, &ahead, &now, &first, &behind]);
}

/// Two that begin at the same moment, and many: each is there, and one of them is the last.
#[test]
fn runs_that_begin_together_are_all_in_order() {
    let site = Site::start("", &["web1"], "[[task.look.step]]\nname = \"look\"\nread-only = true\nrun = \"true\"\n");
    let running: Vec<_> = (0..6).map(|_| site.spawn(&["mysite", "look"])).collect();
    for running in running {
        running.wait().expect_code(0);
    }
    let order = files::read(&site.root().join(".fleet/order"));
    let listed = site.fleet(&["runs"]).expect_code(0).stdout;
    let listed: Vec<&str> = listed.lines().skip(1).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(listed.len(), 6);
    assert_eq!(order.lines().rev().collect::<Vec<_>>(), listed);
}
