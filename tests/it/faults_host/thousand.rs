//! A thousand hosts of which a tenth are black holes: what is sent to them is lost, and no answer comes.
//!
//! One `sshd` in a network namespace answers on all of 127.0.0.0/8 there, and each address has a home folder. `fleet` runs in the
//! namespace as well; nothing of it can be reached from outside.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::deploy::{check_stream, outcomes};
use crate::support::files;
use crate::support::output::Output;
use crate::support::process::{run, wait_for};
use crate::support::project::{Project, Running};
use crate::support::tools::{PATH, tool};
use crate::support::user;

const LIVE: usize = 900;
const DEAD: usize = 100;
/// The dead ones and, at a time, 32 that live. Not all at once: here controller and hosts share two cores, and nine hundred logins would
/// not be through in the 20 s that each may take.
const PARALLEL: &str = "132";

/// A network namespace; gone on drop.
struct Namespace {
    name: String,
}

impl Namespace {
    fn new() -> Self {
        user::only_root("makes a network namespace");
        let name = format!("fleet-test-{}", std::process::id());
        run(Command::new(tool("ip")).args(["netns", "add", &name]));
        let namespace = Self { name };
        run(namespace.command("ip").args(["link", "set", "lo", "up"]));
        // A slow machine takes longer than the two minutes after which the system gives up a connection that nobody answers.
        run(namespace.command("sh").args(["-c", "echo 12 >/proc/sys/net/ipv4/tcp_syn_retries"]));
        namespace
    }

    /// A program, to be run in it.
    fn command(&self, program: &str) -> Command {
        self.inside(&Command::new(tool(program)))
    }

    fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new(tool("ip"));
        inside.args(["netns", "exec", &self.name]).arg(command.get_program()).args(command.get_args());
        inside.env_clear().env("PATH", PATH);
        for (name, value) in command.get_envs() {
            inside.env(name, value.unwrap_or_default());
        }
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        inside.stdin(Stdio::null());
        inside
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new(tool("ip")).args(["netns", "del", &self.name]).status();
    }
}

/// The server, and a project whose site has all the hosts. In the order in which they are to go.
struct Thousand {
    server: Child,
    namespace: Namespace,
    project: Project,
}

impl Thousand {
    fn start(connect_timeout: &str) -> Self {
        let (namespace, project) = (Namespace::new(), Project::new());
        let public_key = project.generate_key();
        let host_key = project.generate_key_at("host_key", "");
        let folder = project.home();
        files::write(&folder.join("authorized_keys"), public_key, 0o600);
        // The address that was called is the host: it has a home folder, and so a spool.
        let session = format!(
            "set -- $SSH_CONNECTION\nexport HOME={0}/hosts/$3\nmkdir -p \"$HOME\" && cd \"$HOME\" || exit 1\nexec sh -c \"$SSH_ORIGINAL_COMMAND\"\n",
            folder.display()
        );
        files::write(&folder.join("session"), session, 0o755);
        // SHLVL: or bash would read the .bashrc of whoever runs the tests, nine hundred times.
        let config = format!(
            "Port 22\nListenAddress 0.0.0.0\nHostKey {key}\nAuthorizedKeysFile {home}/authorized_keys\nPidFile none\nStrictModes no\n\
             UsePAM no\nUseDNS no\nPermitRootLogin yes\nMaxStartups 2000\nLoginGraceTime 0\nSetEnv SHLVL=2\nPrintMotd no\nPrintLastLog no\n\
             ForceCommand /bin/sh {home}/session\n",
            key = project.root().join("host_key").display(),
            home = folder.display()
        );
        files::write(&folder.join("sshd_config"), config, 0o644);
        std::fs::create_dir_all("/run/sshd").unwrap();
        let log = File::create(folder.join("log")).unwrap();
        let mut sshd = namespace.command("sshd");
        let server = sshd.args(["-D", "-e", "-f"]).arg(folder.join("sshd_config")).stderr(log).spawn().unwrap();

        let mut key = host_key.split_whitespace();
        let key = format!("{} {}", key.next().unwrap(), key.next().unwrap());
        let mut pins = String::new();
        for (third, fourth) in (0..4).flat_map(|third| (1..=225).map(move |fourth| (third, fourth))) {
            let _ = writeln!(pins, "127.1.{third}.{fourth} {key}");
        }
        project.write("keys/known_hosts", pins);
        // The dead ones come first: whoever waits for them waits at the start.
        let site = format!(
            "recipe = \"test\"\n[ssh]\nuser = \"{}\"\nconnect-timeout = \"{connect_timeout}\"\n[rollout]\nmax-failures = {DEAD}\n\
             [[host]]\nname = \"dead[001-100]\"\naddress = \"127.9.0.[1-100]\"\n\
             [[host]]\nname = \"live[001-900]\"\naddress = \"127.1.[0-3].[1-225]\"\n",
            user::current()
        );
        project.write("hosts/big.toml", site);
        let step = "[[task.deploy.step]]\nname = \"work\"\nrun = \"echo ran >>~/ran\"\n";
        project.write("recipes/test.toml", format!("[recipe]\ndoc = \"test\"\n{step}"));
        let thousand = Self { server, namespace, project };
        thousand.lose("127.9.0.0/24");
        wait_for("sshd", || files::read(&folder.join("log")).contains("Server listening").then_some(()));
        thousand
    }

    /// What is sent to these addresses is lost.
    fn lose(&self, addresses: &str) {
        let rules = format!(
            "table inet holes {{\n chain input {{\n  type filter hook input priority 0;\n  ip daddr {addresses} drop\n }}\n}}\n"
        );
        let file = self.project.home().join("holes.nft");
        files::write(&file, rules, 0o644);
        run(self.namespace.command("nft").arg("-f").arg(file));
    }

    /// The system gives up all connections to the dead ones, as it does by itself after some minutes.
    fn give_up(&self) {
        run(self.namespace.command("ss").args(["-K", "dst", "127.9.0.0/24"]));
    }

    fn spawn(&self, args: &[&str]) -> Running {
        let mut command = self.namespace.inside(&self.project.command(args));
        self.project.spawn_command(args, &mut command)
    }

    /// Runs `fleet` until so many live hosts have ended, and only then lets the others fail.
    fn fleet(&self, live: usize, args: &[&str]) -> Output {
        let running = self.spawn(args);
        let ends =
            |kind: &str| running.stdout().matches(&format!("\"event\":\"host-finished\",\"host\":\"{kind}")).count();
        let mut ended = 0;
        while ended < live {
            // However slow the machine is, there is always a next one.
            ended = wait_for("the next live host", || Some(ends("live")).filter(|now| *now > ended));
        }
        assert_eq!(ends("dead"), 0);
        self.give_up();
        running.wait()
    }
}

impl Drop for Thousand {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn hosts_that(output: &Output, ended: &str) -> BTreeSet<String> {
    let ended = format!(" {ended}");
    outcomes(output).iter().filter_map(|line| line.strip_suffix(&ended).map(str::to_owned)).collect()
}

fn check(live: usize, output: &Output) {
    check_stream(output);
    let names = |kind: &str, count: usize| (1..=count).map(|n| format!("{kind}{n:03}")).collect::<BTreeSet<_>>();
    assert_eq!(hosts_that(output, "succeeded"), names("live", live));
    assert_eq!(hosts_that(output, "unreachable"), names("dead", DEAD));
    // By order, not by time: nobody waited for a dead host.
    let events = output.events();
    let of = |event: &Value| event["event"].as_str().map(str::to_owned);
    let ends = events.iter().filter(|event| of(event).as_deref() == Some("host-finished"));
    let first_dead = ends.clone().position(|event| event["outcome"] == "unreachable");
    assert_eq!(first_dead, Some(live));
    assert!(output.stderr.contains("dead[001-100]  unreachable"), "{}", output.stderr);
}

#[test]
fn nine_hundred_hosts_do_not_wait_for_a_hundred_black_holes_as_root() {
    let thousand = Thousand::start("10m");
    let few = ["big", "--json", "-P", PARALLEL, "-l", "dead[001-100],live[001-200]", "run", "--", "true"];
    check(200, &thousand.fleet(200, &few).expect_code(11));
    check(LIVE, &thousand.fleet(LIVE, &["big", "--json", "-P", PARALLEL, "deploy"]).expect_code(11));
    let homes = std::fs::read_dir(thousand.project.home().join("hosts")).unwrap();
    let ran = homes.filter(|home| files::read(&home.as_ref().unwrap().path().join("ran")) == "ran\n").count();
    assert_eq!(ran, LIVE);
}
