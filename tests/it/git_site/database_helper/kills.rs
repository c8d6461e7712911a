//! The helper is killed after each of its calls in turn; then the same words again put the database back.

use std::os::unix::process::ExitStatusExt as _;

use super::site::{Kind, Site};
use crate::support::files;

fn survives(kind: Kind, verb: &str) {
    let site = Site::start(kind, "my site");
    if kind == Kind::Mariadb {
        site.sql("create trigger shout before insert on note for each row set new.text = upper(new.text)");
        site.sql("create procedure tell() select text from notes");
    }
    site.ok(&["backup", "dump"]);
    let schema = site.ok(&["schema"]);
    for call in 1.. {
        assert!(call < 60);
        let run = format!("20261122-0000{call:02}-7f3a19c4");
        if verb == "back" {
            site.ok(&["point", &run]);
        }
        site.migrate();
        site.sql(&format!("update half set x = {call}"));
        files::write(&site.file("wrapped/calls"), "0", 0o600);
        let killed = site.helper(&[verb, "dump", &run]).env("DIES_AT", call.to_string()).output().unwrap();
        if killed.status.success() {
            assert!(call > 5, "{call}");
            break;
        }
        assert_eq!(killed.status.signal(), Some(9), "{killed:?}");
        let said = site.ok(&[verb, "dump", &run]);
        assert_eq!(site.ok(&["schema"]), schema, "call {call}");
        assert_eq!(site.kept(), "kept", "call {call}");
        let names = site.names();
        assert!(names.iter().all(|name| name.starts_with("my site-old-")), "call {call}: {names:?}");
        let migrated = names.iter().filter(|name| name.contains(&run[..15])).any(|name| {
            let is_table = if kind == Kind::Sqlite { "sqlite_master" } else { "information_schema.tables" };
            let schema = match kind {
                Kind::Postgresql => "table_name = 'half'".to_owned(),
                Kind::Mariadb => format!("table_name = 'half' and table_schema = '{name}'"),
                Kind::Sqlite => "name = 'half'".to_owned(),
            };
            site.sql_in(name, &format!("select count(*) from {is_table} where {schema}")) == "1"
                && site.sql_in(name, "select x from half") == call.to_string()
        });
        assert!(migrated, "call {call}: what was there is lost: {names:?}; {said}");
        site.ok(&["prune", "0"]);
    }
    assert_eq!(site.kept(), "kept");
}

#[test]
fn a_killed_restore_of_postgresql_is_finished_by_the_next() {
    survives(Kind::Postgresql, "restore");
}

#[test]
fn a_killed_return_to_a_restore_point_is_finished_by_the_next() {
    survives(Kind::Postgresql, "back");
}

#[test]
fn a_killed_restore_of_mariadb_is_finished_by_the_next() {
    survives(Kind::Mariadb, "restore");
}

#[test]
fn a_killed_restore_of_sqlite_is_finished_by_the_next() {
    survives(Kind::Sqlite, "restore");
}
