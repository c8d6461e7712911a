//! What fleet asks of a host besides running steps: to be locked for a run, to be let go again, to tell how things stand.
//!
//! Each question is a script that runs as an ordinary command ([`RemoteCommand`]); its answer is lines of a word and its arguments, read
//! here. The scripts are in `durable/`, and `durable/spool.sh` says what lies in the spool.
//!
//! The lock is a file in the login user's spool, made with `O_EXCL`. It is never broken by age; what is told to a second run is evidence:
//! who has it, since when, which of its steps runs, and whether its controller is connected, which is whether the server's process
//! of its last connection is still there. Rejected: a heartbeat (a suspended laptop has none, and its migration still runs), a lock at
//! the controller (there is more than one), a lock held by a process (it ends with its connection).

use std::fmt::Write as _;

use super::command::RemoteCommand;
use super::durable::{Scope, compact};
use super::name::{RunId, SiteName, UserName};
use super::plan::HostIndex;
use super::shell::quote;

const SPOOL: &str = include_str!("durable/spool.sh");
const EVIDENCE: &str = include_str!("durable/evidence.sh");
const LOCK: &str = include_str!("durable/lock.sh");
const RELEASE: &str = include_str!("durable/release.sh");
const INSPECT: &str = include_str!("durable/inspect.sh");
const SEE: &str = include_str!("durable/see.sh");
const UNLOCK: &str = include_str!("durable/unlock.sh");

/// Room that a spool must have before a run begins on a host: what steps print is kept there while they run. In KiB.
pub const LEAST_ROOM: u64 = 64 << 10;

/// What stands for the run of a lock that is empty.
pub const UNNAMED: &str = "unnamed";

/// A run that wants to begin on a host, or to go on there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The run.
    pub run: RunId,
    /// Which of its hosts.
    pub host: HostIndex,
    /// The site that it works on.
    pub site: SiteName,
    /// Who it is, for others to read: start, operator, task.
    pub since: String,
    /// It has been here before.
    pub resumed: bool,
    /// None of its steps is in flight here.
    pub whole: bool,
    /// The other users of the host whose steps the run has: each has a spool of its own.
    pub users: Vec<UserName>,
}

impl Claim {
    /// The question for the login user.
    pub fn lock(&self) -> RemoteCommand {
        self.ask(Some(&self.site), None)
    }

    /// The question for another user of the host, whose steps need a folder of their own.
    pub fn prepare(&self, user: &UserName) -> RemoteCommand {
        self.ask(None, Some(user))
    }

    fn ask(&self, site: Option<&SiteName>, user: Option<&UserName>) -> RemoteCommand {
        let yes = |is: bool| if is { "yes" } else { "" };
        let users: Vec<&str> = self.users.iter().map(UserName::as_str).collect();
        let values = [
            ("run", self.run.as_str()),
            ("host", &self.host.0.to_string()),
            ("site", site.map(SiteName::as_str).unwrap_or_default()),
            ("since", &self.since),
            ("resumed", yes(self.resumed)),
            ("whole", yes(self.whole)),
            ("users", &users.join(" ")),
        ];
        RemoteCommand { as_user: user.cloned(), ..script(&values, &[SPOOL, EVIDENCE, LOCK]) }
    }

    /// The question that ends the run on the host. `line` is for its history; `keep`: what it left stays until another run comes.
    pub fn release(&self, line: &str, keep: bool) -> RemoteCommand {
        self.give_back(Some(&self.site), line, keep)
    }

    /// The same for another user.
    pub fn clean(&self, user: &UserName, keep: bool) -> RemoteCommand {
        RemoteCommand { as_user: Some(user.clone()), ..self.give_back(None, "", keep) }
    }

    fn give_back(&self, site: Option<&SiteName>, line: &str, keep: bool) -> RemoteCommand {
        let values = [
            ("run", self.run.as_str()),
            ("host", &self.host.0.to_string()),
            ("site", site.map(SiteName::as_str).unwrap_or_default()),
            ("line", line),
            ("keep", if keep { "yes" } else { "" }),
        ];
        script(&values, &[SPOOL, RELEASE])
    }
}

/// Asks how things stand.
pub fn inspect(site: &SiteName) -> RemoteCommand {
    script(&[("site", site.as_str())], &[SPOOL, EVIDENCE, INSPECT])
}

/// Asks what another user's spool tells of a run: its steps that run as that user.
pub fn evidence(run: &RunId, user: &UserName) -> RemoteCommand {
    RemoteCommand { as_user: Some(user.clone()), ..script(&[("run", run.as_str())], &[SPOOL, EVIDENCE, SEE]) }
}

/// Takes a run's lock away. `line` is for the host's history.
pub fn unlock(site: &SiteName, run: &RunId, line: &str) -> RemoteCommand {
    script(&[("run", run.as_str()), ("site", site.as_str()), ("line", line)], &[SPOOL, UNLOCK])
}

fn script(values: &[(&str, &str)], scripts: &[&str]) -> RemoteCommand {
    let mut text = String::new();
    for (name, value) in values {
        let _ = writeln!(text, "_{name}={}", quote(value));
    }
    RemoteCommand::shell(text + &compact(scripts))
}

/// How things stand on a host, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a line of its own in a host's answer")]
pub struct HostReport {
    /// It is ready for the run, which has the lock.
    pub ready: bool,
    /// It has no folder for the spool, or no room in it.
    pub fault: bool,
    /// The spool's folder.
    pub spool: String,
    /// Room in the spool, in KiB.
    pub free: Option<u64>,
    /// There is no `setsid`: a step shares the session of its connection.
    pub no_setsid: bool,
    /// There is no `/proc`: a process that lives is known by its number only.
    pub no_proc: bool,
    /// At logout systemd-logind ends all processes, and there is no way out of the login session.
    pub killed: bool,
    /// The way out of the login session, where one is needed.
    pub scope: Scope,
    /// Another run that has worked on the site since this one.
    pub superseded: Option<String>,
    /// The run that has the lock.
    pub holder: Option<Holder>,
    /// The run that had it last.
    pub last: Option<String>,
    /// What runs have left without having a lock.
    pub left: Vec<Left>,
    /// Locks of other sites: site and run.
    pub others: Vec<(String, String)>,
    /// Lines about past runs, the oldest first.
    pub history: Vec<String>,
}

/// A run that has the lock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holder {
    /// The run.
    pub run: String,
    /// Start, operator, task, as it wrote them.
    pub since: String,
    /// Users whose spools may tell of its steps, too.
    pub users: Vec<UserName>,
    /// What is known of it.
    pub evidence: Evidence,
}

/// The folder of a run that has no lock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Left {
    /// The run.
    pub run: String,
    /// Its size in KiB.
    pub size: u64,
    /// What is known of it.
    pub evidence: Evidence,
}

/// What is known on a host of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// Its controller is connected.
    pub connected: bool,
    /// Steps that run now.
    pub running: Vec<String>,
    /// The host was rebooted since the lock was taken.
    pub restarted: bool,
    /// Steps that nobody knows the end of.
    pub unknown: Vec<String>,
    /// Users whose spools could not be asked.
    pub unseen: Vec<UserName>,
}

impl Evidence {
    /// In words: `its controller is connected; roll/migrate runs`.
    pub fn describe(&self) -> String {
        let mut words = vec![
            if self.connected { "its controller is connected" } else { "its controller is not connected" }.to_owned(),
        ];
        match self.running.as_slice() {
            [] => words.push("no step of it runs".to_owned()),
            steps => words.push(format!("running: {}", steps.join(", "))),
        }
        if self.restarted {
            words.push("the host was rebooted since".to_owned());
        }
        if !self.unknown.is_empty() {
            words.push(format!("nobody knows the end of {}", self.unknown.join(", ")));
        }
        if !self.unseen.is_empty() {
            let users: Vec<&str> = self.unseen.iter().map(UserName::as_str).collect();
            words.push(format!("what of it runs as {} cannot be seen", users.join(", ")));
        }
        words.join("; ")
    }

    /// Is there a sign that the run goes on?
    pub fn is_alive(&self) -> bool {
        self.connected || !self.running.is_empty()
    }
}

impl HostReport {
    /// What the host does not promise of a step, and others do: for `fleet SITE check`, and for a run before its first step.
    pub fn limits(&self) -> Vec<&'static str> {
        let limits = [
            (
                self.killed,
                "systemd-logind ends all processes at logout (KillUserProcesses=yes): a step does not outlive its connection; \
                 `loginctl enable-linger USER` lets fleet use systemd-run",
            ),
            (
                self.no_setsid,
                "there is no setsid: a step shares the session of its connection, and only its shell is ended by a time limit",
            ),
            (self.no_proc, "there is no /proc: a process whose number came back passes for the one before"),
        ];
        limits.into_iter().filter_map(|(is, what)| is.then_some(what)).collect()
    }

    /// Reads a host's answer. Lines that mean nothing are passed over: startup files may print some.
    pub fn parse(text: &str) -> Self {
        let mut report = Self::default();
        let mut about = About::Nobody;
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let (first, others) = rest.split_once(' ').unwrap_or((rest, ""));
            match word {
                "ready" => report.ready = true,
                "fault" => report.fault = true,
                "spool" => rest.clone_into(&mut report.spool),
                "free" => report.free = rest.parse().ok(),
                "no-setsid" => report.no_setsid = true,
                "no-proc" => report.no_proc = true,
                "killed" => report.killed = true,
                "scope" => report.scope = if rest == "system" { Scope::System } else { Scope::User },
                "last" => report.last = Some(rest.to_owned()),
                "superseded" => report.superseded = Some(rest.to_owned()),
                "history" if report.history.iter().any(|line| line == rest) => {}
                "history" => report.history.push(rest.to_owned()),
                "other" => report.others.push((first.to_owned(), others.to_owned())),
                "holder" => {
                    let holder = Holder { run: first.to_owned(), since: others.to_owned(), ..Holder::default() };
                    report.holder = Some(holder);
                    about = About::Holder;
                }
                "left" => {
                    let size = others.parse().unwrap_or_default();
                    report.left.push(Left { run: first.to_owned(), size, ..Left::default() });
                    about = About::Left;
                }
                _ => {
                    let evidence = match about {
                        About::Nobody => continue,
                        About::Holder => report.holder.as_mut().map(|holder| &mut holder.evidence),
                        About::Left => report.left.last_mut().map(|left| &mut left.evidence),
                    };
                    let Some(evidence) = evidence else { continue };
                    match word {
                        "connected" => evidence.connected = true,
                        "restarted" => evidence.restarted = true,
                        "users" => {
                            let users = rest.split(' ').filter_map(|name| UserName::parse(name).ok()).collect();
                            report.holder.iter_mut().for_each(|holder| holder.users.clone_from(&users));
                        }
                        "running" => evidence.running.push(rest.to_owned()),
                        "gone" => evidence.unknown.push(rest.to_owned()),
                        "rebooted" => evidence.unknown.push(format!("{rest} (the host was rebooted)")),
                        _ => {}
                    }
                }
            }
        }
        report
    }
}

/// Which run the lines that follow are about.
#[derive(Clone, Copy)]
enum About {
    Nobody,
    Holder,
    Left,
}
