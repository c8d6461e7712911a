//! The database helper of `git-site`, on real servers that the tests start, and on files of `SQLite`.

mod kills;
mod mariadb;
mod postgresql;
mod site;
mod sqlite;

use site::{Kind, RUN, Site};

use crate::support::files;

const KINDS: [Kind; 3] = [Kind::Postgresql, Kind::Mariadb, Kind::Sqlite];
const ODD_NAME: &str = "My \"si'te= x";

#[test]
fn what_a_migration_has_done_is_gone_and_what_was_there_is_kept_in_every_shell() {
    for kind in KINDS {
        let mut site = Site::start(kind, ODD_NAME);
        let mut schemas = Vec::new();
        for (round, shell) in super::SHELLS.into_iter().enumerate() {
            site.shell = shell;
            let run = format!("20261122-08451{round}-7f3a19c4");
            let said = site.ok(&["check"]);
            let megabytes = site.ok(&["size"]);
            assert!(said.starts_with(site.word()) && said.ends_with(&format!("{ODD_NAME}: {megabytes} MiB")), "{said}");
            site.ok(&["backup", "dump"]);
            assert_eq!(site.ok(&["verify", "dump"]), "");
            schemas.push(site.ok(&["schema"]));
            if round % 2 == 0 {
                let said = site.ok(&["point", &run]);
                let made = site.names().contains(&format!("{ODD_NAME}-point-{run}"));
                assert_eq!(made, kind == Kind::Postgresql, "{said}");
                assert_eq!(said.starts_with("no restore point: "), !made, "{said}");
            }
            site.migrate();
            assert_ne!(site.ok(&["schema"]), schemas[0]);
            site.ok(&["back", "dump", &run]);
            schemas.push(site.ok(&["schema"]));
            assert_eq!(site.kept(), "kept", "{kind:?} {shell:?}");
            assert_eq!(site.names(), [format!("{ODD_NAME}-old-{run}")], "{kind:?} {shell:?}");
            assert_eq!(site.sql_in(&site.names()[0], "select x from half"), "1");
            assert!(site.ok(&["prune", "1"]).is_empty());
            assert_eq!(site.ok(&["prune", "0"]), format!("dropped {}", site.path(&format!("{ODD_NAME}-old-{run}"))));
            assert!(site.names().is_empty());
        }
        schemas.dedup();
        assert_eq!(schemas.len(), 1, "{kind:?}: {schemas:#?}");
    }
}

#[test]
fn a_dump_that_is_cut_or_damaged_changes_nothing() {
    for kind in KINDS {
        let site = Site::start(kind, "mysite");
        site.ok(&["backup", "dump"]);
        let dump = site.file(kind.dump());
        let whole = std::fs::read(&dump).unwrap();
        let middle = whole.len() / 2;
        let damaged = [&whole[..middle], &[whole[middle] ^ 1], &whole[middle + 1..]].concat();
        site.migrate();
        for (bytes, sums_hold) in
            [(damaged, false), (whole[..middle].to_vec(), false), (whole[..middle].to_vec(), true), (vec![], true)]
        {
            files::write(&dump, &bytes, 0o600);
            if sums_hold {
                site.sum_again();
            }
            for verb in [&["verify", "dump"][..], &["restore", "dump", RUN], &["back", "dump", RUN]] {
                let said = site.fails(verb);
                assert!(
                    said.contains("damaged")
                        || said.contains("cannot be read")
                        || said.contains("cut off")
                        || said.contains("is no"),
                    "{said}"
                );
            }
            assert_eq!(site.sql("select x from half"), "1");
            assert!(site.names().is_empty());
        }
        // What was whole is again.
        files::write(&dump, &whole, 0o600);
        site.sum_again();
        site.ok(&["restore", "dump", RUN]);
        assert_eq!(site.kept(), "kept");
    }
}

#[test]
fn only_the_oldest_of_exactly_the_sites_own_names_are_dropped() {
    for kind in KINDS {
        let site = Site::start(kind, "mysite");
        let own = [
            "mysite-old-20261122-084512-7f3a19c4",
            "mysite-old-20261121-084512-7f3a19c4",
            "mysite-old-20261120-235959-ffffffff",
        ];
        let others = [
            "mysite-old-20261120-084512-7f3a19c",
            "mysite-old-20261120-084512-7F3A19C4",
            "mysite-old-20261120-084512-7f3a19c4-x",
            "mysite2-old-20261120-084512-7f3a19c4",
            "mysite-olds-20261120-084512-7f3a19c4",
            "mysite-old-2026112x-084512-7f3a19c4",
        ];
        for name in own.iter().chain(&others) {
            site.create(name);
        }
        assert_eq!(site.ok(&["prune", "3"]), "");
        let dropped = own[1..].iter().map(|name| format!("dropped {}", site.path(name))).collect::<Vec<_>>();
        assert_eq!(site.ok(&["prune", "1"]), dropped.join("\n"));
        let mut left: Vec<&str> =
            others.into_iter().filter(|name| name.starts_with("mysite-")).chain([own[0]]).collect();
        left.sort_unstable();
        assert_eq!(site.names(), left);
        for words in [
            &["prune"][..],
            &["prune", "-1"],
            &["prune", "01"],
            &["restore", "dump", "../x"],
            &["point", "x"],
            &["drop"],
        ] {
            let said = site.fails(words);
            assert!(said.contains("hint: "), "{said}");
        }
        assert_eq!(site.names(), left);
    }
}

#[test]
fn a_password_comes_from_a_file_or_the_environment_and_stands_in_no_argv() {
    for kind in [Kind::Postgresql, Kind::Mariadb] {
        let mut site = Site::start(kind, "mysite");
        let password = site.demand_password();
        let said = site.fails(&["check"]);
        assert!(said.contains("cannot log in to") && said.contains("hint: "), "{said}");
        let (variable, file) = match kind {
            Kind::Postgresql => ("PGPASSWORD", format!("*:*:*:*:{password}\n")),
            _ => ("MYSQL_PWD", format!("[client]\npassword = {password}\n")),
        };
        let everything = |site: &Site, run: &str| {
            site.ok(&["check"]);
            site.ok(&["backup", "dump"]);
            site.ok(&["point", run]);
            site.ok(&["back", "dump", run]);
            site.ok(&["restore", "dump", run]);
            site.ok(&["schema"]);
            site.ok(&["prune", "0"]);
        };
        site.set(variable, &password);
        everything(&site, RUN);
        site.set(variable, "wrong");
        // The file wins, also over the login's own.
        files::write(&site.file("home/.my.cnf"), "[client]\npassword = wrong\n", 0o600);
        files::write(&site.file("credentials"), file, 0o644);
        site.set("DATABASE_CREDENTIALS", "credentials");
        let said = site.fails(&["check"]);
        assert!(said.contains("others can read") && said.contains("hint: chmod 600 'credentials'"), "{said}");
        files::set_mode(&site.file("credentials"), 0o600);
        everything(&site, RUN);
        let argv = site.argv();
        assert!(argv.lines().count() > 20 && argv.contains("mysite"), "{argv}");
        assert!(!argv.contains(&password));
        site.set("DATABASE_CREDENTIALS", "nowhere");
        let said = site.fails(&["size"]);
        assert!(said.contains("no file with the password") && said.contains("nowhere"), "{said}");
    }
}

#[test]
fn what_was_replaced_is_put_back_by_hand_as_the_docs_say() {
    let docs = include_str!("../../../docs/database.md");
    let text = docs.split_once("## Putting a replaced database back by hand").unwrap().1;
    let text = text.split_once("```sh\n").unwrap().1.split_once("```").unwrap().0;
    for kind in KINDS {
        let site = Site::start(kind, "mysite");
        site.ok(&["backup", "dump"]);
        site.migrate();
        site.ok(&["restore", "dump", RUN]);
        for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/recipes/git-site")).unwrap() {
            let file = file.unwrap();
            files::write(&site.file(file.file_name().to_str().unwrap()), files::read(&file.path()), 0o755);
        }
        let text = text.replace("DATABASE=postgresql", &format!("DATABASE={}", site.word()));
        let helper = site.helper(&[]);
        let shell = helper.get_program().to_owned();
        let envs = helper.get_envs().map(|(name, value)| (name.to_owned(), value.unwrap().to_owned()));
        let mut by_hand = std::process::Command::new(shell);
        by_hand.env_clear().envs(envs).current_dir(site.file(".")).args(["-e", "-c", &text]);
        crate::support::process::run(&mut by_hand);
        assert_eq!(site.sql("select x from half"), "1");
        assert_eq!(site.names().len(), 2, "{:?}", site.names());
    }
}
