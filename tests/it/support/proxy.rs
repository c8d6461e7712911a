//! A TCP proxy on loopback that spoils connections: what lies between `fleet` and a host, as far as a test can have it.
//!
//! Two threads a direction, one that reads and one that writes, and between them a queue that knows when each piece came. Hence
//! a delay is latency and nothing else, and a link that is down holds what was sent into it, as TCP does. Threads and not tasks,
//! because a fault must come however busy the test's runtime is, and whether or not its clock is paused.
//!
//! One lock holds everything, so that a fault is there when its method returns: whatever is sent later meets it. It does not
//! reach a connection that the kernel has answered but the proxy has not accepted. Where that matters, wait for
//! [`Proxy::connections`] first.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::resume_unwind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::SockRef;

/// The most that is read at once.
const PIECE: usize = 64 * 1024;
/// A sender is stopped when this much of it is held: without a limit, a flood into a link that is down would fill the memory.
const MOST_HELD: usize = 4 * 1024 * 1024;
/// How long a write may not notice that its connection was reset.
const BLINK: Duration = Duration::from_millis(50);
/// Dropping a proxy may take this long when its server does not answer.
const CONNECTING: Duration = Duration::from_secs(5);

// The ends of a connection, as indices. A lane has that of the end that it comes from.
const CLIENT: usize = 0;
const SERVER: usize = 1;

type Ask = Box<dyn FnMut() -> Option<u64> + Send>;

/// Forwards connections to a port on 127.0.0.1, and does to them what it is told. Dropping it resets what is left.
pub struct Proxy {
    port: u16,
    link: Arc<Link>,
    acceptor: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on a port that the kernel picks. A connection is reset when nobody listens on `target_port`.
    pub fn start(target_port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let link = Arc::new(Link::default());
        let accepting = Arc::clone(&link);
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, target_port));
        let acceptor = thread::spawn(move || accepting.accept(&listener, target));
        Self { port, link, acceptor: Some(acceptor) }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Back to normal: no fault is left, neither one that waits to happen, and what was held is delivered.
    pub fn pass(&self) {
        *self.link.cut_each.lock().unwrap() = None;
        self.link.change(|state| {
            state.faults = Faults::default();
            for connection in state.connections.values_mut() {
                connection.held = false;
                connection.trap = None;
            }
        });
    }

    /// Latency in each direction. It limits the throughput only where 4 MiB are under way. Connecting itself is not delayed.
    pub fn delay(&self, delay: Duration) {
        self.link.change(|state| state.faults.delay = delay);
    }

    /// At most this many bytes a second, in each direction of each connection; at least one.
    pub fn rate(&self, bytes_per_second: u64) {
        self.link.change(|state| state.faults.rate = Some(bytes_per_second.max(1)));
    }

    /// Nothing is forwarded and nothing is closed until [`pass`](Self::pass), which delivers what was held, the end of a
    /// connection included. New connections are accepted, and the server sees them, too.
    pub fn black_hole(&self) {
        self.link.change(|state| state.faults.black_hole = true);
    }

    /// Resets all existing connections, at both ends, and loses what was under way.
    pub fn reset(&self) {
        self.link.change(State::reset_all);
    }

    /// Ends all existing connections in good order, at both ends: what was under way comes first.
    pub fn fin(&self) {
        self.link.change(|state| {
            for connection in state.connections.values_mut() {
                connection.closing = true;
                for lane in &mut connection.lanes {
                    lane.queue.push_back((Instant::now(), Item::Fin));
                }
            }
        });
    }

    /// While true, new connections are reset at once, and the server does not see them.
    pub fn refuse(&self, refuse: bool) {
        self.link.change(|state| state.faults.refuse = refuse);
    }

    /// While true, new connections are accepted and held until [`pass`](Self::pass): the server's banner does not come.
    pub fn no_banner(&self, no_banner: bool) {
        self.link.change(|state| state.faults.no_banner = no_banner);
    }

    /// The next `bytes` bytes from the server are the last of the connection that brings the last of them: it is reset at both
    /// ends as soon as the client's kernel has them. Counted over all connections; once. With 0 the next byte does not pass.
    pub fn cut_after(&self, bytes: u64) {
        self.link.change(|state| state.faults.trap = Some(Trap { left: bytes, cut: true }));
    }

    /// Like [`cut_after`](Self::cut_after), instead of which it counts, but that connection is held until
    /// [`pass`](Self::pass).
    pub fn hold_after(&self, bytes: u64) {
        self.link.change(|state| state.faults.trap = Some(Trap { left: bytes, cut: false }));
    }

    /// Asked for every new connection that is not refused, in their order: after how many bytes from the server to cut it.
    pub fn cut_each(&self, ask: impl FnMut() -> Option<u64> + Send + 'static) {
        *self.link.cut_each.lock().unwrap() = Some(Box::new(ask));
    }

    /// How many connections were accepted so far, refused ones included. One that is counted is reached by every fault.
    pub fn connections(&self) -> usize {
        self.link.lock().accepted
    }

    /// How many connections were cut by [`cut_after`](Self::cut_after) and [`cut_each`](Self::cut_each). Whoever sees the
    /// reset finds it counted.
    pub fn cuts(&self) -> usize {
        self.link.lock().cuts
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.link.change(|state| {
            state.ended = true;
            state.reset_all();
        });
        // A call ends the wait for one. Where none can be made (out of file descriptors), waiting for the thread would hang.
        let called = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok();
        if let Some(acceptor) = self.acceptor.take().filter(|_| called)
            && let Err(panic) = acceptor.join()
            && !thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}

/// What all threads share.
#[derive(Default)]
struct Link {
    state: Mutex<State>,
    changed: Condvar,
    /// Apart from the state, which a panic of a test's closure would poison for all.
    cut_each: Mutex<Option<Ask>>,
}

#[derive(Default)]
struct State {
    faults: Faults,
    /// A connection that is not here was reset: its threads end.
    connections: BTreeMap<usize, Connection>,
    accepted: usize,
    cuts: usize,
    ended: bool,
}

#[derive(Default)]
struct Faults {
    delay: Duration,
    rate: Option<u64>,
    black_hole: bool,
    refuse: bool,
    no_banner: bool,
    trap: Option<Trap>,
}

struct Connection {
    ends: Arc<[TcpStream; 2]>,
    lanes: [Lane; 2],
    held: bool,
    /// What still comes is read and thrown away: closing a socket with unread data would be a reset.
    closing: bool,
    trap: Option<Trap>,
}

#[derive(Default)]
struct Lane {
    queue: VecDeque<(Instant, Item)>,
    /// In the queue.
    bytes: usize,
    /// When the last piece was written, and how long it was.
    last: Option<(Instant, u64)>,
}

enum Item {
    Bytes(Vec<u8>),
    Fin,
    Reset,
}

/// Springs when this many bytes have passed. The connection is held where it is not cut.
struct Trap {
    left: u64,
    cut: bool,
}

/// What a thread that writes does next.
enum Step {
    Wait(Duration),
    Write { bytes: Vec<u8>, cut: bool },
    Fin,
    Gone,
}

impl Faults {
    /// A twentieth of a second at once: little enough to look like a slow link.
    fn slice(&self) -> Option<u64> {
        self.rate.map(|rate| (rate / 20).max(1))
    }

    /// No longer than a slice takes: the last piece may be from before the link was slow.
    fn pause_after(&self, last: Option<(Instant, u64)>) -> Duration {
        let (Some(rate), Some(slice), Some((at, bytes))) = (self.rate, self.slice(), last) else {
            return Duration::ZERO;
        };
        // A piece is short, whatever the rate: this does not overflow.
        Duration::from_nanos(bytes.min(slice) * 1_000_000_000 / rate).saturating_sub(at.elapsed())
    }
}

impl State {
    /// For the thread that writes what comes from this end.
    fn next(&mut self, id: usize, from: usize) -> Step {
        let Some(connection) = self.connections.get_mut(&id) else { return Step::Gone };
        let lane = &mut connection.lanes[from];
        let Some((arrived, _)) = lane.queue.front().filter(|_| !self.faults.black_hole && !connection.held) else {
            return Step::Wait(Duration::MAX);
        };
        let arrived = *arrived;
        let wait = self.faults.delay.saturating_sub(arrived.elapsed()).max(self.faults.pause_after(lane.last));
        if !wait.is_zero() {
            return Step::Wait(wait);
        }
        let mut bytes = match lane.queue.pop_front() {
            Some((_, Item::Bytes(bytes))) => bytes,
            Some((_, Item::Reset)) => {
                self.reset(id);
                return Step::Gone;
            }
            Some((_, Item::Fin)) | None => return Step::Fin,
        };
        let slice = self.faults.slice();
        let mut traps = [&mut self.faults.trap, &mut connection.trap];
        let traps = if from == SERVER { &mut traps[..] } else { &mut [] };
        let limits = traps.iter().filter_map(|trap| Some(trap.as_ref()?.left)).chain(slice);
        let count = limits.fold(bytes.len() as u64, u64::min);
        let rest = bytes.split_off(usize::try_from(count).unwrap());
        if !rest.is_empty() {
            lane.queue.push_front((arrived, Item::Bytes(rest)));
        }
        lane.bytes -= bytes.len();
        lane.last = Some((Instant::now(), count));
        let mut cut = false;
        for trap in traps {
            if let Some(it) = trap {
                it.left -= count;
            }
            if let Some(sprung) = trap.take_if(|it| it.left == 0) {
                cut |= sprung.cut;
                connection.held |= !sprung.cut;
            }
        }
        self.cuts += usize::from(cut);
        Step::Write { bytes, cut }
    }

    fn reset(&mut self, id: usize) {
        if let Some(connection) = self.connections.remove(&id) {
            for end in connection.ends.iter() {
                let _ = SockRef::from(end).set_linger(Some(Duration::ZERO));
                // Wakes the thread that reads. Shutting down the other half would send a FIN before the reset.
                let _ = end.shutdown(Shutdown::Read);
            }
        }
    }

    fn reset_all(&mut self) {
        while let Some(id) = self.connections.keys().next().copied() {
            self.reset(id);
        }
    }
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Ends with the proxy, after all threads of its connections.
    fn accept(&self, listener: &TcpListener, target: SocketAddr) {
        thread::scope(|scope| {
            loop {
                let Ok((client, _)) = listener.accept() else { continue };
                let (ended, refused) = {
                    let state = self.lock();
                    (state.ended, state.faults.refuse)
                };
                if ended {
                    return;
                }
                let server = if refused { None } else { TcpStream::connect_timeout(&target, CONNECTING).ok() };
                let limit = server.as_ref().and_then(|_| self.cut_each.lock().unwrap().as_mut()?());
                let mut state = self.lock();
                if state.ended {
                    return;
                }
                state.accepted += 1;
                // Asked again: it may have changed while the server was called.
                let Some(server) = server.filter(|_| !state.faults.refuse) else {
                    let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
                    continue;
                };
                let ends = Arc::new([client, server]);
                for end in ends.iter() {
                    end.set_nodelay(true).unwrap();
                    end.set_write_timeout(Some(BLINK)).unwrap();
                }
                let id = state.accepted;
                let connection = Connection {
                    ends: Arc::clone(&ends),
                    lanes: Default::default(),
                    held: state.faults.no_banner,
                    closing: false,
                    trap: limit.map(|left| Trap { left, cut: true }),
                };
                state.connections.insert(id, connection);
                scope.spawn(move || self.serve(id, &ends));
            }
        });
    }

    /// Both sockets are closed when this ends: with a reset, where [`State::reset`] has asked for it.
    fn serve(&self, id: usize, ends: &[TcpStream; 2]) {
        thread::scope(|scope| {
            for (from, to) in [(CLIENT, SERVER), (SERVER, CLIENT)] {
                scope.spawn(move || self.receive(id, from, &ends[from]));
                scope.spawn(move || self.send(id, from, &ends[to]));
            }
        });
        self.lock().connections.remove(&id);
    }

    fn receive(&self, id: usize, from: usize, mut end: &TcpStream) {
        let mut buffer = vec![0; PIECE];
        loop {
            let item = match end.read(&mut buffer) {
                Ok(0) => Item::Fin,
                Ok(count) => Item::Bytes(buffer[..count].to_vec()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => Item::Reset,
            };
            let arrived = Instant::now();
            let full = |state: &mut State| {
                state.connections.get(&id).is_some_and(|it| !it.closing && it.lanes[from].bytes >= MOST_HELD)
            };
            let mut state = self.changed.wait_while(self.lock(), full).unwrap();
            let Some(connection) = state.connections.get_mut(&id) else { return };
            let count = if let Item::Bytes(bytes) = &item { bytes.len() } else { 0 };
            if !connection.closing {
                let lane = &mut connection.lanes[from];
                lane.bytes += count;
                lane.queue.push_back((arrived, item));
                self.changed.notify_all();
            }
            if count == 0 {
                return;
            }
        }
    }

    fn send(&self, id: usize, from: usize, end: &TcpStream) {
        let mut state = self.lock();
        loop {
            match state.next(id, from) {
                Step::Wait(limit) => state = self.changed.wait_timeout(state, limit).unwrap().0,
                Step::Write { bytes, cut } => {
                    drop(state);
                    // There is room again.
                    self.changed.notify_all();
                    let written = self.write(id, end, &bytes);
                    if cut && written {
                        self.wait_until_delivered(id, end);
                    }
                    if cut || !written {
                        return self.change(|state| state.reset(id));
                    }
                    state = self.lock();
                }
                Step::Fin => {
                    let _ = end.shutdown(Shutdown::Write);
                    return;
                }
                // The threads of the other lane must hear of it.
                Step::Gone => return self.changed.notify_all(),
            }
        }
    }

    /// Whether all of it was written.
    fn write(&self, id: usize, mut end: &TcpStream, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match end.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    if !self.lock().connections.contains_key(&id) {
                        return false;
                    }
                }
                Err(_) => return false,
            }
        }
        true
    }

    /// A reset throws away what the other side's kernel has not taken yet. Only this one's table tells, because the ioctl for it
    /// would be unsafe code.
    fn wait_until_delivered(&self, id: usize, end: &TcpStream) {
        let local = format!(":{:04X}", end.local_addr().unwrap().port());
        while let Ok(peer) = end.peer_addr()
            && self.lock().connections.contains_key(&id)
        {
            let remote = format!(":{:04X}", peer.port());
            let delivered = fs::read_to_string("/proc/net/tcp").unwrap().lines().any(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                // Number, local address, remote address, state, bytes to send and to read.
                fields[1].ends_with(&local) && fields[2].ends_with(&remote) && fields[4].starts_with("00000000:")
            });
            if delivered {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}
