//! What is written for people and programs, behind a thread that waits for its reader.
//!
//! Invariant: of a pipe nothing is left out. A reader that is slow (`| gzip`) slows the run down and gets every byte; one that has stopped
//! reading (`| less` with nobody there) holds it up for the patience at most. Then the outlet fails, its reporter is dropped, and the
//! deployment goes on. A view holds up nothing: a terminal that was stopped with Ctrl-S gets no new drawing until it has shown the last one.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes that wait for the reader before the run waits for it too.
const ROOM: usize = 4 << 20;

/// How long a reader may take nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the end of a run waits for a terminal that shows nothing.
const FAREWELL: Duration = Duration::from_secs(2);

/// Writes to a reader that may stop reading. What was written is on its way, not out: dropping the outlet waits for that.
pub struct Outlet {
    shared: Arc<Shared>,
    room: usize,
    patience: Duration,
    /// How long the end waits for the reader; without one, until all is out.
    farewell: Option<Duration>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// Filled by the outlet, which waits when there is no room; emptied by the thread.
#[derive(Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    /// Of what waits, and of what is being written.
    bytes: usize,
    closed: bool,
    failed: Option<io::Error>,
}

impl Outlet {
    /// Writes to `out` all that there is.
    pub fn new(out: impl Write + Send + 'static) -> io::Result<Self> {
        Self::with_limits(out, (ROOM, PATIENCE), None)
    }

    /// Draws a view on `out`. Writing never waits: who draws asks first whether it is behind.
    pub fn of_view(out: impl Write + Send + 'static) -> io::Result<Self> {
        Self::with_limits(out, (usize::MAX, PATIENCE), Some(FAREWELL))
    }

    fn with_limits(
        mut out: impl Write + Send + 'static,
        (room, patience): (usize, Duration),
        farewell: Option<Duration>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        thread::Builder::new().name("outlet".to_owned()).spawn(move || theirs.write_all_to(&mut out))?;
        Ok(Self { shared, room, patience, farewell })
    }

    /// Tells whether the reader has not taken yet what was written.
    pub fn is_behind(&self) -> impl Fn() -> bool + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.lock().bytes > 0
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: ends when the outlet is closed and all is written, or at the first error.
    fn write_all_to(&self, out: &mut impl Write) {
        let mut state = self.lock();
        loop {
            let waited = self.changed.wait_while(state, |state| state.waiting.is_empty() && !state.closed);
            state = waited.unwrap_or_else(PoisonError::into_inner);
            let Some(chunk) = state.waiting.pop_front() else { return };
            drop(state);
            let written = out.write_all(&chunk).and_then(|()| out.flush());
            state = self.lock();
            self.changed.notify_all();
            if state.failed.is_some() {
                return;
            }
            state.bytes -= chunk.len();
            if let Err(error) = written {
                state.fail(error);
                return;
            }
        }
    }
}

impl State {
    fn fail(&mut self, error: io::Error) {
        self.waiting.clear();
        self.bytes = 0;
        self.failed = Some(error);
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.shared.lock();
        loop {
            if let Some(error) = &state.failed {
                return Err(io::Error::new(error.kind(), error.to_string()));
            }
            if state.bytes == 0 || state.bytes.saturating_add(bytes.len()) <= self.room {
                state.bytes += bytes.len();
                state.waiting.push_back(bytes.to_vec());
                self.shared.changed.notify_all();
                return Ok(bytes.len());
            }
            let before = state.bytes;
            let waited = self.shared.changed.wait_timeout_while(state, self.patience, |now| now.bytes == before);
            let (after, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = after;
            if timeout.timed_out() {
                let reason = format!("nobody has read it for {} s", self.patience.as_secs());
                state.fail(io::Error::new(io::ErrorKind::TimedOut, reason));
            }
        }
    }

    /// Never waits: whoever wants to know that all is out drops the outlet.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.changed.notify_all();
        let is_left = |state: &mut State| state.failed.is_none() && state.bytes > 0;
        let farewell = self.farewell.unwrap_or(Duration::MAX);
        drop(self.shared.changed.wait_timeout_while(state, farewell, is_left));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// A pipe with room for nothing: a write ends when its reader takes it.
    struct Pipe(SyncSender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pipe(room: usize, patience: Duration) -> (Outlet, Receiver<Vec<u8>>) {
        let (sender, receiver) = sync_channel(0);
        (Outlet::with_limits(Pipe(sender), (room, patience), None).unwrap(), receiver)
    }

    #[test]
    fn a_reader_that_stops_reading_fails_the_outlet_and_holds_up_nobody() {
        let (mut outlet, _nobody_reads) = pipe(10, Duration::ZERO);
        outlet.write_all(b"0123456789").unwrap();
        let error = outlet.write_all(b"x").unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::TimedOut, "nobody has read it for 0 s"));
        assert_eq!(outlet.write_all(b"y").unwrap_err().kind(), io::ErrorKind::TimedOut);
        // Dropping it does not wait either.
    }

    #[test]
    fn a_slow_reader_gets_every_byte_in_order() {
        let (mut outlet, reader) = pipe(10, PATIENCE);
        let reading = thread::spawn(move || reader.iter().flatten().collect::<Vec<u8>>());
        let all: Vec<u8> = (0..100u8).flat_map(|n| [n; 7]).collect();
        for chunk in all.chunks(7) {
            outlet.write_all(chunk).unwrap();
        }
        drop(outlet);
        assert_eq!(reading.join().unwrap(), all);
    }

    #[test]
    fn a_chunk_that_is_larger_than_all_room_goes_through_alone() {
        let (mut outlet, reader) = pipe(10, PATIENCE);
        let reading = thread::spawn(move || reader.iter().count());
        outlet.write_all(&[b'x'; 100]).unwrap();
        outlet.write_all(&[b'y'; 100]).unwrap();
        drop(outlet);
        assert_eq!(reading.join().unwrap(), 2);
    }

    #[test]
    fn a_reader_that_went_away_is_told_as_a_broken_pipe() {
        let (mut outlet, reader) = pipe(1, PATIENCE);
        drop(reader);
        // The first write may still find room; one of the next learns of the error.
        let error = (0..3).find_map(|_| outlet.write_all(b"x").err()).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_view_on_a_terminal_that_stands_still_waits_for_nothing() {
        let (sender, reader) = sync_channel(0);
        let mut outlet = Outlet::with_limits(Pipe(sender), (usize::MAX, PATIENCE), Some(Duration::ZERO)).unwrap();
        let is_behind = outlet.is_behind();
        assert!(!is_behind());
        outlet.write_all(&vec![b'x'; ROOM]).unwrap();
        assert!(is_behind());
        outlet.write_all(&vec![b'y'; ROOM]).unwrap();
        drop(outlet);
        assert_eq!(reader.iter().map(|chunk| chunk.len()).sum::<usize>(), 2 * ROOM);
        assert!(!is_behind());
    }
}
