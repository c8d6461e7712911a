//! What a run is about to do, in ten lines: the head of a dry run, shown also before the question whether to begin.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::paint::Tone;
use super::time;
use super::words::{counted, sites_and_task};
use crate::model::plan::book::Proof;
use crate::model::plan::host_set::HostSet;
use crate::model::plan::plan::{HostIndex, OnFailure, Plan, PlanPhase, PlanStep};
use crate::model::text::fold::fold_names;
use crate::model::text::name::TaskName;
use crate::model::text::printable::one_line;

/// One line an item; those of which there is nothing to say are left out. `former`: what the site itself has proven last, where it was asked.
pub fn summary(plan: &Plan, former: Option<&Proof>, color: bool) -> String {
    let title = Tone::Heading.paint(&sites_and_task(&plan.sites, &plan.task), color);
    let hosts: Vec<HostIndex> = (0..plan.hosts.len()).map(HostIndex).collect();
    let mut out = format!("{title}: {} ({})\n", counted(hosts.len(), "host"), names(plan, hosts));
    let mut add = |what: &str, text: &str| {
        let _ = writeln!(out, "  {what:<9} {}", one_line(text));
    };
    add("phases", &plan.phases.iter().map(|phase| in_short(plan, phase)).collect::<Vec<_>>().join("; "));
    add("parallel", &parallel(plan));
    add("failures", &failures(plan));
    if let Some(effects) = effects(plan) {
        add("closes", &effects);
    }
    if let Some(undo) = undo(plan) {
        add("undo", &undo);
    }
    if let Some(Proof { name, value, run, by, age, .. }) = former {
        let age = age.map(|age| format!(", {} ago", time::duration(age))).unwrap_or_default();
        add("from", &format!("{name} {value}, by run {run} of {by}{age}"));
    }
    // As it was given: the steps find out what it means now.
    let given = plan.proves.iter().filter_map(|name| Some(format!("{name} {}", plan.values.get(name)?)));
    let given = given.collect::<Vec<_>>().join(", ");
    if !given.is_empty() && plan.basis.is_none() {
        add("to", &given);
    }
    if let Some(basis) = basis(plan) {
        add("follows", &basis);
    }
    if !plan.previews.is_empty() {
        let tasks = plan.previews.iter().map(TaskName::as_str).collect::<Vec<_>>().join(" ");
        add(
            "preview",
            &format!("fleet {}, run before the question whether to begin", sites_and_task(&plan.sites, &tasks)),
        );
    }
    if !plan.files.is_empty() {
        let sizes = plan.files.iter().filter_map(|file| plan.blobs.get(&file.blob)).map(|bytes| bytes.len());
        let (files, bytes) = (counted(plan.files.len(), "file"), sizes.sum::<usize>());
        add("files", &format!("{files} of the recipe in \"$FLEET_FILES\", {} KiB", bytes.div_ceil(1024)));
    }
    if !plan.secrets.is_empty() {
        let secrets: Vec<String> = plan.secrets.iter().map(ToString::to_string).collect();
        add("secrets", &secrets.join(", "));
    }
    if !plan.accept.is_empty() {
        let accepted: Vec<String> = plan.accept.keys().map(ToString::to_string).collect();
        add("accepts", &accepted.join(", "));
    }
    for note in &plan.left_out {
        let _ = writeln!(out, "  {}", Tone::Warning.paint(&one_line(note), color));
    }
    out
}

/// What the plan takes from the followed site, and how old that is.
pub fn basis(plan: &Plan) -> Option<String> {
    let basis = plan.basis.as_ref()?;
    let age = basis.proof.as_ref().and_then(|proof| proof.age);
    let age = age.map(|age| format!(", {} ago", time::duration(age))).unwrap_or_default();
    let compared = if basis.given.is_empty() { "" } else { "; refused where they are not the same" };
    Some(format!("{}{age}{compared}", basis.describe()))
}

pub(super) fn names(plan: &Plan, hosts: impl IntoIterator<Item = HostIndex>) -> String {
    fold_names(hosts.into_iter().filter_map(|host| plan.hosts.get(host.0)).map(|host| host.label.as_str()))
}

fn in_short(plan: &Plan, phase: &PlanPhase) -> String {
    let batches = || phase.batches.iter().map(|batch| names(plan, batch.iter().copied()));
    match (phase.once, phase.batches.len()) {
        (true, _) => format!("{} (once, on {})", phase.name, batches().collect::<String>()),
        (false, 0 | 1) => phase.name.to_string(),
        (false, count) if count > 4 => {
            let first: Vec<String> = batches().take(3).collect();
            format!("{} ({}, then {} more batches)", phase.name, first.join(", then "), count - first.len())
        }
        (false, _) => format!("{} ({})", phase.name, batches().collect::<Vec<_>>().join(", then ")),
    }
}

fn parallel(plan: &Plan) -> String {
    let most = format!("{} at the same time", counted(plan.parallel.min(plan.hosts.len()), "host"));
    let soak = plan.phases.iter().filter(|phase| phase.batches.len() > 1).map(|phase| phase.soak).max();
    let soak = soak.filter(|soak| !soak.is_zero());
    soak.map_or_else(|| most.clone(), |soak| format!("{most}, {} between batches", time::duration(soak)))
}

fn failures(plan: &Plan) -> String {
    let follows = match plan.on_failure {
        OnFailure::Undo => "everything is rolled back",
        OnFailure::Hold => "nothing is rolled back: hosts are held for a person",
    };
    match plan.max_failures {
        0 => format!("none allowed; with the first, {follows}"),
        most => format!("{} allowed; with one more, {follows}", counted(most, "host")),
    }
}

/// What the steps leave in force on the way, and where.
fn effects(plan: &Plan) -> Option<String> {
    let mut hosts: BTreeMap<&str, Vec<HostIndex>> = BTreeMap::new();
    let mut order: Vec<&str> = Vec::new();
    for (.., PlanStep { effect, hosts: on, .. }) in plan.steps() {
        let Some(effect) = effect else { continue };
        if !order.contains(&effect.words.as_str()) {
            order.push(&effect.words);
        }
        hosts.entry(&effect.words).or_default().extend(HostSet::iter(on));
    }
    let text = |words: &&str| {
        let mut on = hosts.get(words).cloned().unwrap_or_default();
        on.sort_unstable();
        on.dedup();
        format!("{words} ({})", names(plan, on))
    };
    (!order.is_empty()).then(|| order.iter().map(text).collect::<Vec<_>>().join("; "))
}

/// How much of it there is a way back from.
fn undo(plan: &Plan) -> Option<String> {
    let changing = || plan.steps().map(|(.., step)| step).filter(|step| step.run.is_some() && !step.read_only);
    let (all, with) = (changing().count(), changing().filter(|step| step.undo.is_some()).count());
    (all > 0).then(|| format!("{with} of {} that change something", counted(all, "step")))
}
