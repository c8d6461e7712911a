//! What is asked before a site is touched: the name of a production site, and the proof that another site gave.

use std::io::Write as _;
use std::net::TcpListener;

use crate::support::git::{Upstream, checked_out};
use crate::support::hosts::ReadyProject;
use crate::support::output::Output;
use crate::support::project::Project;
use crate::support::terminal;

fn calls(ready: &ReadyProject) -> usize {
    ready.hosts().map(|(_, host)| host.calls()).sum()
}

const RUN: [&str; 4] = ["mysite", "run", "--", "true"];

#[test]
fn production_is_touched_by_whoever_types_its_name() {
    let ready = ReadyProject::start("stage = \"production\"", &["web1", "web2"]);
    let before = calls(&ready);
    for wrong in ["mysit\n", "yes\n", "\n", "\x04"] {
        let output = ready.fleet_pty(&RUN, &[("Type `mysite` to go on: ", wrong)]).expect_code(6);
        assert!(output.stdout.contains("is not `mysite`; nothing was changed"), "{}", output.stdout);
    }
    assert_eq!(calls(&ready), before);
    assert!(!ready.root().join(".fleet").exists(), "no record of what was not done");
    let output =
        ready.fleet_pty(&RUN, &[("run on production, 2 hosts. Type `mysite` to go on: ", "mysite\n")]).expect_code(0);
    assert_eq!(output.stdout.matches("Type `mysite`").count(), 1, "{}", output.stdout);
}

#[test]
fn production_without_a_terminal_needs_yes() {
    let mut ready = ReadyProject::start("stage = \"production\"", &["web1"]);
    ready.add_site("shop", "stage = \"demo\"", &["demo1"]);
    let before = calls(&ready);
    for (args, why) in [
        (&RUN[..], "there is no terminal to ask on"),
        (&["--no-input", "mysite", "run", "--", "true"], "--no-input forbids questions"),
    ] {
        let output = ready.fleet(args).expect_code(6);
        let told = format!(
            "error: not confirmed: run on production, 1 host. Type `mysite` to go on:\nhint: {why}; --yes answers it\n"
        );
        assert_eq!((output.stderr, output.stdout), (told, String::new()));
    }
    // One production site among others is enough, and then nothing is done on the others either.
    ready.fleet(&["all", "run", "--", "true"]).expect_code(6);
    assert_eq!(calls(&ready), before);
    ready.fleet(&["mysite", "run", "--yes", "--", "true"]).expect_code(0);
    ready.fleet(&["shop", "run", "--", "true"]).expect_code(0);
}

const GIT: &str = "recipe = \"git-site\"\n[vars]\nhome = \"site\"\ncrontab = \"\"\nstate = \"state\"\n";

/// `mysite-test`, and `mysite` that follows it, each with a checkout of the first commit.
struct Followed {
    ready: ReadyProject,
    upstream: Upstream,
}

impl Followed {
    fn start() -> Self {
        let upstream = Upstream::new();
        upstream.commit("first", &[("page", "one\n")]);
        let mut ready =
            ReadyProject::start(&format!("stage = \"production\"\nfollows = \"mysite-test\"\n{GIT}"), &["web1"]);
        ready.add_site("mysite-test", &format!("stage = \"test\"\n{GIT}"), &["test1"]);
        for name in ["web1", "test1"] {
            upstream.clone_to(&ready[name].home().join("site"));
        }
        Self { ready, upstream }
    }

    fn deploy(&self, site: &str, more: &[&str]) -> Output {
        self.ready.fleet(&[&[site, "deploy", "--yes"], more].concat())
    }

    fn on(&self, host: &str) -> String {
        checked_out(&self.ready[host].home().join("site"))
    }
}

#[test]
fn production_gets_exactly_what_was_proven_on_test() {
    let site = Followed::start();
    let first = site.upstream.head();
    let before = site.ready["web1"].calls();
    let output = site.deploy("mysite", &[]).expect_code(6);
    let told = "error: site `mysite` follows `mysite-test`, and no whole run has proven a revision there\nhint: fleet mysite-test deploy; ";
    assert!(output.stderr.starts_with(told), "{}", output.stderr);
    site.deploy("mysite", &["-e", &format!("revision={first}")]).expect_code(6);

    let proven = site.upstream.commit("second", &[("page", "two\n")]);
    site.deploy("mysite-test", &[]).expect_code(0);
    assert_eq!(site.ready["web1"].calls(), before, "nobody has asked it");
    // What comes upstream after the proof is not proven, by whatever name: here the branch has moved.
    site.upstream.tag("v2");
    let third = site.upstream.commit("third", &[("page", "three\n")]);
    for (other, commit) in [(third.as_str(), &third), (&third[..7], &third), (first.as_str(), &first), ("main", &third)]
    {
        let output = site.deploy("mysite", &["-e", &format!("revision={other}")]).expect_code(6);
        let asked = if other == commit { String::new() } else { format!(" {other}") };
        let told = format!("refused: revision{asked} is {commit} here, and {proven} was proven on mysite-test by run ");
        assert!(output.stderr.contains(&told), "{}", output.stderr);
    }
    assert_eq!(site.on("web1"), first);

    let plan = site.deploy("mysite", &["--dry-run"]).expect_code(0).stdout;
    assert!(plan.contains(&proven) && !plan.contains(&third), "{plan}");
    let explained = site.ready.fleet(&["list", "--explain", "mysite"]).expect_code(0).stdout;
    let revision = explained.lines().find(|line| line.contains("vars.revision")).unwrap();
    assert!(revision.ends_with("what is proven on mysite-test by then"), "{revision}");
    site.deploy("mysite", &[]).expect_code(0);
    assert_eq!((site.on("web1"), site.on("test1")), (proven.clone(), proven.clone()));
    // Who names the proven one is right, by whatever name.
    for name in [proven.as_str(), &proven[..7], "v2"] {
        site.deploy("mysite", &["-e", &format!("revision={name}")]).expect_code(0);
        assert_eq!(site.on("web1"), proven);
    }
}

#[test]
fn a_failed_run_or_a_part_of_one_proves_nothing() {
    let site = Followed::start();
    let proven = site.upstream.head();
    site.deploy("mysite-test", &[]).expect_code(0);
    site.upstream.commit("second", &[("page", "two\n")]);
    site.deploy("mysite-test", &["-e", "migrate=exit 3"]).expect_code(10);
    site.deploy("mysite-test", &["--only", "pull"]);
    let plan = site.deploy("mysite", &["--dry-run"]).expect_code(0).stdout;
    assert!(plan.contains(&proven), "{plan}");
}

/// fleet heard no Ctrl-C any more from the first question on.
#[test]
fn ctrl_c_after_a_question_ends_fleet() {
    let project = Project::new();
    project.generate_key_at("keys/fleet", "swordfish");
    // A host that takes the connection and says nothing, for longer than this test waits.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let site =
        format!("[ssh]\nport = {port}\nconnect-timeout = \"1h\"\n[[host]]\nname = \"web1\"\naddress = \"127.0.0.1\"\n");
    project.write("hosts/mysite.toml", site);
    let mut connections = Vec::new();
    let (_, shown) = terminal::watch((40, 100), &project.command(&["mysite", "status"]), &["assphrase"], |to| {
        to.write_all(b"swordfish\n").unwrap();
        connections.push(silent.accept().unwrap());
        to.write_all(b"\x03").unwrap();
    });
    assert!(!shown.contains("web1"), "it ended before anything was known: {shown}");
}
