//! A port that nobody may call: for what has to fail before anything is contacted.

use std::io::ErrorKind;
use std::net::TcpListener;

/// Listens, and answers nothing.
#[derive(Debug)]
pub struct Bystander {
    listener: TcpListener,
}

impl Bystander {
    /// On a port that the kernel picks.
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Fails if anybody has called so far: the kernel keeps the call of who has gone since.
    #[track_caller]
    pub fn expect_no_call(&self) {
        let called = self.listener.accept();
        assert!(called.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "somebody called");
    }
}
