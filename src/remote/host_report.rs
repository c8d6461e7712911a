//! How things stand on a host, in its own words: the answers to the questions of [`Question`](super::Question).

use super::book::{HostProof, InForce};
use super::question::UNNAMED;
use super::step::Scope;
use crate::model::text::name::{RunId, UserName};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a line of its own in a host's answer")]
pub struct HostReport {
    /// It is ready for the run, which has the lock.
    pub ready: bool,
    /// It has no folder for the spool, or no room in it.
    pub fault: bool,
    /// The site's book cannot be written to, or not be read.
    pub no_book: bool,
    /// The book is not there, and its folder cannot be made.
    pub no_place: bool,
    pub book: String,
    /// The folders above the spool and the spool itself, from the outermost: mode as `ls` writes it, owner, path.
    pub way: Vec<(String, String, String)>,
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
    pub holder: Option<Holder>,
    pub last: Option<String>,
    /// What runs have left without having a lock.
    pub left: Vec<Left>,
    /// Locks of other sites: site and run.
    pub others: Vec<(String, String)>,
    /// Lines about past runs, the oldest first.
    pub history: Vec<String>,
    /// The greatest number of a run here.
    pub sequence: u64,
    pub effects: Vec<InForce>,
    pub proof: Option<HostProof>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holder {
    pub run: String,
    /// Start, operator, task, as it wrote them.
    pub since: String,
    /// Users whose spools may tell of its steps, too.
    pub users: Vec<UserName>,
    /// The lock's path, if it is not as fleet makes locks: it is no file, or what is in it is no run's name.
    pub foreign: Option<String>,
    pub evidence: Evidence,
}

/// The folder of a run that has no lock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Left {
    pub run: String,
    /// Its size in KiB.
    pub size: u64,
    pub evidence: Evidence,
}

/// What is known on a host of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    pub connected: bool,
    pub running: Vec<String>,
    /// The host was rebooted since the lock was taken.
    pub restarted: bool,
    /// Steps that nobody knows the end of.
    pub unknown: Vec<String>,
    /// Users whose spools could not be asked.
    pub unseen: Vec<UserName>,
    /// The host shows nobody the processes of others.
    pub blind: bool,
}

impl Evidence {
    /// In words: `its controller is connected; roll/migrate runs`.
    pub fn describe(&self) -> String {
        let connected = match (self.connected, self.blind) {
            (true, _) => "its controller is connected",
            (false, false) => "its controller is not connected",
            (false, true) => "whether its controller is connected cannot be seen",
        };
        let mut words = vec![connected.to_owned()];
        match self.running.as_slice() {
            [] if self.unseen.is_empty() => words.push("no step of it runs".to_owned()),
            [] => {}
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

    pub fn is_alive(&self) -> bool {
        self.connected || !self.running.is_empty()
    }

    /// Is it certain that nothing of it runs here?
    pub fn is_over(&self) -> bool {
        !self.is_alive() && self.unseen.is_empty() && !self.blind
    }
}

impl HostReport {
    /// Which folder on the way to the spool somebody else could move away or look into, and so begin a second run.
    pub fn exposed(&self) -> Option<String> {
        let (_, owner, spool) = self.way.last()?;
        self.way.iter().find_map(|(mode, uid, path)| {
            let bit = |at: usize| mode.as_bytes().get(at).copied().unwrap_or(b'-');
            let others_write = bit(8) == b'w' && bit(9) != b't' && bit(9) != b'T';
            let private = mode.get(4..10) == Some("------");
            match path == spool {
                true if !private => {
                    Some(format!("{path} has the mode {mode}: it must be its owner's alone; chmod 700 it"))
                }
                false if others_write => Some(format!("all may write to {path} (mode {mode}); chmod o-w it")),
                _ if uid != owner && uid != "0" => {
                    Some(format!("{path} belongs to user {uid}, and not to who logs in"))
                }
                _ => None,
            }
        })
    }

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
        // Which run the lines that follow are about: the one that has the lock, or one that has left something.
        let (mut about_left, mut values) = (false, 0);
        for line in text.split('\n') {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let (first, others) = rest.split_once(' ').unwrap_or((rest, ""));
            match word {
                "ready" => report.ready = true,
                "fault" => report.fault = true,
                "no-book" => report.no_book = true,
                "no-place" => report.no_place = true,
                "book" => rest.clone_into(&mut report.book),
                "way" => {
                    let (uid, path) = others.split_once(' ').unwrap_or((others, ""));
                    report.way.push((first.to_owned(), uid.to_owned(), path.to_owned()));
                }
                "sequence" => report.sequence = rest.parse().unwrap_or_default(),
                "effect" => report.effects.extend(InForce::parse(rest)),
                "proof" => (report.proof, values) = (HostProof::parse(rest), 0),
                "value" => {
                    if let Some(HostProof::Proven(proof)) = &mut report.proof {
                        proof.value.push_str(if values > 0 { "\n" } else { "" });
                        proof.value.push_str(rest);
                        values += 1;
                    }
                }
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
                    // What is no run's name is shown to nobody.
                    let run = RunId::parse(first).map_or_else(|_| UNNAMED.to_owned(), |run| run.to_string());
                    report.holder = Some(Holder { run, since: others.to_owned(), ..Holder::default() });
                    about_left = false;
                }
                "users" => {
                    let users = rest.split(' ').filter_map(|name| UserName::parse(name).ok()).collect();
                    report.holder.iter_mut().for_each(|holder| holder.users.clone_from(&users));
                }
                "login" => {
                    let login = UserName::parse(rest).ok();
                    report.holder.iter_mut().for_each(|holder| holder.users.extend(login.clone()));
                }
                "foreign" => report.holder.iter_mut().for_each(|holder| holder.foreign = Some(rest.to_owned())),
                "left" => {
                    let size = others.parse().unwrap_or_default();
                    report.left.push(Left { run: first.to_owned(), size, ..Left::default() });
                    about_left = true;
                }
                _ => {
                    let evidence = if about_left {
                        report.left.last_mut().map(|left| &mut left.evidence)
                    } else {
                        report.holder.as_mut().map(|holder| &mut holder.evidence)
                    };
                    let Some(evidence) = evidence else { continue };
                    match word {
                        "connected" => evidence.connected = true,
                        "restarted" => evidence.restarted = true,
                        "blind" => evidence.blind = true,
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
