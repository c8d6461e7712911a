//! The crontab, off and on again.

#![expect(clippy::disallowed_methods, reason = "a fixture that a full disk spoils fails its test")]

use std::fs;

use super::bed::{Bed, CRON};
use super::everywhere;
use crate::support::files;

#[test]
fn the_crontab_comes_back_byte_for_byte_however_often_it_is_switched() {
    everywhere(|mut host| {
        let crontab = host.read("crontab");
        host.done("cron-off");
        assert_eq!(host.done("cron-off"), "(skipped)");
        host.done("cron-on");
        assert_eq!(host.done("cron-on"), "(skipped)");
        assert_eq!(host.read("crontab"), crontab);

        // None before, none afterwards.
        fs::remove_file(host.path("crontab")).unwrap();
        host.done("cron-off");
        assert!(host.exists("crontab"));
        host.done("cron-on");
        assert!(!host.exists("crontab"));

        // What somebody writes in between is theirs.
        host.done("cron-off");
        fs::write(host.path("crontab"), "0 0 * * * theirs\n").unwrap();
        fs::write(host.path("home/.git/fleet/cron.saved"), "former\n").unwrap();
        assert!(host.done("cron-on").contains("somebody wrote a crontab"));
        assert_eq!(host.read("crontab"), "0 0 * * * theirs\n");
        assert_eq!(host.read("home/.git/fleet/cron.replaced.20261122-084512-7f3a"), "former\n");

        // A crontab that cannot be read is not taken for an empty one.
        host.set("crontab", "false");
        host.fails("cron-off");
        host.set("crontab", "");
        assert_eq!(host.done("cron-off"), "(skipped)");
    });
}

#[test]
fn a_crontab_that_cron_would_not_take_back_is_not_taken_from_it() {
    let bed = Bed::start("");
    files::write(&bed.crontab(), "5 4 * * * true", 0o600);
    let said = bed.ends(10, &["deploy"]);
    assert!(
        said.contains("missing newline before EOF") && said.contains("cron does not accept the crontab that it has"),
        "{said}"
    );
    assert!(!said.contains("closed for visitors") && !said.contains("held"), "{said}");
    assert_eq!((bed.head(), files::read(&bed.crontab())), (bed.one.clone(), "5 4 * * * true".to_owned()));
    assert!(!bed.home("maintenance.flag").exists());
    // Repaired, it goes.
    files::write(&bed.crontab(), CRON, 0o600);
    bed.ends(0, &["deploy"]);
    bed.is_open();
}

/// Cron's rules may change while the crontab is off, or it was saved by an older fleet.
#[test]
fn a_crontab_that_a_person_repaired_meanwhile_is_a_way_out() {
    let theirs = "0 0 * * * theirs\n";
    for repaired in [CRON, theirs, ""] {
        let bed = Bed::start("");
        bed.ends(0, &["cron-off"]);
        files::write(&bed.home(".git/fleet/cron.saved"), "5 4 * * * true", 0o600);
        let said = bed.ends(10, &["cron-on"]);
        assert!(said.contains("cron does not accept the crontab that is kept"), "{said}");
        if repaired.is_empty() {
            std::fs::remove_file(bed.crontab()).unwrap();
        } else {
            files::write(&bed.crontab(), repaired, 0o600);
        }
        let said = bed.fleet(&["undo", "--yes"]).all();
        let said = said + &bed.ends(0, &["cron-on"]);
        assert!(said.contains("somebody wrote a crontab"), "{said}");
        assert_eq!(files::try_read(&bed.crontab()).unwrap_or_default(), repaired);
        let kept = std::fs::read_dir(bed.home(".git/fleet")).unwrap().map(|entry| entry.unwrap().path());
        let kept: Vec<_> = kept.filter(|path| path.display().to_string().contains("cron.replaced.")).collect();
        assert_eq!(files::read(&kept[0]), "5 4 * * * true");
        if repaired == CRON {
            bed.ends(0, &["deploy"]);
            bed.is_open();
        }
    }
}

#[test]
fn the_undo_of_a_deployment_keeps_what_was_written_into_the_crontab_since() {
    let bed = Bed::start("");
    bed.ends(0, &["deploy"]);
    files::write(&bed.crontab(), "0 0 * * * since\n", 0o600);
    bed.fleet(&["undo", "--yes"]).expect_code(0);
    assert_eq!((bed.head(), files::read(&bed.crontab())), (bed.one.clone(), "0 0 * * * since\n".to_owned()));
}

/// A line of fleet's with others beside it, or of another site that has the same crontab: nobody knows what was wanted.
#[test]
fn a_crontab_that_is_neither_fleets_nor_a_persons_is_left_alone() {
    let bed = Bed::start("");
    bed.ends(0, &["cron-off"]);
    let off = files::read(&bed.crontab());
    let mixed = format!("{off}0 0 * * * added\n");
    files::write(&bed.crontab(), &mixed, 0o600);
    for task in ["cron-on", "cron-off", "deploy"] {
        let said = bed.ends(10, &[task]);
        assert!(said.contains("put the crontab right first"), "{task}: {said}");
        assert_eq!(files::read(&bed.crontab()), mixed);
        assert_eq!(files::read(&bed.home(".git/fleet/cron.saved")), CRON);
    }
    let other = off.replace("site mysite", "site shop");
    files::write(&bed.crontab(), &other, 0o600);
    assert!(bed.ends(10, &["deploy"]).contains("put the crontab right first"));
    files::write(&bed.crontab(), CRON, 0o600);
    assert!(bed.ends(0, &["cron-on"]).contains("the crontab is back already"));
    bed.ends(0, &["deploy"]);
    bed.is_open();
}

/// The plain command has another crontab for each login. What one operator switched off is not put into that of the next one.
#[test]
fn the_crontab_of_another_login_is_not_mixed_up_with_ones_own() {
    let bed = Bed::start("");
    bed.ends(0, &["cron-off"]);
    let off = files::read(&bed.crontab());
    // As bob would meet it.
    files::write(&bed.home(".git/fleet/cron.whose"), "crontab of alice\n", 0o660);
    let bobs = "0 0 * * * bobs\n";
    files::write(&bed.crontab(), bobs, 0o600);
    for task in ["cron-on", "deploy"] {
        let said = bed.ends(10, &[task]);
        assert!(said.contains("what is switched off is the crontab of alice, and this is the crontab of "), "{said}");
        assert!(said.contains("crontab -u alice"), "{said}");
        assert_eq!((files::read(&bed.crontab()), bed.head()), (bobs.to_owned(), bed.one.clone()));
        assert_eq!(files::read(&bed.home(".git/fleet/cron.saved")), CRON);
    }
    // What both see is one crontab, whoever switched it off.
    files::write(&bed.crontab(), off, 0o600);
    bed.ends(0, &["cron-on"]);
    bed.is_open();
}
