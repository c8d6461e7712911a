//! What a site takes from the one that it follows.

use std::collections::BTreeSet;

use super::build::Builder;
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
        let (Some(follows), Some(variable)) = (&site.follows, self.takes_proof.first()) else { return Ok(None) };
        // Nor does a plan that no run will carry out, which is made to be looked at.
        if run.is_none() || steps().all(|step| step.read_only) {
            return Ok(None);
        }
        let followed = || follows.value.clone();
        // What its own steps register is compared as soon as it is known. A task that takes nothing, such as a rollback to what was there before,
        // is compared with nothing.
        let registered = steps().filter_map(|step| step.register.as_ref()).filter(|name| self.is_proven(name));
        let needed = || self.takes_proof.iter().chain(registered.clone());
        if let (true, None) = (unproven, proof) {
            let missing = self.takes_proof.iter().find(|name| !overrides.vars.contains_key(*name));
            return match (missing, overrides.vars.get(variable)) {
                (None, Some(given)) => {
                    let (name, value) = (variable.clone(), given.clone());
                    Ok(Some(Basis { site: followed(), name, value, proof: None }))
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
        let other = |name: &&VarName| overrides.vars.get(*name).is_some_and(|given| proof.get(name) != Some(given));
        if let Some(name) = self.takes_proof.iter().find(other) {
            return Err(PlanError::OtherProven {
                followed: followed(),
                proof: Box::new(proof.clone()),
                variable: name.clone(),
                given: overrides.vars.get(name).cloned().unwrap_or_default(),
            });
        }
        let (name, value) = (variable.clone(), proof.get(variable).unwrap_or_default().to_owned());
        Ok(Some(Basis { site: followed(), name, value, proof: Some(proof.clone()) }))
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

    pub(super) fn is_proven(&self, name: &VarName) -> bool {
        self.request.recipe.tasks.iter().any(|task| task.proves_value(name))
    }
}
