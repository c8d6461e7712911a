//! A plan in words: what `--dry-run` and `fleet tasks` show. What stands here is what a run sends.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::paint::Tone;
use super::plan_summary::{self, names};
use super::words::paths;
use crate::model::plan::book::Proof;
use crate::model::plan::command::CommandTemplate;
use crate::model::plan::plan::{Guard, HostIndex, Plan, PlanPhase, PlanStep, StepIndex};
use crate::model::recipe::shell::quote;
use crate::model::text::name::{StepPath, VarName};
use crate::model::text::printable::one_line;
use crate::model::text::secret::SHOWN;

/// Commands of so many lines are shown once.
const LONG: usize = 3;

/// What is not repeated.
struct Shown<'p> {
    /// Commands, and the step that has them.
    commands: BTreeMap<String, &'p StepPath>,
    /// The part of the environment that all commands have, names and quoted values.
    env: Env,
}

type Env = BTreeSet<(String, String)>;

/// The whole plan: phases, batches, steps, and the commands of each host, those of equal hosts once.
pub fn plan(plan: &Plan, former: Option<&Proof>, color: bool) -> String {
    let mut out = plan_summary::summary(plan, former, color);
    let mut shown = Shown { commands: BTreeMap::new(), env: shared_env(plan) };
    if !shown.env.is_empty() {
        let _ = writeln!(out, "\n{}", Tone::Heading.paint("environment of all steps", color));
    }
    for (name, value) in &shown.env {
        let _ = writeln!(out, "  {}", one_line(&format!("{name}={value}")));
    }
    for (at, phase, step) in plan.steps() {
        if at.step == 0 {
            let _ = writeln!(out, "\n{}", Tone::Heading.paint(&heading(plan, phase), color));
        }
        add_step(&mut out, plan, (step, at), &mut shown);
    }
    out
}

fn heading(plan: &Plan, phase: &PlanPhase) -> String {
    let batches: Vec<String> = phase.batches.iter().map(|batch| names(plan, batch.iter().copied())).collect();
    let how = match (phase.once, batches.as_slice()) {
        (true, _) => format!("once, on {}", batches.concat()),
        (false, [all]) => format!("on {all}"),
        (false, many) => {
            let soak = phase.soak_after(false);
            let soak = if soak.is_zero() { String::new() } else { format!(", {} s between", soak.as_secs()) };
            format!("rolling: {}{soak}", many.join(", then "))
        }
    };
    format!("phase {}: {how}", phase.name)
}

/// Commands that an earlier step has, too, are not repeated.
fn add_step<'p>(out: &mut String, plan: &'p Plan, (step, at): (&'p PlanStep, StepIndex), shown: &mut Shown<'p>) {
    let mut limits = Vec::new();
    limits.extend(step.timeout.map(|limit| format!("at most {} s", limit.as_secs())));
    limits.extend(step.idle_timeout.map(|limit| format!("silent at most {} s", limit.as_secs())));
    limits.extend(step.retry.map(|retry| format!("{} more attempts, {} s apart", retry.times, retry.delay.as_secs())));
    limits.extend(step.watch.map(|watch| {
        let times = if watch.failures == 1 { "once".to_owned() } else { format!("{} times in a row", watch.failures) };
        format!("watched every {} s while a batch soaks, may not fail {times}", watch.every.as_secs_f64())
    }));
    limits.extend(step.register.as_ref().map(|name| format!("its output becomes {{{{{name}}}}}")));
    limits.extend(step.when.iter().map(|(name, value)| format!("only when {name} is {value}")));
    limits.extend(step.read_only.then(|| "read-only".to_owned()));
    limits.extend(step.watch.map(|watch| format!("watched every {} s", watch.every.as_secs_f32())));
    limits.extend(step.effect.as_ref().map(|effect| format!("in force: {}", effect.words)));
    limits.extend((!step.ends.is_empty()).then(|| format!("ends {}", paths(&step.ends))));
    limits.extend(step.secret_output.then(|| "its output is secret".to_owned()));
    let limits = if limits.is_empty() { String::new() } else { format!(" ({})", limits.join(", ")) };
    let _ = writeln!(out, "  {}{limits}", step.path);
    let mut groups: BTreeMap<String, Vec<HostIndex>> = BTreeMap::new();
    for hosts in plan.alike(step, at) {
        if let Some(first) = hosts.first() {
            groups.entry(commands_text(plan, *first, at, &shown.env)).or_default().extend(hosts);
        }
    }
    let one = groups.len() == 1;
    for (text, mut hosts) in groups {
        hosts.sort_unstable();
        if !one {
            let _ = writeln!(out, "    on {}:", names(plan, hosts));
        }
        if let Some(earlier) = shown.commands.get(&text).filter(|_| text.lines().count() > LONG) {
            let _ = writeln!(out, "    as {earlier}");
        } else {
            out.push_str(&text);
            shown.commands.insert(text, &step.path);
        }
    }
}

/// What stands in the environment of every command, the same on all hosts.
fn shared_env(plan: &Plan) -> Env {
    let mut shared: Option<Env> = None;
    for (at, _, step) in plan.steps() {
        let hosts = plan.alike(step, at).into_iter().filter_map(|hosts| hosts.first().copied());
        for (_, command) in hosts.flat_map(|host| commands(plan, host, at)) {
            let env: Env = env(&command).collect();
            shared = Some(shared.map_or_else(|| env.clone(), |shared| &shared & &env));
        }
    }
    // Of one command it stands with that.
    let many = plan.steps().count() > 1;
    shared.filter(|_| many).unwrap_or_default()
}

fn env(command: &CommandTemplate) -> impl Iterator<Item = (String, String)> {
    command.env.iter().map(|(name, value)| (name.clone(), quote(&value.to_string())))
}

/// What a step is for a host: its guard, what it runs, and its undo.
fn commands(plan: &Plan, host: HostIndex, at: StepIndex) -> Vec<(&'static str, CommandTemplate)> {
    let guard = plan.guard(host, at).map(|guard| match guard {
        Guard::Unless(command) => ("unless", command),
        Guard::OnlyIf(command) => ("only-if", command),
    });
    let is_local = plan.step(at).is_some_and(PlanStep::is_local);
    let what = if is_local { "local" } else { "run" };
    let own = [(what, plan.run(host, at)), ("undo", plan.undo(host, at))];
    let own = own.into_iter().filter_map(|(what, command)| Some((what, command?)));
    // Nobody is asked for them here.
    let secret = |name: &VarName| plan.secrets.contains(name).then(|| SHOWN.to_owned());
    guard.into_iter().chain(own).map(|(what, command)| (what, command.bind(secret))).collect()
}

fn commands_text(plan: &Plan, host: HostIndex, at: StepIndex, shared: &Env) -> String {
    commands(plan, host, at).iter().map(|(what, command)| command_text(what, command, shared)).collect()
}

fn command_text(what: &str, command: &CommandTemplate, shared: &Env) -> String {
    let mut around: Vec<String> = Vec::new();
    around.extend(command.as_user.as_ref().map(|user| format!("as {user}")));
    around.extend(command.cwd.as_ref().map(|cwd| format!("in {cwd}")));
    around.extend(env(command).filter(|pair| !shared.contains(pair)).map(|(name, value)| format!("{name}={value}")));
    around.extend(command.interpreter.as_ref().map(|interpreter| format!("with {interpreter}")));
    let around = if around.is_empty() { String::new() } else { format!("[{}] ", around.join(" ")) };
    let text = command.text.to_string();
    let mut lines = text.trim_end().lines();
    let first = one_line(lines.next().unwrap_or_default());
    let mut out = format!("    {what:<8}{}{first}\n", one_line(&around));
    for line in lines {
        let _ = writeln!(out, "    {:<8}{}", "", one_line(line));
    }
    out
}
