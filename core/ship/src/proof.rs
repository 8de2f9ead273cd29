//! Where a rollout with `promotion: evidence` must have evidence for the release before it goes on: before every step that
//! gives the new release more of the requests than it has, before each further wave of a rolling update, and, where all
//! requests move in one swap, before the old release is let go. The first share of the requests is free: before it there is nothing to
//! count.
//!
//! Does not live here: the evidence itself (`judge`), what is counted for it (`users`), how it is waited for (`plan`).

use model::strategy::{Kind, Promotion, Step};

use crate::judge;
use crate::rollout::{Phase, Rollout};
use crate::users;

/// What the new release must be shown to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Proof {
    /// The error rate that it must stay below (p*).
    pub max_error_rate: f64,
    /// The probability that evidence is found for one that does not.
    pub beta: f64,
}

impl Rollout {
    /// What it is promoted on; `None` when time is enough, when there is no old release to keep, and once somebody overruled
    /// what was found, or answered for what was not.
    pub fn proof(&self) -> Option<Proof> {
        self.declared_proof().filter(|_| !self.overruled && !self.accepted)
    }

    /// What it was to be promoted on, whatever was overruled since.
    pub(crate) fn declared_proof(&self) -> Option<Proof> {
        match self.strategy.analysis.judge.as_ref()?.promotion {
            Promotion::Evidence { max_error_rate, beta } if self.from.is_some() => {
                Some(Proof { max_error_rate, beta })
            }
            Promotion::Evidence { .. } | Promotion::Time => None,
        }
    }

    /// Whether it stands where the next move gives the new release more of the requests, and asks for evidence first.
    pub fn asks_for_evidence(&self) -> bool {
        if self.phase.is_terminal() || self.proof().is_none() || !self.weight.is_part() {
            return false;
        }
        match &self.strategy.kind {
            Kind::Canary { .. } => self.has_done_its_step() && self.widens_next(),
            // Each wave is a shift: whoever went on in this epoch was let.
            Kind::Rolling { .. } => self.let_on_in != Some(self.epoch) && self.step < self.last_step(),
            Kind::BlueGreen { .. } => false,
        }
    }

    /// Whether what the present step of a canary asks for is done; how long it lasts aside.
    fn has_done_its_step(&self) -> bool {
        match self.current_step() {
            Some(Step::SetWeight(weight)) => *weight == self.weight,
            Some(Step::SetHeaderRoute(route)) => self.leads(route),
            Some(Step::SetCanaryScale(_) | Step::Pause { .. } | Step::Analysis { .. }) => true,
            None => false,
        }
    }

    fn widens_next(&self) -> bool {
        match self.steps().get(self.step as usize + 1) {
            Some(Step::SetWeight(weight)) => *weight > self.weight,
            // Whoever is led by a header asked for it.
            Some(
                Step::SetHeaderRoute(_)
                | Step::SetCanaryScale(_)
                | Step::Pause { .. }
                | Step::Analysis { .. },
            ) => false,
            None => true,
        }
    }

    /// Whether the old release is kept, after all requests moved in one swap, until there is evidence for the new one.
    pub fn is_kept_for_evidence(&self) -> bool {
        let swapped = matches!(self.strategy.kind, Kind::BlueGreen { .. }) && self.phase == Phase::Promoted;
        swapped && self.wanted_stable > 0 && self.proof().is_some()
    }

    /// The same, and what is written down is not evidence enough.
    pub fn lacks_evidence(&self) -> bool {
        let Some(proof) = self.proof().filter(|_| self.is_kept_for_evidence()) else { return false };
        let counts = users::in_favour(self, &self.book);
        judge::ln_evidence_for(counts, proof.max_error_rate) < (1.0 / proof.beta).ln()
    }
}
