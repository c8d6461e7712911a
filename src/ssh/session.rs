//! One connection to one host.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use russh::Disconnect;
use tokio::time::timeout;
use tracing::debug;

use super::link::Link;
use super::shells::Shells;
use super::timeouts::Timeouts;
use super::{Exec, ExecEnd, Session, exec};

/// A connection that is logged in.
pub(super) struct SshSession {
    link: Link,
    shells: Shells,
    timeouts: Timeouts,
    /// False while a command runs: if that is dropped half way, its channel stays open on the server, and nobody reads it.
    usable: bool,
}

impl SshSession {
    pub fn new(link: Link, timeouts: Timeouts) -> Self {
        Self { link, shells: Shells::default(), timeouts, usable: true }
    }
}

impl Session for SshSession {
    fn exec<'a>(&'a mut self, exec: Exec<'a>) -> BoxFuture<'a, ExecEnd> {
        async move {
            if !self.is_alive() {
                return ExecEnd::NotStarted(self.link.lost());
            }
            self.usable = false;
            let (end, usable) = exec::run(&self.link, &mut self.shells, &self.timeouts, exec).await;
            self.usable = usable;
            end
        }
        .boxed()
    }

    fn is_alive(&self) -> bool {
        self.usable && !self.link.handle.is_closed()
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        async move {
            debug!("closing the connection");
            // The server need not be there any more to say good-bye to.
            let _ = timeout(self.timeouts.grace, async {
                let _ = self.link.handle.disconnect(Disconnect::ByApplication, "", "").await;
                let _ = (&mut self.link.handle).await;
            })
            .await;
        }
        .boxed()
    }
}
