//! All reporters of a run.
//!
//! Invariant: an event reaches every reporter that is left, in order. A reporter that fails is dropped, the others
//! are told by a `reporter-dropped` event, which is also added to the summary, and the run goes on.

use std::io;

use jiff::Timestamp;

use super::reporter::Reporter;
use crate::model::run::event::{EVENT_VERSION, Event, Fact};
use crate::model::run::summary::Summary;
use crate::record::store::Record;

pub const RECORD: &str = "record";

impl Reporter for Box<dyn Record> {
    fn name(&self) -> &'static str {
        RECORD
    }

    fn report(&mut self, event: &Event, _: &Summary) -> io::Result<()> {
        self.as_mut().append(event)
    }

    fn commit(&mut self) -> io::Result<()> {
        self.as_mut().commit()
    }
}

#[derive(Default)]
pub struct Reporters(Vec<Box<dyn Reporter>>);

impl Reporters {
    /// Reports to all of these, in this order. The record comes first: what is shown has been written.
    pub fn new(reporters: Vec<Box<dyn Reporter>>) -> Self {
        Self(reporters)
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|reporter| reporter.name() == name)
    }

    pub fn report(&mut self, event: &Event, summary: &mut Summary) {
        self.give(event.at, summary, |reporter, summary| reporter.report(event, summary));
    }

    /// Comes after events that happened together. When this returns, they are on disk; that costs one flush, not one for each.
    pub fn commit(&mut self, summary: &mut Summary) {
        let Some(latest) = summary.latest else { return };
        self.give(latest, summary, |reporter, _| reporter.commit());
    }

    pub fn tick(&mut self, now: Timestamp, summary: &mut Summary) {
        self.give(now, summary, |reporter, summary| reporter.tick(now, summary));
    }

    /// Calls every reporter, drops those that fail, and tells the others, which may fail in turn: each round has fewer of them.
    fn give(
        &mut self,
        at: Timestamp,
        summary: &mut Summary,
        call: impl Fn(&mut dyn Reporter, &Summary) -> io::Result<()>,
    ) {
        let Some(run) = summary.run.clone() else { return };
        let mut dropped = self.call(|reporter| call(reporter, summary));
        while !dropped.is_empty() {
            for fact in std::mem::take(&mut dropped) {
                let event = Event { v: EVENT_VERSION, at, run: run.clone(), fact };
                summary.apply(&event);
                dropped.extend(self.call(|reporter| reporter.report(&event, summary)));
            }
        }
    }

    /// Calls every reporter and returns what is to be told about those that were dropped.
    fn call(&mut self, call: impl Fn(&mut dyn Reporter) -> io::Result<()>) -> Vec<Fact> {
        let mut dropped = Vec::new();
        self.0.retain_mut(|reporter| match call(reporter.as_mut()) {
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
        fn report(&mut self, event: &Event, _: &Summary) -> io::Result<()> {
            let mut seen = self.seen.lock().unwrap();
            if seen.len() >= self.capacity {
                return Err(self.error.into());
            }
            seen.push(event.clone());
            Ok(())
        }
        fn tick(&mut self, _now: Timestamp, _: &Summary) -> io::Result<()> {
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

    /// Takes the events, as in a run.
    fn report(reporters: &mut Reporters, events: &[Event]) -> Summary {
        let mut summary = Summary::default();
        for event in events {
            summary.apply(event);
            reporters.report(event, &mut summary);
        }
        reporters.commit(&mut summary);
        summary
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
        let summary = report(&mut reporters, &events);
        assert_eq!(written.lock().unwrap().as_slice(), &events[..5]);
        let shown = shown.lock().unwrap();
        assert_eq!(dropped(&shown), ["record"]);
        let others: Vec<&Event> = shown.iter().filter(|e| !matches!(e.fact, Fact::ReporterDropped { .. })).collect();
        assert_eq!(others, events.iter().collect::<Vec<_>>());
        assert_eq!(summary.dropped.len(), 1);
        assert_eq!(summary.exit_code(), 10);
    }

    #[test]
    fn a_reader_that_went_away_is_dropped_without_a_word() {
        let (json, _) = memory("json", 2, io::ErrorKind::BrokenPipe);
        let (plain, shown) = memory("plain", usize::MAX, io::ErrorKind::Other);
        let mut reporters = Reporters::new(vec![json, plain]);
        let summary = report(&mut reporters, &rolling_deployment());
        assert!(dropped(&shown.lock().unwrap()).is_empty());
        assert!(summary.dropped.is_empty());
    }

    #[test]
    fn one_that_fails_when_told_of_another_is_dropped_too() {
        let (first, _) = memory("first", 1, io::ErrorKind::Other);
        let (second, _) = memory("second", 2, io::ErrorKind::Other);
        let (last, seen) = memory("last", usize::MAX, io::ErrorKind::Other);
        let mut reporters = Reporters::new(vec![first, second, last]);
        report(&mut reporters, &rolling_deployment()[..3]);
        assert_eq!(dropped(&seen.lock().unwrap()), ["first", "second"]);
    }

    #[test]
    fn a_view_that_cannot_draw_is_dropped() {
        let events = rolling_deployment();
        let (view, _) = memory("terminal", 1, io::ErrorKind::Other);
        let (plain, shown) = memory("plain", usize::MAX, io::ErrorKind::Other);
        let mut reporters = Reporters::new(vec![view, plain]);
        reporters.tick(after(0.0), &mut Summary::default());
        let mut summary = report(&mut reporters, &events[..1]);
        reporters.tick(after(1.0), &mut summary);
        assert_eq!(dropped(&shown.lock().unwrap()), ["terminal"]);
        assert_eq!(summary.dropped.len(), 1);
    }
}
