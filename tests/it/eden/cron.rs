//! Cron jobs are off while the database changes, and are byte for byte what they were afterwards.

use std::process::Command;

use super::bed::{Bed, CRON, PRODUCTION};
use super::site::{ByHand as _, Database};
use crate::support::files;
use crate::support::process::wait_for;
use crate::support::tools::tool;

#[test]
fn the_lines_of_this_web2py_are_off_and_back_byte_for_byte() {
    let bed = Bed::alone(Database::Sqlite);
    let site = bed.site(PRODUCTION);
    let paths = [site.etc("crontab"), site.etc("cron.d/eden"), bed.crontab(PRODUCTION)];
    let before = paths.each_ref().map(|path| files::read(path));
    bed.ends(0, &[PRODUCTION, "cron-off"]);
    let system = files::read(&paths[0]);
    assert!(system.contains("\n17 *\t* * *\troot    cd / && run-parts --report /etc/cron.hourly\n"), "{system}");
    assert!(system.ends_with("0 3 * * * root true"), "{system}");
    for path in &paths {
        let text = files::read(path);
        let runs = |line: &str| !line.starts_with('#') && (line.contains("/web2py") || line.contains("./job"));
        assert!(!text.lines().any(runs), "{text}");
    }
    // Twice is once.
    bed.ends(0, &[PRODUCTION, "cron-off"]);
    let said = bed.ends(13, &[PRODUCTION, "status"]);
    assert!(said.contains("cron is off"), "{said}");
    bed.ends(0, &[PRODUCTION, "cron-on"]);
    assert_eq!(paths.each_ref().map(|path| files::read(path)), before);
    assert_eq!(before[2], CRON);

    // What somebody writes meanwhile stays.
    bed.ends(0, &[PRODUCTION, "cron-off"]);
    files::write(&paths[0], files::read(&paths[0]) + "\n1 2 3 4 5 root new\n", 0o644);
    bed.ends(0, &[PRODUCTION, "cron-on"]);
    assert_eq!(files::read(&paths[0]), format!("{}\n1 2 3 4 5 root new\n", before[0]));
}

/// Seen by a command of the site's in the middle of the deployment.
#[test]
fn cron_is_off_and_the_site_closed_while_the_database_changes() {
    let bed = Bed::alone(Database::Sqlite);
    let site = bed.site(PRODUCTION);
    let seen = bed.upstream().with_file_name("seen");
    let look = format!(
        "cat {0} {1}/crontab >{2}; ls maintenance.flag >>{2}; \\\"$FLEET_FILES\\\"/eden/eden.sh migrate",
        bed.crontab(PRODUCTION).display(),
        site.etc("").display(),
        seen.display()
    );
    bed.write_vars(PRODUCTION, &format!("migrate = \"{look}\""));
    bed.deploy(PRODUCTION, "add").expect_code(0);
    let seen = files::read(&seen);
    assert!(!seen.contains("./job") && seen.contains("maintenance.flag"), "{seen}");
    assert!(!seen.lines().any(|line| !line.starts_with('#') && line.contains("web2py.py")), "{seen}");
    bed.is_open(PRODUCTION);
}

/// Cron starts it, it goes on when cron is off, and it would meet the migration. (This cron has one job and starts it at once.)
#[test]
fn a_cron_job_that_is_running_is_waited_for_while_the_site_is_open() {
    let bed = Bed::alone(Database::Sqlite);
    let site = bed.site(PRODUCTION);
    let file = |name: &str| bed.upstream().with_file_name(name);
    let job = format!(
        "cd {0} && touch {1}; while [ -e {1} ] && [ ! -e {2} ]; do sleep 0.05; done; ls maintenance.flag >{3} 2>&1",
        site.home("").display(),
        file("running").display(),
        file("go").display(),
        file("seen").display()
    );
    let cron = file("cron");
    std::fs::copy(tool("dash"), &cron).unwrap();
    let mut cron = Command::new(cron).args(["-c", "sh -c \"$1\"; exit 0", "cron", &job]).spawn().unwrap();
    wait_for("the job", || file("running").exists().then_some(()));

    bed.write_vars(PRODUCTION, "jobs-wait = \"1\"");
    let before = bed.state(PRODUCTION);
    let said = bed.deploy(PRODUCTION, "add").expect_code(10).all();
    assert!(said.contains("cron jobs of the site still run: ") && said.contains("jobs-wait"), "{said}");
    assert_eq!(bed.state(PRODUCTION), before);
    bed.is_open(PRODUCTION);

    let path = format!("hosts/{PRODUCTION}.toml");
    bed.ready.write(&path, bed.ready.read(&path).replace("jobs-wait = \"1\"", ""));
    let args = [PRODUCTION, "deploy", "--yes", "-e", "revision=add"];
    let mut running = bed.ready.spawn(&args);
    running.wait_for_text("> jobs-ended ");
    files::write(&file("go"), "", 0o644);
    running.wait().expect_code(0);
    cron.wait().unwrap();
    assert!(files::read(&file("seen")).contains("No such file"), "the site was closed while the job was running");
    bed.is_open(PRODUCTION);
}
