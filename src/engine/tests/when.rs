//! Phases that are only for hosts whose variables have certain values.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Network, outcomes, phase, plan, play, sent, step};
use crate::model::plan::plan::PlanStep;
use crate::model::run::event::{Event, Fact};
use crate::model::run::outcome::HostOutcome;
use crate::model::text::name::VarName;

/// Neither does its undo run, nor that of a step which is only an undo: nothing was done.
#[tokio::test]
async fn a_step_for_other_values_is_skipped_without_a_word_to_the_host() {
    let network = Arc::new(Network::default());
    let when = |value: &str| BTreeMap::from([(VarName::parse("x").unwrap(), value.to_owned())]);
    let mut look = step("look", &[0], "print yes", None);
    look.register = Some(VarName::parse("x").unwrap());
    let for_this = PlanStep { when: when("yes"), ..step("a", &[0], "a", Some("undo-a")) };
    let for_others = PlanStep { when: when("no"), ..step("b", &[0], "b", Some("undo-b")) };
    let only_undo = PlanStep { when: when("no"), run: None, ..step("c", &[0], "", Some("undo-c")) };
    let steps = vec![for_this, for_others, only_undo, step("d", &[0], "exit 1", None)];
    let phases = vec![phase("p", &[0], vec![look]), phase("q", &[0], steps)];
    let (summary, memory) = play(plan(1, phases), &network).await;
    assert_eq!(sent(&network), ["web1: print yes", "web1: a", "web1: exit 1", "web1: undo-a"]);
    assert_eq!(outcomes(&summary), [HostOutcome::RolledBack]);
    let skipped = |e: &Event| matches!(&e.fact, Fact::StepSkipped { reason, .. } if reason == "only when `x` is no");
    assert_eq!(memory.events.iter().filter(|e| skipped(e)).count(), 1);
}
