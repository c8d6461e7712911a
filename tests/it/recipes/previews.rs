//! What a run would do, shown before the question whether to begin.

use std::io::Write as _;

use crate::deploy::Site;
use crate::support::files;
use crate::support::terminal;

const RECIPE: &str = r#"
[task.deploy]
preview = "deploy-preview"
[[task.deploy.step]]
name = "roll"
run = "echo {{fleet.host}} >>@SHARED@/journal"
[[task.deploy.step]]
name = "last"
run = "true"
[task.deploy-preview]
tasks = ["look"]
[[task.look.step]]
name = "look"
read-only = true
run = "sh @SHARED@/look {{fleet.host}}"
"#;

const QUESTION: &str = "Type `mysite` to go on: ";

fn site(look: &str) -> Site {
    let site = Site::start("stage = \"production\"", &["web1", "web2", "web3"], RECIPE);
    files::write(&site.shared().join("look"), look, 0o644);
    site
}

fn runs(site: &Site) -> String {
    site.fleet(&["runs"]).stdout
}

#[test]
fn what_hosts_print_is_shown_before_the_question_and_told_once() {
    let site = site(
        "echo '1a2b..5d6e Fix \u{1b}[2Jit'\n[ $1 != web2 ] || { echo two; echo 'warning odd -- not as the others' >>$FLEET_FINDINGS; }",
    );
    let output = site.fleet_pty(&["mysite", "deploy"], &[(QUESTION, "no\n")]).expect_code(6);
    let shown = output.stdout.replace('\r', "");
    let told =
        "deploy-preview on 3 hosts:\nweb[1,3]: 1a2b..5d6e Fix \\x1b[2Jit\nweb2:\n  1a2b..5d6e Fix \\x1b[2Jit\n  two\n";
    assert!(shown.contains(told), "{shown}");
    let (before, after) = shown.split_once("mysite deploy: 3 hosts").unwrap();
    assert!(before.contains("not as the others") && after.contains(QUESTION), "{shown}");
    assert_eq!(site.journal(), Vec::<String>::new());
    assert!(!site.book("web1").exists(), "it needs no lock");
    assert!(runs(&site).contains("deploy-preview"), "a run like any other that only looks: {}", runs(&site));

    let output = site.fleet_pty(&["mysite", "deploy"], &[(QUESTION, "mysite\n")]).expect_code(0);
    assert_eq!(output.stdout.matches("1a2b..5d6e").count(), 2, "{}", output.stdout);
    assert_eq!(site.journal().len(), 3);
}

#[test]
fn when_it_fails_or_is_refused_nothing_is_asked() {
    for (look, code, told) in [
        ("echo 'no such release' >&2; [ $1 != web2 ]", 10, "look: exit status 1"),
        ("echo 'block lost -- data would be lost' >>$FLEET_FINDINGS", 6, "data would be lost"),
    ] {
        let site = site(look);
        let shown = site.fleet_pty(&["mysite", "deploy", "--max-fail", "2"], &[]).expect_code(code).stdout;
        assert!(shown.contains(told), "{told}: {shown}");
        assert!(shown.contains("nothing was asked, and nothing was changed"), "{shown}");
        assert!(!shown.contains("Type `"), "{shown}");
        assert_eq!(site.journal(), Vec::<String>::new());
    }
}

/// Where nobody is asked, nobody would read it.
#[test]
fn it_is_not_run_where_nothing_is_asked() {
    let site = site("echo looked");
    let calls = || site.hosts().map(|(_, host)| host.calls()).sum::<usize>();
    let before = calls();
    let plan = site.fleet(&["-n", "mysite", "deploy"]).expect_code(0).stdout;
    assert!(
        plan.contains("  preview   fleet mysite deploy-preview, run before the question whether to begin\n"),
        "{plan}"
    );
    site.fleet(&["mysite", "deploy"]).expect_code(6);
    assert_eq!(calls(), before, "nobody was contacted");
    site.fleet(&["mysite", "deploy", "--yes"]).expect_code(0);
    site.fleet_pty(&["mysite", "deploy", "--yes"], &[]).expect_code(0);
    let shown = site.fleet_pty(&["mysite", "deploy", "--only", "roll"], &[(QUESTION, "no\n")]).expect_code(6).stdout;
    let told = "note: steps are left out, so the preview, `deploy-preview`, is left out, too";
    assert!(shown.contains(told), "{shown}");
    assert!(!runs(&site).contains("deploy-preview"), "{}", runs(&site));
    // Where it is no production, nobody is asked either.
    let file = site.read("hosts/mysite.toml");
    site.write("hosts/mysite.toml", file.replace("production", "demo"));
    site.fleet_pty(&["mysite", "deploy"], &[]).expect_code(0);
    assert!(!runs(&site).contains("deploy-preview"), "{}", runs(&site));
}

#[test]
fn a_host_that_is_away_is_named_in_the_question_as_long_as_the_run_would_do_without_it() {
    let mut site = site("echo here");
    site.host("web2").stop();
    let shown = site.fleet_pty(&["mysite", "deploy", "--max-fail", "1"], &[(QUESTION, "no\n")]).expect_code(6).stdout;
    assert!(shown.contains("deploy on production, 3 hosts (web2 cannot be reached). Type"), "{shown}");
    assert!(shown.contains("web[1,3]: here"), "{shown}");
    let shown = site.fleet_pty(&["mysite", "deploy"], &[]).expect_code(11).stdout;
    assert!(shown.contains("web2: unreachable: ") && !shown.contains("Type `"), "{shown}");
    assert_eq!(site.journal(), Vec::<String>::new());
}

#[test]
fn an_interrupt_ends_it_at_once_and_nothing_is_asked() {
    let site = site("");
    let looks = site.shared().join("looks");
    files::write(
        &site.shared().join("look"),
        format!("[ $1 != web1 ] || {{ touch {}; sleep 600; }}", looks.display()),
        0o644,
    );
    let (code, shown) = terminal::watch((40, 100), &site.command(&["mysite", "deploy"]), &["on 3 hosts:"], |to| {
        crate::support::process::wait_for("the preview", || looks.exists().then_some(()));
        to.write_all(b"\x03").unwrap();
    });
    assert_eq!(code, Some(130), "{shown}");
    assert!(shown.contains("nothing was asked, and nothing was changed"), "{shown}");
    assert_eq!(site.journal(), Vec::<String>::new());
}

/// What is given, and what another site has proven, are what the run would take.
#[test]
fn it_knows_what_the_run_would_take() {
    let recipe = "[vars.revision]\ndefault = \"\"\n[task.deploy]\nproves = \"revision\"\npreview = \"look\"\n\
                  [[task.deploy.step]]\nname = \"pin\"\nread-only = true\nregister = \"revision\"\nrun = \"echo {{revision}}\"\n\
                  [[task.deploy.step]]\nname = \"roll\"\nrun = \"echo {{revision}} >>@SHARED@/journal\"\n\
                  [[task.look.step]]\nname = \"look\"\nread-only = true\nrun = \"echo would take {{revision}}\"\n";
    let mut site = Site::start("stage = \"production\"\nfollows = \"mysite-test\"", &["web1"], recipe);
    site.add_site("mysite-test", "recipe = \"test\"\nstage = \"test\"", &["test1"]);
    site.fleet(&["mysite-test", "deploy", "-e", "revision=r1"]).expect_code(0);
    let shown = site.fleet_pty(&["mysite", "deploy"], &[(QUESTION, "no\n")]).expect_code(6).stdout;
    assert!(shown.contains("web1: would take r1"), "{shown}");
    let args = ["mysite", "deploy", "-e", "revision=v2"];
    let shown = site.fleet_pty(&args, &[(QUESTION, "no\n")]).expect_code(6).stdout;
    assert!(shown.contains("web1: would take v2") && shown.contains("revision r1, proven on"), "{shown}");
}
