//! From a task and its targets to a [`Plan`]: every command final but for the values of `register`.
//!
//! Everything that can be wrong with it is told here, before any host is contacted.
//!
//! A task on several sites is several plans, one after another, and not one plan over all: each site has its own recipe, batches,
//! budget and `once` steps, and a failure on one must not undo another.

mod phases;
mod variables;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::command::CommandTemplate;
use super::diagnostic::{Diagnostic, nearest};
use super::inventory::{Host, Share, Site, Stage};
use super::name::{HostLabel, HostName, NameError, PhaseName, RunId, SiteName, StepPath, TaskName, UserName, VarName};
use super::plan::{Guard, HostIndex, OnFailure, PLAN_VERSION, Plan, PlanHost, PlanPhase, PlanStep, StepCommands};
use super::recipe::{Action, Recipe, Spanned, Step, StepGuard, settable};
use super::template::Template;
use phases::FlatPhase;
pub use variables::{Proof, Variables, misspelt};

/// What the command line sets, above all files.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--user`
    pub user: Option<UserName>,
    /// `--identity`
    pub identity: Option<String>,
    /// `--connect-timeout`
    pub connect_timeout: Option<Duration>,
    /// `--set`
    pub vars: BTreeMap<VarName, String>,
    /// `--parallel`; 0 is all.
    pub parallel: Option<usize>,
    /// `--serial`
    pub serial: Option<Vec<Share>>,
    /// `--max-fail`
    pub max_fail: Option<Share>,
    /// `--timeout`: the limit of steps that have none of their own.
    pub timeout: Option<Duration>,
    /// Which steps.
    pub steps: StepSelection,
}

/// Which of a task's steps are planned. Steps are named as in the recipe, or by their path in the plan.
#[derive(Debug, Clone, Default)]
pub struct StepSelection {
    /// `--start-at`: leave out all before it.
    pub start_at: Option<String>,
    /// `--only`
    pub only: Vec<String>,
    /// `--skip`
    pub skip: Vec<String>,
}

impl StepSelection {
    fn is_all(&self) -> bool {
        self.start_at.is_none() && self.only.is_empty() && self.skip.is_empty()
    }
}

/// How many hosts work at the same time when nobody says otherwise.
pub const DEFAULT_PARALLEL: usize = 32;

/// What is to be planned.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The site.
    pub site: &'a Site,
    /// The targeted hosts of the site.
    pub hosts: &'a [HostName],
    /// The site's recipe.
    pub recipe: &'a Recipe,
    /// The tasks, in order.
    pub tasks: &'a [TaskName],
    /// What the command line sets.
    pub overrides: &'a Overrides,
    /// The run that will carry it out.
    pub run: &'a RunId,
    /// The login user when nobody sets one.
    pub login: &'a UserName,
    /// What the followed site proved.
    pub proof: Option<&'a Proof>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The recipe has no such task.
    #[error("recipe `{recipe}` has no task `{task}`{}", hint(.nearest.as_ref(), .known))]
    UnknownTask {
        /// The task.
        task: String,
        /// The recipe.
        recipe: String,
        /// The task that was perhaps meant.
        nearest: Option<String>,
        /// All tasks.
        known: Vec<String>,
    },
    /// No step of the plan is called so.
    #[error("--{flag} {name}: no such step{}", hint(.nearest.as_ref(), .known))]
    UnknownStep {
        /// `start-at`, `only` or `skip`.
        flag: &'static str,
        /// What was typed.
        name: String,
        /// The step that was perhaps meant.
        nearest: Option<String>,
        /// All steps.
        known: Vec<String>,
    },
    /// The recipe and the inventory do not fit together.
    #[error("{} problems in the recipe", .0.len())]
    Diagnostics(Vec<Diagnostic>),
    /// A variable that nobody sets.
    #[error("{0}")]
    Variable(String),
    /// The site follows another one, and nothing has been proven there.
    #[error(
        "site `{site}` follows `{followed}`, and no whole run has proven a {variable} there\nhint: fleet {followed} {task}"
    )]
    Unproven {
        /// The site.
        site: SiteName,
        /// The site that it follows.
        followed: SiteName,
        /// What is to be proven.
        variable: VarName,
        /// The tasks as typed.
        task: String,
    },
    /// `--set` asks for something else than what the followed site has proven.
    #[error(
        "{variable} {given} is not what `{followed}` has proven: {} (run {})\nhint: leave out --set {variable}=..., or prove {given} there first",
        .proof.value, .proof.run
    )]
    OtherProven {
        /// The site that is followed.
        followed: SiteName,
        /// What was proven there.
        proof: Box<Proof>,
        /// The variable.
        variable: VarName,
        /// The value on the command line.
        given: String,
    },
    /// Nothing is left to do for the targeted hosts.
    #[error("no step of `{0}` is for the targeted hosts")]
    Empty(String),
    /// A name that grew too long.
    #[error(transparent)]
    Name(#[from] NameError),
}

fn hint(nearest: Option<&String>, known: &[String]) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None => format!("; there are: {}", known.join(", ")),
    }
}

/// Plans tasks on one site.
pub fn plan(request: Request<'_>) -> Result<Plan, PlanError> {
    let hosts: Vec<&Host> = request.site.hosts.iter().filter(|host| request.hosts.contains(&host.name)).collect();
    let mut flat = phases::flatten(request.recipe, request.tasks)?;
    select_steps(&mut flat, &request.overrides.steps)?;
    let proves =
        request.tasks.iter().rev().find_map(|name| phases::find(request.recipe, name.as_str()).ok()?.proves.clone());
    let mut builder =
        Builder { request, hosts, proves, takes_proof: false, variables: Vec::new(), problems: Vec::new() };
    builder.variables = builder
        .hosts
        .iter()
        .map(|host| Variables::new(request, host))
        .collect::<Result<_, _>>()
        .map_err(PlanError::Variable)?;
    builder.build(&flat)
}

/// Plans one command on all hosts of all sites: what `fleet SITE run -- CMD` does.
pub fn plan_command(
    targets: &[(&Site, &[HostName])],
    command: &str,
    overrides: &Overrides,
    login: &UserName,
) -> Result<Plan, NameError> {
    let single = targets.len() == 1;
    let mut hosts = Vec::new();
    for (site, names) in targets {
        for host in site.hosts.iter().filter(|host| names.contains(&host.name)) {
            hosts.push(plan_host(site, host, overrides, login, single)?);
        }
    }
    let all: Vec<HostIndex> = (0..hosts.len()).map(HostIndex).collect();
    let commands = StepCommands { run: CommandTemplate::shell(Template::literal(command)), undo: None, guard: None };
    let step = PlanStep {
        path: StepPath::parse("run/command")?,
        ends: Vec::new(),
        timeout: overrides.timeout,
        idle_timeout: None,
        retry: None,
        register: None,
        secret_output: false,
        commands: all.iter().map(|host| (*host, commands.clone())).collect(),
    };
    let soak = targets.first().map_or(Duration::ZERO, |(site, _)| site.rollout.soak.value);
    let batches = match &overrides.serial {
        Some(sizes) => batches(&all, sizes),
        None => vec![all],
    };
    Ok(Plan {
        v: PLAN_VERSION,
        sites: targets.iter().map(|(site, _)| site.name.clone()).collect(),
        task: "run".to_owned(),
        max_failures: overrides.max_fail.map_or(hosts.len(), |share| share.of(hosts.len())),
        parallel: width(overrides, hosts.len()),
        phases: vec![PlanPhase { name: PhaseName::parse("run")?, once: false, batches, soak, steps: vec![step] }],
        // An ad-hoc command has no undo.
        on_failure: OnFailure::Hold,
        proves: None,
        hosts,
    })
}

fn width(overrides: &Overrides, hosts: usize) -> usize {
    match overrides.parallel {
        Some(0) => hosts,
        Some(n) => n,
        None => DEFAULT_PARALLEL,
    }
}

fn plan_host(
    site: &Site,
    host: &Host,
    overrides: &Overrides,
    login: &UserName,
    single: bool,
) -> Result<PlanHost, NameError> {
    let label = if single { host.name.to_string() } else { format!("{}:{}", site.name, host.name) };
    Ok(PlanHost {
        label: HostLabel::parse(&label)?,
        site: site.name.clone(),
        name: host.name.clone(),
        address: host.address.value.clone(),
        port: host.port.value,
        user: overrides.user.as_ref().or(host.user.as_ref().map(|user| &user.value)).unwrap_or(login).clone(),
        identity: overrides.identity.clone().or_else(|| host.identity.as_ref().map(|identity| identity.value.clone())),
        connect_timeout: overrides.connect_timeout.unwrap_or(host.connect_timeout.value),
        roles: host.roles.clone(),
    })
}

/// Cuts hosts into batches. The last size repeats until all hosts have their place; no batch is empty.
pub fn batches(hosts: &[HostIndex], sizes: &[Share]) -> Vec<Vec<HostIndex>> {
    let mut rest = hosts;
    let mut sizes = sizes.iter();
    let mut size = Share::Percent(100);
    let mut cut = Vec::new();
    while !rest.is_empty() {
        size = sizes.next().copied().unwrap_or(size);
        let (batch, after) = rest.split_at(size.of(hosts.len()).clamp(1, rest.len()));
        cut.push(batch.to_vec());
        rest = after;
    }
    cut
}

/// Leaves out the steps that the command line does not want.
fn select_steps(flat: &mut Vec<FlatPhase<'_>>, selection: &StepSelection) -> Result<(), PlanError> {
    let known: Vec<(String, String)> =
        flat.iter().flat_map(|p| &p.steps).map(|s| (s.step.name.to_string(), s.path.to_string())).collect();
    let is = |step: &phases::FlatStep<'_>, name: &str| step.step.name.as_str() == name || step.path.as_str() == name;
    let typed = selection.start_at.iter().map(|n| ("start-at", n));
    let typed =
        typed.chain(selection.only.iter().map(|n| ("only", n))).chain(selection.skip.iter().map(|n| ("skip", n)));
    for (flag, name) in typed {
        if !known.iter().any(|(step, path)| step == name || path == name) {
            let names: BTreeSet<&str> = known.iter().map(|(step, _)| step.as_str()).collect();
            return Err(PlanError::UnknownStep {
                flag,
                name: name.clone(),
                nearest: nearest(name, names.iter().copied()).map(str::to_owned),
                known: names.into_iter().map(str::to_owned).collect(),
            });
        }
    }
    let mut started = selection.start_at.is_none();
    for phase in flat.iter_mut() {
        phase.steps.retain(|step| {
            started |= selection.start_at.as_deref().is_some_and(|name| is(step, name));
            let wanted = selection.only.is_empty() || selection.only.iter().any(|name| is(step, name));
            started && wanted && !selection.skip.iter().any(|name| is(step, name))
        });
    }
    flat.retain(|phase| !phase.steps.is_empty());
    Ok(())
}

struct Builder<'a> {
    request: Request<'a>,
    hosts: Vec<&'a Host>,
    /// The variable that these tasks prove.
    proves: Option<VarName>,
    /// Some command uses that variable as it was given, and not as a step of the plan registers it.
    takes_proof: bool,
    /// For each host.
    variables: Vec<Variables>,
    problems: Vec<Diagnostic>,
}

impl Builder<'_> {
    fn build(mut self, flat: &[FlatPhase<'_>]) -> Result<Plan, PlanError> {
        let Request { site, recipe, tasks, overrides, .. } = self.request;
        let phases: Vec<PlanPhase> = flat.iter().filter_map(|phase| self.phase(phase, flat)).collect();
        self.check_proof()?;
        if !self.problems.is_empty() {
            return Err(PlanError::Diagnostics(self.problems));
        }
        let names: Vec<&str> = tasks.iter().map(TaskName::as_str).collect();
        if phases.is_empty() {
            return Err(PlanError::Empty(names.join(" ")));
        }
        let hosts = self.hosts.iter().map(|host| plan_host(site, host, overrides, self.request.login, true));
        let hosts: Vec<PlanHost> = hosts.collect::<Result<_, _>>()?;
        let tasks: Vec<_> = names.iter().filter_map(|name| phases::find(recipe, name).ok()).collect();
        let declared = |policy| tasks.iter().any(|task| task.on_failure == Some(policy));
        let on_test = site.stage.as_ref().is_some_and(|stage| stage.value == Stage::Test);
        let whole = overrides.steps.is_all() && hosts.len() == site.hosts.len();
        Ok(Plan {
            v: PLAN_VERSION,
            sites: vec![site.name.clone()],
            task: names.join(" "),
            max_failures: overrides.max_fail.unwrap_or(site.rollout.max_failures.value).of(hosts.len()),
            parallel: width(overrides, hosts.len()),
            phases,
            on_failure: if declared(OnFailure::Hold) || (on_test && !declared(OnFailure::Undo)) {
                OnFailure::Hold
            } else {
                OnFailure::Undo
            },
            proves: self.proves.filter(|_| whole),
            hosts,
        })
    }

    /// A site that follows another one gets exactly what was proven there, or nothing.
    fn check_proof(&self) -> Result<(), PlanError> {
        let Request { site, proof, tasks, overrides, .. } = self.request;
        let (Some(follows), Some(variable), true) = (&site.follows, &self.proves, self.takes_proof) else {
            return Ok(());
        };
        let followed = follows.value.clone();
        let Some(proof) = proof.filter(|proof| proof.name == *variable) else {
            let task = tasks.iter().map(TaskName::as_str).collect::<Vec<_>>().join(" ");
            return Err(PlanError::Unproven { site: site.name.clone(), followed, variable: variable.clone(), task });
        };
        match overrides.vars.get(variable).filter(|given| **given != proof.value) {
            None => Ok(()),
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
        let chosen: Vec<HostIndex> = self
            .hosts
            .iter()
            .enumerate()
            .filter(|(_, host)| flat.on.as_ref().is_none_or(|role| host.roles.contains(role)))
            .filter(|(_, host)| flat.steps.iter().any(|step| step.is_for(host)))
            .map(|(index, _)| HostIndex(index))
            .take(if flat.once { 1 } else { usize::MAX })
            .collect();
        for role in flat.roles() {
            if !self.request.site.hosts.iter().any(|host| host.roles.contains(role)) {
                let message = format!("no host of site `{}` has the role `{role}`", self.request.site.name);
                self.problems.push(Diagnostic::new(&self.request.recipe.source, flat.span.clone(), message));
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
        flat: &phases::FlatStep<'_>,
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
        let ended = |other: &&phases::FlatStep<'_>| step.ends.contains(&other.step.name);
        PlanStep {
            path: flat.path.clone(),
            ends: all.iter().flat_map(|p| &p.steps).filter(ended).map(|s| s.path.clone()).collect(),
            timeout: step.timeout.or(self.request.overrides.timeout),
            idle_timeout: step.idle_timeout,
            retry: step.retry,
            register: step.register.clone(),
            secret_output: step.secret_output,
            commands,
        }
    }

    fn commands(&mut self, step: &Step, host: HostIndex) -> StepCommands {
        let run = match &step.action {
            Action::Run(text) => self.command(step, host, text),
            Action::Script { span, content, .. } => {
                let text = Spanned { value: Template::literal(content), span: span.clone() };
                CommandTemplate { interpreter: interpreter(content), ..self.command(step, host, &text) }
            }
        };
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
        self.takes_proof |=
            text.value.names().any(|name| self.proves.as_ref() == Some(name) && !variables.is_registered(name));
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

/// The interpreter that a script's first line names, unless it is `sh`.
fn interpreter(script: &str) -> Option<String> {
    let line = script.strip_prefix("#!")?.lines().next()?.trim();
    let mut words = line.split_whitespace();
    let program = words.next()?;
    let program = if program.ends_with("/env") { words.next()? } else { program };
    (program.rsplit('/').next() != Some("sh")).then(|| program.to_owned())
}

/// Reads the value of `-e K=V`.
pub fn parse_assignment(text: &str) -> Result<(VarName, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not of the form NAME=VALUE"))?;
    Ok((settable(name)?, value.to_owned()))
}
