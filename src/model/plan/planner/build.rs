//! From flat phases to the phases of a plan: hosts, batches, steps with their texts, and the values for these.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::classes::Classes;
use super::phases::{self, FlatPhase, FlatStep};
use super::takes::Takes;
use super::variables::{misgiven_secrets, misspelt_in_site};
use super::{PlanError, Request, Variables, batches, bind_book, plan_host, width};
use crate::model::config::diagnostic::{Diagnostic, Place};
use crate::model::inventory::inventory::{Host, Stage};
use crate::model::plan::blob::Blobs;
use crate::model::plan::book::Effect;
use crate::model::plan::command::CommandTemplate;
use crate::model::plan::file::PlanFile;
use crate::model::plan::host_set::HostSet;
use crate::model::plan::operation::Operation;
use crate::model::plan::plan::{Guard, HostIndex, OnFailure, PLAN_VERSION, Plan, PlanHost, PlanPhase, PlanStep};
use crate::model::plan::script::Script;
use crate::model::plan::values::Values;
use crate::model::recipe::files::{RecipeFile, VARIABLE};
use crate::model::recipe::recipe::{Action, Rolling, Step, Surroundings, Task, Text};
use crate::model::recipe::template::Template;
use crate::model::text::name::{HostName, TaskName, UserName, VarName};

pub struct Builder<'a> {
    pub(super) request: Request<'a>,
    classes: Classes<'a>,
    /// The targeted hosts that have something to do, in the inventory's order: a [`HostIndex`] is a place here.
    hosts: Vec<(&'a Host, usize)>,
    /// Are all hosts of the site targeted?
    whole: bool,
    /// Phases that have no host, and why.
    left_out: Vec<String>,
    /// The variables that these tasks prove.
    proves: Vec<VarName>,
    pub(super) takes: Takes,
    /// For each class that has hosts in the plan.
    variables: BTreeMap<usize, Variables>,
    used: BTreeSet<VarName>,
    blobs: Blobs,
    problems: Vec<Diagnostic>,
    /// Phases on a role that no host of the site has.
    roles: Vec<Diagnostic>,
}

impl<'a> Builder<'a> {
    pub fn new(request: Request<'a>, flat: &[FlatPhase<'_>]) -> Result<Self, PlanError> {
        let mut wrong = misspelt_in_site(request.site, request.recipe);
        wrong.extend(misgiven_secrets(request.site, request.recipe));
        if !wrong.is_empty() {
            return Err(PlanError::Variable(wrong.join("\n")));
        }
        let targeted: BTreeSet<&HostName> = request.hosts.iter().collect();
        let classes = Classes::of(request.site, &targeted);
        let (mut chosen, mut left_out) = (BTreeSet::new(), phases::misspelt_roles(request.site, request.recipe));
        for phase in flat {
            match classes.choose(phase) {
                Ok(places) => chosen.extend(places),
                Err(reason) => left_out.push(format!("phase `{}` is left out: {reason}", phase.name)),
            }
        }
        let mut variables = BTreeMap::new();
        // A host for which nothing is planned is not even connected to.
        let mut hosts = Vec::new();
        for (_, (host, class)) in classes.hosts().enumerate().filter(|(place, _)| chosen.contains(place)) {
            if let Entry::Vacant(unknown) = variables.entry(class) {
                unknown.insert(Variables::of_class(request, host)?);
            }
            hosts.push((host, class));
        }
        let mut tasks = request.tasks.iter().rev().filter_map(|name| phases::find(request.recipe, name.as_str()).ok());
        Ok(Self {
            proves: tasks
                .find(|task| !task.proves.is_empty())
                .map(|task| task.proves.iter().map(|proves| proves.value.clone()).collect())
                .unwrap_or_default(),
            takes: Takes::default(),
            whole: targeted.len() == request.site.hosts.len(),
            variables,
            used: BTreeSet::new(),
            blobs: Blobs::default(),
            problems: Vec::new(),
            roles: Vec::new(),
            left_out,
            classes,
            request,
            hosts,
        })
    }

    pub fn build(mut self, flat: &[FlatPhase<'_>]) -> Result<Plan, PlanError> {
        let Request { site, recipe, tasks, overrides, .. } = self.request;
        self.refuse_stage()?;
        let phases: Vec<PlanPhase> = flat.iter().filter_map(|phase| self.phase(phase, flat)).collect();
        let secrets = self.secrets(&phases);
        let basis = self.basis(&phases, &secrets)?;
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
        let (values, hosts) = self.hosts_and_values()?;
        let tasks: Vec<_> = names.iter().filter_map(|name| phases::find(recipe, name).ok()).collect();
        let declared = |policy| tasks.iter().any(|task| task.on_failure == Some(policy));
        let on_test = site.stage.as_ref().is_some_and(|stage| stage.value == Stage::Test);
        let whole = overrides.steps.is_all() && self.whole;
        let mut on_failure = if declared(OnFailure::Hold) || (on_test && !declared(OnFailure::Undo)) {
            OnFailure::Hold
        } else {
            OnFailure::Undo
        };
        // The undo of a step may need what a step that was left out has made.
        if !overrides.steps.is_all() && on_failure == OnFailure::Undo {
            on_failure = OnFailure::Hold;
            self.left_out.push(
                "steps are left out, so nothing is rolled back on failure: hosts are held, and `fleet undo` rolls back"
                    .to_owned(),
            );
        }
        let files = self.files(&phases);
        Ok(Plan {
            v: PLAN_VERSION,
            sites: vec![site.name.clone()],
            task: names.join(" "),
            max_failures: overrides.max_fail.unwrap_or(site.rollout.max_failures.value).of(hosts.len()),
            parallel: width(overrides, hosts.len()),
            phases,
            on_failure,
            summary: tasks.iter().rev().find_map(|task| recipe.summary_of(task)).cloned(),
            previews: recipe.previews_of(&tasks),
            proves: if whole { self.proves } else { Vec::new() },
            basis,
            accept: site.accept.iter().map(|(name, reason)| (name.clone(), reason.value.clone())).collect(),
            left_out: self.left_out,
            values,
            secrets,
            hosts,
            files,
            blobs: self.blobs,
        })
    }

    /// Some tasks are not for every site: one that wipes a database is not for production, whoever types its name.
    fn refuse_stage(&self) -> Result<(), PlanError> {
        let Request { site, recipe, tasks, .. } = self.request;
        let stage = site.stage.as_ref().map(|stage| stage.value);
        let allows = |task: &&Task| task.stages.is_empty() || stage.is_some_and(|stage| task.stages.contains(&stage));
        let tasks = tasks.iter().filter_map(|name| phases::find(recipe, name.as_str()).ok());
        match recipe.reached(tasks).into_iter().find(|task| !allows(task)) {
            None => Ok(()),
            Some(task) => Err(PlanError::Stage {
                task: task.name.clone(),
                site: site.name.clone(),
                stage,
                stages: task.stages.clone(),
                place: task.place.clone(),
            }),
        }
    }

    /// The values that the steps use: those that all hosts share, and the hosts with the others.
    fn hosts_and_values(&self) -> Result<(Values, Vec<PlanHost>), PlanError> {
        let Request { site, recipe, overrides, login, .. } = self.request;
        let of_class = |(class, variables): (&usize, &Variables)| {
            let mut values = Values::new();
            self.used.iter().for_each(|name| variables.collect(name, &mut values));
            (*class, values)
        };
        let mut values: BTreeMap<usize, Values> = self.variables.iter().map(of_class).collect();
        let mut shared = values.values().next().cloned().unwrap_or_default();
        shared.retain(|name, value| values.values().all(|values| values.get(name) == Some(value)));
        for values in values.values_mut() {
            values.retain(|name, _| !shared.contains_key(name));
        }
        let values: BTreeMap<_, _> = values.into_iter().map(|(class, values)| (class, Arc::new(values))).collect();
        let host = |(host, class): &(&Host, usize)| {
            let variables = self.variables.get(class);
            let book = variables.map(|variables| bind_book(recipe, variables, host)).transpose()?.flatten();
            let values = values.get(class).cloned().unwrap_or_default();
            Ok(PlanHost { book, values, ..plan_host(site, host, overrides, login, true)? })
        };
        Ok((shared, self.hosts.iter().map(host).collect::<Result<_, PlanError>>()?))
    }

    /// The secrets that steps use on any of the hosts.
    fn secrets(&self, phases: &[PlanPhase]) -> BTreeSet<VarName> {
        let steps = phases.iter().flat_map(|phase| &phase.steps).filter(|step| step.hosts.iter().next().is_some());
        let names = steps.flat_map(PlanStep::templates).flat_map(Template::names);
        names.filter(|name| self.request.recipe.is_secret(name)).cloned().collect()
    }

    fn phase(&mut self, flat: &FlatPhase<'_>, all: &[FlatPhase<'_>]) -> Option<PlanPhase> {
        let rollout = &self.request.site.rollout;
        for role in flat.roles() {
            if !self.request.site.hosts.iter().any(|host| host.roles.contains(role)) {
                let message = format!("no host of site `{}` has the role `{role}`", self.request.site.name);
                let label = format!("give it to one: roles = [\"{role}\"] in {}", self.request.site.source.path);
                self.roles.push(flat.place.diagnostic(message).label(label));
            }
        }
        let chosen: Vec<HostIndex> = self.chosen(flat);
        if chosen.is_empty() {
            return None;
        }
        let steps: Vec<PlanStep> = flat.steps.iter().map(|step| self.step(step, flat, &chosen, all)).collect();
        let sizes = match flat.rolling {
            Rolling::No => None,
            Rolling::AsSite => Some(&rollout.batches.value),
            Rolling::Batches(sizes) => Some(sizes),
        };
        let sizes = sizes.map(|sizes| self.request.overrides.serial.as_ref().unwrap_or(sizes));
        Some(PlanPhase {
            name: flat.name.clone(),
            once: flat.once,
            batches: match sizes {
                Some(sizes) => batches(&chosen, sizes),
                None => vec![chosen],
            },
            soak: rollout.soak.value,
            steps,
        })
    }

    /// The hosts of the plan that a phase is for.
    fn chosen(&self, flat: &FlatPhase<'_>) -> Vec<HostIndex> {
        let places = self.classes.choose(flat).into_iter().flatten();
        let mut chosen = places.filter_map(|place| self.request.site.hosts.get(place)).peekable();
        // Both are in the order of the inventory.
        let mut is_chosen = |host: &Host| chosen.next_if(|next| std::ptr::eq(*next, host)).is_some();
        let hosts = self.hosts.iter().enumerate().filter(|(_, (host, _))| is_chosen(host));
        hosts.map(|(index, _)| HostIndex(index)).collect()
    }

    fn step(
        &mut self,
        flat: &FlatStep<'_>,
        phase: &FlatPhase<'_>,
        chosen: &[HostIndex],
        all: &[FlatPhase<'_>],
    ) -> PlanStep {
        let step = flat.step;
        let class = |host: &HostIndex| self.hosts.get(host.0).map(|(_, class)| *class);
        let hosts: HostSet = chosen
            .iter()
            .filter(|host| class(host).is_some_and(|class| self.classes.has(class, flat)))
            .copied()
            .collect();
        let classes: BTreeSet<usize> = hosts.iter().filter_map(|host| class(&host)).collect();
        let command = |text: &Text| command(&flat.surroundings, text);
        let (run, guard) = (self.operation(flat), step.guard.as_ref().map(|guard| guard.map(command)));
        for class in &classes {
            let texts = step.action.iter().filter_map(Action::shell_text).chain(step.guard.iter().map(Guard::command));
            texts
                .chain(flat.around().filter(|_| run.is_some() || guard.is_some()))
                .for_each(|text| self.check(text, *class, step.read_only));
        }
        if let Some(name) = &step.register {
            // What a `once` step registers is known to all hosts.
            for (_, variables) in self.variables.iter_mut().filter(|(class, _)| phase.once || classes.contains(class)) {
                variables.register(name.clone());
            }
        }
        for class in &classes {
            // The undo runs after the step, so it may use what the step itself registers.
            step.undo
                .iter()
                .flat_map(|undo| std::iter::once(undo).chain(flat.around()))
                .for_each(|text| self.check(text, *class, false));
        }
        self.check_user(flat, &hosts);
        for (class, (name, _)) in classes.iter().flat_map(|class| phase.when.iter().map(move |when| (*class, when))) {
            let place = Place { source: phase.place.source.clone(), span: name.span.clone() };
            self.check_name(&name.value, &place, class, step.read_only);
        }
        let ended = |other: &&FlatStep<'_>| step.ends.iter().any(|end| end.value == other.step.name);
        PlanStep {
            run,
            guard,
            undo: step.undo.as_ref().map(command),
            when: phase.when.iter().map(|(name, value)| (name.value.clone(), value.clone())).collect(),
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
            watch: step.watch,
            ..PlanStep::new(flat.path.clone(), hosts)
        }
    }

    /// What the steps that this one ends leave in force, wherever in the recipe they are.
    fn ended_by(&self, step: &Step) -> Vec<Effect> {
        let ended = self.request.recipe.steps().filter(|other| step.ends.iter().any(|end| end.value == other.name));
        let effect = |other: &Step| Some(Effect { name: other.name.clone(), words: other.in_force.clone()? });
        ended.filter_map(effect).collect()
    }

    fn operation(&mut self, flat: &FlatStep<'_>) -> Option<Operation> {
        let surroundings = &flat.surroundings;
        Some(match flat.step.action.as_ref()? {
            Action::Run(text) => Operation::Command(command(surroundings, text)),
            Action::Local(text) => Operation::Local(command(surroundings, text)),
            Action::Script { content, .. } => {
                let CommandTemplate { cwd, env, as_user, .. } = around(surroundings, Template::default());
                Operation::Script(Script { blob: self.blobs.add(content.as_bytes()), cwd, env, as_user })
            }
        })
    }

    /// Is all known in it for the hosts of the class? What stays open is registered by an earlier step, or a problem.
    fn check(&mut self, text: &Text, class: usize, read_only: bool) {
        text.value.names().for_each(|name| self.check_name(name, &text.place, class, read_only));
    }

    fn check_name(&mut self, name: &VarName, place: &Place, class: usize, read_only: bool) {
        let Some(variables) = self.variables.get(&class).filter(|variables| !variables.is_registered(name)) else {
            return;
        };
        self.takes.add(self.request.recipe, name, read_only);
        self.used.insert(name.clone());
        if variables.has(name) {
            return;
        }
        let host = self.hosts.iter().find(|(_, of)| *of == class).map(|(host, _)| host.name.as_str());
        let (site, host) = (&self.request.site.name, host.unwrap_or_default());
        let message = format!("`{name}` has no value on host `{host}` of site `{site}`");
        let label = "not set in the inventory, not registered by an earlier step";
        let problem = place.diagnostic(message).label(label).did_you_mean(name.as_str(), variables.known());
        self.problem(problem);
    }

    /// The files of the recipe, when a step, or a value in it, names their folder.
    fn files(&mut self, phases: &[PlanPhase]) -> Vec<PlanFile> {
        let recipe = self.request.recipe;
        let mut values = Values::new();
        for (name, variables) in self.used.iter().flat_map(|name| self.variables.values().map(move |of| (name, of))) {
            variables.collect(name, &mut values);
        }
        let in_script = |(_, script): (_, &[u8])| std::str::from_utf8(script).is_ok_and(|text| text.contains(VARIABLE));
        let used = phases
            .iter()
            .flat_map(|phase| &phase.steps)
            .flat_map(PlanStep::templates)
            .any(|text| text.mentions(VARIABLE))
            || values.values().any(|text| text.mentions(VARIABLE))
            || self.blobs.iter().any(in_script);
        let file = |file: &RecipeFile| PlanFile {
            path: file.path.clone(),
            blob: self.blobs.add(Arc::clone(&file.content)),
            executable: file.executable,
        };
        if used { recipe.files.iter().map(file).collect() } else { Vec::new() }
    }

    /// The same place is wrong on each host; one is enough.
    fn problem(&mut self, problem: Diagnostic) {
        let is_same = |p: &Diagnostic| p.source == problem.source && p.span == problem.span && p.label == problem.label;
        if !self.problems.iter().any(is_same) {
            self.problems.push(problem);
        }
    }

    /// A user is known before anything is contacted, and has a name that is no option of sudo.
    fn check_user(&mut self, flat: &FlatStep<'_>, hosts: &HostSet) {
        let Some(text) = &flat.surroundings.as_user else { return };
        let mut wrong = Vec::new();
        for (host, class) in hosts.iter().filter_map(|host| self.hosts.get(host.0)) {
            let Some(variables) = self.variables.get(class) else { continue };
            let registered = text.value.names().find(|name| variables.is_registered(name));
            wrong.extend(registered.map(|name| format!("`as` uses `{name}`, which a step registers")));
            // What has no value was reported with the other texts.
            let Ok(user) = variables.finish(&text.value, host) else { continue };
            if !user.is_empty() && registered.is_none() {
                wrong.extend(UserName::parse(&user).err().map(|error| format!("{error} (on host `{}`)", host.name)));
            }
        }
        if let Some(message) = wrong.into_iter().next() {
            self.problem(text.place.diagnostic(message).label("`as` is the name of a user of the host"));
        }
    }
}

fn command(surroundings: &Surroundings, text: &Text) -> CommandTemplate {
    around(surroundings, text.value.clone())
}

fn around(Surroundings { as_user, cwd, env }: &Surroundings, text: Template) -> CommandTemplate {
    let value = |text: &Text| text.value.clone();
    CommandTemplate {
        text,
        interpreter: None,
        cwd: cwd.as_ref().map(value),
        env: env.iter().map(|(name, text)| (name.clone(), value(text))).collect(),
        secret_env: BTreeMap::new(),
        as_user: as_user.as_ref().map(value),
    }
}
