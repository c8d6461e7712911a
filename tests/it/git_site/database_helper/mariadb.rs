//! What only `MariaDB` has.

use super::postgresql::documented;
use super::site::{Kind, RUN, Server, Site};
use crate::support::files;
use crate::support::process::wait_for;

fn root(site: &Site, text: &str) -> String {
    let Server::Mariadb(mariadb) = &site.server else { panic!() };
    mariadb.sql("mysite", text)
}

/// Keys across tables, and all that RENAME TABLE refuses to move.
fn with_everything() -> Site {
    let site = Site::start(Kind::Mariadb, "mysite");
    for text in [
        "create table parent (id int primary key, self int, foreign key (self) references parent (id)) engine=InnoDB",
        "create table child (id int primary key auto_increment, parent int, foreign key (parent) references parent (id))",
        "insert into parent values (1, 1); insert into child values (7, 1)",
        "create sequence numbers; create table plain (i int) engine=MyISAM; insert into plain values (3)",
        "create definer=site function twice (i int) returns int deterministic return 2 * i",
        "create definer=site view late as select twice(id) as id from parent; create definer=site view early as select * from late",
        "create definer=site procedure tell () select 'told'; create definer=site procedure other () select 1",
        "create definer=site trigger shout before insert on note for each row set new.text = concat(new.text, '!')",
        "create definer=site event tick on schedule every 1 day starts '2037-01-01' do delete from child",
        "alter definer=site view notes as select text from note",
    ] {
        root(&site, text);
    }
    site
}

#[test]
fn views_triggers_routines_events_keys_and_grants_come_back_and_stay_with_what_is_kept() {
    let site = with_everything();
    root(
        &site,
        "create user reader; grant execute on procedure mysite.tell to reader; grant select on mysite.note to reader",
    );
    site.ok(&["check"]);
    site.ok(&["backup", "dump"]);
    let schema = site.ok(&["schema"]);
    root(
        &site,
        "drop view early; drop trigger shout; drop function twice; drop procedure other; create definer=site procedure more () select 2",
    );
    root(
        &site,
        "alter table parent add more int; create definer=site trigger quiet after delete on child for each row set @x = 1",
    );
    root(
        &site,
        "create table gone (i int); create definer=site view broken as select * from gone; drop table gone; drop event tick",
    );
    root(
        &site,
        "create definer=site event tock on schedule every 1 second do insert into plain values (4); alter database mysite character set latin1",
    );
    let said = site.ok(&["restore", "dump", RUN]);
    assert!(said.contains("so this is not in mysite-old-"), "{said}");
    assert_eq!(site.ok(&["schema"]), schema);
    assert_eq!(
        root(&site, "insert into note values (2, 'more'); select text from notes; select id from early"),
        "kept\nmore!\n2"
    );
    assert_eq!(
        root(&site, "select i from plain; select id from child; show create database mysite").lines().count(),
        3
    );
    assert!(root(&site, "insert ignore into child values (8, 9); show warnings").contains("foreign key"));
    assert!(root(&site, "show grants for reader").contains("EXECUTE ON PROCEDURE `mysite`.`tell`"));
    let old = format!("mysite-old-{RUN}");
    assert_eq!(
        site.sql_in(&old, "select trigger_name from information_schema.triggers where trigger_schema = database()"),
        "quiet"
    );
    assert_eq!(
        site.sql_in(&old, "select event_name, status from information_schema.events where event_schema = database()"),
        "tock\tDISABLED"
    );
    assert!(site.sql_in(&old, "select body from `fleet-programs`").contains("gone"));
    assert_eq!(site.sql_in(&old, "call more()"), "2");
}

#[test]
fn tables_that_are_locked_stay_and_so_do_their_programs() {
    let mut site = with_everything();
    site.set("DATABASE_TIMEOUT", "1");
    site.ok(&["backup", "dump"]);
    let schema = site.ok(&["schema"]);
    let Server::Mariadb(mariadb) = &site.server else { panic!() };
    let mut locks = mariadb.client("root", "mysite", "lock tables parent read; select sleep(600)").spawn().unwrap();
    let sleeps = "select count(*) from information_schema.processlist where state = 'User sleep'";
    wait_for("the lock", || (mariadb.sql("", sleeps) == "1").then_some(()));
    let said = site.fails(&["restore", "dump", RUN]);
    assert!(
        said.contains("Lock wait timeout") && said.contains("mysite cannot be swapped, see above; it is as it was"),
        "{said}"
    );
    assert_eq!(site.ok(&["schema"]), schema);
    assert!(site.names().is_empty());
    let id = mariadb.sql("", "select id from information_schema.processlist where state = 'User sleep'");
    mariadb.sql("", &format!("kill {id}"));
    locks.wait().unwrap();
    site.ok(&["restore", "dump", RUN]);
    assert_eq!(site.ok(&["schema"]), schema);
}

#[test]
fn check_names_all_that_stands_in_the_way_and_the_hints_help() {
    let mut site = with_everything();
    let stands_in_the_way = |text: &str, hint: &str| {
        let said = site.fails(&["check"]);
        assert!(said.contains(text) && said.contains(&format!("hint: {hint}")), "{text}: {said}");
        assert!(site.names().is_empty());
    };
    root(&site, "revoke all on `mysite-%`.* from site; revoke trigger, event on mysite.* from site");
    stands_in_the_way(
        "site@% lacks EVENT, TRIGGER on mysite, which a restore needs",
        "as root: grant all on `mysite`.* to 'site'@'%'; ",
    );
    stands_in_the_way("ALTER, ALTER ROUTINE, CREATE, ", "as root: grant all on ");
    root(&site, &documented("MariaDB, as root"));
    site.ok(&["check"]);

    root(&site, "create definer=root@localhost view theirs as select 1 as one");
    let hint = "as root: grant set user on *.* to 'site'@'%'";
    stands_in_the_way("the view theirs is defined by root@localhost, so site@% cannot restore it", hint);
    root(&site, "grant set user on *.* to site");
    site.ok(&["check"]);
    root(
        &site,
        "create database other; create table other.far (parent int, foreign key (parent) references mysite.parent (id))",
    );
    root(&site, "grant all on other.* to site");
    stands_in_the_way("joins other.far and mysite.parent", "alter table `other`.`far` drop foreign key `far_ibfk_1`");
    root(&site, "drop database other; set global read_only = 1");
    stands_in_the_way("this server is a replica", "DATABASE_HOST must be the primary");
    root(&site, "set global read_only = 0");
    site.ok(&["check"]);
    for (name, text) in
        [("nowhere", "there is no database nowhere"), ("a234567890b234567890c234567890d23456", "is too long")]
    {
        site.set("DATABASE_NAME", name);
        let said = site.fails(&["check"]);
        assert!(said.contains(text), "{said}");
    }
}

#[test]
fn an_option_file_that_changes_what_the_client_does_is_refused() {
    let mut site = Site::start(Kind::Mariadb, "mysite");
    for (group, option) in
        [("mysqldump", "where = 1=0"), ("client", "force"), ("mysql", "init-command = drop table note")]
    {
        files::write(&site.file("home/.my.cnf"), format!("[{group}]\n{option}\n"), 0o600);
        for words in [&["check"][..], &["backup", "dump"]] {
            let said = site.fails(words);
            let name = option.split(' ').next().unwrap();
            assert!(
                said.contains(&format!("sets --{name}, which changes what ")) && said.contains("--print-defaults"),
                "{said}"
            );
        }
    }
    assert_eq!(site.kept(), "kept");
    // Who and where may be there.
    let Server::Mariadb(mariadb) = &site.server else { panic!() };
    let host = mariadb.socket().display().to_string();
    files::write(&site.file("home/.my.cnf"), format!("[client]\nuser = site\nsocket = {host}\n"), 0o600);
    site.set("DATABASE_USER", "");
    site.set("DATABASE_HOST", "");
    site.ok(&["check"]);
}
