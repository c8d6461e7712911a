//! Starts the children of the servers and collects them: also those that were adopted, which nobody else would.

use std::collections::HashMap;
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Signal, WaitOptions, WaitStatus, wait};
use tokio::sync::oneshot;

use crate::machine::below;
use crate::support::process::signal;

/// Longest that a host may be busy after its client has gone.
const PATIENCE: Duration = Duration::from_secs(10);

struct Children {
    /// Who waits for which. Locked while one is started: its end may come first.
    waiting: HashMap<i32, oneshot::Sender<WaitStatus>>,
    /// There is none at all.
    none: bool,
}

pub struct Reaper {
    children: Mutex<Children>,
    changed: Condvar,
}

impl Reaper {
    /// A thread of its own collects.
    pub fn start() -> Arc<Self> {
        let children = Mutex::new(Children { waiting: HashMap::new(), none: true });
        let reaper = Arc::new(Self { children, changed: Condvar::new() });
        let worker = Arc::clone(&reaper);
        std::thread::spawn(move || worker.reap());
        reaper
    }

    /// Starts a child. The receiver gets its end; `wait` on the child itself would wait in vain.
    pub fn spawn(&self, command: &mut Command) -> std::io::Result<(Child, oneshot::Receiver<WaitStatus>)> {
        let (sender, receiver) = oneshot::channel();
        let mut children = self.children.lock().unwrap();
        let child = command.spawn()?;
        children.waiting.insert(i32::try_from(child.id()).unwrap(), sender);
        children.none = false;
        self.changed.notify_all();
        Ok((child, receiver))
    }

    /// Waits until no child is left. One that stays for long is ended.
    pub fn wait_for_none(&self) {
        let start = Instant::now();
        let mut children = self.children.lock().unwrap();
        while !children.none {
            (children, _) = self.changed.wait_timeout(children, Duration::from_millis(100)).unwrap();
            if start.elapsed() > PATIENCE {
                for pid in below(std::process::id()) {
                    signal(pid, Signal::KILL);
                }
            }
        }
    }

    /// Collects children for ever.
    fn reap(&self) -> ! {
        loop {
            match wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) => {
                    let waiting = self.children.lock().unwrap().waiting.remove(&pid.as_raw_nonzero().get());
                    // Nobody waits for what was adopted.
                    let _ = waiting.map(|waiting| waiting.send(status));
                }
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => {
                    let mut children = self.children.lock().unwrap();
                    // One was started since.
                    if children.waiting.is_empty() {
                        children.none = true;
                        self.changed.notify_all();
                        drop(self.changed.wait_while(children, |children| children.none).unwrap());
                    }
                }
            }
        }
    }
}
