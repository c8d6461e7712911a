//! Steps that are only an undo.

use super::*;

/// close (all) -> migrate (once) -> roll, with a step in each that is only an undo.
fn with_undos_only() -> Plan {
    let close = phase("close", &[&[0, 1]], &["maintenance!", "restart?"]);
    plan(2, vec![close, once(phase("db", &[&[0]], &["migrate!"])), phase("roll", &[&[0], &[1]], &["code?", "pull!"])])
}

#[test]
fn a_step_that_is_only_an_undo_is_undone_in_its_turn() {
    let log = Play::of(with_undos_only()).step(0, "pull", FAILED).run();
    assert_eq!(
        log.join(" | "),
        "0:maintenance | 1:maintenance | 0:plan-undo-restart | 1:plan-undo-restart | 0:migrate | 0:plan-undo-code | 0:pull \
         | stopped: 1 host failed, 0 allowed | 0:undo-pull | 0:undo-code | 0:undo-migrate | 0:undo-restart | 1:undo-restart \
         | 0:undo-maintenance | 1:undo-maintenance | 0 rolled back | 1 rolled back"
    );
}

#[test]
fn a_step_that_is_only_an_undo_is_no_effect() {
    let mut p = with_undos_only();
    p.on_failure = OnFailure::Hold;
    let log = Play::of(p).step(1, "pull", FAILED).run();
    assert_eq!(
        log[log.len() - 2..].join(" | "),
        "0 held [close/maintenance db/migrate roll/pull] | 1 held [close/maintenance roll/pull]"
    );
    let mut p = plan(2, vec![phase("a", &[&[0, 1]], &["restart?"]), once(phase("b", &[&[0]], &["look"]))]);
    p.phases[1].steps[0].read_only = true;
    p.on_failure = OnFailure::Hold;
    let log = Play::of(p).step(0, "look", FAILED).run();
    assert_eq!(log[log.len() - 2..].join(" | "), "0 failed | 1 untouched");
}

#[test]
fn a_host_that_drops_out_undoes_the_undos_of_its_phase_alone() {
    let mut p = with_undos_only();
    p.max_failures = 1;
    let log = Play::of(p).step(1, "pull", FAILED).run();
    assert_eq!(log[9..].join(" | "), "1:undo-pull | 1:undo-code | 0 succeeded | 1 failed [close/maintenance]");
}
