//! What the old page's trial run is silent about, and what fleet says of it before anything closes.

use super::DATABASES;
use super::bed::{Bed, PRODUCTION, TEST};
use super::site::{ByHand as _, Database, PASSWORD};
use crate::support::files;

const VALUES: &str = "select count(initials) from pr_person";

/// Exit status 0 and `success!`, 750 values gone.
#[test]
fn a_rename_is_blocked_before_anything_closes() {
    for database in DATABASES {
        let bed = Bed::apart(database);
        assert_eq!(bed.sql(PRODUCTION, VALUES), "750");
        let because = ["pr_person.initials", "750 values", "short_name"];
        bed.is_refused(PRODUCTION, &["preview", "-e", "revision=rename"], &because);
        bed.is_refused(PRODUCTION, &["deploy", "-e", "revision=rename"], &because);
        assert!(!bed.ready.read(&format!("hosts/{PRODUCTION}.toml")).contains(PASSWORD));

        let site = bed.site(TEST);
        site.git(&["-c", "protocol.file.allow=always", "fetch", "-q", "--tags"]);
        site.switch_migrate("False", "True");
        site.git(&["checkout", "-q", "--detach", "rename"]);
        let (code, said) = site.trial_run();
        assert_eq!(code, Some(0), "{said}");
        assert!(site.log().trim_end().ends_with("success!"), "{}", site.log());
        let left = bed.postgres.as_ref().map(|_| bed.sql(TEST, "select count(short_name) from pr_person"));
        assert_eq!(left, bed.postgres.as_ref().map(|_| "0".to_owned()));
    }
}

/// What the trial run ends with, and what the preview says before the site closes.
#[test]
fn what_a_release_breaks_is_named_before_anything_closes() {
    let bed = Bed::alone(Database::Sqlite);
    for (release, code, because) in [
        ("raise", 0, "models."),
        ("badimport", 1, "models."),
        ("badmodel", 1, "models."),
        ("requirement", 0, "requirement."),
        ("setting", 1, "setting."),
    ] {
        let old = bed.site(PRODUCTION).old_way(release);
        assert_eq!(old.code, Some(code), "{release}: {}{}", old.said, old.log);
        if code == 0 {
            assert!(!old.log.contains("ALTER") || old.log.trim_end().ends_with("success!"), "{release}: {}", old.log);
        }
        bed.is_refused(PRODUCTION, &["preview", "-e", &format!("revision={release}")], &[because]);
        bed.is_refused(PRODUCTION, &["deploy", "-e", &format!("revision={release}")], &[because]);
    }
}

/// New models that ask for new tables do not hide the rest; it says that it is partial.
#[test]
fn a_model_that_asks_for_a_table_of_its_own_release_does_not_hide_the_rest() {
    let bed = Bed::alone(Database::Sqlite);
    let before = bed.state(PRODUCTION);
    let said = bed.run(&[PRODUCTION, "preview", "-e", "revision=newquery"]).all();
    assert!(said.contains("partial"), "{said}");
    let said = bed.ends(6, &[PRODUCTION, "preview", "-e", "revision=typechange"]);
    assert!(said.contains("asset_asset.price"), "{said}");
    assert_eq!(bed.state(PRODUCTION), before);
}

#[test]
fn a_site_is_not_upgraded_beyond_a_commit() {
    let bed = Bed::alone(Database::Sqlite);
    let v1 = bed.site(PRODUCTION).head();
    bed.write_vars(PRODUCTION, &format!("not-beyond = \"{v1}\""));
    bed.is_refused(PRODUCTION, &["deploy", "-e", "revision=add"], &["not-beyond"]);
    // That commit itself, and what lies before it, is not beyond.
    let add = bed.site(PRODUCTION).git(&["rev-parse", "origin/main"]);
    let file = format!("hosts/{PRODUCTION}.toml");
    bed.ready.write(&file, bed.ready.read(&file).replace(&v1, &add));
    bed.deploy(PRODUCTION, "add").expect_code(0);
}

/// Production is asked about its own data.
#[test]
fn a_loss_that_test_did_not_have_stops_production_before_anything_closes() {
    for database in DATABASES {
        let bed = Bed::both(database);
        bed.sql(TEST, "update pr_person set initials = null");
        bed.deploy(TEST, "rename").expect_code(0);
        bed.is_refused(PRODUCTION, &["deploy"], &["pr_person.initials", "750 values"]);
    }
}

/// Accepted is what Test has lost, and not more.
#[test]
fn a_larger_loss_than_was_accepted_on_test_stops_production() {
    let bed = Bed::both(Database::Sqlite);
    let accept = "\n[accept]\n\"pr_person.initials\" = \"nobody reads them\"\n";
    for site in [TEST, PRODUCTION] {
        let path = format!("hosts/{site}.toml");
        bed.ready.write(&path, bed.ready.read(&path) + accept);
    }
    bed.deploy(TEST, "rename").expect_code(0);
    bed.sql(PRODUCTION, "insert into pr_person (first_name, initials) values ('New', 'N')");
    bed.is_refused(PRODUCTION, &["deploy"], &["pr_person.initials", "751"]);
    bed.sql(PRODUCTION, "delete from pr_person where first_name = 'New'");
    bed.ends(0, &[PRODUCTION, "deploy"]);
    assert!(files::read(&bed.site(PRODUCTION).home("models/000_config.py")).contains("migrate = False"));
}

/// `relation already exists` or `appears corrupted`, for ever, with exit status 0: what web2py notes about a table is empty, cut or not there.
#[test]
fn notes_of_web2py_that_do_not_fit_the_database_are_found_before_anything_closes() {
    for database in DATABASES {
        let bed = Bed::alone(database);
        let site = bed.site(PRODUCTION);
        let table = site.home("databases").join(site.table("pr_person"));
        let whole = std::fs::read(&table).unwrap();
        for length in [0, whole.len() / 2] {
            files::write(&table, &whole[..length], 0o644);
            let because = ["pr_person", "cannot be read"];
            let said = bed.ends(6, &[PRODUCTION, "check"]);
            assert!(because.iter().all(|text| said.contains(text)), "{said}");
            bed.is_refused(PRODUCTION, &["deploy", "-e", "revision=add"], &because);
        }
        // That it is missing is known when the models say which tables there are.
        files::write(&table, &whole, 0o644);
        let away = bed.upstream().with_file_name("away");
        std::fs::rename(&table, &away).unwrap();
        bed.is_refused(PRODUCTION, &["preview", "-e", "revision=add"], &["pr_person: the migration"]);
        bed.is_refused(PRODUCTION, &["deploy", "-e", "revision=add"], &["pr_person: the migration"]);
        std::fs::rename(&away, &table).unwrap();
        bed.ends(0, &[PRODUCTION, "check"]);
    }
}

/// The column of the reference is dropped as any other, a text becomes a number or the migration stops, and a module that is switched off keeps
/// its old tables: with exit status 0.
#[test]
fn what_a_migration_would_do_to_columns_is_said_before_anything_closes() {
    for database in DATABASES {
        let bed = Bed::alone(database);
        // The copy of the old way has the same PostgreSQL database: what changes that is the last one.
        for (release, because) in [
            ("typechange", &["asset_asset.price", "INTEGER"][..]),
            ("switchedoff", &["asset_asset", "750 rows"]),
            ("notnull", &["pr_person.status", "NOT NULL"]),
            ("rname", &["pr_address", "pr_place"]),
            ("foreignkey", &["asset_asset.person_id", "750 values", "assigned_to_id"]),
        ] {
            bed.is_refused(PRODUCTION, &["preview", "-e", &format!("revision={release}")], because);
            bed.is_refused(PRODUCTION, &["deploy", "-e", &format!("revision={release}")], because);
            let old = bed.site(PRODUCTION).old_way(release);
            assert_eq!(old.code, Some(0), "{release}: {}{}", old.said, old.log);
        }
    }
}

/// A wrong password ends the trial run after six seconds of tries, a wrong name of the application asks a question.
#[test]
fn a_configuration_that_cannot_work_is_found_before_anything_closes() {
    let bed = Bed::alone(Database::Postgres);
    let site = bed.site(PRODUCTION);
    let config = site.home("models/000_config.py");
    let right = files::read(&config);
    files::write(&config, right.replace(PASSWORD, "wr0ng"), files::mode(&config));
    for (code, task) in [(10, "check"), (6, "preview"), (10, "deploy")] {
        let said = bed.ends(code, &[PRODUCTION, task]);
        assert!(!said.contains("wr0ng") && !said.contains("maintenance-on"), "{said}");
        assert!(said.contains("password"), "{said}");
    }
    files::write(&config, &right, files::mode(&config));
    let file = bed.ready.read("hosts/mysite.toml");
    bed.write_vars(PRODUCTION, "scheduler-off = \"/no/such/service stop\"");
    let said = bed.ends(10, &[PRODUCTION, "check"]);
    assert!(said.contains("the variable scheduler-off runs /no/such/service"), "{said}");
    bed.ready.write("hosts/mysite.toml", file);
    bed.write_vars(PRODUCTION, "app = \"edne\"");
    let said = bed.run(&[PRODUCTION, "check"]).all();
    assert!(said.contains("applications/edne"), "{said}");
    bed.deploy(PRODUCTION, "add").expect_code(10);
    bed.is_open(PRODUCTION);
}
