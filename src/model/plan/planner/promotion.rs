//! What a site takes from the one that it follows.

use std::collections::{BTreeMap, BTreeSet};

use super::build::Builder;
use super::takes::is_proven;
use super::{PlanError, Request};
use crate::model::plan::book::{Basis, Proof};
use crate::model::plan::plan::PlanPhase;
use crate::model::text::name::VarName;

impl Builder<'_> {
    /// A site that follows another one gets exactly what was proven there, or nothing: what the plan takes from the site that its site follows.
    /// What only looks takes nothing.
    pub(super) fn basis(&self, phases: &[PlanPhase], secrets: &BTreeSet<VarName>) -> Result<Option<Basis>, PlanError> {
        let Request { site, proof, overrides, unproven, run, .. } = self.request;
        let steps = || phases.iter().flat_map(|phase| &phase.steps);
        let (Some(follows), Some(variable)) = (&site.follows, self.takes.names.first()) else { return Ok(None) };
        // Nor does a plan that no run will carry out, which is made to be looked at.
        if run.is_none() || steps().all(|step| step.read_only) {
            return Ok(None);
        }
        let followed = || follows.value.clone();
        // What its own steps register is compared as soon as it is known. A task that takes nothing, such as a rollback to what was there before,
        // is compared with nothing.
        let registered =
            steps().filter_map(|step| step.register.as_ref()).filter(|name| is_proven(self.request.recipe, name));
        let needed = || self.takes.names.iter().chain(registered.clone());
        if let (true, None) = (unproven, proof) {
            let missing = self.takes.names.iter().find(|name| !overrides.vars.contains_key(*name));
            return match (missing, overrides.vars.get(variable)) {
                (None, Some(given)) => {
                    let (name, value) = (variable.clone(), given.clone());
                    Ok(Some(Basis { site: followed(), name, value, given: BTreeMap::new(), proof: None }))
                }
                (missing, _) => Err(self.unproven(missing.unwrap_or(variable), secrets)),
            };
        }
        let missing = |proof: &Proof| needed().find(|name| proof.get(name).is_none()).cloned();
        let Some(proof) = proof else { return Err(self.unproven(variable, secrets)) };
        if let Some(missing) = missing(proof) {
            let (run, task) = (proof.run.clone(), self.proving_task(&missing));
            return Err(PlanError::PartlyProven { followed: followed(), run, variable: missing, task });
        }
        // A tag of the proven commit is another text, and the same commit. What it means is known where a step registers it, and compared
        // then, before any later step; so it may come to steps that only look, and to no other.
        let is_resolved =
            |name: &VarName| registered.clone().any(|of| of == name) && !self.takes.changing.contains(name);
        let mut given = BTreeMap::new();
        for name in &self.takes.names {
            let Some(value) = overrides.vars.get(name).filter(|value| proof.get(name) != Some(value)) else { continue };
            if !is_resolved(name) {
                return Err(PlanError::OtherProven {
                    followed: followed(),
                    proof: Box::new(proof.clone()),
                    variable: name.clone(),
                    given: value.clone(),
                });
            }
            given.insert(name.clone(), value.clone());
        }
        let (name, value) = (variable.clone(), proof.get(variable).unwrap_or_default().to_owned());
        Ok(Some(Basis { site: followed(), name, value, given, proof: Some(proof.clone()) }))
    }

    fn unproven(&self, variable: &VarName, secrets: &BTreeSet<VarName>) -> PlanError {
        let site = self.request.site;
        PlanError::Unproven {
            site: site.name.clone(),
            followed: site.follows.as_ref().map_or_else(|| site.name.clone(), |follows| follows.value.clone()),
            variable: variable.clone(),
            task: self.proving_task(variable),
            secrets: Box::new(secrets.clone()),
        }
    }

    fn proving_task(&self, variable: &VarName) -> String {
        let proving = self.request.recipe.tasks.iter().find(|task| task.proves_value(variable));
        proving.map(|task| task.name.to_string()).unwrap_or_default()
    }
}
