//! What fleet asks of a host besides running steps: to be locked for a run, to be let go again, to tell how things stand.
//!
//! Each question is a script that runs as an ordinary command ([`RemoteCommand`]); its answer is lines of a word and its arguments
//! ([`crate::model::plan::host_report`]). The scripts are in `durable/`; `durable/spool.sh` and `durable/book.sh` say what lies on the host.
//!
//! The lock is a file in the site's book ([`crate::model::plan::book`]), made with `O_EXCL`. It is never broken by age; what is told to a second run is
//! evidence: who has it, since when, which of its steps runs, and whether its controller is connected, which is whether the server's process
//! of its last connection is still there. Rejected: a heartbeat (a suspended laptop has none, and its migration still runs), a lock at
//! the controller (there is more than one), a lock held by a process (it ends with its connection).

use std::fmt::Write as _;

use crate::model::plan::book::{Book, EffectChange, Proof};
use crate::model::plan::command::RemoteCommand;
use crate::model::plan::durable::compact;
use crate::model::plan::plan::HostIndex;
use crate::model::recipe::shell::quote;
use crate::model::text::name::{RunId, StepName, UserName};

const SPOOL: &str = include_str!("durable/spool.sh");
const BOOK: &str = include_str!("durable/book.sh");
const HOLDER: &str = include_str!("durable/holder.sh");
const EVIDENCE: &str = include_str!("durable/evidence.sh");
const LOCK: &str = include_str!("durable/lock.sh");
const RELEASE: &str = include_str!("durable/release.sh");
const INSPECT: &str = include_str!("durable/inspect.sh");
const SEE: &str = include_str!("durable/see.sh");
const UNLOCK: &str = include_str!("durable/unlock.sh");
const EFFECTS: &str = include_str!("durable/effects.sh");

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
    /// Where the lock is.
    pub book: Book,
    /// Who it is, for others to read: start, operator, task.
    pub since: String,
    /// It has been here before.
    pub resumed: bool,
    /// None of its steps is in flight here.
    pub whole: bool,
    /// The other users of the host whose steps the run has: each has a spool of its own.
    pub users: Vec<UserName>,
}

/// How a run leaves a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Farewell {
    /// For the host's history.
    pub line: String,
    /// The run may go on some day: what it left in the spool stays until another one comes.
    pub keep: bool,
    /// The run's number.
    pub sequence: u64,
    /// What the run has proven.
    pub proof: Option<Proof>,
}

impl Claim {
    /// The question for the login user.
    pub fn lock(&self) -> RemoteCommand {
        self.ask(Some(&self.book), None)
    }

    /// The question for another user of the host, whose steps need a folder of their own.
    pub fn prepare(&self, user: &UserName) -> RemoteCommand {
        self.ask(None, Some(user))
    }

    fn ask(&self, book: Option<&Book>, user: Option<&UserName>) -> RemoteCommand {
        let yes = |is: bool| if is { "yes" } else { "" };
        let users: Vec<&str> = self.users.iter().map(UserName::as_str).collect();
        let (host, users) = (self.host.0.to_string(), users.join(" "));
        let mut values = vec![
            ("run", self.run.as_str()),
            ("host", &host),
            ("since", &self.since),
            ("resumed", yes(self.resumed)),
            ("whole", yes(self.whole)),
            ("users", &users),
        ];
        values.extend(assignments(book));
        RemoteCommand { as_user: user.cloned(), ..script(&values, &[SPOOL, BOOK, HOLDER, EVIDENCE, LOCK]) }
    }

    /// The question that ends the run on the host.
    pub fn release(&self, farewell: &Farewell) -> RemoteCommand {
        self.give_back(Some(&self.book), farewell)
    }

    /// The same for another user.
    pub fn clean(&self, user: &UserName, keep: bool) -> RemoteCommand {
        let farewell = Farewell { keep, ..Farewell::default() };
        RemoteCommand { as_user: Some(user.clone()), ..self.give_back(None, &farewell) }
    }

    fn give_back(&self, book: Option<&Book>, farewell: &Farewell) -> RemoteCommand {
        let (host, sequence) = (self.host.0.to_string(), farewell.sequence.to_string());
        let mut values = vec![
            ("run", self.run.as_str()),
            ("host", &host),
            ("line", &farewell.line),
            ("keep", if farewell.keep { "yes" } else { "" }),
            ("sequence", &sequence),
            ("proven", farewell.proof.as_ref().map(|proof| proof.name.as_str()).unwrap_or_default()),
            ("value", farewell.proof.as_ref().map(|proof| proof.value.as_str()).unwrap_or_default()),
            ("by", farewell.proof.as_ref().map(|proof| proof.by.as_str()).unwrap_or_default()),
        ];
        values.extend(assignments(book));
        script(&values, &[SPOOL, BOOK, HOLDER, RELEASE])
    }

    /// Writes into the book what a command that runs as another user leaves in force, or has ended.
    pub fn note(&self, change: &EffectChange) -> RemoteCommand {
        let change = change.assignments();
        let mut values = vec![("run", self.run.as_str())];
        values.extend(change.iter().map(|(name, value)| (*name, value.as_str())));
        values.extend(assignments(Some(&self.book)));
        script(&values, &[SPOOL, BOOK, EFFECTS])
    }
}

/// Asks how things stand.
pub fn inspect(book: &Book) -> RemoteCommand {
    script(&assignments(Some(book)), &[SPOOL, BOOK, HOLDER, EVIDENCE, INSPECT])
}

/// Asks what another user's spool tells of a run: its steps that run as that user.
pub fn evidence(run: &RunId, user: &UserName) -> RemoteCommand {
    RemoteCommand { as_user: Some(user.clone()), ..script(&[("run", run.as_str())], &[SPOOL, EVIDENCE, SEE]) }
}

/// Takes a run's lock away. `line` is for the host's history.
pub fn unlock(book: &Book, run: &RunId, line: &str) -> RemoteCommand {
    forget(book, Some(run), &[], line)
}

/// Strikes effects out of a book that no run has locked. `line` is for the host's history.
pub fn strike(book: &Book, names: &[StepName], line: &str) -> RemoteCommand {
    forget(book, None, names, line)
}

fn forget(book: &Book, run: Option<&RunId>, names: &[StepName], line: &str) -> RemoteCommand {
    let names = names.iter().map(StepName::as_str).collect::<Vec<_>>().join(" ");
    let mut values = vec![("run", run.map(RunId::as_str).unwrap_or_default()), ("line", line), ("strike", &names)];
    values.extend(assignments(Some(book)));
    script(&values, &[SPOOL, BOOK, HOLDER, UNLOCK])
}

/// Without a book, the script is for another user's spool only.
fn assignments(book: Option<&Book>) -> [(&'static str, &str); 4] {
    book.map_or([("site", ""), ("lock", ""), ("login", ""), ("lost", "")], Book::assignments)
}

fn script(values: &[(&str, &str)], scripts: &[&str]) -> RemoteCommand {
    let mut text = String::new();
    for (name, value) in values {
        let _ = writeln!(text, "_{name}={}", quote(value));
    }
    RemoteCommand::shell(text + &compact(scripts))
}
