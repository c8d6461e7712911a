//! Sessions with real hosts.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tracing::debug;

use super::conversation;
use super::session::{Connect, Connecting, Exec, ExecEnd, Session};
use super::shells::Shells;
use crate::model::inventory::ssh::Endpoint;
use crate::model::text::name::HostLabel;
use crate::ssh::{Connection, SshConnector};

impl Connect for SshConnector {
    fn connect<'a>(&'a self, label: &'a HostLabel, host: &'a Endpoint) -> Connecting<'a> {
        async move {
            let connection = self.connect_to(label, host).await.inspect_err(|error| debug!(%error, "no connection"))?;
            Ok(Box::new(SshSession { connection, shells: Shells::default(), usable: true }) as Box<dyn Session>)
        }
        .boxed()
    }
}

struct SshSession {
    connection: Connection,
    shells: Shells,
    /// False while a command runs: if that is dropped half way, its channel stays open on the server, and nobody reads it.
    usable: bool,
}

impl Session for SshSession {
    fn exec<'a>(&'a mut self, exec: Exec<'a>) -> BoxFuture<'a, ExecEnd> {
        async move {
            if !self.is_alive() {
                return ExecEnd::NotStarted(self.connection.lost().into());
            }
            self.usable = false;
            let (end, usable) = conversation::run(&self.connection, &mut self.shells, exec).await;
            self.usable = usable;
            end
        }
        .boxed()
    }

    fn is_alive(&self) -> bool {
        self.usable && !self.connection.is_closed()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.connection.close().boxed()
    }
}
