//! What steps report about themselves: masked, read, told, and what it means for the step.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::dispatcher::Dispatcher;
use super::message::Ended;
use super::task::Attempt;
use crate::model::plan::plan::{HostIndex, StepIndex};
use crate::model::run::event::Fact;
use crate::model::run::finding::{Finding, FindingKind, MAX_BYTES, read, refusal};
use crate::model::run::host_summary::{Reported, StepKind};
use crate::model::run::masking::Masked;
use crate::model::run::outcome::StepOutcome;
use crate::model::text::name::FindingName;

impl Dispatcher<'_> {
    /// Tells what a step has reported. With a block that the site's file does not accept it is refused, whatever its exit status.
    pub(super) fn judge(&mut self, host: HostIndex, attempt: Attempt, mut ended: Ended) -> Ended {
        let Some(report) = ended.report.take() else { return ended };
        let planned = self.step(attempt.at);
        // The value that it is about to register may be in its own report.
        if let Some(value) = ended.captured.as_ref().filter(|_| planned.secret_output) {
            Arc::make_mut(&mut self.masker).add(value);
        }
        let mut masked = Masked::default();
        let kept = report.get(..MAX_BYTES).unwrap_or(&report);
        masked.push(kept);
        let is_whole = kept.len() == report.len();
        let mut findings = read((&masked.give(kept.len(), &self.masker), is_whole), &self.run.plan.accept);
        // A run without a proof to go by, such as one on Test, has the reason in the site's file alone.
        if let Some((basis, proof)) =
            self.run.plan.basis.as_ref().and_then(|basis| Some((basis, basis.proof.as_ref()?)))
        {
            let mut before = BTreeMap::new();
            for finding in &mut findings {
                finding.limit(&mut before, &proof.accepted, &basis.site);
            }
        }
        if let Some(reason) = refusal(&findings) {
            ended = refused(&reason, ended);
        }
        let (label, step) = (self.label(host), self.path(attempt.at));
        for finding in findings {
            let undo = attempt.kind == StepKind::Undo;
            // A step that is watched says the same again and again.
            if attempt.nth == 0 && self.is_known(host, attempt.at, &finding) {
                continue;
            }
            self.tell(Fact::FindingReported { host: label.clone(), step: step.clone(), undo, finding });
        }
        ended
    }

    fn is_known(&self, host: HostIndex, at: StepIndex, finding: &Finding) -> bool {
        let known = self.summary.host(self.label(host).as_str());
        let step = self.path(at);
        known.is_some_and(|known| known.findings.iter().any(|known| known.step == step && known.finding == *finding))
    }

    /// Tells what the site's file accepts and no step has reported: it may be left out there.
    pub(super) fn tell_unused(&mut self) {
        let is_used = |name: &FindingName| {
            let of_name =
                |Finding { kind, name: of, .. }: &Finding| *kind == FindingKind::Block && of.as_ref() == Some(name);
            self.summary.findings().any(|(_, Reported { finding, .. })| of_name(finding))
        };
        let names: Vec<FindingName> = self.run.plan.accept.keys().filter(|name| !is_used(name)).cloned().collect();
        if !names.is_empty() {
            self.tell(Fact::AcceptUnused { names });
        }
    }
}

/// What a block makes of an end. What the step registers is there for its undo. One that nobody knows, or that was brought about from outside, stays what it is.
fn refused(reason: &str, ended: Ended) -> Ended {
    let also = match &ended.outcome {
        StepOutcome::Succeeded => String::new(),
        StepOutcome::Failed { .. }
        | StepOutcome::Signaled { .. }
        | StepOutcome::TimedOut { .. }
        | StepOutcome::Unusable { .. }
        | StepOutcome::Refused { .. } => format!("; {}", ended.outcome.describe()),
        StepOutcome::Skipped { .. }
        | StepOutcome::Cancelled
        | StepOutcome::NotStarted { .. }
        | StepOutcome::Unknown { .. }
        | StepOutcome::Detached { .. } => return ended,
    };
    Ended { outcome: StepOutcome::Refused { reason: format!("{reason}{also}") }, ..ended }
}
