//! web2py's scheduler: what its worker does is ended before anything changes, and a worker runs again afterwards.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::bed::{Bed, PRODUCTION};
use super::site::{ByHand as _, Database, as_owner, python};
use crate::support::files;
use crate::support::process::{marked, run, signal, wait_for, wait_or};
use crate::support::tools::tool;

/// What its processes have in their environment.
const MARK: &str = "WORKER_OF";

/// A worker like a service of the host: a command starts it, another one stops it.
struct Worker {
    folder: PathBuf,
}

impl Worker {
    fn start(bed: &Bed) -> Self {
        let (site, folder) = (bed.site(PRODUCTION), bed.upstream().with_file_name("worker"));
        std::fs::create_dir(&folder).unwrap();
        let command = as_owner(&site.owner, python().as_os_str(), &["web2py.py", "-K", "eden"]);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        let script = format!(
            "case $1 in\nstart)\n  cd {0}\n  env -i PATH=\"$PATH\" PYTHONDONTWRITEBYTECODE=1 {MARK}={1} setsid {2} </dev/null >{1}/log 2>&1 &\n  \
             echo $! >{1}/pid ;;\nstop) kill \"$(cat {1}/pid)\" ;;\nesac\n",
            site.web2py().display(),
            folder.display(),
            words.join(" ")
        );
        let path = folder.join("service");
        files::write(&path, script, 0o755);
        let path = path.display();
        bed.write_vars(PRODUCTION, &format!("scheduler-off = \"sh {path} stop\"\nscheduler-on = \"sh {path} start\""));
        run(Command::new(tool("sh")).arg(path.to_string()).arg("start").stdin(Stdio::null()));
        Self { folder }
    }

    fn pid(&self) -> String {
        files::read(&self.folder.join("pid"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        for pid in marked(MARK, self.folder.to_str().unwrap()) {
            signal(pid, Signal::KILL);
        }
    }
}

fn queue(bed: &Bed, function: &str, arguments: &str) {
    let time = "timestamp '2026-01-01 00:00:00'";
    bed.sql(
        PRODUCTION,
        &format!(
            "insert into scheduler_task (application_name, task_name, group_name, status, function_name, uuid, args, vars, enabled, start_time, \
             next_run_time, repeats, retry_failed, period, prevent_drift, timeout, sync_output, times_run, times_failed) values ('eden/default', \
             '{function}', 'main', 'QUEUED', '{function}', '{function}', '{arguments}', '{{}}', 'T', {time}, {time}, 1, 0, 60, 'F', 600, 0, 0, 0)"
        ),
    );
}

impl Worker {
    #[track_caller]
    fn brings(&self, bed: &Bed, function: &str, status: &str) {
        let ask = format!("select status from scheduler_task where function_name = '{function}'");
        wait_or(
            || (bed.sql(PRODUCTION, &ask) == status).then_some(()),
            || {
                let rows = ["scheduler_task", "scheduler_worker", "scheduler_run"];
                let rows = rows.map(|table| bed.sql(PRODUCTION, &format!("select * from {table}")));
                format!("{function} {status}: {rows:?}\n{}", files::read(&self.folder.join("log")))
            },
        );
    }
}

/// Not with `SQLite`: there, a task fails at times without fleet, since web2py's worker keeps the database locked for longer than its tasks wait.
#[test]
fn a_running_task_is_waited_for_and_a_worker_runs_again_afterwards() {
    let bed = Bed::alone(Database::Postgres);
    let worker = Worker::start(&bed);
    let (first, go) = (worker.pid(), worker.folder.join("go"));
    queue(&bed, "hold", &format!("[\"{}\"]", go.display()));
    worker.brings(&bed, "hold", "RUNNING");

    let running = bed.ready.spawn(&[PRODUCTION, "deploy", "--yes", "-e", "revision=add"]);
    // It takes nothing new, and ends what it does, while visitors are served.
    let disabled = "select count(*) from scheduler_worker where status = 'DISABLED'";
    wait_for("the disabled worker", || (bed.sql(PRODUCTION, disabled) == "1").then_some(()));
    bed.site(PRODUCTION).apache.ask("GET", "eden/pr/person");
    assert!(!bed.site(PRODUCTION).home("maintenance.flag").exists());
    assert_eq!(worker.pid(), first);
    files::write(&go, "", 0o644);
    let said = running.wait().expect_code(0).all();
    assert!(said.contains("stopped: "), "{said}");
    worker.brings(&bed, "hold", "COMPLETED");
    bed.is_open(PRODUCTION);
    assert_ne!(worker.pid(), first);
    queue(&bed, "tick", "[]");
    worker.brings(&bed, "tick", "COMPLETED");

    // A failure brings the worker back, too.
    let second = worker.pid();
    bed.deploy(PRODUCTION, "broken-page").expect_code(10);
    assert_ne!(worker.pid(), second);
    bed.sql(PRODUCTION, "update scheduler_task set status = 'QUEUED', times_run = 0, next_run_time = start_time where function_name = 'tick'");
    worker.brings(&bed, "tick", "COMPLETED");
    bed.is_open(PRODUCTION);
}
