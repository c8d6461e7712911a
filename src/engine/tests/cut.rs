//! Connections that break: what is asked again, for how long, and how often a host is called.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Memory, Network, outcomes, phase, plan, play, play_with, sent, step, text};
use crate::model::plan::book::Effect;
use crate::model::plan::plan::{Guard, Plan, PlanStep};
use crate::model::run::event::Fact;
use crate::model::run::outcome::{HostOutcome, StepOutcome};
use crate::model::run::summary::Summary;
use crate::model::text::name::{StepName, VarName};

fn guarded(guard: Guard) -> PlanStep {
    let mut guarded = step("b", &[0], "b", Some("undo-b"));
    guarded.guard = Some(guard);
    guarded
}

/// One host, on which `a` has run, and that is called for ten minutes.
fn after_a(step_b: PlanStep) -> Plan {
    let steps = vec![step("a", &[0], "a", Some("undo-a")), step_b];
    let mut plan = plan(1, vec![phase("p", &[0], steps)]);
    plan.hosts[0].endpoint.reconnect_timeout = Duration::from_secs(600);
    plan
}

/// How the second step ended.
fn end_of_b(memory: &Memory) -> StepOutcome {
    let ended = memory.events.iter().rev().find_map(|event| match &event.fact {
        Fact::StepFinished { step, outcome, .. } if step.as_str() == "p/b" => Some(outcome.clone()),
        Fact::StepSkipped { step, reason, .. } if step.as_str() == "p/b" => {
            Some(StepOutcome::Skipped { reason: reason.clone() })
        }
        _ => None,
    });
    ended.unwrap()
}

fn connections(network: &Network) -> usize {
    network.connections.lock().unwrap()["web1"]
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_was_cut_is_asked_again() {
    for times in [1, 3] {
        for (guard, status, runs) in
            [("unless", 0, false), ("unless", 1, true), ("only-if", 0, true), ("only-if", 1, false)]
        {
            let network = Arc::new(Network::default());
            let asks = format!("cut {times} {status}");
            let command = text(&asks);
            let guard = if guard == "unless" { Guard::Unless(command) } else { Guard::OnlyIf(command) };
            let (summary, memory) = play(after_a(guarded(guard)), &network).await;
            assert_eq!(outcomes(&summary), [HostOutcome::Succeeded]);
            let asked = sent(&network).iter().filter(|line| **line == format!("web1: {asks}")).count();
            assert_eq!(asked, times + 1);
            assert_eq!(sent(&network).last().unwrap() == "web1: b", runs);
            assert_eq!(matches!(end_of_b(&memory), StepOutcome::Skipped { .. }), !runs);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_whose_guard_was_cut_on_a_host_that_does_not_come_back_was_not_started() {
    let network = Arc::new(Network { most: Some(1), ..Network::default() });
    let (summary, memory) = play(after_a(guarded(Guard::Unless(text("lose")))), &network).await;
    let StepOutcome::NotStarted { reason } = end_of_b(&memory) else { panic!("{:?}", end_of_b(&memory)) };
    assert!(reason.text.starts_with("its guard was lost: connection reset by peer; then cannot connect"), "{reason}");
    assert_eq!(sent(&network), ["web1: a", "web1: lose"]);
    // Nothing can be undone there, and that is told.
    assert_eq!(outcomes(&summary), [HostOutcome::Held]);
    let host = summary.hosts().next().unwrap();
    assert_eq!(host.in_force, ["p/a"]);
}

#[tokio::test(start_paused = true)]
async fn a_second_interrupt_ends_a_guard_that_is_cut_again_and_again() {
    for most in [None, Some(1)] {
        let network = Arc::new(Network { most, ..Network::default() });
        let memory = Memory { interrupt_at: Some(("/b", mpsc::channel(1).0)), ..Memory::default() };
        let plan = after_a(guarded(Guard::OnlyIf(text("cut 1000 0"))));
        let (summary, memory) = play_with(plan, &network, memory).await;
        assert_eq!(summary.exit_code(), 130);
        assert!(matches!(end_of_b(&memory), StepOutcome::NotStarted { .. }), "{:?}", end_of_b(&memory));
        assert!(!sent(&network).contains(&"web1: b".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_only_step_that_was_cut_runs_again_and_what_it_registers_is_of_the_last_time() {
    let network = Arc::new(Network::default());
    let mut look = step("b", &[0], "cut 2 0", None);
    look.read_only = true;
    look.register = Some(VarName::parse("x").unwrap());
    let (summary, memory) = play(after_a(look), &network).await;
    assert_eq!(outcomes(&summary), [HostOutcome::Succeeded]);
    let of_b = memory.events.iter().filter_map(|event| match &event.fact {
        Fact::Output { data, .. } => Some(String::from_utf8_lossy(&data.0).into_owned()),
        Fact::Registered { value, .. } => Some(format!("= {value}")),
        _ => None,
    });
    assert_eq!(of_b.collect::<Vec<_>>(), ["part\n", "part\n", "whole\n", "= whole"]);
}

#[tokio::test(start_paused = true)]
async fn a_plain_step_that_may_change_something_is_never_run_again() {
    let network = Arc::new(Network::default());
    let (summary, _) = play(after_a(step("b", &[0], "cut 1 0", Some("undo-b"))), &network).await;
    assert_eq!(sent(&network), ["web1: a", "web1: cut 1 0"]);
    assert_eq!(outcomes(&summary), [HostOutcome::Unknown]);
}

/// A line that lets every login through and then breaks: the pauses grow, and the limit comes.
fn assert_few_calls(network: &Network, summary: &Summary) {
    assert!((5..40).contains(&connections(network)), "{} connections", connections(network));
    let told = summary.hosts().next().unwrap().failure.as_ref().unwrap().outcome.describe();
    assert!(told.contains("the connection breaks again and again"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn connections_without_progress_are_made_with_growing_pauses_and_not_for_ever() {
    let mut look = step("b", &[0], "lose", None);
    look.read_only = true;
    let mut durable = step("b", &[0], "lose", None);
    durable.durable = true;
    for (step, outcome) in [
        (look, HostOutcome::Unknown),
        (guarded(Guard::Unless(text("lose"))), HostOutcome::Held),
        (durable, HostOutcome::Detached),
    ] {
        let network = Arc::new(Network::default());
        let begun = tokio::time::Instant::now();
        let (summary, _) = play(after_a(step), &network).await;
        if outcome != HostOutcome::Held {
            assert_eq!(outcomes(&summary), [outcome]);
        }
        assert_few_calls(&network, &summary);
        assert!((200..700).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    }
}

/// It ran again for ever, because each connection stood for a while.
#[tokio::test(start_paused = true)]
async fn what_starts_anew_with_each_connection_is_not_run_for_ever() {
    let mut look = step("b", &[0], "stand 1000", None);
    look.read_only = true;
    for step in [look, guarded(Guard::Unless(text("stand 1000")))] {
        let network = Arc::new(Network::default());
        let (summary, _) = play(after_a(step), &network).await;
        assert_few_calls(&network, &summary);
    }
}

/// The step failed, and all was undone: what writes into the book waited for the line for two seconds, everything else for ten minutes.
#[tokio::test(start_paused = true)]
async fn a_step_whose_effect_cannot_be_noted_waits_for_its_line() {
    let mut closes = step("b", &[0], "b", Some("undo-b"));
    let name = StepName::parse("b").unwrap();
    closes.effect = Some(Effect { name, words: "closed".to_owned() });
    let mut plan = after_a(closes);
    plan.phases[0].steps[0] = step("a", &[0], "drop", Some("undo-a"));
    let network = Arc::new(Network::default());
    let (summary, memory) = play(plan, &network).await;
    assert_eq!(outcomes(&summary), [HostOutcome::Succeeded], "{:?}", end_of_b(&memory));
}

#[tokio::test(start_paused = true)]
async fn with_progress_a_step_is_followed_over_any_number_of_connections() {
    for text in ["cut 150 0", "stand 150"] {
        let network = Arc::new(Network::default());
        let mut durable = step("b", &[0], text, None);
        durable.durable = true;
        let mut plan = after_a(durable);
        plan.hosts[0].endpoint.reconnect_timeout = Duration::from_secs(3);
        let (summary, memory) = play(plan, &network).await;
        assert_eq!(outcomes(&summary), [HostOutcome::Succeeded], "{:?}", end_of_b(&memory));
        assert_eq!(connections(&network), 151);
    }
}
