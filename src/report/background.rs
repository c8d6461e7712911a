//! A reporter on a thread of its own: a terminal that was stopped with Ctrl-S, or a pager that waits for a key, holds up nothing.
//!
//! Invariant: no event but `output` is ever left out, and what is told comes in order. Only for the live view, which shows a host's last
//! line anyway: where every line counts, see [`super::outlet`].

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::Reporter;
use crate::model::run::event::{Event, Fact};

/// Bytes of output that wait, before output is left out: some screens full, and a bound of the memory.
const MOST: usize = 1 << 20;

/// How long the end of a run waits for a reporter that cannot write.
const FAREWELL: Duration = Duration::from_secs(2);

enum Message {
    Event(Box<Event>),
    Tick(Timestamp),
}

/// Filled by the run, which never waits; emptied by the thread.
#[derive(Default)]
struct Queue {
    messages: VecDeque<Message>,
    /// Bytes of output in it.
    bytes: usize,
    /// There will be no more.
    closed: bool,
    /// The thread has ended.
    ended: bool,
    failure: Option<io::Error>,
}

impl Queue {
    fn push(&mut self, message: Message) {
        self.bytes += message.bytes();
        self.messages.push_back(message);
    }
}

impl Message {
    /// Bytes of output in it.
    fn bytes(&self) -> usize {
        match self {
            Self::Event(event) => match &event.fact {
                Fact::Output { data, .. } => data.0.len(),
                _ => 0,
            },
            Self::Tick(_) => 0,
        }
    }
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next message, or none when there will be no more.
    fn next(&self) -> Option<Message> {
        let waiting = self.changed.wait_while(self.lock(), |queue| queue.messages.is_empty() && !queue.closed);
        let mut queue = waiting.unwrap_or_else(PoisonError::into_inner);
        let message = queue.messages.pop_front()?;
        queue.bytes -= message.bytes();
        Some(message)
    }
}

/// A reporter on a thread of its own.
pub struct Background {
    name: &'static str,
    shared: Arc<Shared>,
}

impl Background {
    /// Moves the reporter to a thread.
    pub fn start(mut reporter: Box<dyn Reporter>) -> io::Result<Self> {
        let background = Self { name: reporter.name(), shared: Arc::default() };
        let shared = Arc::clone(&background.shared);
        std::thread::Builder::new().name(background.name.to_owned()).spawn(move || {
            let mut failure = None;
            while let (None, Some(message)) = (&failure, shared.next()) {
                failure = match message {
                    Message::Event(event) => reporter.report(&event),
                    Message::Tick(now) => reporter.tick(now),
                }
                .err();
            }
            drop(reporter);
            let mut queue = shared.lock();
            queue.failure = failure;
            queue.ended = true;
            shared.changed.notify_all();
        })?;
        Ok(background)
    }

    fn with_queue(&self, put: impl FnOnce(&mut Queue)) -> io::Result<()> {
        let mut queue = self.shared.lock();
        if queue.ended {
            return Err(queue.failure.take().unwrap_or_else(|| io::Error::other("its thread ended")));
        }
        put(&mut queue);
        self.shared.changed.notify_all();
        Ok(())
    }
}

impl Reporter for Background {
    fn name(&self) -> &'static str {
        self.name
    }

    fn report(&mut self, event: &Event) -> io::Result<()> {
        self.with_queue(|queue| {
            if queue.bytes < MOST || !matches!(event.fact, Fact::Output { .. }) {
                queue.push(Message::Event(Box::new(event.clone())));
            }
        })
    }

    fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        self.with_queue(|queue| {
            // A display that is behind has enough to draw.
            if queue.messages.is_empty() {
                queue.push(Message::Tick(now));
            }
        })
    }
}

impl Drop for Background {
    /// Waits until all is told; a reporter that cannot write is let go.
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.closed = true;
        self.shared.changed.notify_all();
        let _ = self.shared.changed.wait_timeout_while(queue, FAREWELL, |queue| !queue.ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run::scripted::{Script, rolling_deployment};

    #[derive(Default)]
    struct Gate {
        open: Mutex<bool>,
        opened: Condvar,
    }

    impl Gate {
        fn pass(&self) {
            drop(self.opened.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap());
        }

        fn open(&self) {
            *self.open.lock().unwrap() = true;
            self.opened.notify_all();
        }
    }

    #[derive(Default, Clone)]
    struct Seen {
        events: Arc<Mutex<Vec<Event>>>,
        gate: Arc<Gate>,
        fails: bool,
    }

    impl Reporter for Seen {
        fn name(&self) -> &'static str {
            "seen"
        }

        fn report(&mut self, event: &Event) -> io::Result<()> {
            self.gate.pass();
            if self.fails {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.events.lock().unwrap().push(event.clone());
            Ok(())
        }
    }

    fn is_output(event: &Event) -> bool {
        matches!(event.fact, Fact::Output { .. })
    }

    #[test]
    fn a_terminal_that_stands_still_holds_up_nothing_and_loses_nothing_but_output() {
        let seen = Seen::default();
        let mut background = Background::start(Box::new(seen.clone())).unwrap();
        let mut script = Script::default();
        script.start("mysite", "deploy", &["web1"]).begin("web1", "a/b");
        for _ in 0..100 {
            script.print("web1", "a/b", &"x".repeat(64 << 10));
        }
        script.events.extend(rolling_deployment());
        for event in &script.events {
            background.report(event).unwrap();
        }
        assert!(seen.events.lock().unwrap().is_empty());
        seen.gate.open();
        drop(background);
        let events = seen.events.lock().unwrap();
        let told = |output: bool| events.iter().filter(|event| is_output(event) == output).count();
        let all = |output: bool| script.events.iter().filter(|event| is_output(event) == output).count();
        assert_eq!(told(false), all(false));
        assert!(told(true) < all(true));
    }

    #[test]
    fn a_failure_of_the_reporter_comes_back() {
        let seen = Seen { fails: true, ..Seen::default() };
        seen.gate.open();
        let mut background = Background::start(Box::new(seen)).unwrap();
        let event = rolling_deployment().remove(0);
        let error = loop {
            if let Err(error) = background.report(&event) {
                break error;
            }
            std::thread::yield_now();
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
