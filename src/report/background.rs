//! A reporter on a thread of its own: a terminal that was stopped with Ctrl-S, or a pager that waits for a key, holds up nothing.
//!
//! Invariants: no event but `output` is ever left out, and the reporter is told how many of those were; what it is told comes in
//! order. Only for people: JSON lines must be whole, so whoever reads them slowly slows the run down.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::Reporter;
use crate::model::event::{Event, Fact};

/// Messages on their way to the thread. Filled by the run, emptied by the thread; when it is full they wait in `behind`.
const ON_THE_WAY: usize = 64;

/// Bytes of output that wait further, before output is left out: some screens full, and a bound of the memory.
const BEHIND: usize = 1 << 20;

/// How long the end of a run waits for a reporter that cannot write.
const FAREWELL: Duration = Duration::from_secs(2);

enum Message {
    Event(Box<Event>),
    /// So many events of output were left out here.
    LeftOut(usize),
    Tick(Timestamp),
}

impl Message {
    /// Bytes of output in it.
    fn bytes(&self) -> usize {
        match self {
            Self::Event(event) => match &event.fact {
                Fact::Output { data, .. } => data.0.len(),
                _ => 0,
            },
            Self::LeftOut(_) | Self::Tick(_) => 0,
        }
    }
}

/// A reporter on a thread of its own.
pub struct Background {
    name: &'static str,
    sender: Option<SyncSender<Message>>,
    behind: VecDeque<Message>,
    bytes_behind: usize,
    left_out: usize,
    failure: Arc<Mutex<Option<io::Error>>>,
    /// Hangs up when the thread has ended.
    ended: Receiver<()>,
}

impl Background {
    /// Moves the reporter to a thread.
    pub fn start(mut reporter: Box<dyn Reporter>) -> io::Result<Self> {
        let (sender, messages) = sync_channel(ON_THE_WAY);
        let (alive, ended) = channel::<()>();
        let failure = Arc::new(Mutex::new(None));
        let name = reporter.name();
        let failed = Arc::clone(&failure);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _alive = alive;
            for message in messages {
                let taken = match message {
                    Message::Event(event) => reporter.report(&event),
                    Message::LeftOut(count) => reporter.left_out(count),
                    Message::Tick(now) => reporter.tick(now),
                };
                if let Err(error) = taken {
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return;
                }
            }
        })?;
        Ok(Self { name, sender: Some(sender), behind: VecDeque::new(), bytes_behind: 0, left_out: 0, failure, ended })
    }

    /// Hands over what the thread has room for.
    fn hand_over(&mut self) -> io::Result<()> {
        while let (Some(sender), Some(message)) = (&self.sender, self.behind.pop_front()) {
            let bytes = message.bytes();
            match sender.try_send(message) {
                Ok(()) => self.bytes_behind -= bytes,
                Err(TrySendError::Full(message)) => {
                    self.behind.push_front(message);
                    break;
                }
                Err(TrySendError::Disconnected(_)) => {
                    let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
                    return Err(failure.unwrap_or_else(|| io::Error::other("its thread ended")));
                }
            }
        }
        Ok(())
    }

    fn tell_what_was_left_out(&mut self) {
        if self.left_out > 0 {
            self.behind.push_back(Message::LeftOut(std::mem::take(&mut self.left_out)));
        }
    }
}

impl Reporter for Background {
    fn name(&self) -> &'static str {
        self.name
    }

    fn report(&mut self, event: &Event) -> io::Result<()> {
        if self.bytes_behind >= BEHIND && matches!(event.fact, Fact::Output { .. }) {
            self.left_out += 1;
        } else {
            self.tell_what_was_left_out();
            let message = Message::Event(Box::new(event.clone()));
            self.bytes_behind += message.bytes();
            self.behind.push_back(message);
        }
        self.hand_over()
    }

    fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        // A display that is behind has enough to draw.
        if self.behind.is_empty() {
            self.behind.push_back(Message::Tick(now));
        }
        self.hand_over()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.tell_what_was_left_out();
        let deadline = std::time::Instant::now() + FAREWELL;
        // The thread ends when it has told the rest; one that cannot write is let go.
        while !self.behind.is_empty() && self.hand_over().is_ok() && std::time::Instant::now() < deadline {
            if self.ended.recv_timeout(Duration::from_millis(10)) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
        self.sender = None;
        let _ = self.ended.recv_timeout(deadline.saturating_duration_since(std::time::Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;

    use super::*;
    use crate::model::scripted::rolling_deployment;

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
        left_out: Arc<Mutex<usize>>,
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

        fn left_out(&mut self, count: usize) -> io::Result<()> {
            *self.left_out.lock().unwrap() += count;
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
        let script = rolling_deployment();
        let rounds = 20_000;
        for _ in 0..rounds {
            for event in &script {
                background.report(event).unwrap();
            }
        }
        assert!(seen.events.lock().unwrap().is_empty());
        seen.gate.open();
        drop(background);
        let events = seen.events.lock().unwrap();
        let told = |output: bool| events.iter().filter(|event| is_output(event) == output).count();
        let all = |output: bool| script.iter().filter(|event| is_output(event) == output).count() * rounds;
        assert_eq!(told(false), all(false));
        assert!(told(true) < all(true));
        assert_eq!(told(true) + *seen.left_out.lock().unwrap(), all(true));
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
