//! What fleet asks of a host besides running steps: to be locked for a run, to be let go again, to tell how things stand.
//!
//! A [`Question`] is answered by a function of the scripts, in the shell that also runs the steps: a run costs its host no login shell and no
//! channel more than its first step does. The answer is lines of a word and its arguments ([`HostReport`](super::HostReport)). The scripts are
//! in `scripts/`; `scripts/spool.sh` and `scripts/book.sh` say what lies on the host.
//!
//! The lock is a file in the site's book ([`crate::model::plan::book`]), made with `O_EXCL`. It is never broken by age; what is told to a second run is
//! evidence: who has it, since when, which of its steps runs, and whether its controller is connected, which is whether the server's process
//! of its last connection is still there. Rejected: a heartbeat (a suspended laptop has none, and its migration still runs), a lock at
//! the controller (there is more than one), a lock held by a process (it ends with its connection).
//!
//! A step of another user than the one who logs in starts only when the login user has just seen that the run still has the lock
//! ([`Question::holds`]), a round trip: which rights that user has in the book does not matter. Rejected: a lock that everybody may read. The
//! book may be closed to that user all the same, and then he would start beside another run.

use super::book::words_of_others;
use super::command::{Marks, Wire, login_command};
use super::scripts::{BOOK, EFFECTS, EVIDENCE, FOLDERS, HOLDER, INSPECT, LOCK, RELEASE, SEE, SPOOL, UNLOCK, assign};
use crate::model::plan::book::{Book, EffectChange, Proof};
use crate::model::plan::plan::HostIndex;
use crate::model::recipe::shell::quote;
use crate::model::text::name::{RunId, StepName, UserName};

/// Room that a spool must have before a run begins on a host: what steps print is kept there while they run. In KiB.
pub const LEAST_ROOM: u64 = 64 << 10;

/// What stands for the run of a lock that is empty.
pub const UNNAMED: &str = "unnamed";

/// What a host is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The user whose shell answers it, when that is not the login user.
    as_user: Option<UserName>,
    /// What that shell has to be taught for it.
    scripts: Vec<&'static str>,
    text: String,
}

impl Question {
    pub(super) fn new(
        user: Option<&UserName>,
        assignments: String,
        function: &str,
        scripts: Vec<&'static str>,
    ) -> Self {
        Self { as_user: user.cloned(), scripts, text: assignments + function }
    }

    pub fn inspect(book: &Book) -> Self {
        let scripts = vec![&**SPOOL, &BOOK, &HOLDER, &EVIDENCE, &INSPECT];
        Self::new(None, book.assignments(), "fleet_inspect", scripts)
    }

    /// Asks what another user's spool tells of a run: its steps that run as that user.
    pub fn evidence(run: &RunId, user: &UserName) -> Self {
        Self::new(Some(user), assign([("run", run.as_str())]), "fleet_see", vec![&SPOOL, &EVIDENCE, &SEE])
    }

    /// Can the user become that one, and go into these folders? The answer has `no-folder N` for each where he cannot.
    pub fn folders(user: Option<&UserName>, folders: &[&str]) -> Self {
        let words: Vec<String> = folders.iter().map(|folder| quote(folder)).collect();
        let call = format!("fleet_folders {}", words.join(" "));
        Self::new(user, String::new(), &call, vec![&SPOOL, &FOLDERS])
    }

    /// Asks the login user whether the run still has the lock: `held` or `taken`.
    pub fn holds(run: &RunId, book: &Book) -> Self {
        let assignments = assign([("run", run.as_str())]) + &book.assignments();
        Self::new(None, assignments, "fleet_see_lock", vec![&SPOOL, &BOOK, &EFFECTS])
    }

    /// Takes a run's lock away. `line` is for the host's history.
    pub fn unlock(book: &Book, run: &RunId, line: &str) -> Self {
        Self::forget(book, Some(run), &[], line)
    }

    /// Strikes effects out of a book that no run has locked. `line` is for the host's history.
    pub fn strike(book: &Book, names: &[StepName], line: &str) -> Self {
        Self::forget(book, None, names, line)
    }

    fn forget(book: &Book, run: Option<&RunId>, names: &[StepName], line: &str) -> Self {
        let names = names.iter().map(StepName::as_str).collect::<Vec<_>>().join(" ");
        let values = [("run", run.map(RunId::as_str).unwrap_or_default()), ("line", line), ("strike", &names)];
        let assignments = assign(values) + &book.assignments();
        Self::new(None, assignments, "fleet_unlock", vec![&SPOOL, &BOOK, &HOLDER, &UNLOCK])
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it calls, without the values.
    pub fn function(&self) -> &str {
        self.text.lines().next_back().and_then(|line| line.split(' ').next()).unwrap_or_default()
    }

    /// The question as it is sent. One compound command: the shell reads all of it before it answers.
    pub fn wire(&self, nonce: &str) -> Wire {
        let Marks { begin, found, end } = Marks::of(nonce);
        let stdin = format!(
            "{{\nfleet_open {begin}\n(\n{}\n) </dev/null >&6 3<&- 6>&- 7>&-\nfleet_close {end} $?\n}}\n",
            self.text
        );
        let exec = login_command("", self.as_user.as_ref());
        Wire { exec, setup: self.scripts.clone(), stdin: stdin.into_bytes(), found, begin, end }
    }
}

/// A run that wants to begin on a host, or to go on there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub run: RunId,
    /// Which of its hosts.
    pub host: HostIndex,
    pub book: Book,
    /// Who it is, for others to read: start, operator, task.
    pub since: String,
    pub resumed: bool,
    /// None of its steps is in flight here.
    pub whole: bool,
    /// The other users of the host whose steps the run has: each has a spool of its own.
    pub users: Vec<UserName>,
}

/// How a run leaves a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Farewell {
    pub line: String,
    /// The run may go on some day: what it left in the spool stays until another one comes.
    pub keep: bool,
    pub sequence: u64,
    pub proof: Option<Proof>,
}

impl Claim {
    /// The question for the login user.
    pub fn lock(&self) -> Question {
        self.ask(None)
    }

    /// The question for another user of the host, whose steps need a folder of their own.
    pub fn prepare(&self, user: &UserName) -> Question {
        self.ask(Some(user))
    }

    fn ask(&self, user: Option<&UserName>) -> Question {
        let yes = |is: bool| if is { "yes" } else { "" };
        let users: Vec<&str> = self.users.iter().map(UserName::as_str).collect();
        let (host, users) = (self.host.0.to_string(), users.join(" "));
        let values = assign([
            ("run", self.run.as_str()),
            ("host", &host),
            ("since", &self.since),
            ("resumed", yes(self.resumed)),
            ("whole", yes(self.whole)),
            ("users", &users),
        ]);
        let scripts = vec![&**SPOOL, &BOOK, &HOLDER, &EVIDENCE, &LOCK];
        Question::new(user, values + &self.book_for(user), "fleet_lock", scripts)
    }

    pub fn release(&self, farewell: &Farewell) -> Question {
        self.give_back(None, farewell)
    }

    pub fn clean(&self, user: &UserName, keep: bool) -> Question {
        self.give_back(Some(user), &Farewell { keep, ..Farewell::default() })
    }

    fn give_back(&self, user: Option<&UserName>, farewell: &Farewell) -> Question {
        let (host, sequence) = (self.host.0.to_string(), farewell.sequence.to_string());
        let also = farewell.proof.as_ref().map(words_of_others).unwrap_or_default();
        let values = assign([
            ("run", self.run.as_str()),
            ("host", &host),
            ("line", &farewell.line),
            ("keep", if farewell.keep { "yes" } else { "" }),
            ("sequence", &sequence),
            ("proven", farewell.proof.as_ref().map(|proof| proof.name.as_str()).unwrap_or_default()),
            ("value", farewell.proof.as_ref().map(|proof| proof.value.as_str()).unwrap_or_default()),
            ("by", farewell.proof.as_ref().map(|proof| proof.by.as_str()).unwrap_or_default()),
            ("also", &also),
        ]);
        let scripts = vec![&**SPOOL, &BOOK, &HOLDER, &RELEASE];
        Question::new(user, values + &self.book_for(user), "fleet_release", scripts)
    }

    /// Writes into the book what a command that runs as another user leaves in force, or has ended.
    pub fn note(&self, change: &EffectChange) -> Question {
        let values = assign([("run", self.run.as_str())]) + &change.assignments() + &self.book.assignments();
        Question::new(None, values, "fleet_note", vec![&SPOOL, &BOOK, &EFFECTS])
    }

    /// Without a book, the script is for another user's spool only.
    fn book_for(&self, user: Option<&UserName>) -> String {
        match user {
            None => self.book.assignments(),
            Some(_) => assign([("site", ""), ("lock", ""), ("login", ""), ("lost", "")]),
        }
    }
}
