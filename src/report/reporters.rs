//! All reporters of a run, and the summary beside them.
//!
//! Invariant: an event reaches the summary and every reporter that is left, in order. A reporter that fails is dropped, the others
//! are told by a `reporter-dropped` event, and the run goes on.

use std::io;

use jiff::Timestamp;

use super::Reporter;
use crate::model::run::event::{EVENT_VERSION, Event, Fact};
use crate::model::run::summary::Summary;
use crate::model::text::name::RunId;
use crate::record::store::Record;

/// What the record is called as a reporter.
pub const RECORD: &str = "record";

impl Reporter for Box<dyn Record> {
    fn name(&self) -> &'static str {
        RECORD
    }

    fn report(&mut self, event: &Event) -> io::Result<()> {
        self.as_mut().append(event)
    }

    fn commit(&mut self) -> io::Result<()> {
        self.as_mut().commit()
    }
}

/// Gives each event to the summary and to all reporters.
#[derive(Default)]
pub struct Reporters {
    summary: Summary,
    reporters: Vec<Box<dyn Reporter>>,
}

impl Reporters {
    /// Reports to all of these, in this order. The record comes first: what is shown has been written.
    pub fn new(reporters: Vec<Box<dyn Reporter>>) -> Self {
        Self { summary: Summary::default(), reporters }
    }

    /// Goes on from what is known of the run already.
    pub fn recall(&mut self, past: &Summary) {
        self.summary = past.clone();
        self.reporters.iter_mut().for_each(|reporter| reporter.recall(past));
    }

    /// Is a reporter of that name left?
    pub fn has(&self, name: &str) -> bool {
        self.reporters.iter().any(|reporter| reporter.name() == name)
    }

    /// Takes an event. When this returns, it is on disk.
    pub fn report(&mut self, event: &Event) {
        self.report_all(std::slice::from_ref(event));
    }

    /// Takes events that happened together. When this returns, they are on disk; that costs one flush, not one for each.
    pub fn report_all(&mut self, events: &[Event]) {
        for event in events {
            self.summary.apply(event);
            self.give(event.at, &event.run, |reporter| reporter.report(event));
        }
        if let Some(last) = events.last() {
            self.give(last.at, &last.run, |reporter| reporter.commit());
        }
    }

    /// Time has gone by: the live view may draw.
    pub fn tick(&mut self, now: Timestamp) {
        let Some(run) = self.summary.run.clone() else { return };
        self.give(now, &run, |reporter| reporter.tick(now));
    }

    /// What is known about the run.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The summary, when the run is over. The reporters are let go, which gives the terminal back.
    pub fn finish(self) -> Summary {
        self.summary
    }

    /// Calls every reporter, drops those that fail, and tells the others, which may fail in turn: each round has fewer of them.
    fn give(&mut self, at: Timestamp, run: &RunId, mut call: impl FnMut(&mut dyn Reporter) -> io::Result<()>) {
        let mut dropped = self.call(&mut call);
        while !dropped.is_empty() {
            let facts: Vec<Fact> = std::mem::take(&mut dropped);
            for fact in facts {
                let event = Event { v: EVENT_VERSION, at, run: run.clone(), fact };
                self.summary.apply(&event);
                dropped.extend(self.call(&mut |reporter| reporter.report(&event)));
            }
        }
    }

    /// Calls every reporter and returns what is to be told about those that were dropped.
    fn call(&mut self, call: &mut dyn FnMut(&mut dyn Reporter) -> io::Result<()>) -> Vec<Fact> {
        let mut dropped = Vec::new();
        self.reporters.retain_mut(|reporter| match call(reporter.as_mut()) {
            Ok(()) => true,
            // Its reader has gone, as with `| head`: nobody is there to miss it, and that is no trouble.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => false,
            Err(error) => {
                let (reporter, reason) = (reporter.name().to_owned(), error.to_string());
                dropped.push(Fact::ReporterDropped { reporter, reason });
                false
            }
        });
        dropped
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::model::run::scripted::{after, rolling_deployment};

    /// Remembers the events that it got, and fails when it has `capacity` of them.
    struct Memory {
        name: &'static str,
        capacity: usize,
        error: io::ErrorKind,
        seen: Arc<Mutex<Vec<Event>>>,
    }

    impl Reporter for Memory {
        fn name(&self) -> &'static str {
            self.name
        }
        fn report(&mut self, event: &Event) -> io::Result<()> {
            let mut seen = self.seen.lock().unwrap();
            if seen.len() >= self.capacity {
                return Err(self.error.into());
            }
            seen.push(event.clone());
            Ok(())
        }
        fn tick(&mut self, _now: Timestamp) -> io::Result<()> {
            if self.seen.lock().unwrap().len() >= self.capacity { Err(self.error.into()) } else { Ok(()) }
        }
    }

    fn memory(
        name: &'static str,
        capacity: usize,
        error: io::ErrorKind,
    ) -> (Box<dyn Reporter>, Arc<Mutex<Vec<Event>>>) {
        let seen = Arc::default();
        (Box::new(Memory { name, capacity, error, seen: Arc::clone(&seen) }), seen)
    }

    fn dropped(events: &[Event]) -> Vec<&str> {
        events
            .iter()
            .filter_map(|event| match &event.fact {
                Fact::ReporterDropped { reporter, .. } => Some(reporter.as_str()),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_full_disk_drops_the_record_and_the_others_are_told() {
        let events = rolling_deployment();
        let (record, written) = memory("record", 5, io::ErrorKind::StorageFull);
        let (plain, shown) = memory("plain", usize::MAX, io::ErrorKind::Other);
        let mut reporters = Reporters::new(vec![record, plain]);
        reporters.report_all(&events);
        assert_eq!(written.lock().unwrap().as_slice(), &events[..5]);
        let shown = shown.lock().unwrap();
        assert_eq!(dropped(&shown), ["record"]);
        let others: Vec<&Event> = shown.iter().filter(|e| !matches!(e.fact, Fact::ReporterDropped { .. })).collect();
        assert_eq!(others, events.iter().collect::<Vec<_>>());
        let summary = reporters.finish();
        assert_eq!(summary.dropped.len(), 1);
        assert_eq!(summary.exit_code(), 10);
    }

    #[test]
    fn a_reader_that_went_away_is_dropped_without_a_word() {
        let (json, _) = memory("json", 2, io::ErrorKind::BrokenPipe);
        let (plain, shown) = memory("plain", usize::MAX, io::ErrorKind::Other);
        let mut reporters = Reporters::new(vec![json, plain]);
        reporters.report_all(&rolling_deployment());
        assert!(dropped(&shown.lock().unwrap()).is_empty());
        assert!(reporters.summary().dropped.is_empty());
    }

    #[test]
    fn one_that_fails_when_told_of_another_is_dropped_too() {
        let (first, _) = memory("first", 1, io::ErrorKind::Other);
        let (second, _) = memory("second", 2, io::ErrorKind::Other);
        let (last, seen) = memory("last", usize::MAX, io::ErrorKind::Other);
        let mut reporters = Reporters::new(vec![first, second, last]);
        reporters.report_all(&rolling_deployment()[..3]);
        assert_eq!(dropped(&seen.lock().unwrap()), ["first", "second"]);
    }

    #[test]
    fn a_view_that_cannot_draw_is_dropped() {
        let events = rolling_deployment();
        let (view, _) = memory("terminal", 1, io::ErrorKind::Other);
        let (plain, shown) = memory("plain", usize::MAX, io::ErrorKind::Other);
        let mut reporters = Reporters::new(vec![view, plain]);
        reporters.tick(after(0.0));
        reporters.report(&events[0]);
        reporters.tick(after(1.0));
        assert_eq!(dropped(&shown.lock().unwrap()), ["terminal"]);
        assert_eq!(reporters.summary().dropped.len(), 1);
    }
}
