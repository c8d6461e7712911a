//! Cron jobs are off while the database changes, and are byte for byte what they were afterwards.

use super::bed::{Bed, CRON, PRODUCTION};
use super::site::Database;
use crate::support::files;

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
