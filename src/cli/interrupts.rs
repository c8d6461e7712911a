//! Signals of the operator, as messages.
//!
//! INT and TERM interrupt, again and again if need be. HUP (a closed terminal) and PIPE are no reason to stop in the middle of a
//! deployment: the run goes on, and its record with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::failure::Failure;

/// Listens as long as it lives.
pub struct Interrupts {
    /// One message for each INT or TERM.
    pub messages: mpsc::Receiver<()>,
    terminated: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

impl Interrupts {
    pub fn listen() -> Result<Self, Failure> {
        let (sender, messages) = mpsc::channel(8);
        let terminated = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for (kind, interrupts) in
            [(SignalKind::interrupt(), true), (SignalKind::terminate(), true), (SignalKind::hangup(), false)]
        {
            let mut stream = signal(kind).map_err(Failure::environment)?;
            let (sender, terminated) = (sender.clone(), Arc::clone(&terminated));
            tasks.spawn(async move {
                while stream.recv().await.is_some() {
                    if kind == SignalKind::terminate() {
                        terminated.store(true, Ordering::Relaxed);
                    }
                    if interrupts {
                        let _ = sender.try_send(());
                    }
                }
            });
        }
        Ok(Self { messages, terminated, _tasks: tasks })
    }

    /// Did a TERM come?
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.terminated)
    }
}
