//! A deployment that fails, or whose controller dies, at each of its steps: then everything is as before, or all of it is done.

use rustix::process::Signal;

use super::DATABASES;
use super::bed::{Bed, PRODUCTION};
use super::site::{ByHand as _, Database};
use crate::support::process::{marked, signal, wait_for};

/// A recipe in which this task fails at its end.
fn failing(task: &str) -> String {
    format!(
        "[recipe]\ndoc = \"Fails\"\nextends = \"eden\"\n[task.{task}]\ntasks = [\"eden:{task}\", \"fail\"]\n\
         [[task.fail.step]]\nname = \"fail\"\nrun = \"echo failing on purpose >&2; exit 1\"\n"
    )
}

const TASKS: [&str; 13] = [
    "cron-off",
    "maintenance-on",
    "seen-closed",
    "former-code",
    "backup-database",
    "restore-point",
    "pull",
    "migrate-database",
    "restart",
    "health",
    "maintenance-off",
    "seen-open",
    "current",
];

fn fails_at_each_step(database: Database) {
    let bed = Bed::alone(database);
    bed.ends(0, &[PRODUCTION, "compile"]);
    let before = bed.state(PRODUCTION);
    let file = bed.ready.read("hosts/mysite.toml");
    bed.ready.write("hosts/mysite.toml", file.replace("recipe = \"eden\"", "recipe = \"failing\""));
    for task in TASKS {
        bed.ready.write("recipes/failing.toml", failing(task));
        let said = bed.deploy(PRODUCTION, "add").expect_code(10).all();
        assert!(said.contains("failing on purpose") && said.contains("rolled back"), "{task}: {said}");
        assert_eq!(bed.state(PRODUCTION), before, "{task}");
        bed.is_open(PRODUCTION);
    }
}

#[test]
fn production_fails_at_each_step_and_is_as_before_with_sqlite() {
    fails_at_each_step(Database::Sqlite);
}

#[test]
fn production_fails_at_each_step_and_is_as_before_with_postgresql() {
    fails_at_each_step(Database::Postgres);
}

/// Exit status 0 and `success!`, with new code on half a schema.
#[test]
fn a_migration_that_raises_is_rolled_back_with_its_statement_named() {
    let bed = Bed::alone(Database::Postgres);
    let before = bed.state(PRODUCTION);
    let accept = "\n[accept]\n\"models.pr\" = \"to see what happens\"\n";
    bed.ready.write("hosts/mysite.toml", bed.ready.read("hosts/mysite.toml") + accept);
    let said = bed.deploy(PRODUCTION, "raise").expect_code(10).all();
    assert!(said.contains("the migration failed: model pr does not load") && said.contains("rolled back"), "{said}");
    assert_eq!(bed.state(PRODUCTION), before);
    // A page that breaks, which no migration sees.
    let said = bed.deploy(PRODUCTION, "broken-page").expect_code(10).all();
    assert!(
        said.contains("/eden/pr/person answers 500: ")
            && said.contains("AttributeError")
            && said.contains("rolled back"),
        "{said}"
    );
    for ticket in std::fs::read_dir(bed.site(PRODUCTION).home("errors")).unwrap() {
        std::fs::remove_file(ticket.unwrap().path()).unwrap();
    }
    assert_eq!(bed.state(PRODUCTION), before);
    bed.is_open(PRODUCTION);
}

/// A model that catches its own error leaves its table as it was; exit status 0.
#[test]
fn a_model_that_hides_its_error_fails_the_migration() {
    let bed = Bed::alone(Database::Postgres);
    let old = bed.site(PRODUCTION).old_way("hide");
    assert_eq!(old.code, Some(0), "{}{}", old.said, old.log);
    let before = bed.state(PRODUCTION);
    let accept = "\n[accept]\n\"asset_asset.price\" = \"to see what happens\"\n";
    bed.ready.write("hosts/mysite.toml", bed.ready.read("hosts/mysite.toml") + accept);
    let said = bed.deploy(PRODUCTION, "hide").expect_code(10).all();
    for text in ["model asset hides an error", "table: asset_asset", "statement: ", "rolled back"] {
        assert!(said.contains(text), "no {text:?} in {said}");
    }
    assert_eq!(bed.state(PRODUCTION), before);
    bed.is_open(PRODUCTION);
}

/// The table in work had an empty `.table` afterwards, with which every later run failed for ever, with exit status 0.
#[test]
fn a_migration_that_is_killed_is_rolled_back() {
    for database in DATABASES {
        let bed = Bed::alone(database);
        let site = bed.site(PRODUCTION);
        let before = bed.state(PRODUCTION);
        let log = site.log().len();
        let running = bed.ready.spawn(&[PRODUCTION, "deploy", "--yes", "-e", "revision=slow"]);
        wait_for("the migration", || site.log()[log..].contains("suffix").then_some(()));
        let web2py = site.web2py();
        let mut killed = 0;
        for pid in marked("EDEN_WEB2PY", web2py.to_str().unwrap()) {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains("web2py.py") {
                signal(pid, Signal::KILL);
                killed += 1;
            }
        }
        assert_eq!(killed, 1);
        let said = running.wait().expect_code(10).all();
        assert!(said.contains("the migration failed") && said.contains("rolled back"), "{said}");
        assert_eq!(bed.state(PRODUCTION), before);
        bed.is_open(PRODUCTION);
        bed.deploy(PRODUCTION, "add").expect_code(0);
        bed.is_open(PRODUCTION);
    }
}

#[test]
fn a_controller_killed_in_each_phase_is_resumed_with_sqlite() {
    killed_in_each_phase(Database::Sqlite);
}

#[test]
fn a_controller_killed_in_each_phase_is_resumed_with_postgresql() {
    killed_in_each_phase(Database::Postgres);
}

/// Of a deployment and of a rollback.
fn killed_in_each_phase(database: Database) {
    let bed = Bed::alone(database);
    let v1 = bed.site(PRODUCTION).head();
    for phase in ["preview", "close", "note", "database", "roll", "look", "finish", "prune"] {
        for (task, args) in [("deploy", &["-e", "revision=add"][..]), ("rollback", &[])] {
            let begins = if task == "rollback" && phase == "preview" { "data" } else { phase };
            let args = [&[PRODUCTION, task, "--yes"], args].concat();
            let mut running = bed.ready.spawn(&args);
            // The first one may be that of the look before the question.
            running.wait_for_text(&format!("phase {begins}"));
            running.signal(Signal::KILL);
            let said = running.wait().all();
            if said.contains("phase ready") {
                bed.ends(0, &["resume"]);
            } else {
                bed.ends(0, &args[..args.len()]);
            }
            assert_eq!(bed.site(PRODUCTION).head() == v1, task == "rollback", "{task} killed in {phase}");
            bed.is_open(PRODUCTION);
            bed.ends(0, &[PRODUCTION, "schema-check"]);
        }
    }
    assert_eq!(bed.sql(PRODUCTION, "select count(initials) from pr_person"), "750");
}
