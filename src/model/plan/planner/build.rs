//! From flat phases to the phases of a plan: hosts, batches, commands.

use std::collections::{BTreeMap, BTreeSet};

use super::phases::{self, FlatPhase, FlatStep};
use super::variables::misspelt_in_site;
use super::{PlanError, Request, Variables, batches, book_of, plan_host, width};
use crate::model::config::diagnostic::{Diagnostic, nearest};
use crate::model::inventory::inventory::{Host, Site, Stage};
use crate::model::plan::book::{Basis, Effect};
use crate::model::plan::command::CommandTemplate;
use crate::model::plan::plan::{
    Guard, HostIndex, OnFailure, PLAN_VERSION, Plan, PlanHost, PlanPhase, PlanStep, StepCommands,
};
use crate::model::recipe::recipe::{Action, Spanned, Step, StepGuard};
use crate::model::recipe::shell::quote;
use crate::model::recipe::template::Template;
use crate::model::text::name::{HostName, TaskName, VarName};

/// Builds one plan.
pub struct Builder<'a> {
    request: Request<'a>,
    targeted: BTreeSet<&'a HostName>,
    /// The targeted hosts that have something to do, in the inventory's order: a [`HostIndex`] is a place here.
    hosts: Vec<&'a Host>,
    /// Phases that have no host, and why.
    left_out: Vec<String>,
    /// The variable that these tasks prove.
    proves: Option<VarName>,
    /// A variable that some task of the recipe proves, and that a command of this plan uses as it was given, and not as a step of the
    /// plan registers it.
    takes_proof: Option<VarName>,
    /// For each host.
    variables: Vec<Variables>,
    books: Vec<Option<String>>,
    problems: Vec<Diagnostic>,
    /// Phases on a role that no host of the site has.
    roles: Vec<Diagnostic>,
}

impl<'a> Builder<'a> {
    pub fn new(request: Request<'a>, flat: &[FlatPhase<'_>]) -> Result<Self, PlanError> {
        let misspelt = misspelt_in_site(request.site, request.recipe);
        if !misspelt.is_empty() {
            return Err(PlanError::Variable(misspelt.join("\n")));
        }
        let targeted: BTreeSet<&HostName> = request.hosts.iter().collect();
        let (mut chosen, mut left_out) = (BTreeSet::new(), Vec::new());
        for phase in flat {
            match choose(phase, request.site, &targeted) {
                Ok(hosts) => chosen.extend(hosts),
                Err(reason) => left_out.push(format!("phase `{}` is left out: {reason}", phase.name)),
            }
        }
        // A host for which nothing is planned is not even connected to.
        let hosts: Vec<&Host> = request.site.hosts.iter().filter(|host| chosen.contains(&host.name)).collect();
        let variables = hosts.iter().map(|host| Variables::new(request, host)).collect::<Result<Vec<_>, _>>();
        let variables = variables?;
        // Before any step registers anything.
        let books = variables.iter().map(|variables| book_of(request.recipe, variables)).collect::<Result<_, _>>()?;
        let mut tasks = request.tasks.iter().rev().filter_map(|name| phases::find(request.recipe, name.as_str()).ok());
        Ok(Self {
            proves: tasks.find_map(|task| task.proves.clone()),
            takes_proof: None,
            variables,
            books,
            problems: Vec::new(),
            roles: Vec::new(),
            left_out,
            targeted,
            request,
            hosts,
        })
    }

    pub fn build(mut self, flat: &[FlatPhase<'_>]) -> Result<Plan, PlanError> {
        let Request { site, recipe, tasks, overrides, .. } = self.request;
        let phases: Vec<PlanPhase> = flat.iter().filter_map(|phase| self.phase(phase, flat)).collect();
        let basis = self.basis()?;
        if !self.problems.is_empty() {
            return Err(PlanError::Diagnostics(self.problems));
        }
        if !self.roles.is_empty() {
            return Err(PlanError::Roles(self.roles));
        }
        let names: Vec<&str> = tasks.iter().map(TaskName::as_str).collect();
        if phases.is_empty() {
            return Err(PlanError::Empty(names.join(" ")));
        }
        let hosts = self.hosts.iter().zip(&self.books).map(|(host, book)| {
            Ok(PlanHost { book: book.clone(), ..plan_host(site, host, overrides, self.request.login, true)? })
        });
        let hosts: Vec<PlanHost> = hosts.collect::<Result<_, PlanError>>()?;
        let tasks: Vec<_> = names.iter().filter_map(|name| phases::find(recipe, name).ok()).collect();
        let declared = |policy| tasks.iter().any(|task| task.on_failure == Some(policy));
        let on_test = site.stage.as_ref().is_some_and(|stage| stage.value == Stage::Test);
        let whole = overrides.steps.is_all() && self.targeted.len() == site.hosts.len();
        let mut on_failure = if declared(OnFailure::Hold) || (on_test && !declared(OnFailure::Undo)) {
            OnFailure::Hold
        } else {
            OnFailure::Undo
        };
        // The undo of a step may need what a step that was left out has made.
        if !overrides.steps.is_all() && on_failure == OnFailure::Undo {
            on_failure = OnFailure::Hold;
            self.left_out.push("steps are left out, so nothing is undone on failure: what was done is held, and `fleet undo` takes it back".to_owned());
        }
        Ok(Plan {
            v: PLAN_VERSION,
            sites: vec![site.name.clone()],
            task: names.join(" "),
            max_failures: overrides.max_fail.unwrap_or(site.rollout.max_failures.value).of(hosts.len()),
            parallel: width(overrides, hosts.len()),
            phases,
            on_failure,
            proves: self.proves.filter(|_| whole),
            basis,
            left_out: self.left_out,
            hosts,
        })
    }

    /// A site that follows another one gets exactly what was proven there, or nothing.
    /// What the plan takes from the site that its site follows.
    fn basis(&self) -> Result<Option<Basis>, PlanError> {
        let Request { site, recipe, proof, overrides, unproven, .. } = self.request;
        let (Some(follows), Some(variable)) = (&site.follows, &self.takes_proof) else { return Ok(None) };
        let (followed, given) = (follows.value.clone(), overrides.vars.get(variable));
        if let (true, None, Some(given)) = (unproven, proof, given) {
            return Ok(Some(Basis { site: followed, name: variable.clone(), value: given.clone(), proof: None }));
        }
        let Some(proof) = proof.filter(|proof| proof.name == *variable) else {
            let proving = recipe.tasks.iter().find(|task| task.proves.as_ref() == Some(variable));
            let task = proving.map(|task| task.name.to_string()).unwrap_or_default();
            return Err(PlanError::Unproven { site: site.name.clone(), followed, variable: variable.clone(), task });
        };
        match given.filter(|given| **given != proof.value) {
            None => {
                let (name, value) = (variable.clone(), proof.value.clone());
                Ok(Some(Basis { site: followed, name, value, proof: Some(proof.clone()) }))
            }
            Some(given) => Err(PlanError::OtherProven {
                followed,
                proof: Box::new(proof.clone()),
                variable: variable.clone(),
                given: given.clone(),
            }),
        }
    }

    fn phase(&mut self, flat: &FlatPhase<'_>, all: &[FlatPhase<'_>]) -> Option<PlanPhase> {
        let rollout = &self.request.site.rollout;
        let names = choose(flat, self.request.site, &self.targeted).unwrap_or_default();
        let hosts = self.hosts.iter().enumerate().filter(|(_, host)| names.contains(&host.name));
        let chosen: Vec<HostIndex> = hosts.map(|(index, _)| HostIndex(index)).collect();
        for role in flat.roles() {
            if !self.request.site.hosts.iter().any(|host| host.roles.contains(role)) {
                let message = format!("no host of site `{}` has the role `{role}`", self.request.site.name);
                let label = format!("give it to one: roles = [\"{role}\"] in {}", self.request.site.source.path);
                self.roles.push(Diagnostic::new(&self.request.recipe.source, flat.span.clone(), message).label(label));
            }
        }
        if chosen.is_empty() {
            return None;
        }
        let steps: Vec<PlanStep> = flat.steps.iter().map(|step| self.step(step, flat, &chosen, all)).collect();
        let sizes = self.request.overrides.serial.as_ref().unwrap_or(&rollout.batches.value);
        Some(PlanPhase {
            name: flat.name.clone(),
            once: flat.once,
            batches: if flat.rolling { batches(&chosen, sizes) } else { vec![chosen] },
            soak: rollout.soak.value,
            steps,
        })
    }

    fn step(
        &mut self,
        flat: &FlatStep<'_>,
        phase: &FlatPhase<'_>,
        chosen: &[HostIndex],
        all: &[FlatPhase<'_>],
    ) -> PlanStep {
        let step = flat.step;
        let mut commands = BTreeMap::new();
        for index in chosen {
            if self.hosts.get(index.0).is_some_and(|host| flat.is_for(host)) {
                commands.insert(*index, self.commands(step, *index));
            }
        }
        if let Some(name) = &step.register {
            for (index, variables) in self.variables.iter_mut().enumerate() {
                // What a `once` step registers is known to all hosts.
                if phase.once || commands.contains_key(&HostIndex(index)) {
                    variables.register(name.clone());
                }
            }
        }
        for (index, commands) in &mut commands {
            // The undo runs after the step, so it may use what the step itself registers.
            commands.undo = step.undo.as_ref().map(|undo| self.command(step, *index, undo));
        }
        let ended = |other: &&FlatStep<'_>| step.ends.contains(&other.step.name);
        PlanStep {
            path: flat.path.clone(),
            strikes: self.ended_by(step),
            effect: step.in_force.clone().map(|words| Effect { name: step.name.clone(), words }),
            ends: all.iter().flat_map(|p| &p.steps).filter(ended).map(|s| s.path.clone()).collect(),
            timeout: step.timeout.or(self.request.overrides.timeout),
            idle_timeout: step.idle_timeout,
            retry: step.retry,
            register: step.register.clone(),
            idempotent: step.idempotent,
            durable: step.durable,
            read_only: step.read_only,
            secret_output: step.secret_output,
            commands,
        }
    }

    /// What the steps that this one ends leave in force, wherever in the recipe they are.
    fn ended_by(&self, step: &Step) -> Vec<Effect> {
        let ended = self.request.recipe.steps().filter(|other| step.ends.contains(&other.name));
        let effect = |other: &Step| Some(Effect { name: other.name.clone(), words: other.in_force.clone()? });
        ended.filter_map(effect).collect()
    }

    fn commands(&mut self, step: &Step, host: HostIndex) -> StepCommands {
        let run = step.action.as_ref().map(|action| match action {
            Action::Run(text) => self.command(step, host, text),
            Action::Script { span, content, .. } => {
                let text = Spanned { value: Template::literal(content), span: span.clone() };
                CommandTemplate { interpreter: interpreter(content), ..self.command(step, host, &text) }
            }
        });
        let guard = step.guard.as_ref().map(|guard| match guard {
            StepGuard::Unless(text) => Guard::Unless(self.command(step, host, text)),
            StepGuard::OnlyIf(text) => Guard::OnlyIf(self.command(step, host, text)),
        });
        StepCommands { run, undo: None, guard }
    }

    fn command(&mut self, step: &Step, host: HostIndex, text: &Spanned<Template>) -> CommandTemplate {
        CommandTemplate {
            text: self.bind(text, host),
            interpreter: None,
            cwd: step.cwd.as_ref().map(|cwd| self.bind(cwd, host)),
            env: step.env.iter().map(|(name, value)| (name.clone(), self.bind(value, host))).collect(),
            as_user: step.as_user.clone(),
        }
    }

    /// Puts in all that is known; what stays open is registered by an earlier step, or a problem.
    fn bind(&mut self, text: &Spanned<Template>, host: HostIndex) -> Template {
        let Some(variables) = self.variables.get(host.0) else { return text.value.clone() };
        let is_proven =
            |name: &&VarName| self.request.recipe.tasks.iter().any(|task| task.proves.as_ref() == Some(*name));
        let given = text.value.names().filter(|name| !variables.is_registered(name)).find(is_proven);
        self.takes_proof = self.takes_proof.take().or_else(|| given.cloned());
        let bound = text.value.bind(|name| variables.value(name));
        for name in bound.names().filter(|name| !variables.is_registered(name)) {
            let host = self.hosts.get(host.0).map(|host| host.name.to_string()).unwrap_or_default();
            let site = &self.request.site.name;
            let message = format!("`{name}` has no value on host `{host}` of site `{site}`");
            let label = match nearest(name.as_str(), variables.known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "not set in the inventory, not registered by an earlier step".to_owned(),
            };
            let problem = Diagnostic::new(&self.request.recipe.source, text.span.clone(), message).label(label);
            // The same place is wrong on each host; one is enough.
            if !self.problems.iter().any(|p| p.span == problem.span && p.label == problem.label) {
                self.problems.push(problem);
            }
        }
        bound
    }
}

/// The hosts of a phase, or why it has none.
///
/// A phase that runs once on a role runs on the first host of the site that has it, or not at all: another one, such as the replica of a
/// database, is no substitute for a host that is not targeted.
fn choose<'a>(
    phase: &FlatPhase<'_>,
    site: &'a Site,
    targeted: &BTreeSet<&HostName>,
) -> Result<BTreeSet<&'a HostName>, String> {
    let is_for = |host: &&Host| {
        phase.on.as_ref().is_none_or(|role| host.roles.contains(role))
            && phase.steps.iter().any(|step| step.is_for(host))
    };
    let mut hosts = site.hosts.iter().filter(is_for).map(|host| &host.name);
    let any_will_do = phase.roles().is_empty();
    let chosen: BTreeSet<&HostName> = match phase.once {
        false => hosts.filter(|name| targeted.contains(name)).collect(),
        true if any_will_do => hosts.find(|name| targeted.contains(name)).into_iter().collect(),
        true => match hosts.next() {
            Some(name) if !targeted.contains(name) => {
                return Err(format!("it runs once, on {name}, which is not targeted"));
            }
            first => first.into_iter().collect(),
        },
    };
    if chosen.is_empty() { Err("no targeted host has its roles".to_owned()) } else { Ok(chosen) }
}

/// The interpreter that a script's first line names, with its arguments, as shell words; none for plain `sh`. Without its `-e`, a script
/// would go on after a command that failed.
pub(super) fn interpreter(script: &str) -> Option<String> {
    let line = script.strip_prefix("#!")?.lines().next()?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let words = match words.as_slice() {
        [env, "-S", rest @ ..] | [env, rest @ ..] if env.ends_with("/env") => rest,
        words => words,
    };
    match words {
        [] => None,
        [program] if program.rsplit('/').next() == Some("sh") => None,
        words => Some(words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")),
    }
}
