//! The built-in recipe `git-site`. Its shell texts, step by step, on a real checkout, through the shells that hosts have
//! ([`host::Host`]); and the faults that people met, through the binary, on a real `sshd` ([`bed::Bed`]).

mod backups;
mod bed;
mod checkout;
mod closing;
mod cron;
mod database;
mod database_helper;
mod deploying;
mod host;
mod looking;
mod obstacles;
mod operators;
mod revisions;
mod rollback;
mod texts;
mod web_servers;
mod worktrees;

use host::Host;

const SHELLS: [&[&str]; 5] = [&["/bin/sh"], &["dash"], &["bash", "--posix"], &["busybox", "sh"], &["ksh"]];
fn everywhere(test: impl Fn(Host)) {
    for shell in SHELLS {
        test(Host::new(shell));
    }
}

const DEPLOY: [&str; 8] =
    ["deploy-pin", "deploy-check", "cron-off", "maintenance-on", "former-code", "deploy-note", "backup", "pull"];
const OPEN: [&str; 4] = ["restart", "health", "maintenance-off", "cron-on"];
