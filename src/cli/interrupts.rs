//! Signals of the operator, as messages.
//!
//! INT and TERM interrupt, again and again if need be; USR1 is how `fleet cancel` tells the process that carries out a run. HUP (a closed
//! terminal) and PIPE are no reason to stop in the middle of a deployment: the run continues, and its record with it.
//!
//! While nobody listens, INT and TERM end fleet as they end any program. tokio alone would swallow them from the first time that somebody listened:
//! it never gives a handler back.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use signal_hook::flag::register_conditional_default;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::failure::Failure;
use crate::model::run::event::Signal;

static LISTENERS: AtomicUsize = AtomicUsize::new(0);

/// Nobody listens: INT and TERM have their default effect. HUP and USR1 have none: they must not end a run that is about to say how it went.
static UNHEARD: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| {
    let unheard = Arc::default();
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        // An error is a signal that nobody can handle.
        let _ = register_conditional_default(kind.as_raw_value(), Arc::clone(&unheard));
    }
    unheard
});

/// What has come, and what listens for more as long as it lives.
pub type Listening = (mpsc::Receiver<Signal>, Listener);

pub struct Listener {
    _tasks: JoinSet<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        if LISTENERS.fetch_sub(1, Ordering::SeqCst) == 1 {
            UNHEARD.store(true, Ordering::SeqCst);
        }
    }
}

/// Listens from now on. Who becomes the controller of a run listens before its record can be found: `fleet cancel` may come at once.
pub fn listen() -> Result<Listening, Failure> {
    // Before tokio's own handlers: each signal asks whether somebody listens before it wakes who does, and may have stopped when it asks.
    LazyLock::force(&UNHEARD);
    // Filled by the operator; a fourth signal means no more than the third.
    let (sender, receiver) = mpsc::channel(4);
    let mut tasks = JoinSet::new();
    let kinds = [
        (SignalKind::interrupt(), Some(Signal::Int)),
        (SignalKind::terminate(), Some(Signal::Term)),
        // `fleet cancel` from another terminal.
        (SignalKind::user_defined1(), Some(Signal::Cancel)),
        (SignalKind::hangup(), None),
    ];
    for (kind, told) in kinds {
        let mut stream = signal(kind).map_err(Failure::environment)?;
        let sender = sender.clone();
        tasks.spawn(async move {
            while stream.recv().await.is_some() {
                if let Some(told) = told {
                    let _ = sender.try_send(told);
                }
            }
        });
    }
    LISTENERS.fetch_add(1, Ordering::SeqCst);
    UNHEARD.store(false, Ordering::SeqCst);
    Ok((receiver, Listener { _tasks: tasks }))
}
