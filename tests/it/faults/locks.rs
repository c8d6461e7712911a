//! The connection goes while the site is locked on a host or given back: both are asked for again, and no lock is left behind.

use std::collections::BTreeSet;

use super::count;
use crate::deploy::{Site, check_stream, outcomes};
use crate::support::process::wait_for;

const RECIPE: &str = r#"
[[task.deploy.phase]]
name = "one"
[[task.deploy.phase.step]]
name = "work"
run = "echo {{fleet.host}} >>@SHARED@/journal"
"#;

/// Deploys on a host on which the program, called with such arguments for the first time, waits for the cut.
fn cut_in(program: &str, arguments: &str) -> Site {
    let mut site = Site::start("", &["web1"], RECIPE);
    site.put_proxy_before("web1");
    let shared = site.shared().display().to_string();
    let waits = format!(
        "case \"$*\" in {arguments}) ! mkdir {shared}/there || while [ ! -e {shared}/go ]; do sleep 0.02; done ;; esac
PATH=${{PATH#*:}}
exec {program} \"$@\""
    );
    site.program("web1", program, &waits.replace("mkdir ", "/bin/mkdir "));
    let mut running = site.spawn(&["mysite", "deploy", "--json"]);
    wait_for("the host", || site.has("there"));
    site.proxy("web1").reset();
    running.wait_for_text("reattached");
    // The first one goes on when the second one is done, or in the middle of it.
    site.touch("go");
    let output = running.wait().expect_code(0);
    check_stream(&output);
    assert_eq!(outcomes(&output), ["web1 succeeded"]);
    assert_eq!((count(&output, "lock-acquired"), count(&output, "lock-released")), (1, 1));
    assert_eq!(site.journal(), ["web1"]);
    site
}

/// Nothing is in the way of the next run, and the host knows of two.
fn assert_free(site: &Site) {
    wait_for("the end of all commands", || site["web1"].commands().is_empty().then_some(()));
    site.fleet(&["mysite", "deploy"]).expect_code(0);
    let spool = site["web1"].home().join(".local/state/fleet");
    let history = std::fs::read_to_string(spool.join("book.mysite/history")).unwrap();
    // The line of who was asked twice may be there twice.
    assert_eq!(history.lines().collect::<BTreeSet<_>>().len(), 2, "{history}");
    let mut left: Vec<_> = std::fs::read_dir(&spool).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["book.mysite", "site.mysite"]);
}

#[test]
fn a_cut_before_the_lock_is_taken() {
    assert_free(&cut_in("df", "*"));
}

#[test]
fn a_cut_after_the_lock_was_taken() {
    // The folder of the run is made next.
    assert_free(&cut_in("mkdir", "*/fleet/2*"));
}

#[test]
fn a_cut_before_the_lock_is_given_back() {
    // The folder of the run is removed first.
    assert_free(&cut_in("rmdir", "*"));
}

#[test]
fn a_cut_after_the_last_step() {
    let mut site = Site::start(
        "",
        &["web1"],
        &RECIPE.replace("journal\"", "journal; touch @SHARED@/half; while [ ! -e @SHARED@/go ]; do sleep 0.02; done\""),
    );
    site.put_proxy_before("web1");
    let running = site.spawn(&["mysite", "deploy", "--json"]);
    wait_for("the step", || site.has("half"));
    // Its end comes over the first connection, or over the second one; the lock is given back over the third one at the latest.
    let mut cuts = [Some(1_000), None].into_iter();
    site.proxy("web1").cut_each(move || cuts.next().flatten());
    site.proxy("web1").cut_after(1);
    site.touch("go");
    let output = running.wait().expect_code(0);
    assert_eq!((outcomes(&output), count(&output, "lock-released")), (vec!["web1 succeeded".to_owned()], 1));
    assert_eq!(site.proxy("web1").cuts(), 2);
    assert_free(&site);
}
