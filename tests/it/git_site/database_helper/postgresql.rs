//! What only `PostgreSQL` has.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use super::site::{Kind, RUN, Server, Site};
use crate::support::files;
use crate::support::postgres::Postgres;
use crate::support::process::{run, stdout_of, wait_for};
use crate::support::tools::tool;

fn server(site: &Site) -> &Postgres {
    let Server::Postgresql(postgres) = &site.server else { panic!() };
    postgres
}

/// As the superuser, in the site's database.
fn root(site: &Site, text: &str) {
    run(&mut server(site).asks("postgres", "mysite", text));
}

/// The blocks of SQL that the docs show.
pub fn documented(heading: &str) -> String {
    let docs = include_str!("../../../../docs/database.md");
    let (_, block) = docs.split_once(heading).unwrap().1.split_once("```sql\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

#[test]
fn owner_grants_settings_comment_and_large_objects_come_back() {
    let site = Site::start(Kind::Postgresql, "mysite");
    root(&site, "create role reader login; create role ops");
    site.sql("create materialized view report as select count(*) from note");
    site.sql("select lo_from_bytea(4711, 'large')");
    site.sql("create function twice(i int) returns int language plpgsql as 'begin return 2 * i; end'");
    site.sql("create table a (i int); create table b (i int); create function f() returns trigger language plpgsql as 'begin return new; end'");
    site.sql("create trigger t before insert on b for each row execute function f()");
    site.sql("create trigger t before insert on a for each row execute function f()");
    root(
        &site,
        "revoke connect on database mysite from public; grant connect on database mysite to reader with grant option",
    );
    root(
        &site,
        "grant select on note to reader; alter database mysite set work_mem to '9MB'; alter database mysite set search_path to '$user', public, ''",
    );
    root(&site, "alter database mysite set timezone to 'Asia/Tokyo'; alter database mysite connection limit 7");
    root(
        &site,
        "comment on database mysite is E'it''s\\nmine'; alter role site in database mysite set work_mem to '8MB'",
    );
    let about = "select array(select a::text from unnest(datacl) a order by 1), datconnlimit, pg_get_userbyid(datdba),
        shobj_description(oid, 'pg_database'), array(select setrole::regrole || entry from pg_db_role_setting,
        unnest(setconfig) entry where setdatabase = d.oid order by 1) from pg_database d where datname = 'mysite'";
    let schema = site.ok(&["schema"]);
    let before = site.sql(about);
    site.ok(&["backup", "dump"]);
    for point in [true, false] {
        if point {
            site.ok(&["point", RUN]);
        }
        site.sql("drop function twice; select lo_unlink(4711); drop materialized view report");
        site.migrate();
        root(
            &site,
            "alter database mysite reset all; comment on database mysite is 'other'; grant connect on database mysite to public",
        );
        assert_ne!(site.ok(&["schema"]), schema);
        site.ok(&["back", "dump", RUN]);
        assert_eq!(site.ok(&["schema"]), schema);
        assert_eq!(site.sql(about), before);
        assert_eq!(
            site.sql("select convert_from(lo_get(4711), 'utf8'), twice(2), count, text from report, notes"),
            "large|4|1|kept"
        );
        assert_eq!(site.sql("show work_mem"), "8MB");
    }
}

#[test]
fn check_names_all_that_stands_in_the_way_and_the_hints_help() {
    let site = Site::start(Kind::Postgresql, "mysite");
    let stands_in_the_way = |text: &str, hint: &str| {
        let said = site.fails(&["check"]);
        assert!(said.contains(text) && said.contains(&format!("hint: {hint}")), "{text}: {said}");
        assert!(site.names().is_empty());
    };
    root(&site, "alter role site nocreatedb; alter database mysite owner to postgres");
    stands_in_the_way("site is not the owner of the database", "as a superuser: alter database mysite owner to site");
    stands_in_the_way("site may not create a database", "as a superuser: alter role site createdb");
    root(&site, &documented("PostgreSQL, as a superuser"));
    site.ok(&["check"]);

    root(
        &site,
        "create table other (i int); create role ops login; create schema ops authorization ops; grant select on other to site",
    );
    stands_in_the_way(
        "the schema ops belongs to ops",
        "as a superuser, in this database: reassign owned by ops to site",
    );
    stands_in_the_way(
        "the table public.other belongs to postgres",
        "as a superuser, in this database: alter ... owner to site",
    );
    root(
        &site,
        "reassign owned by ops to site; alter table other owner to site; alter schema public owner to postgres",
    );
    stands_in_the_way(
        "the schema public belongs to postgres",
        "as a superuser, in this database: alter schema public owner to pg_database_owner",
    );
    root(&site, "alter schema public owner to pg_database_owner");
    site.ok(&["check"]);

    root(&site, "alter database mysite set app.label to 'a=b, ''c'''");
    stands_in_the_way(
        "only a superuser can restore the setting app.label",
        "as a superuser: alter role site superuser",
    );
    root(&site, "alter database mysite reset app.label; create extension pageinspect; create extension pgcrypto");
    stands_in_the_way(
        "only a superuser can restore the extension pageinspect",
        "as a superuser: alter role site superuser",
    );
    root(&site, "drop extension pageinspect; drop extension pgcrypto");
    site.sql("create extension pgcrypto");
    site.sql("begin; create table prepared (i int); prepare transaction 'left'");
    stands_in_the_way("the prepared transaction left keeps the database in use", "rollback prepared 'left'");
    site.sql("rollback prepared 'left'");

    let mut ops = server(&site).asks("ops", "mysite", "select pg_sleep(600)").process_group(0).spawn().unwrap();
    let connected = || (site.sql("select count(*) from pg_stat_activity where usename = 'ops'") == "1").then_some(());
    wait_for("ops", connected);
    stands_in_the_way(
        "ops is connected, and site may not end its connections",
        "as a superuser: grant pg_signal_backend to site",
    );
    root(&site, "grant pg_signal_backend to site");
    site.ok(&["check"]);
    site.ok(&["backup", "dump"]);
    site.ok(&["restore", "dump", RUN]);
    assert!(!ops.wait().unwrap().success());

    let mut absent = Site::start(Kind::Postgresql, "mysite");
    for (name, text) in
        [("nowhere", "there is no database nowhere"), ("a234567890b234567890c234567890d23", "is too long")]
    {
        absent.set("DATABASE_NAME", name);
        let said = absent.fails(&["check"]);
        assert!(said.contains(text), "{said}");
    }
    absent.set("DATABASE_HOST", "/nowhere");
    assert!(absent.fails(&["check"]).contains("cannot log in to PostgreSQL"));
}

#[test]
fn an_old_client_and_a_closed_database_are_named() {
    let site = Site::start(Kind::Postgresql, "mysite");
    let real = files::read(&site.file("wrapped/pg_dump"));
    for (version, text) in
        [("9.6.24", "pg_dump 9 is older than the server, "), ("99.1", "pg_dump 99 cannot restore on a server ")]
    {
        files::write(
            &site.file("wrapped/pg_dump"),
            format!("#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}'\n"),
            0o755,
        );
        let said = site.fails(&["check"]);
        assert!(said.contains(text) && said.contains("hint: apt-get install postgresql-client-"), "{said}");
    }
    files::write(&site.file("wrapped/pg_dump"), real, 0o755);
    run(&mut server(&site).asks("site", "postgres", "alter database mysite with allow_connections false"));
    let said = site.fails(&["check"]);
    assert!(said.contains("takes no connections") && said.contains("hint: psql -d postgres -c"), "{said}");
}

#[test]
fn a_superuser_keeps_the_owners_of_all_objects() {
    let mut site = Site::start(Kind::Postgresql, "mysite");
    root(&site, "create extension pageinspect; create table other (i int)");
    root(&site, "alter database mysite set app.label to 'a=b, ''c'''");
    site.set("DATABASE_USER", "postgres");
    site.ok(&["check"]);
    site.ok(&["backup", "dump"]);
    site.ok(&["restore", "dump", RUN]);
    let owners = "select relname || ' ' || relowner::regrole from pg_class where relname in ('note', 'notes', 'other') order by 1";
    assert_eq!(site.sql(owners), "note site\nnotes site\nother postgres");
    assert_eq!(site.sql("select pg_get_userbyid(datdba) from pg_database where datname = 'mysite'"), "site");
    assert_eq!(site.sql("show app.label"), "a=b, 'c'");
}

/// Clients that connect again as soon as they are thrown out.
struct Pool(Child);

impl Pool {
    fn of(role: &str, site: &Site) -> Self {
        let psql = r#"while :; do psql -X -w -h "$1" -U "$2" -d mysite -c "select pg_sleep(600)"; done"#;
        let text = format!("({psql}) & ({psql}) & {psql}");
        let mut shell = Command::new(tool("sh"));
        shell.args(["-c", &text, "sh"]).arg(server(site).socket()).arg(role);
        shell.process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
        let pool = Self(shell.spawn().unwrap());
        let count = format!(
            "select count(*) from pg_stat_activity where usename = '{role}' and datname = 'mysite' and query like '%sleep%'"
        );
        let server = server(site);
        wait_for("the pool", || (stdout_of(&mut server.asks("postgres", "postgres", &count)) == "3").then_some(()));
        pool
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        kill_process_group(group, Signal::KILL).unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn an_application_that_connects_again_at_once_is_kept_out_also_as_superuser() {
    for role in ["site", "postgres"] {
        let mut site = Site::start(Kind::Postgresql, "mysite");
        site.set("DATABASE_USER", role);
        site.ok(&["backup", "dump"]);
        let _pool = Pool::of(role, &site);
        site.ok(&["check"]);
        assert!(site.ok(&["point", RUN]).starts_with("restore point"));
        site.migrate();
        site.ok(&["back", "dump", RUN]);
        site.migrate();
        site.ok(&["restore", "dump", RUN]);
        assert_eq!(site.kept(), "kept");
        assert_eq!(site.sql("select count(*) from pg_database where not datallowconn"), "1");
    }
}

#[test]
fn a_dump_that_cannot_be_loaded_changes_nothing_and_a_large_database_gets_no_point() {
    let mut site = Site::start(Kind::Postgresql, "mysite");
    root(&site, "create role reader; grant select on note to reader");
    site.ok(&["backup", "dump"]);
    root(&site, "revoke all on note from reader; drop role reader");
    let said = site.fails(&["restore", "dump", RUN]);
    assert!(said.contains("cannot be loaded") && said.contains("mysite is as it was"), "{said}");
    assert!(site.names().is_empty());
    assert_eq!(site.kept(), "kept");
    site.set("DATABASE_POINT_LIMIT", "1");
    assert!(site.ok(&["point", RUN]).contains("are more than 1; the way back is the dump"));
    assert!(site.names().is_empty());
}

#[test]
fn what_the_login_or_the_role_has_set_changes_nothing() {
    let mut site = Site::start(Kind::Postgresql, "mysite");
    files::write(&site.file("home/.psqlrc"), "\\set ON_ERROR_STOP off\n\\echo psqlrc\n", 0o644);
    site.set("PGOPTIONS", "-c default_transaction_read_only=on -c client_encoding=LATIN1");
    site.set("PGDATABASE", "nowhere");
    root(&site, "alter role site set statement_timeout = 1; alter role site set lock_timeout = 1");
    root(&site, "alter role site set default_transaction_read_only = on; alter role site set search_path = nowhere");
    site.ok(&["backup", "dump"]);
    let schema = site.ok(&["schema"]);
    for _ in 0..2 {
        site.ok(&["point", RUN]);
        site.ok(&["back", "dump", RUN]);
        site.ok(&["restore", "dump", RUN]);
    }
    assert_eq!(site.ok(&["schema"]), schema);
    assert_eq!(site.ok(&["prune", "0"]).lines().count(), 4);
}
