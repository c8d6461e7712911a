//! A container fleet of a test's own: `docker/up` under another name, on other ports, for a project with the repository's own sites.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::support::files;
use crate::support::process::{run, stdout_of, wait_for};
use crate::support::project::Project;
use crate::support::tools::tool;

/// The shop's crontab, as it must be after each deployment.
const CRONTAB: &str = include_str!("../../../docker/host/usr/local/lib/shop/crontab");

/// The images, which all fleets share.
static BUILT: OnceLock<()> = OnceLock::new();

/// Two fleets at a time: each is many processes, and time limits have to hold on two cores.
static SLOTS: [Mutex<()>; 2] = [Mutex::new(()), Mutex::new(())];

pub struct Fleet {
    project: Project,
    name: String,
    ports: u16,
    containers: BTreeMap<String, String>,
    _slot: MutexGuard<'static, ()>,
}

impl Fleet {
    /// Starts these services and the git server, at release v1, with the project's key at the login `deploy` of each.
    pub fn start(services: &[&str]) -> Self {
        let fleet = Self::start_without_keys(services);
        let key = fleet.generate_key();
        for service in services {
            fleet.authorize(service, "deploy", &key);
        }
        fleet
    }

    /// Starts them; nobody has a key.
    pub fn start_without_keys(services: &[&str]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let slot = SLOTS[count % 2].lock().unwrap_or_else(PoisonError::into_inner);
        remove_left();
        let project = Project::new();
        let name = format!("fleet-test-{}-{count}", std::process::id());
        let ports = free_ports(count % 2);
        let mut fleet = Self { project, name, ports, containers: BTreeMap::new(), _slot: slot };
        for entry in std::fs::read_dir(repository().join("hosts")).unwrap() {
            let path = entry.unwrap().path();
            let ports = fleet.ports;
            let text = files::read(&path).replace("port = 22", &format!("port = {ports}"));
            let text = text.replace("127.0.0.1:22", &format!("127.0.0.1:{ports}"));
            fleet.write(&format!("hosts/{}", path.file_name().unwrap().display()), text);
        }
        // A lost host is noticed after four of these.
        fleet.edit("hosts/defaults.toml", |text| text.replace("[ssh]", "[ssh]\nkeepalive = \"1s\""));
        BUILT.get_or_init(|| {
            run(&mut Command::new(repository().join("docker/base-image")));
            run(fleet.docker("compose").args(["build", "--quiet", "git", "systemd"]));
        });
        run(fleet.docker("up").args(["--no-build", "git"]).args(services));
        for service in services {
            let label = |name: &str, value: &str| format!("label=com.docker.compose.{name}={value}");
            let mut ps = Command::new(tool("docker"));
            ps.args(["ps", "-q", "--filter", &label("project", &fleet.name), "--filter", &label("service", service)]);
            fleet.containers.insert((*service).to_owned(), stdout_of(&mut ps));
        }
        fleet
    }

    fn docker(&self, script: &str) -> Command {
        script_for(script, &self.name, self.ports, &self.root())
    }

    /// Brings a key to a login.
    pub fn authorize(&self, service: &str, login: &str, key: &str) {
        self.sh(service, login, &format!("umask 077; mkdir -p ~/.ssh; echo '{key}' >>~/.ssh/authorized_keys"));
    }

    /// `docker VERB ... CONTAINER`.
    pub fn engine(&self, verb: &[&str], service: &str) {
        run(Command::new(tool("docker")).args(verb).arg(&self.containers[service]));
    }

    /// What a shell prints in a container, as this user.
    pub fn sh(&self, service: &str, user: &str, script: &str) -> String {
        let mut docker = Command::new(tool("docker"));
        let home = if user == "root" { "/root".to_owned() } else { format!("/home/{user}") };
        docker.args([
            "exec",
            "-u",
            user,
            "-e",
            &format!("HOME={home}"),
            &self.containers[service],
            "sh",
            "-euc",
            script,
        ]);
        String::from_utf8(run(&mut docker).stdout).unwrap()
    }

    /// Waits until a host that was started again serves everything that it has to.
    pub fn wait_until_healthy(&self, service: &str) {
        wait_for(&format!("a healthy {service}"), || {
            let mut exec = Command::new(tool("docker"));
            exec.args(["exec", &self.containers[service], "/usr/local/lib/shop/healthy"]);
            exec.output().unwrap().status.success().then_some(())
        });
    }

    /// Takes the cable out: the container has no network any more.
    pub fn disconnect(&self, service: &str) {
        let network = format!("{}_default", self.name);
        self.engine(&["network", "disconnect", "--force", &network], service);
    }

    pub fn connect(&self, service: &str) {
        let network = format!("{}_default", self.name);
        self.engine(&["network", "connect", "--alias", service, &network], service);
    }

    /// Changes a file of the project.
    pub fn edit(&self, path: &str, change: impl FnOnce(String) -> String) {
        self.write(path, change(self.read(path)));
    }

    /// Asks the web server of a host from outside: the whole answer.
    pub fn http(&self, service: &str, request: &str) -> String {
        let number = ["git", "test", "web1", "web2", "db", "systemd"].iter().position(|name| *name == service);
        let port = self.ports * 100 + 81 + u16::try_from(number.unwrap()).unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Status and text of the front page.
    pub fn page(&self, service: &str) -> String {
        let answer = self.http(service, "GET / HTTP/1.0\r\n\r\n");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        format!("{}\n{body}", head.split(' ').nth(1).unwrap_or("no answer"))
    }

    /// A customer orders something; the whole answer.
    pub fn order(&self, service: &str, form: &str) -> String {
        self.http(service, &format!("POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n{form}", form.len()))
    }

    /// Fails unless a visitor who wants to see something and one who orders are both turned away, and are told to come again.
    #[track_caller]
    pub fn is_closed(&self, service: &str) {
        for answer in [self.http(service, "GET / HTTP/1.0\r\n\r\n"), self.order(service, "item=refused")] {
            assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 600"), "{service}: {answer}");
        }
    }

    /// Fails unless a site is whole: all its web hosts serve this release and these orders, the database has its schema, every checkout is
    /// at it and clean, every crontab is the one of before, and nobody has a lock or has left anything in force.
    #[track_caller]
    pub fn runs(&self, site: &str, release: &str, orders: &[&str]) {
        let (web, database): (&[&str], &str) = match site {
            "shop" => (&["web1", "web2"], "db"),
            _ => (&[site.trim_start_matches("shop-")], site.trim_start_matches("shop-")),
        };
        for service in web {
            let shown = orders.iter().map(|order| format!("{order}\n")).collect::<Vec<_>>().concat();
            assert_eq!(self.page(service), format!("200\nshop {release}\n{shown}"), "{service}");
        }
        let columns = "SELECT string_agg(column_name, ' ' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_name = 'orders'";
        let expected = if release == "v1" { "id item" } else { "id item customer" };
        assert_eq!(self.sql(database, columns), expected);
        for service in web.iter().chain(&[database]) {
            // Without writing: root's files would be in the way of the next deployment.
            let git =
                "cd /srv/shop; export GIT_OPTIONAL_LOCKS=0; git describe --tags --exact-match; git status --porcelain";
            let seen = self.sh(service, "root", &format!("{git}; crontab -u shop -l"));
            assert_eq!(seen, format!("{release}\n{CRONTAB}"), "{service}");
        }
        let status = self.fleet(&[site, "status"]).expect_code(0).all();
        assert!(!status.contains("locked") && !status.contains("in force"), "{status}");
    }

    /// Deploys a release, as it must succeed.
    #[track_caller]
    pub fn deploys(&self, site: &str, release: &str) {
        self.fleet(&[site, "deploy", "--yes", "-e", &format!("revision={release}")]).expect_code(0);
    }

    /// What a query gives, on the host of the database.
    pub fn sql(&self, database: &str, query: &str) -> String {
        self.sh(
            database,
            "postgres",
            &format!("psql -X -A -t -h /var/run/postgresql -U postgres -d shop -c \"{query}\""),
        )
        .trim()
        .to_owned()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let removed = self.docker("down").output();
        if !std::thread::panicking() {
            let removed = removed.unwrap();
            assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
        }
    }
}

impl Deref for Fleet {
    type Target = Project;
    fn deref(&self) -> &Project {
        &self.project
    }
}

pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn script_for(script: &str, name: &str, ports: u16, root: &Path) -> Command {
    // A test without an engine fails here, and says so.
    tool("docker");
    std::fs::create_dir_all(root.join("keys")).unwrap();
    let mut command = Command::new(repository().join("docker").join(script));
    // In the environment of whoever runs the tests: it may say where the engine is.
    command.env("FLEET_PROJECT", name).env("FLEET_PORTS", ports.to_string()).env("FLEET_ROOT", root);
    command
}

/// The first two digits of ports that are all free: others for each slot, and mostly for each process.
fn free_ports(slot: usize) -> u16 {
    let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let first = usize::try_from(std::process::id() % 16).unwrap();
    let mut all = (0..16).map(|at| u16::try_from(25 + slot + (first + at) % 16 * 2).unwrap());
    all.find(|ports| (1..=7).chain(82..=86).all(|last| free(ports * 100 + last))).expect("ports for a fleet")
}

/// Removes what test runs have left that were killed themselves.
fn remove_left() {
    let mut ps = Command::new(tool("docker"));
    ps.args(["ps", "-a", "--format", r#"{{.Label "com.docker.compose.project"}}"#]);
    let output = ps.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}\nhint: without an engine, leave these tests out: --skip containers::");
    let folder = tempfile::tempdir().unwrap();
    for name in String::from_utf8(output.stdout).unwrap().lines() {
        let Some((pid, _)) = name.strip_prefix("fleet-test-").and_then(|rest| rest.split_once('-')) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            run(&mut script_for("down", name, 22, folder.path()));
        }
    }
}
