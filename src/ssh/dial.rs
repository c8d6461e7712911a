//! Name to addresses to a TCP connection, each stage with its limit.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tracing::debug;

use super::admission::{Admission, LoginPermit};
use super::connect_error::ConnectError;
use super::timeouts::{Timeouts, in_words};
use crate::model::inventory::ssh::Endpoint;
use crate::model::run::cause::Cause;
use crate::model::text::printable::printable;

/// Where to connect to, and for how long to try.
pub(super) struct Dial<'a> {
    pub host: &'a Endpoint,
    pub timeouts: &'a Timeouts,
    pub admission: &'a Admission,
}

/// A connection that may log in for as long as it holds its permits.
pub(super) struct Admitted {
    pub stream: TcpStream,
    pub permits: [LoginPermit; 2],
}

impl Dial<'_> {
    /// `web1:22`, `[::1]:22`.
    pub fn target(&self) -> String {
        let (address, port) = (self.host.address.as_str(), self.host.port);
        if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
    }

    /// The addresses are tried in turn, as the resolver sorts them.
    pub async fn dial(&self) -> Result<Admitted, ConnectError> {
        let (address, port, limit) = (self.host.address.as_str(), self.host.port, self.timeouts.resolve);
        let resolve = |reason, cause| ConnectError::Resolve { address: address.to_owned(), reason, cause };
        let addresses: Vec<SocketAddr> = timeout(limit, tokio::net::lookup_host((address, port)))
            .await
            .map_err(|_| resolve(format!("no answer in {}", in_words(limit)), Cause::ResolveTimedOut))?
            .map_err(|e| resolve(e.to_string(), Cause::Resolve))?
            .collect();
        debug!(address, port, ?addresses, "resolved");
        let mut reasons: Vec<String> = Vec::new();
        // One that had its time had it: the others alone are not worth another attempt.
        let mut cause = None;
        for address in &addresses {
            let (reason, why) = match self.call(*address).await {
                Ok(admitted) => return Ok(admitted),
                Err(failure) => failure,
            };
            debug!(server = %address, reason, "no TCP connection");
            let turned_away = |cause: &Cause| matches!(cause, Cause::ConnectionRefused | Cause::ConnectionReset);
            cause = cause.filter(|cause| !turned_away(cause)).or(Some(why));
            // One address is what was asked for, or stands for it: naming it again would only repeat.
            reasons.push(if addresses.len() == 1 { reason } else { format!("{}: {reason}", address.ip()) });
        }
        match cause {
            Some(cause) => Err(ConnectError::Tcp { address: self.target(), reason: reasons.join("; "), cause }),
            None => Err(resolve("the name has no address".to_owned(), Cause::Resolve)),
        }
    }

    /// An error says why.
    async fn call(&self, server: SocketAddr) -> Result<Admitted, (String, Cause)> {
        // For each address.
        let limit = self.host.connect_timeout;
        let late = || (format!("no answer in {}", in_words(limit)), Cause::ConnectTimedOut);
        let waiting = Instant::now();
        let permit = self.admission.to(server).await.ok_or_else(late)?;
        let waited = waiting.elapsed();
        let stream = match timeout(limit, TcpStream::connect(server)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => return Err(in_short(&e)),
            Err(_) => {
                self.admission.timed_out(server);
                return Err(late());
            }
        };
        debug!(%server, local = ?stream.local_addr().ok(), ?waited, "TCP connected");
        tune(&stream).map_err(|e| (e.to_string(), Cause::Unreachable))?;
        let handshake = self.admission.handshake().await.ok_or_else(late)?;
        Ok(Admitted { stream, permits: [permit, handshake] })
    }
}

fn in_short(error: &io::Error) -> (String, Cause) {
    let (text, cause) = match error.kind() {
        io::ErrorKind::ConnectionRefused => ("connection refused", Cause::ConnectionRefused),
        io::ErrorKind::HostUnreachable => ("no route to host", Cause::Unreachable),
        io::ErrorKind::NetworkUnreachable => ("network unreachable", Cause::Unreachable),
        io::ErrorKind::ConnectionReset => ("connection reset", Cause::ConnectionReset),
        io::ErrorKind::TimedOut => ("no answer", Cause::ConnectTimedOut),
        _ => return (error.to_string(), Cause::Unreachable),
    };
    (text.to_owned(), cause)
}

/// `nodelay`: 44 ms a step. The rest finds a dead peer also before the login, where SSH's own keepalive is silent, and while the
/// connection only sends.
fn tune(stream: &TcpStream) -> io::Result<()> {
    const PROBE: Duration = Duration::from_secs(15);
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(PROBE).with_interval(PROBE).with_retries(3))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(PROBE * 4))?;
    Ok(())
}

/// A stream that can be cut from outside. russh's task holds it for as long as the peer keeps silent in a key exchange; when the owner
/// of the connection is gone, so must the task be.
pub(super) struct Cuttable<S> {
    stream: S,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    heard: Arc<Heard>,
    /// All of the beginning was heard.
    begun: bool,
}

/// How much of the beginning is kept: a banner, which has 255 bytes at most, and lines before it (RFC 4253, 4.2).
const BEGINNING: usize = 4 << 10;

/// The first bytes that the peer has sent.
#[derive(Default)]
pub(super) struct Heard(Mutex<Vec<u8>>);

impl Heard {
    /// True when there is no room for more.
    fn take(&self, bytes: &[u8]) -> bool {
        let Ok(mut all) = self.0.lock() else { return true };
        let room = BEGINNING.saturating_sub(all.len());
        all.extend(bytes.iter().take(room));
        bytes.len() >= room
    }

    /// Has it sent nothing?
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_ok_and(|all| all.is_empty())
    }

    /// Its first line of which this holds, fit for a message.
    pub fn line(&self, holds: impl Fn(&[u8]) -> bool) -> Option<String> {
        let all = self.0.lock().ok()?;
        let line = all.split(|byte| *byte == b'\n').find(|line| holds(line))?;
        Some(printable(line.get(..line.len().min(255))?.trim_ascii_end()))
    }
}

impl<S> Cuttable<S> {
    /// `heard` gets what the peer sends first.
    pub fn new(stream: S, cut: CancellationToken, heard: Arc<Heard>) -> Self {
        Self { stream, cut: Box::pin(cut.cancelled_owned()), heard, begun: false }
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> bool {
        self.cut.as_mut().poll(cx).is_ready()
    }
}

fn was_cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "closed by fleet")
}

impl<S: AsyncRead + Unpin> AsyncRead for Cuttable<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        match result {
            Poll::Pending if self.poll_cut(cx) => Poll::Ready(Err(was_cut())),
            Poll::Ready(Ok(())) if !self.begun => {
                let new = buf.filled().get(before..).unwrap_or_default();
                self.begun = self.heard.take(new);
                result
            }
            _ => result,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Cuttable<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, buf) {
            Poll::Pending if self.poll_cut(cx) => Poll::Ready(Err(was_cut())),
            result => result,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
