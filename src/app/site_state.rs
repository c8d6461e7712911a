//! How things stand on the hosts of a site, and whether that is a state to be left in.

use super::books::{Answer, Place, is_unseen};
use super::looking::Missing;
use crate::model::run::reason::Reason;
use crate::remote::{Holder, HostReport, InForce, LEAST_ROOM, Left, Scope};

/// What is to be said of a host.
#[derive(Debug)]
pub enum Finding<'r> {
    /// It cannot be asked.
    Silent(&'r Reason),
    /// Nowhere can a run keep anything.
    NoSpool,
    /// So little room, in KiB.
    LittleRoom {
        free: u64,
        spool: &'r str,
    },
    /// Less is promised than elsewhere.
    Limit(&'static str),
    /// Steps run in scopes of systemd: the user's, or the system's.
    Scope(Scope),
    /// Somebody else can write to the spool, or read it.
    Exposed(String),
    NoBook(&'r str),
    /// The folder of the book cannot be made.
    NoPlace(&'r str),
    /// Something that the recipe's tasks need.
    Missing(&'r Missing),
    InForce(&'r InForce),
    Locked(&'r Holder),
    /// A run has left something.
    Left {
        left: &'r Left,
        spool: &'r str,
        use_of_it: UseOfLeft,
    },
}

/// What is the good of what a run has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UseOfLeft {
    /// It still works there.
    Alive,
    /// It was the last one there, and may be resumed.
    Resumable,
    None,
}

impl Finding<'_> {
    /// Can no run begin, or not go well, because of that?
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::Silent(_)
            | Self::NoSpool
            | Self::LittleRoom { .. }
            | Self::Exposed(_)
            | Self::NoBook(_)
            | Self::NoPlace(_)
            | Self::Missing(Missing::User { .. } | Missing::Folder { at_once: true, .. }) => true,
            Self::Missing(Missing::Folder { at_once: false, .. })
            | Self::Limit(_)
            | Self::Scope(_)
            | Self::InForce(_)
            | Self::Locked(_)
            | Self::Left { .. } => false,
        }
    }
}

pub fn findings(answer: &Result<HostReport, Reason>) -> Vec<Finding<'_>> {
    let report = match answer {
        Err(reason) => return vec![Finding::Silent(reason)],
        Ok(HostReport { fault: true, .. }) => return vec![Finding::NoSpool],
        Ok(report) => report,
    };
    let spool = report.spool.as_str();
    let room = report.free.filter(|free| *free < LEAST_ROOM).map(|free| Finding::LittleRoom { free, spool });
    let mut found: Vec<Finding<'_>> = room.into_iter().collect();
    found.extend(report.limits().into_iter().map(Finding::Limit));
    found.extend((report.scope != Scope::Session).then_some(Finding::Scope(report.scope)));
    found.extend(report.exposed().map(Finding::Exposed));
    found.extend(report.no_book.then_some(Finding::NoBook(&report.book)));
    found.extend(report.no_place.then_some(Finding::NoPlace(&report.book)));
    found.extend(report.effects.iter().map(Finding::InForce));
    found.extend(report.holder.as_ref().map(Finding::Locked));
    found.extend(left(report).map(|left| {
        let use_of_it = match &report.last {
            _ if left.evidence.is_alive() => UseOfLeft::Alive,
            Some(last) if *last == left.run => UseOfLeft::Resumable,
            _ => UseOfLeft::None,
        };
        Finding::Left { left, spool, use_of_it }
    }));
    found
}

/// What runs have left. A site of the same user has its own lock, and its run a folder here.
fn left(report: &HostReport) -> impl Iterator<Item = &Left> {
    report.left.iter().filter(|left| !report.others.iter().any(|(_, run)| *run == left.run))
}

/// Runs with running steps that have no lock any more, of this site or of no other: somebody took it from them while they worked.
pub fn without_lock(report: &HostReport) -> impl Iterator<Item = &Left> {
    left(report).filter(|left| !left.evidence.running.is_empty())
}

/// A site with something in force, and no run that would undo it, is in no state to be left in; nor is one whose lock cannot be seen.
pub fn is_settled(answers: &[Answer<'_>]) -> bool {
    let bad = |place: &Place, report: &HostReport| {
        is_unseen(place, report)
            || without_lock(report).next().is_some()
            || (!report.effects.is_empty() && report.holder.is_none())
    };
    !answers.iter().any(|(place, answer)| answer.as_ref().is_ok_and(|report| bad(place, report)))
}

/// A past run, as a host remembers it.
pub struct PastRun<'r> {
    pub run: &'r str,
    pub at: &'r str,
    pub outcome: &'r str,
    pub by: &'r str,
    /// Another site's file may name the same folder: its runs are this site's, too.
    pub site: &'r str,
    pub task: &'r str,
}

/// The last runs on the site, the newest first.
pub fn past_runs(report: &HostReport) -> impl Iterator<Item = PastRun<'_>> {
    report.history.iter().rev().filter_map(|line| {
        let mut words = line.splitn(6, ' ');
        let mut word = || words.next();
        Some(PastRun { run: word()?, at: word()?, outcome: word()?, by: word()?, site: word()?, task: word()? })
    })
}
