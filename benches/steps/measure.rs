//! The measurements.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::ansible::{self, Ansible};
use crate::support::hosts::ReadyProject;
use crate::support::process::run;
use crate::support::proxy::Proxy;
use crate::support::tools::{PATH, tool};
use crate::support::user;

/// Steps of the long deployment on one host.
const STEPS: u32 = 200;
/// The same where each round trip takes [`RTT`].
const FAR_STEPS: u32 = 40;
const RTT: Duration = Duration::from_millis(20);
const HOSTS: usize = 50;
const TASKS: u32 = 10;

/// All comparisons, printed.
pub fn all() {
    one_step();
    fifty_hosts();
}

fn one_step() {
    let ready = ReadyProject::start("recipe = \"bench\"", &["web1"]);
    recipe(&ready, STEPS);
    println!("{}", versions());
    println!("\none step, `true`, on one sshd on loopback; medians of 7 rounds");
    let ssh = Master::start(&ready);
    let cost = cost(&ready, STEPS, 7, || ssh.run());
    cost.print();

    // Through the proxy the host has another port, and so another name in known_hosts.
    let proxy = Proxy::start(ready["web1"].port());
    let site = ready.read("hosts/mysite.toml");
    let port = |port: u16| format!("port = {port}\n");
    ready.write("hosts/mysite.toml", site.replace(&port(ready["web1"].port()), &port(proxy.port())));
    ready.write("keys/known_hosts", format!("[127.0.0.1]:{} {}\n", proxy.port(), ready["web1"].host_key("ed25519")));
    proxy.delay(RTT / 2);
    recipe(&ready, FAR_STEPS);
    let far = self::cost(&ready, FAR_STEPS, 3, || Duration::ZERO);
    println!("\nround trips a step, with 20 ms each; medians of 3 rounds");
    let trips = |far: f64, near: f64| (far - near) / millis(RTT);
    println!("  durable   {:.2}", trips(far.durable, cost.durable));
    println!("  plain     {:.2}", trips(far.plain, cost.plain));
}

/// Milliseconds a step.
struct Cost {
    durable: f64,
    plain: f64,
    ssh: f64,
}

impl Cost {
    fn print(&self) {
        let Self { durable, plain, ssh } = self;
        println!("  durable   {durable:6.2} ms");
        println!("  plain     {plain:6.2} ms");
        println!("  ssh       {ssh:6.2} ms   OpenSSH's client, ControlMaster");
        println!("  durable - plain  {:+.2} ms", durable - plain);
        println!("  durable / plain  {:.2}", durable / plain);
        println!("  durable / ssh    {:.2}", durable / ssh);
        println!("  plain / ssh      {:.2}", plain / ssh);
    }
}

/// Runs everything in turn.
fn cost(ready: &ReadyProject, steps: u32, rounds: usize, ssh: impl Fn() -> Duration) -> Cost {
    let (mut durable, mut plain, mut ssh_took) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let slope = |task: &str| {
            let many = deploy(ready, &format!("{task}-many"));
            let one = deploy(ready, &format!("{task}-one"));
            (millis(many) - millis(one)) / (f64::from(steps) - 1.0)
        };
        durable.push(slope("durable"));
        plain.push(slope("plain"));
        ssh_took.push(millis(ssh()) / f64::from(STEPS));
    }
    Cost { durable: median(durable), plain: median(plain), ssh: median(ssh_took) }
}

/// Tasks of `steps` steps and of one, durable and plain.
fn recipe(ready: &ReadyProject, steps: u32) {
    let mut text = "[recipe]\ndoc = \"steps that do nothing\"\n".to_owned();
    for (kind, line) in [("durable", ""), ("plain", "durable = false\n")] {
        for (size, steps) in [("many", steps), ("one", 1)] {
            for step in 0..steps {
                let _ = writeln!(text, "[[task.{kind}-{size}.step]]\nname = \"s{step}\"\nrun = \"true\"\n{line}");
            }
        }
    }
    ready.write("recipes/bench.toml", text);
}

fn deploy(ready: &ReadyProject, task: &str) -> Duration {
    let args = ["mysite", task, "-q", "-P", "0"];
    let mut command = ready.command(&args);
    let start = Instant::now();
    run(&mut command);
    start.elapsed()
}

/// OpenSSH's client with a connection that stays open.
struct Master<'a> {
    ready: &'a ReadyProject,
}

impl<'a> Master<'a> {
    fn start(ready: &'a ReadyProject) -> Self {
        let master = Self { ready };
        run(master.ssh().args(["-M", "-f", "-N"]));
        master
    }

    /// As many commands as the long deployment has steps.
    fn run(&self) -> Duration {
        let start = Instant::now();
        for _ in 0..STEPS {
            run(self.ssh().arg("true"));
        }
        start.elapsed()
    }

    fn ssh(&self) -> Command {
        let root = self.ready.root();
        let mut command = Command::new(tool("ssh"));
        command.env_clear().env("PATH", PATH).args(["-F", "/dev/null", "-o", "BatchMode=yes"]);
        command.arg("-o").arg(format!("UserKnownHostsFile={}", root.join("keys/known_hosts").display()));
        command.arg("-S").arg(self.ready.home().join("master")).arg("-i").arg(root.join("keys/fleet"));
        command.arg("-p").arg(self.ready["web1"].port().to_string()).arg(format!("{}@127.0.0.1", user::current()));
        command
    }
}

impl Drop for Master<'_> {
    fn drop(&mut self) {
        let _ = self.ssh().args(["-O", "exit"]).output();
    }
}

fn fifty_hosts() {
    let names: Vec<String> = (1..=HOSTS).map(|n| format!("web{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ready = ReadyProject::start("recipe = \"bench\"", &names);
    recipe(&ready, TASKS);
    println!("\nten steps, `true`, on {HOSTS} sshds on loopback; medians of 3 rounds");
    let ansible = Ansible::find(&ready, TASKS);
    let (mut fleet, mut other) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        fleet.push(millis(deploy(&ready, "durable-many")));
        if let Some(ansible) = &ansible {
            let start = Instant::now();
            ansible.play();
            other.push(millis(start.elapsed()));
            // Its connections stay open for a while; the next round begins without, as fleet's does.
            ready.hosts().for_each(|(_, host)| host.cut_connections());
        }
    }
    let fleet = median(fleet) / 1000.0;
    println!("  fleet     {fleet:6.2} s    durable steps");
    match ansible {
        None => println!("  ansible   is not installed, and left out:\n{}", ansible::HINT),
        Some(ansible) => {
            let other = median(other) / 1000.0;
            println!("  ansible   {other:6.2} s    raw tasks, 50 forks; {}", ansible.version());
            println!("  fleet / ansible  {:.3}", fleet / other);
        }
    }
}

fn versions() -> String {
    let ssh = Command::new(tool("ssh")).arg("-V").output().unwrap();
    let ssh = String::from_utf8_lossy(&ssh.stderr).trim().to_owned();
    let shell = fs::canonicalize("/bin/sh").unwrap();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().unwrap();
    format!(
        "fleet {}, {ssh}, /bin/sh is {}, Linux {}, {cores} cores",
        env!("CARGO_PKG_VERSION"),
        shell.file_name().unwrap().to_string_lossy(),
        kernel.trim(),
    )
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
