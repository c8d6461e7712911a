//! Several values that are proven together: what a follower takes, what it compares, and what only looks.

use super::{Site, outcomes};
use crate::support::files;

const RECIPE: &str = r#"
[vars.release]
default = "old"
[vars.revision]
default = ""
[task.deploy]
proves = ["revision", "fixes"]
tasks = ["pin", "roll"]
[[task.pin.phase]]
name = "pin"
once = true
[[task.pin.phase.step]]
name = "pin"
read-only = true
register = "revision"
run = "echo {{release}}"
[[task.pin.phase.step]]
name = "fixes"
read-only = true
register = "fixes"
run = "cat @SHARED@/fixes.{{fleet.site}}"
[[task.roll.step]]
name = "roll"
run = "echo {{fleet.site}} {{revision}} {{fixes}} >>@SHARED@/journal"
undo = "true"
[task.promote]
[[task.promote.step]]
name = "close"
run = "echo {{fleet.site}} close {{revision}} >>@SHARED@/journal"
undo = "echo {{fleet.site}} reopen >>@SHARED@/journal"
[[task.promote.step]]
name = "fixes"
register = "fixes"
run = "cat @SHARED@/fixes.{{fleet.site}}"
[[task.promote.step]]
name = "promote"
run = "echo {{fleet.site}} {{revision}} {{fixes}} >>@SHARED@/journal"
[task.look]
[[task.look.step]]
name = "look"
read-only = true
run = "echo looks at {{revision}}"
"#;

/// `mysite-test` on two hosts, `mysite` on another, which follows it.
fn site() -> Site {
    let mut site = Site::start("follows = \"mysite-test\"", &["web1"], RECIPE);
    site.add_site("mysite-test", "recipe = \"test\"\nstage = \"test\"", &["test1", "test2"]);
    for name in ["mysite", "mysite-test"] {
        fixes(&site, name, "fix 9c%1f=a\n and more");
    }
    site
}

fn fixes(site: &Site, of: &str, text: &str) {
    files::write(&site.shared().join(format!("fixes.{of}")), text, 0o644);
}

/// The first line of what a host of Test has in its book as proven.
fn book(site: &Site, host: &str) -> String {
    let text = files::read(&site.spool(host).join("book.mysite-test/proof"));
    text.lines().next().unwrap().to_owned()
}

fn run_of(site: &Site) -> String {
    let runs = site.fleet(&["runs"]).stdout;
    runs.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
}

#[test]
fn what_is_proven_together_comes_to_the_follower_and_the_table_says_what_is_new() {
    let site = site();
    let output = site.fleet(&["mysite-test", "deploy", "-e", "release=one"]).expect_code(0);
    let proven = "proven: revision = one (new here), fixes = fix 9c%1f=a\\n and more (new here)\n";
    assert!(output.stdout.contains(proven), "{}", output.stdout);
    for host in ["test1", "test2"] {
        assert!(book(&site, host).ends_with(" fixes=fix%209c%251f%3Da%0A%20and%20more"), "{}", book(&site, host));
    }
    let output = site.fleet(&["mysite-test", "deploy", "-e", "release=two"]).expect_code(0);
    assert!(output.stdout.contains("proven: revision = two (new here), fixes = fix"), "{}", output.stdout);
    assert!(output.stdout.contains("and more (as before)\n"), "{}", output.stdout);
    let run = run_of(&site);
    let output = site.fleet(&["mysite", "promote"]).expect_code(0);
    let taken = format!("revision two, fixes fix 9c%1f=a\\n and more, proven on mysite-test by run {run} of ");
    assert!(output.stdout.contains(&taken), "{taken}: {}", output.stdout);
    assert_eq!(site.journal().last().unwrap(), " and more");
    let shown = site.fleet(&["show"]).expect_code(0).stdout;
    assert!(shown.contains(&taken), "{shown}");
}

#[test]
fn another_value_than_the_proven_one_is_refused_and_undone() {
    let site = site();
    site.fleet(&["mysite-test", "deploy", "-e", "release=one"]).expect_code(0);
    fixes(&site, "mysite", "others");
    let output = site.fleet(&["mysite", "promote", "--json"]).expect_code(6);
    assert_eq!(outcomes(&output), ["web1 rolled-back"]);
    let told = "refused: fixes is others here, and fix 9c%1f=a";
    assert!(output.stderr.contains(told), "{}", output.stderr);
    assert!(output.stderr.contains("was proven on mysite-test by run "), "{}", output.stderr);
    let own = site.journal().into_iter().filter(|line| line.starts_with("mysite ")).collect::<Vec<_>>();
    assert_eq!(own, ["mysite close one", "mysite reopen"]);
}

/// It would have asked Test's hosts, and kept a deployment away.
#[test]
fn a_task_that_only_looks_asks_nobody_and_locks_nothing() {
    let mut site = site();
    for host in ["test1", "test2"] {
        site.host(host).stop();
    }
    let output = site.fleet(&["mysite", "look", "-e", "revision=some"]).expect_code(0);
    assert!(output.stderr.contains("| looks at some\n"), "{}", output.stderr);
    assert!(!output.all().contains("proven"), "{}", output.all());
    assert!(!site.book("web1").exists());
    site.fleet(&["mysite", "promote"]).expect_code(6);
}

/// A book that the version before has written: one variable, and nobody knew of others.
#[test]
fn a_book_of_an_older_fleet_is_read() {
    let site = site();
    site.fleet(&["mysite-test", "deploy", "-e", "release=one"]).expect_code(0);
    for host in ["test1", "test2"] {
        let line = book(&site, host);
        let old: Vec<&str> = line.split(' ').take(5).collect();
        files::write(&site.spool(host).join("book.mysite-test/proof"), format!("{}\none\n", old.join(" ")), 0o660);
    }
    let output = site.fleet(&["mysite", "promote"]).expect_code(6);
    let told = "the last that was proven on `mysite-test`, has not proven a fixes\nhint: fleet mysite-test deploy\n";
    assert!(output.stderr.contains(told), "{}", output.stderr);
    // A recipe that proves the revision alone.
    site.recipe(&RECIPE.replace("proves = [\"revision\", \"fixes\"]", "proves = \"revision\""));
    let output = site.fleet(&["mysite", "promote"]).expect_code(0);
    assert!(output.stdout.contains("revision one, proven on mysite-test by run "), "{}", output.stdout);
    let output = site.fleet(&["mysite-test", "deploy", "-e", "release=one"]).expect_code(0);
    assert!(output.stdout.contains("proven: revision = one (as before)\n"), "{}", output.stdout);
}

/// A loss that Test did not have, or a larger one than was accepted there, is not what anybody has looked at.
#[test]
fn a_block_is_accepted_for_as_many_values_as_on_the_site_that_is_followed() {
    let recipe = r#"
[task.deploy]
proves = "revision"
[[task.deploy.step]]
name = "pin"
read-only = true
register = "revision"
run = "echo r7"
[task.promote]
[[task.promote.step]]
name = "preview"
read-only = true
run = "cat @SHARED@/findings.{{fleet.site}} >>\"$FLEET_FINDINGS\""
[[task.promote.step]]
name = "promote"
run = "echo {{fleet.site}} {{revision}} >>@SHARED@/journal"
"#;
    let accept = "[accept]\n\"person.initials\" = \"moved by fix 3\"\n";
    let mut site = Site::start(&format!("follows = \"mysite-test\"\n{accept}"), &["web1"], recipe);
    site.add_site("mysite-test", &format!("recipe = \"test\"\nstage = \"test\"\n{accept}"), &["test1", "test2"]);
    let findings = |of: &str, values: &str| {
        let text = format!("block person.initials{values} -- data would be lost\n");
        files::write(&site.shared().join(format!("findings.{of}")), text, 0o644);
    };
    findings("mysite-test", " values=12");
    site.fleet(&["mysite-test", "promote", "deploy", "-e", "revision=r7"]).expect_code(0);
    for (values, code) in [(" values=12", 0), (" values=13", 6), ("", 0)] {
        findings("mysite", values);
        let output = site.fleet(&["mysite", "promote"]).expect_code(code);
        assert_eq!(output.stderr.contains("(accepted on mysite-test: 12)"), code == 6, "{}", output.stderr);
    }
    let journal = site.journal();
    let on_production: Vec<_> = journal.iter().filter(|line| *line == "mysite r7").collect();
    assert_eq!(on_production.len(), 2, "{journal:?}");
    // A proof without it: there was nothing to accept.
    files::write(&site.shared().join("findings.mysite-test"), "", 0o644);
    site.fleet(&["mysite-test", "promote", "deploy", "-e", "revision=r7"]).expect_code(0);
    findings("mysite", " values=1");
    site.fleet(&["mysite", "promote"]).expect_code(6);
}

/// The head of a dry run, and what precedes the question: from which release to which one.
#[test]
fn a_follower_s_dry_run_says_from_what_to_what() {
    let recipe = "[vars.revision]\ndefault = \"\"\n[task.deploy]\nproves = \"revision\"\n\
                  [[task.deploy.step]]\nname = \"pin\"\nregister = \"revision\"\nrun = \"echo {{revision}}\"\n";
    let mut site = Site::start("stage = \"production\"\nfollows = \"mysite-test\"", &["web1"], recipe);
    site.add_site("mysite-test", "recipe = \"test\"\nstage = \"test\"", &["test1"]);
    site.fleet(&["mysite-test", "deploy", "-e", "revision=r1"]).expect_code(0);
    let first = site.fleet(&["-n", "mysite", "deploy"]).expect_code(0).stdout;
    assert!(
        first.contains("  follows   revision r1, proven on mysite-test by run ") && !first.contains("  from "),
        "{first}"
    );
    site.fleet(&["mysite", "deploy", "--yes"]).expect_code(0);
    site.fleet(&["mysite-test", "deploy", "-e", "revision=r2"]).expect_code(0);
    let second = site.fleet(&["-n", "mysite", "deploy"]).expect_code(0).stdout;
    let (from, to) = ("  from      revision r1, by run ", "  follows   revision r2, proven on mysite-test by run ");
    assert!(second.contains(from) && second.contains(to), "{second}");
    let asked = site.fleet_pty(&["mysite", "deploy"], &[("to go on:", "no\n")]).stdout;
    assert!(asked.contains("revision r1, by run ") && asked.contains("revision r2, proven on mysite-test"), "{asked}");
}

/// A release has several names; `pin` finds out what each means, before anything changes.
const NAMES: &str = r#"
[vars.revision]
default = ""
[task.deploy]
proves = "revision"
[[task.deploy.step]]
name = "pin"
read-only = true
register = "revision"
run = "awk -v name={{revision}} '$1 == name { print $2 }' @SHARED@/names"
[[task.deploy.step]]
name = "roll"
run = "echo {{fleet.site}} {{revision}} >>@SHARED@/journal"
"#;

fn named(names: &str) -> Site {
    let mut site = Site::start("stage = \"production\"\nfollows = \"mysite-test\"", &["web1", "web2"], NAMES);
    site.add_site("mysite-test", "recipe = \"test\"\nstage = \"test\"", &["test1"]);
    files::write(&site.shared().join("names"), names, 0o644);
    site
}

#[test]
fn a_follower_takes_the_proven_release_by_another_name_and_no_other_release() {
    let site = named("v1 aaa111\naaa1 aaa111\nmain aaa111\nv2 bbb222\nbbb222 bbb222\naaa111 aaa111\n");
    site.fleet(&["mysite-test", "deploy", "-e", "revision=main"]).expect_code(0);
    // The branch moves meanwhile.
    files::write(
        &site.shared().join("names"),
        "v1 aaa111\naaa1 aaa111\nmain bbb222\nv2 bbb222\naaa111 aaa111\n",
        0o644,
    );
    let deploy = |name: &str| site.fleet(&["mysite", "deploy", "--yes", "-e", &format!("revision={name}")]);
    for other in ["v2", "main", "gone"] {
        let output = deploy(other).expect_code(6);
        let meant = if other == "gone" { "" } else { "bbb222" };
        let told = format!("refused: revision {other} is {meant} here, and aaa111 was proven on mysite-test by run ");
        assert!(output.stderr.contains(&told), "{told}: {}", output.stderr);
        assert!(output.stdout.contains(&format!("revision {other} asked for; revision aaa111, proven on mysite-test")));
    }
    assert_eq!(site.journal(), ["mysite-test aaa111"], "no step after `pin` ran");
    for same in ["v1", "aaa1", "aaa111"] {
        deploy(same).expect_code(0);
    }
    let journal = site.journal();
    assert!(journal[1..].iter().all(|line| line == "mysite aaa111") && journal.len() == 7, "{journal:?}");
    // As before, where no step finds out what it means.
    let output = site.fleet(&["mysite", "deploy", "--yes", "--skip", "pin", "-e", "revision=v1"]).expect_code(6);
    let told = "error: revision v1 is not what `mysite-test` has proven: aaa111 (run ";
    assert!(output.stderr.starts_with(told), "{}", output.stderr);
    assert_eq!(site.journal(), journal);
}

/// On one host the name means the proven release, on the other it does not: only the first is rolled.
#[test]
fn each_host_compares_what_the_name_means_there() {
    let site = named("v1 aaa111\n");
    site.fleet(&["mysite-test", "deploy", "-e", "revision=v1"]).expect_code(0);
    let name = "awk -v name={{revision}}";
    site.recipe(&NAMES.replace(
        name,
        &format!("[ {{{{fleet.host}}}} != web2 ] || echo bbb222; [ {{{{fleet.host}}}} = web2 ] || {name}"),
    ));
    let output = site.fleet(&["mysite", "deploy", "--yes", "--max-fail", "1", "-e", "revision=v1"]).expect_code(6);
    assert!(output.stderr.contains("refused: revision v1 is bbb222 here, and aaa111 was proven"), "{}", output.stderr);
    assert!(!site.journal().iter().any(|line| line.contains("bbb222")), "{:?}", site.journal());
}

#[test]
fn the_question_says_what_is_asked_for_and_what_is_proven() {
    let site = named("v1 aaa111\nv2 bbb222\n");
    site.fleet(&["mysite-test", "deploy", "-e", "revision=v1"]).expect_code(0);
    let asked = site.fleet_pty(&["mysite", "deploy", "-e", "revision=v2"], &[("to go on:", "no\n")]).expect_code(6);
    let told = "revision v2 asked for; revision aaa111, proven on mysite-test by run ";
    assert!(asked.stdout.contains(told), "{}", asked.stdout);
    assert!(asked.stdout.contains("refused where they are not the same"), "{}", asked.stdout);
    assert_eq!(site.journal(), ["mysite-test aaa111"]);
}
