//! The commands of a host: the texts of the plan with what their placeholders stand for there ([`super::values`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::plan::command::CommandTemplate;
use crate::model::plan::index::{HostIndex, StepIndex};
use crate::model::plan::plan::Plan;
use crate::model::plan::plan_host::PlanHost;
use crate::model::plan::step::{Guard, PlanStep};
use crate::model::plan::values::{ADDRESS, HOST, Values};
use crate::model::recipe::template::Template;
use crate::model::text::name::{UserName, VarName};

/// Values within values. A recipe whose defaults go in a circle is refused when it is read; a file may have been damaged since.
const MAX_DEPTH: usize = 64;

/// Hosts of the same values for which the same variables are registered, and the user there.
type AlikeKey = (*const Values, Vec<bool>, Option<UserName>);

impl Plan {
    /// What the step does on the host, as far as the plan knows.
    pub fn run(&self, host: HostIndex, at: StepIndex) -> Option<CommandTemplate> {
        let step = self.step(at).filter(|step| step.hosts.contains(host))?;
        Some(self.bind(&step.run.as_ref()?.command(&self.blobs)?, host, at, false))
    }

    /// What takes it back there. It comes after the step, so what the step registers is open, too.
    pub fn undo(&self, host: HostIndex, at: StepIndex) -> Option<CommandTemplate> {
        let step = self.step(at).filter(|step| step.hosts.contains(host))?;
        Some(self.bind(step.undo.as_ref()?, host, at, true))
    }

    pub fn guard(&self, host: HostIndex, at: StepIndex) -> Option<Guard> {
        let step = self.step(at).filter(|step| step.hosts.contains(host))?;
        Some(step.guard.as_ref()?.map(|command| self.bind(command, host, at, false)))
    }

    fn bind(&self, command: &CommandTemplate, host: HostIndex, at: StepIndex, after: bool) -> CommandTemplate {
        let bound =
            command.bind(|name| if self.registers(name, host, at, after) { None } else { self.value(name, host) });
        match self.hosts.get(host.0) {
            Some(host) => bound.for_login(&host.endpoint.user),
            None => bound,
        }
    }

    /// The user as whom the step runs on the host, when that is not the login user.
    pub fn user(&self, host: HostIndex, at: StepIndex) -> Option<UserName> {
        let user = self.run(host, at).or_else(|| self.undo(host, at))?.as_user?;
        UserName::parse(&user.finish().ok()?).ok()
    }

    /// Has a step before this one, or with `after` this one, registered the variable for the host?
    fn registers(&self, name: &VarName, host: HostIndex, at: StepIndex, after: bool) -> bool {
        let before = |of: StepIndex| of < at || (after && of == at);
        self.steps()
            .take_while(|(of, ..)| before(*of))
            .any(|(_, phase, step)| step.register.as_ref() == Some(name) && (phase.once || step.hosts.contains(host)))
    }

    /// The hosts of a step, together those to which the same is sent; where a name or an address stands in it, each for itself.
    pub fn alike(&self, step: &PlanStep, at: StepIndex) -> Vec<Vec<HostIndex>> {
        let names: BTreeSet<&VarName> = step.templates().flat_map(Template::names).collect();
        let is_registered = |name: &&&VarName| self.steps().any(|(.., step)| step.register.as_ref() == Some(**name));
        let registered: Vec<&VarName> = names.iter().filter(is_registered).copied().collect();
        let mut groups: BTreeMap<AlikeKey, Vec<(HostIndex, &PlanHost)>> = BTreeMap::new();
        for host in step.hosts.iter() {
            let Some(planned) = self.hosts.get(host.0) else { continue };
            let open = registered.iter().map(|name| self.registers(name, host, at, true)).collect();
            groups.entry((Arc::as_ptr(&planned.values), open, self.user(host, at))).or_default().push((host, planned));
        }
        let is_own = |host: &PlanHost| names.iter().any(|name| self.is_of_one_host(name, host, MAX_DEPTH));
        let mut alike: Vec<Vec<HostIndex>> = Vec::new();
        for group in groups.into_values() {
            let own = group.first().is_some_and(|(_, host)| is_own(host));
            let mut hosts = group.into_iter().map(|(host, _)| host);
            if own { alike.extend(hosts.map(|host| vec![host])) } else { alike.push(hosts.by_ref().collect()) }
        }
        alike
    }

    /// Does the host's own name or address stand in the value?
    fn is_of_one_host(&self, name: &VarName, host: &PlanHost, depth: usize) -> bool {
        if matches!(name.as_str(), HOST | ADDRESS) {
            return true;
        }
        let value = host.values.get(name).or_else(|| self.values.get(name));
        let within =
            |depth: usize| value.is_some_and(|value| value.names().any(|name| self.is_of_one_host(name, host, depth)));
        depth.checked_sub(1).is_some_and(within)
    }

    /// The value of a variable that no step registers.
    pub fn value(&self, name: &VarName, host: HostIndex) -> Option<String> {
        self.value_within(name, host, MAX_DEPTH)
    }

    fn value_within(&self, name: &VarName, index: HostIndex, depth: usize) -> Option<String> {
        let host = self.hosts.get(index.0)?;
        match name.as_str() {
            HOST => return Some(host.name.to_string()),
            ADDRESS => return Some(host.endpoint.address.to_string()),
            _ => {}
        }
        let value = host.values.get(name).or_else(|| self.values.get(name))?;
        let depth = depth.checked_sub(1)?;
        value.bind(|inner| self.value_within(inner, index, depth)).finish().ok()
    }
}
