//! Which release runs where: before the question, in the table, and afterwards.

use super::bed::Bed;
use crate::support::files;
use crate::support::git::git;
use crate::support::process::run;

const HOSTS: [(&str, &str); 3] = [("web1", r#""web""#), ("web2", r#""web""#), ("db1", r#""db""#)];

#[test]
fn it_is_said_from_which_release_to_which_everywhere() {
    let bed = Bed::on("", &HOSTS);
    let (one, two) = (&bed.one[..7], &bed.two[..7]);
    let change = format!("{one}..{two} two");
    bed.write_site(|site| format!("stage = \"production\"\n{site}"));
    // Before the question; and nothing has changed when it is not answered.
    let said = bed.fleet_pty(&["mysite", "deploy"], &[("Type `mysite` to go on: ", "no\n")]).expect_code(6).all();
    assert!(said.contains(&change) && said.contains("Test, 2026-01-02: two"), "{said}");
    assert_eq!(bed.head(), bed.one);
    // In the table, the list of runs, and status.
    let said = bed.run(&["deploy", "--yes"]).expect_code(0).stdout;
    assert!(said.contains(&change), "{said}");
    let runs = bed.fleet(&["runs"]).expect_code(0).stdout;
    assert!(runs.contains(&format!("{one}..{two}")), "{runs}");
    let status = bed.run(&["status"]).expect_code(0).all();
    assert!(status.contains(&format!("release {two} two")) && status.contains(&format!("{one}..{two}")), "{status}");
    // An odd host is marked, before anything is done about it.
    let odd = bed["web2"].home().join("home");
    run(git(&odd).args(["checkout", "-q", "--detach", &bed.one]));
    bed.push("three", &[("page", "three\n")]);
    let diff = bed.run(&["diff"]).expect_code(0).all();
    assert!(
        diff.contains(&format!("differs from the other hosts, which are at {two} two: here is {one} one")),
        "{diff}"
    );
    assert!(diff.contains("Test, 2026-01-02: three"), "{diff}");
    let status = bed.run(&["status"]).expect_code(0).all();
    assert!(status.contains("not deployed to its end"), "{status}");
}

/// What a rollback does to the data is said before it is asked for.
#[test]
fn a_rollback_says_what_becomes_of_the_data_before_the_question() {
    let bed = Bed::start(
        "migrate = \"cat page >../schema\"\nschema = \"cat ../schema\"\n\
         backup = \"cp ../schema $BACKUP/\"\nrestore = \"cp $BACKUP/schema ..\"",
    );
    files::write(&bed["web1"].home().join("schema"), "one\n", 0o644);
    bed.ends(0, &["deploy"]);
    bed.write_site(|site| format!("stage = \"production\"\n{site}"));
    let question = [("Type `mysite` to go on: ", "no\n")];
    let said = bed.fleet_pty(&["mysite", "rollback"], &question).expect_code(6).all();
    assert!(said.contains("data of 20") && said.contains("what was entered since only in the backup"), "{said}");
    assert_eq!(bed.head(), bed.two);
    let said = bed.fleet_pty(&["mysite", "rollback", "-e", "keep-data=yes"], &question).expect_code(6).all();
    assert!(said.contains("the data stays as it is") && !said.contains("data of 20"), "{said}");
    let said = bed.run(&["rollback", "--yes"]).expect_code(0).stdout;
    assert!(said.contains("data of 20"), "{said}");
    assert_eq!((bed.head(), files::read(&bed["web1"].home().join("schema"))), (bed.one.clone(), "one\n".to_owned()));
    bed.is_open();
}

/// The application was started on the database's host, and its health asked there.
#[test]
fn a_database_host_runs_no_application() {
    let bed = Bed::on(
        "migrate = \"cat page >>../data\"\nbackup = \"cp ../data $BACKUP/\"\nrestore = \"cp $BACKUP/data ../data\"\n\
         restart = \"touch ../running\"\nhealth = \"test -e ../running\"",
        &HOSTS,
    );
    files::write(&bed["db1"].home().join("data"), "data\n", 0o644);
    bed.ends(0, &["deploy"]);
    for (host, web) in [("web1", true), ("web2", true), ("db1", false)] {
        assert_eq!(bed.head_of(host), bed.two);
        assert_eq!(bed[host].home().join("running").exists(), web, "{host}");
        assert_eq!(bed[host].home().join("data").exists(), !web, "{host}");
    }
    assert_eq!(files::read(&bed["db1"].home().join("data")), "data\ntwo\n");
    // A failure on a web host puts the database back, on its own host.
    bed.push("three", &[("page", "three\n")]);
    bed.ends(10, &["deploy", "-e", "restart=[ $(cat page) != three ]"]);
    assert_eq!(files::read(&bed["db1"].home().join("data")), "data\ntwo\n");
    assert_eq!(["web1", "web2", "db1"].map(|host| bed.head_of(host)), [(); 3].map(|()| bed.two.clone()));
}
