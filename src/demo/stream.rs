//! A socket that can be cut.
//!
//! russh runs each connection in a task of its own that nobody can end from outside; it ends when its stream does.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A socket that reads as reset once its token is cancelled, or once a number of bytes was written.
pub(super) struct Cuttable {
    socket: TcpStream,
    cut: CancellationToken,
    /// Polled by both directions: russh reads and writes in one task, so one waker is enough.
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    left: Option<u64>,
}

impl Cuttable {
    /// `after`: how many bytes may be written before the cut.
    pub(super) fn new(socket: TcpStream, cut: CancellationToken, after: Option<u64>) -> Self {
        let cancelled = Box::pin(cut.clone().cancelled_owned());
        Self { socket, cut, cancelled, left: after }
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.cancelled.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.cancelled.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let Some(left) = self.left else {
            return Pin::new(&mut self.socket).poll_write(cx, buf);
        };
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        if length == 0 {
            self.cut.cancel();
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let written = Pin::new(&mut self.socket).poll_write(cx, buf.get(..length).unwrap_or_default());
        if let Poll::Ready(Ok(written)) = &written {
            self.left = Some(left.saturating_sub(*written as u64));
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
