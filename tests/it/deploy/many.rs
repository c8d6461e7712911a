//! Hundreds of hosts: fast, truthful, within the descriptors there are, on a screen that is too small for all.

use std::fmt::Write as _;
use std::process::Command;

use fleet::demo::server::{EmbeddedFleet, Faults, HostSpec};
use tokio::runtime::Runtime;

use super::{check_stream, outcomes};
use crate::support::files;
use crate::support::output::Output;
use crate::support::process::wait_for;
use crate::support::project::Project;
use crate::support::screen::{Kind, Screen};
use crate::support::terminal;
use crate::support::tools::tool;

const HOSTS: usize = 300;

/// A project with a site of many embedded hosts, which share one home folder.
struct Many {
    project: Project,
    fleet: Option<EmbeddedFleet>,
    runtime: Runtime,
}

impl Many {
    fn start(hosts: usize) -> Self {
        let project = Project::new();
        let public_key = project.generate_key();
        files::write(&project.home().join(".ssh/authorized_keys"), public_key + "\n", 0o600);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let names: Vec<String> = (1..=hosts).map(|n| format!("web{n:03}")).collect();
        let specs = names.iter().map(|name| HostSpec { name: name.clone(), folder: project.home() });
        let fleet = runtime.block_on(EmbeddedFleet::start(specs.collect())).unwrap();
        let (mut site, mut pins) = ("recipe = \"test\"\n[ssh]\nuser = \"root\"\n".to_owned(), String::new());
        for name in &names {
            let port = fleet.port(name).unwrap();
            let _ = writeln!(site, "[[host]]\nname = \"{name}\"\naddress = \"127.0.0.1\"\nport = {port}");
            let _ = writeln!(pins, "[127.0.0.1]:{port} {}", fleet.host_key(name).unwrap());
        }
        project.write("hosts/big.toml", site);
        project.write("keys/known_hosts", pins);
        let step = "[[task.wait.step]]\nname = \"wait\"\nrun = \"echo {{fleet.host}} >>~/waiting; while [ ! -e ~/go ]; do sleep 0.1; done\"\n";
        project.write("recipes/test.toml", format!("[recipe]\ndoc = \"test\"\n{step}"));
        Self { project, fleet: Some(fleet), runtime }
    }

    fn fleet(&self) -> &EmbeddedFleet {
        self.fleet.as_ref().unwrap()
    }

    fn limited(&self, limit: &str, args: &[&str]) -> Output {
        let fleet = self.project.command(args);
        let mut shell = Command::new(tool("sh"));
        shell.args(["-c", &format!("ulimit {limit}; exec \"$0\" \"$@\"")]).arg(fleet.get_program()).args(args);
        let environment = fleet.get_envs().filter_map(|(name, value)| Some((name, value?)));
        shell.current_dir(self.project.root()).env_clear().envs(environment);
        self.project.run(args, &mut shell)
    }
}

impl Drop for Many {
    fn drop(&mut self) {
        if let Some(fleet) = self.fleet.take() {
            self.runtime.block_on(fleet.stop());
        }
    }
}

#[test]
fn three_hundred_hosts_are_fast_and_truthful_within_the_descriptors_there_are() {
    let many = Many::start(HOSTS);
    many.fleet().set_faults("web007", Faults { refuse_auth: true, ..Faults::default() });
    many.fleet().set_faults("web008", Faults { close_at_once: true, ..Faults::default() });
    many.fleet().set_faults("web009", Faults { refuse_exec: true, ..Faults::default() });
    // The usual soft limit is raised to the hard one.
    let output = many.limited("-S -n 128", &["big", "--json", "run", "--", "true"]).expect_code(10);
    check_stream(&output);
    let all = outcomes(&output);
    assert_eq!(all.len(), HOSTS);
    assert_eq!(all.iter().filter(|line| line.ends_with(" succeeded")).count(), HOSTS - 3);
    assert_eq!(all[6..9], ["web007 unreachable", "web008 unreachable", "web009 failed"]);
    // Hosts that ended alike share a row.
    assert!(output.stderr.contains("web[001-006,010-300]  succeeded"), "{}", output.stderr.lines().last().unwrap());

    // Where no limit can be raised, a run fits, or is refused before anything is contacted.
    for host in ["web007", "web008", "web009"] {
        many.fleet().set_faults(host, Faults::default());
    }
    many.limited("-n 256", &["big", "-q", "run", "--", "true"]).expect_code(0);
    files::write(&many.project.home().join("go"), "", 0o644);
    let before = many.fleet().seen("web001").unwrap();
    // A task has all of its hosts connected before it begins, however few it works on at a time.
    for (args, fewer) in
        [(&["big", "-P", "0", "run", "--", "true"][..], "hosts at a time: -P"), (&["big", "wait"], "hosts: --limit")]
    {
        let refused = many.limited("-n 256", args).expect_code(5);
        let told = format!(
            "error: a run on 300 hosts may need 476 open files at once, and the limit is 256\n\
             hint: ulimit -n 476, or fewer {fewer}\n"
        );
        assert_eq!(refused.stderr, told);
    }
    assert_eq!(many.fleet().seen("web001").unwrap(), before);
    // What is no run does with fewer at a time.
    for args in [&["big", "-P", "0", "status"][..], &["big", "-P", "0", "trust"]] {
        let capped = many.limited("-n 200", args).expect_code(0);
        assert_eq!(capped.stderr, "50 hosts at a time, not 300: the limit is 200 open files\n");
    }
    many.limited("-n 476", &["big", "-q", "wait"]).expect_code(0);
    many.limited("-n 256", &["big", "-q", "wait", "-l", "web[001-100]"]).expect_code(0);
}

#[test]
fn a_screen_that_is_too_small_shows_those_that_run_and_counts_the_others() {
    let many = Many::start(HOSTS);
    let go = many.project.home().join("go");
    let args = ["big", "wait", "-l", "web[001-100]", "-P", "60"];
    let waiting = || files::try_read(&many.project.home().join("waiting")).filter(|text| text.lines().count() == 60);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_for("sixty hosts at work", waiting);
            files::write(&go, "", 0o644);
        });
        let (code, shown) = terminal::run(&many.project.command(&args), &[("more: ", "")]);
        assert_eq!(code, Some(0), "{shown}");
        let folded = regex::Regex::new(r"… \d+ more: \d+ running, \d+ waiting").unwrap();
        assert!(folded.is_match(&shown), "{shown}");
        assert!(shown.contains("100 hosts: 60 running, 40 waiting"), "{shown}");
        assert!(shown.contains("big wait succeeded after "), "{shown}");
    });
}

/// tmux moves a screen that is cleared from its first row on into the scrollback: each redraw left a copy of the view there.
#[test]
fn forty_hosts_on_a_small_screen_leave_the_scrollback_as_it_was() {
    let many = Many::start(40);
    let print = "for n in 1 2 3 4 5 6 7 8 9; do echo line $n of {{fleet.host}}; sleep 0.1; done";
    let step = format!("[[task.print.step]]\nname = \"print\"\nrun = \"{print}; [ {{{{fleet.host}}}} != web007 ]\"\n");
    many.project.write("recipes/test.toml", format!("[recipe]\ndoc = \"test\"\n{step}"));
    for (kind, args) in [
        (Kind::Modern, ["big", "run", "-P0", "--", &print.replace("{{fleet.host}}", "$$")].as_slice()),
        (Kind::Modern, &["big", "print", "-P0"]),
        (Kind::Plain, &["big", "print", "-P0"]),
    ] {
        let (code, written) = terminal::run_on((24, 100), &many.project.command(args), &[]);
        assert_eq!(code, Some(if args[1] == "run" { 0 } else { 10 }), "{written}");
        assert!(written.contains("40 hosts: "), "no view was drawn: {written}");
        let mut screen = Screen::new(kind, 24, 100);
        screen.feed("$ fleet big\r\n");
        screen.feed(&written);
        let history = screen.history();
        assert_eq!(history[0], "$ fleet big");
        assert!(!history.iter().any(|line| line.contains(" hosts: ") || line.contains(" more: ")), "{history:#?}");
        for host in (1..=40).map(|n| format!("web{n:03}")) {
            let lines = history.iter().filter_map(|line| line.strip_prefix(&format!("{host} | ")));
            let lines: Vec<&str> = lines.filter_map(|line| Some(&line[line.find("line ")? + 5..][..1])).collect();
            // Of a task, the lines of the host on which it failed.
            let all = if args[1] == "run" || host == "web007" { "123456789" } else { "" };
            assert_eq!(lines.concat(), all, "{host} in {history:#?}");
        }
    }
}

#[test]
fn one_cause_on_forty_hosts_is_reported_once() {
    let mut many = Many::start(40);
    // Each host has a port of its own, and nothing listens there any more.
    many.runtime.block_on(many.fleet.take().unwrap().stop());
    let line = "web[001-040]: unreachable: cannot connect to its address: connection refused";
    let refused = |text: &str| text.lines().filter(|line| line.contains("refused")).collect::<Vec<_>>().join("\n");
    // How many lines tell it while the run goes on depends on how soon the hosts refuse.
    let table = many.project.fleet(&["big", "wait"]).expect_code(11).stdout;
    assert_eq!(refused(&table), line, "{table}");
    let shown = many.project.fleet(&["show"]).expect_code(0).stdout;
    assert_eq!(refused(&shown), line, "{shown}");
    // Events and logs keep every address.
    let output = many.project.fleet(&["big", "wait", "--json"]).expect_code(11);
    let reasons: std::collections::BTreeSet<String> =
        output.events().iter().filter_map(|event| Some(event.get("reason")?.as_str()?.to_owned())).collect();
    let addresses = reasons.iter().filter(|reason| reason.contains("127.0.0.1:")).count();
    assert_eq!(addresses, 40, "{reasons:#?}");
    let log = many.project.fleet(&["logs", "last", "web007"]).expect_code(0).stdout;
    assert!(log.contains("cannot connect to 127.0.0.1:"), "{log}");
}
