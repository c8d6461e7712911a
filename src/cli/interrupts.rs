//! Signals of the operator, as messages.
//!
//! INT and TERM interrupt, again and again if need be; USR1 is how `fleet cancel` tells the process that carries out a run. HUP (a closed terminal) and PIPE are no reason to stop in the middle of a
//! deployment: the run goes on, and its record with it.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::failure::Failure;
use crate::model::run::event::Signal;

/// What has come, and what listens for more as long as it lives.
pub type Listening = (mpsc::Receiver<Signal>, JoinSet<()>);

/// Listens from now on. Who becomes the controller of a run listens before its record can be found: `fleet cancel` may come at once.
pub fn listen() -> Result<Listening, Failure> {
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
    Ok((receiver, tasks))
}
