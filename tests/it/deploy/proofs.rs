//! What Production gets: what was proven on Test, as the books of Test's hosts say it, whoever asks from where.

use super::Site;
use super::order::with_clock;

const RECIPE: &str = r#"
[vars.release]
default = "old"
[vars.revision]
default = ""
[task.deploy]
proves = "revision"
tasks = ["pin", "roll"]
[[task.pin.phase]]
name = "pin"
once = true
[[task.pin.phase.step]]
name = "pin"
read-only = true
register = "revision"
run = "echo {{release}}"
[[task.roll.step]]
name = "roll"
run = "echo {{fleet.site}} {{revision}} >>@SHARED@/journal"
undo = "true"
[task.promote]
[[task.promote.step]]
name = "promote"
run = "echo {{fleet.site}} {{revision}} >>@SHARED@/journal"
"#;

/// `mysite-test` on two hosts, `mysite` on another, which follows it.
fn site() -> Site {
    let mut site = Site::start("stage = \"production\"\nfollows = \"mysite-test\"", &["web1"], RECIPE);
    site.add_site("mysite-test", "recipe = \"test\"\nstage = \"test\"", &["test1", "test2"]);
    site
}

fn last(site: &Site) -> String {
    site.journal().last().cloned().unwrap_or_default()
}

#[test]
fn a_second_laptop_brings_what_the_first_one_has_proven_last() {
    let site = site();
    let other = site.colleague();
    other.fleet(&["mysite-test", "deploy", "-e", "release=old"]).expect_code(0);
    site.fleet(&["mysite-test", "deploy", "-e", "release=new"]).expect_code(0);
    // The other one's own records know of the old one only.
    let output = other.fleet(&["mysite", "promote", "--yes"]).expect_code(0);
    assert_eq!(last(&site), "mysite new");
    let run = site.fleet(&["runs"]).stdout;
    let run = run.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let told = format!("note: revision new, proven on mysite-test by run {run} of ");
    assert!(output.stderr.contains(&told), "{told}: {}", output.stderr);
    assert!(output.stderr.contains(" ago\n"), "{}", output.stderr);
    assert!(output.stdout.contains("revision new, proven on mysite-test by run "), "{}", output.stdout);
    let shown = other.fleet(&["show"]).expect_code(0).stdout;
    assert!(shown.contains("revision new, proven on mysite-test by run "), "{shown}");
}

/// The first laptop's clock is a month ahead, as its run's name and the time in its proof say.
#[test]
fn a_clock_that_is_ahead_does_not_decide_what_production_gets() {
    let site = site();
    with_clock(&site, "+30d", &["mysite-test", "deploy", "-e", "release=old"]).expect_code(0);
    site.fleet(&["mysite-test", "deploy", "-e", "release=new"]).expect_code(0);
    site.fleet(&["mysite", "promote", "--yes"]).expect_code(0);
    assert_eq!(last(&site), "mysite new");
}

#[test]
fn a_run_that_was_taken_back_proves_nothing_any_more() {
    let mut site = site();
    site.fleet(&["mysite-test", "deploy", "-e", "release=old"]).expect_code(0);
    site.fleet(&["mysite-test", "deploy", "-e", "release=bad"]).expect_code(0);
    // One of the hosts is away: its book still calls it proven.
    site.host("test2").stop();
    let output = site.fleet(&["undo"]);
    assert_ne!(output.code, Some(0), "{}", output.stdout);
    site.host("test2").launch();
    let output = site.fleet(&["mysite", "promote", "--yes"]).expect_code(6);
    assert!(output.stderr.contains("no whole run has proven a revision there"), "{}", output.stderr);
    assert_eq!(site.journal().iter().filter(|line| line.starts_with("mysite ")).count(), 0);
}

#[test]
fn when_nobody_can_be_asked_only_a_typed_name_goes_on_and_the_record_says_not_proven() {
    let mut site = site();
    site.fleet(&["mysite-test", "deploy", "-e", "release=new"]).expect_code(0);
    for host in ["test1", "test2"] {
        site.host(host).stop();
    }
    let output = site.fleet(&["mysite", "promote", "--yes"]).expect_code(6);
    for told in ["no host of `mysite-test` could be asked what was proven there: test1: ", "hint: -e revision="] {
        assert!(output.stderr.contains(told), "{told}: {}", output.stderr);
    }
    let args = ["mysite", "promote", "--yes", "-e", "revision=new"];
    let output = site.fleet(&args).expect_code(6);
    assert!(output.stderr.contains("--yes does not answer this"), "{}", output.stderr);
    assert!(site.journal().iter().all(|line| !line.starts_with("mysite ")), "{:?}", site.journal());
    let question = "Type `mysite` to go on with it all the same:";
    let output = site.fleet_pty(&args, &[(question, "mysite\r")]).expect_code(0);
    assert!(output.stdout.contains("revision new, not proven on mysite-test"), "{}", output.stdout);
    assert_eq!(last(&site), "mysite new");
    let shown = site.fleet(&["show"]).expect_code(0).stdout;
    assert!(shown.contains("revision new, not proven on mysite-test"), "{shown}");
}

/// One host that answers is enough, and it is said that the other does not.
#[test]
fn a_host_of_the_followed_site_may_be_away() {
    let mut site = site();
    site.fleet(&["mysite-test", "deploy", "-e", "release=new"]).expect_code(0);
    site.host("test1").stop();
    let output = site.fleet(&["mysite", "promote", "--yes"]).expect_code(0);
    assert!(output.stderr.contains("note: asked for what `mysite-test` has proven, test1: "), "{}", output.stderr);
    assert_eq!(last(&site), "mysite new");
}

#[test]
fn a_run_on_a_part_of_the_site_proves_nothing() {
    let site = site();
    for args in [&["-l", "test1"][..], &["--only", "roll"]] {
        let deploy = [&["mysite-test", "deploy", "-e", "release=new", "-e", "revision=new"], args].concat();
        site.fleet(&deploy).expect_code(0);
        site.fleet(&["mysite", "promote", "--yes"]).expect_code(6);
    }
}
