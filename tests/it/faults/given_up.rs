//! Hosts that stay away for longer than anybody waits: their steps are left alone, and `fleet resume` finds them.

use rustix::process::Signal;

use super::{Talk, count};
use crate::deploy::{check_stream, outcomes};
use crate::support::process::wait_for;

#[test]
fn a_host_that_stays_away_is_let_go_of_and_resumed() {
    let talk = Talk::start("");
    let running = talk.until_half(&["--reconnect-timeout", "1s"]);
    talk.site.proxy("web1").refuse(true);
    talk.site.proxy("web1").reset();
    let output = running.wait().expect_code(13);
    check_stream(&output);
    assert_eq!(outcomes(&output), ["web1 detached"]);
    assert_eq!((count(&output, "connection-lost"), count(&output, "reattached")), (1, 0));
    assert_eq!(count(&output, "lock-released"), 0, "the step goes on, and so does its lock");
    assert!(talk.site.proxy("web1").connections() > 2, "it was not called again");

    talk.site.proxy("web1").pass();
    talk.site.touch("go");
    let output = talk.site.fleet(&["resume", "--json"]).expect_code(0);
    talk.check(&output);
    assert_eq!(count(&output, "lock-released"), 1);
}

#[test]
fn a_step_that_has_ended_while_its_host_was_away_is_read_to_its_end() {
    let talk = Talk::start("");
    let running = talk.until_half(&["--reconnect-timeout", "0s"]);
    talk.site.proxy("web1").refuse(true);
    talk.site.proxy("web1").reset();
    running.wait().expect_code(13);
    talk.site.touch("go");
    wait_for("the end of the step", || talk.site["web1"].commands().is_empty().then_some(()));
    talk.site.proxy("web1").pass();
    talk.check(&talk.site.fleet(&["resume", "--json"]).expect_code(0));
}

#[test]
fn lines_that_were_broken_off_on_both_streams_are_whole_after_a_resume() {
    let talk = Talk::without_lines();
    let mut running = talk.until_half(&["--reconnect-timeout", "0s"]);
    running.wait_for_text(r#""stream":"stderr""#);
    talk.site.proxy("web1").refuse(true);
    talk.site.proxy("web1").reset();
    running.wait().expect_code(13);
    talk.site.proxy("web1").pass();
    talk.site.touch("go");
    talk.check(&talk.site.fleet(&["resume", "--json"]).expect_code(0));
}

#[test]
fn lines_that_were_broken_off_on_both_streams_are_whole_after_the_controller_was_killed() {
    let talk = Talk::without_lines();
    let mut running = talk.until_half(&[]);
    running.wait_for_text(r#""stream":"stderr""#);
    running.signal(Signal::KILL);
    running.wait();
    // Cut once more on the way.
    talk.site.proxy("web1").cut_after(70_000);
    talk.site.touch("go");
    talk.check(&talk.site.fleet(&["resume", "--json"]).expect_code(0));
    assert_eq!(talk.site.proxy("web1").cuts(), 1);
}
