//! The proxy that spoils connections, between a client and an echo on plain sockets: a test that relies on a fault must get it.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::process::{PATIENCE, wait_for};
use crate::support::proxy::Proxy;

/// Sends back what it gets, until its end. Declare it before the proxy: its threads end with the proxy's connections.
struct Echo {
    port: u16,
    seen: Arc<Mutex<Seen>>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    /// How each connection has ended.
    ends: Vec<Result<(), ErrorKind>>,
    over: bool,
}

impl Echo {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let noted = Arc::clone(&seen);
        let acceptor = thread::spawn(move || {
            thread::scope(|scope| {
                loop {
                    let (stream, _) = listener.accept().unwrap();
                    let mut seen = noted.lock().unwrap();
                    if seen.over {
                        return;
                    }
                    seen.connections += 1;
                    let noted = &noted;
                    scope.spawn(move || {
                        let end = echo(&stream).map_err(|error| error.kind());
                        noted.lock().unwrap().ends.push(end);
                    });
                }
            });
        });
        Self { port, seen, acceptor: Some(acceptor) }
    }

    fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    fn wait_for_end(&self) -> Result<(), ErrorKind> {
        wait_for("the end of the server's connection", || self.seen.lock().unwrap().ends.pop())
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.seen.lock().unwrap().over = true;
        // A call ends the wait for one.
        if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            let _ = self.acceptor.take().unwrap().join();
        }
    }
}

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}

/// Connected, and known to the proxy.
fn call(proxy: &Proxy) -> TcpStream {
    let before = proxy.connections();
    let client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    wait_for("the proxy to accept", || (proxy.connections() > before).then_some(()));
    client
}

#[track_caller]
fn expect_echo(mut client: &TcpStream, text: &str) {
    client.write_all(text.as_bytes()).unwrap();
    expect(client, text);
}

#[track_caller]
fn expect(mut client: &TcpStream, text: &str) {
    let mut got = vec![0; text.len()];
    client.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8(got).unwrap(), text);
}

/// A proxy that forwards does so in much less time; one that does not passes however slow the machine is.
#[track_caller]
fn expect_silence(mut client: &TcpStream) {
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let error = client.read(&mut [0]).expect_err("something came, or the end");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    client.set_read_timeout(Some(PATIENCE)).unwrap();
}

/// All that comes, and how it ends.
fn rest(mut client: &TcpStream) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut got = Vec::new();
    let end = client.read_to_end(&mut got).map(|_| ()).map_err(|error| error.kind());
    (got, end)
}

/// Sends it while the echo is read, because all of it has no room on the way.
fn send_and_read(client: &TcpStream, sent: &[u8]) -> (Vec<u8>, Result<(), ErrorKind>) {
    thread::scope(|scope| {
        let mut writer = client;
        let writing = scope.spawn(move || writer.write_all(sent).and_then(|()| writer.shutdown(Shutdown::Write)));
        let (got, end) = rest(client);
        // The kernel tells of a reset once, to whoever asks first; the other one gets an end.
        (got, end.and(writing.join().unwrap().map_err(|error| error.kind())))
    })
}

/// No two places look alike.
fn numbers(bytes: usize) -> Vec<u8> {
    (0..bytes as u64 / 8).flat_map(u64::to_le_bytes).collect()
}

const RESET: Result<(), ErrorKind> = Err(ErrorKind::ConnectionReset);

#[test]
fn everything_passes_and_the_end_too() {
    let echo = Echo::start();
    let proxy = Proxy::start(echo.port);
    // More than the proxy and the kernel hold.
    let sent = numbers(32 * 1024 * 1024);
    let (got, end) = send_and_read(&call(&proxy), &sent);
    assert!(got == sent, "{} bytes of {}", got.len(), sent.len());
    assert_eq!(end, Ok(()));
    assert_eq!(echo.wait_for_end(), Ok(()));
    assert_eq!((proxy.connections(), proxy.cuts()), (1, 0));
}

#[test]
fn a_delayed_connection_keeps_order_and_bytes() {
    let echo = Echo::start();
    let proxy = Proxy::start(echo.port);
    let mut client = call(&proxy);
    let delay = Duration::from_millis(60);
    proxy.delay(delay);
    let start = Instant::now();
    let lines: Vec<String> = (0..100).map(|number| format!("line {number}\n")).collect();
    for line in &lines {
        client.write_all(line.as_bytes()).unwrap();
    }
    expect(&client, &lines.concat());
    assert!(start.elapsed() >= 2 * delay);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&client), (Vec::new(), Ok(())));
    assert!(start.elapsed() >= 4 * delay);
}

#[test]
fn a_delay_that_is_taken_back_delays_nothing_that_is_under_way() {
    let echo = Echo::start();
    let proxy = Proxy::start(echo.port);
    let mut client = call(&proxy);
    proxy.delay(Duration::from_secs(3600));
    client.write_all(b"late").unwrap();
    expect_silence(&client);
    proxy.delay(Duration::ZERO);
    expect(&client, "late");
}

#[test]
fn a_slow_link_delivers_everything() {
    let echo = Echo::start();
    let proxy = Proxy::start(echo.port);
    proxy.rate(200_000);
    let client = call(&proxy);
    let sent = numbers(64 * 1024);
    assert!(send_and_read(&client, &sent) == (sent, Ok(())));
    // However much has just gone at full speed.
    proxy.pass();
    let client = call(&proxy);
    expect_echo(&client, &"fast".repeat(100_000));
    proxy.rate(0);
    (&client).write_all(b"an hour's work").unwrap();
    expect(&client, "a");
    proxy.pass();
    expect(&client, "n hour's work");
}

#[test]
fn a_cut_comes_after_exactly_so_many_bytes() {
    let echo = Echo::start();
    let proxy = Proxy::start(echo.port);
    let sent = numbers(16 * 1024 * 1024);
    // The large ones are still in the kernel when the last of them is written: a reset must not overtake them.
    for (cut, bytes) in [0, 1, 1000, 65_536, 3_000_001, 9_999_999].into_iter().enumerate() {
        let client = call(&proxy);
        proxy.cut_after(bytes as u64);
        let (got, end) = send_and_read(&client, &sent);
        assert_eq!((got.len(), end), (bytes, RESET));
        assert!(got == sent[..bytes], "wrong bytes before the cut after {bytes}");
        assert_eq!(proxy.cuts(), cut + 1);
    }
    expect_echo(&call(&proxy), "once is once");
}

#[test]
fn a_cut_counts_over_all_connections() {
    let echo = Echo::start();
    let proxy = Proxy::start(echo.port);
    let (first, second) = (call(&proxy), call(&proxy));
    expect_echo(&first, "not counted");
    proxy.cut_after(10);
    expect_echo(&first, "seven b");
    (&second).write_all(b"the fourth is one too many").unwrap();
    assert_eq!(rest(&second), (b"the".to_vec(), RESET));
    assert_eq!(echo.wait_for_end(), RESET);
    expect_echo(&first, "still there");
    assert_eq!(proxy.cuts(), 1);
}

#[test]
fn a_held_connection_goes_on_after_exactly_so_many_bytes() {
    let echo = Echo::start();
    let proxy = Proxy::start(echo.port);
    let (client, other) = (call(&proxy), call(&proxy));
    proxy.hold_after(4);
    (&client).write_all(b"stop and go").unwrap();
    expect(&client, "stop");
    expect_silence(&client);
    expect_echo(&other, "only one is held");
    proxy.pass();
    expect(&client, " and go");
    assert_eq!(proxy.cuts(), 0);
}

#[test]
fn each_connection_is_cut_where_its_answer_says() {
    let echo = Echo::start();
    let proxy = Proxy::start(echo.port);
    let mut answers = vec![Some(3), None, Some(5)].into_iter();
    proxy.cut_each(move || answers.next().flatten());
    let clients: Vec<TcpStream> = (0..4).map(|_| call(&proxy)).collect();
    let got: Vec<_> = clients
        .iter()
        .map(|mut client| {
            client.write_all(b"0123456789").unwrap();
            // Fails where the cut was faster.
            let _ = client.shutdown(Shutdown::Write);
            let (got, end) = rest(client);
            (String::from_utf8(got).unwrap(), end)
        })
        .collect();
    let whole = ("0123456789".to_owned(), Ok(()));
    assert_eq!(got, [("012".to_owned(), RESET), whole.clone(), ("01234".to_owned(), RESET), whole]);
    assert_eq!((proxy.connections(), proxy.cuts()), (4, 2));
}

#[test]
fn a_reset_is_seen_at_both_ends() {
    let echo = Echo::start();
    let proxy = Proxy::start(echo.port);
    let client = call(&proxy);
    expect_echo(&client, "before");
    proxy.reset();
    assert_eq!(rest(&client), (Vec::new(), RESET));
    assert_eq!(echo.wait_for_end(), RESET);
    expect_echo(&call(&proxy), "after");
    assert_eq!(proxy.cuts(), 0);
}

#[test]
fn an_orderly_end_comes_after_what_was_under_way() {
    let echo = Echo::start();
    let proxy = Proxy::start(echo.port);
    let client = call(&proxy);
    proxy.hold_after(4);
    (&client).write_all(b"here, under way").unwrap();
    expect(&client, "here");
    proxy.fin();
    // Whoever does not look goes on sending, and that must not turn the end into a reset.
    (&client).write_all(b"into the void").unwrap();
    proxy.pass();
    assert_eq!(rest(&client), (b", under way".to_vec(), Ok(())));
    assert_eq!(echo.wait_for_end(), Ok(()));
    expect_echo(&call(&proxy), "after");
}

#[test]
fn a_black_hole_holds_everything_until_it_passes() {
    let echo = Echo::start();
    let proxy = Proxy::start(echo.port);
    let old = call(&proxy);
    expect_echo(&old, "before");
    proxy.black_hole();
    let new = call(&proxy);
    for mut client in [&old, &new] {
        client.write_all(b"held, and its end").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        expect_silence(client);
    }
    proxy.pass();
    for client in [old, new] {
        assert_eq!(rest(&client), (b"held, and its end".to_vec(), Ok(())));
    }
}

#[test]
fn without_a_banner_only_new_connections_are_silent() {
    let echo = Echo::start();
    let proxy = Proxy::start(echo.port);
    let old = call(&proxy);
    proxy.no_banner(true);
    let silent = call(&proxy);
    (&silent).write_all(b"hello?").unwrap();
    expect_silence(&silent);
    expect_echo(&old, "as ever");
    proxy.no_banner(false);
    expect_echo(&call(&proxy), "as ever");
    expect_silence(&silent);
    proxy.pass();
    expect(&silent, "hello?");
}

#[test]
fn refused_connections_do_not_reach_the_server() {
    let echo = Echo::start();
    let proxy = Proxy::start(echo.port);
    let old = call(&proxy);
    expect_echo(&old, "as ever");
    proxy.refuse(true);
    for _ in 0..2 {
        assert_eq!(rest(&call(&proxy)), (Vec::new(), RESET));
    }
    expect_echo(&old, "as ever");
    assert_eq!((proxy.connections(), echo.connections()), (3, 1));
    proxy.refuse(false);
    expect_echo(&call(&proxy), "as ever");
}

#[test]
fn a_server_that_does_not_listen_is_a_reset() {
    let proxy = {
        let echo = Echo::start();
        Proxy::start(echo.port)
    };
    assert_eq!(rest(&call(&proxy)), (Vec::new(), RESET));
}

#[test]
fn a_reset_by_the_client_reaches_the_server() {
    let echo = Echo::start();
    let proxy = Proxy::start(echo.port);
    let client = call(&proxy);
    expect_echo(&client, "before");
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!(echo.wait_for_end(), RESET);
}

#[test]
fn a_dropped_proxy_leaves_no_connection_however_stuck() {
    let echo = Echo::start();
    let proxy = Proxy::start(echo.port);
    let port = proxy.port();
    let clients: Vec<TcpStream> = (0..3).map(|_| call(&proxy)).collect();
    // The first two read nothing until every buffer on the way is full; the third is idle.
    for mut client in &clients[..2] {
        client.set_nonblocking(true).unwrap();
        wait_for("full buffers", || {
            let mut written = 0;
            while let Ok(count) = client.write(&[0; 8192]) {
                written += count;
            }
            (written == 0).then_some(())
        });
        client.set_nonblocking(false).unwrap();
    }
    // Never delivered, hence a cut that waits for it.
    proxy.cut_after(1);
    drop(proxy);
    for client in &clients {
        assert_eq!(rest(client).1, RESET);
    }
    let refused = TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|error| error.kind());
    assert_eq!(refused, Err(ErrorKind::ConnectionRefused));
}
