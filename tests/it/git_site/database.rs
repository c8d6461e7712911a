//! A real database server below the lines that the README and the starter site show.

use super::bed::Bed;
use crate::support::files;
use crate::support::postgres::Postgres;
use crate::support::project::Project;

const README: &str = include_str!("../../../README.md");

/// The lines of a text that set these variables; commented out or not.
fn shown(text: &str) -> String {
    let names = ["database"];
    let lines = text.lines().map(|line| line.trim_start_matches("# "));
    let lines = lines.filter(|line| line.split_once(" = ").is_some_and(|(name, _)| names.contains(&name)));
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn a_failed_migration_leaves_nothing_of_itself_in_the_database() {
    let starter = Project::new();
    std::fs::remove_dir(starter.root().join("hosts")).unwrap();
    starter.fleet(&["init"]).expect_code(0);
    let postgres = Postgres::start();
    postgres.sql("postgres", "create database mysite");
    postgres.sql("mysite", "create table note (text text); create view notes as select * from note");
    postgres.sql("mysite", "insert into note values ('kept'); alter database mysite set work_mem = '9MB'");
    for lines in [shown(README), shown(&starter.read("hosts/mysite.toml"))] {
        assert_eq!(
            lines.trim().split_once(" #").map_or(lines.trim(), |(line, _)| line.trim()),
            "database = \"postgresql\""
        );
        let migrate =
            |sql: &str, end: &str| format!("migrate = \"psql -v ON_ERROR_STOP=1 -qd mysite -c '{sql}'{end}\"");
        let bed = Bed::start(&lines);
        files::write(&bed["web1"].home().join(".session"), postgres.session(), 0o644);
        bed.write_var(&migrate("drop view notes; create table half (x int); create schema other", "; exit 3"));
        let said = bed.ends(10, &["deploy"]);
        assert!(said.contains("rolled back") && said.contains("the schema is that of the backup"), "{said}");
        bed.is_as_before();
        assert_eq!(postgres.sql("mysite", "select * from notes; show work_mem"), "kept\n9MB");
        // So the repaired release goes, and back again.
        bed.write_site(|site| site.replace("; exit 3", ""));
        bed.ends(0, &["deploy"]);
        postgres.sql("mysite", "select * from half");
        bed.ends(0, &["rollback"]);
        assert_eq!(postgres.sql("mysite", "select * from notes; show work_mem"), "kept\n9MB");

        assert!(
            postgres
                .sql("mysite", "select count(*) from pg_database where datname like 'mysite-old-%'")
                .parse::<u32>()
                .unwrap()
                > 0
        );

        // What the docs had shown once is seen to be no restore.
        bed.write_site(|site| {
            let lines = site.lines().map(|line| match line.split_once(" = ") {
                Some(("database", _)) => "restore = \"pg_restore --clean -d mysite $BACKUP/mysite\"\n\
                     backup = \"pg_dump -Fc mysite >$BACKUP/mysite\"\nschema = \"pg_dump -s mysite\""
                    .to_owned(),
                Some(("migrate", _)) => migrate("create table half (x int)", "; exit 3"),
                _ => line.to_owned(),
            });
            lines.collect::<Vec<_>>().join("\n")
        });
        let said = bed.ends(10, &["deploy"]);
        assert!(said.contains("held") && said.contains("did not give back the schema"), "{said}");
        assert!(bed.home("maintenance.flag").exists());
        postgres.sql("mysite", "drop table half");
    }
}
