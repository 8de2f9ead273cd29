//! What speaks for a release that is promoted on evidence, told apart from the code that weighs it: by the formula itself, over
//! everything that control was ever told.

use std::collections::BTreeMap;

use model::strategy::Promotion;
use model::{Epoch, Place, RolloutNumber};
use ports::fleet::Tally;
use ship::{Phase, Rollout};

/// The error rates that are tried, as fractions of the one that is promised.
const FRACTIONS: [f64; 4] = [0.5, 0.25, 0.1, 0.01];

/// What was found, and who answered for what was not.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// The most that ever spoke for a release, in the latest epoch of its place.
    most: BTreeMap<Place, (Epoch, f64)>,
    /// The rollout and the epoch that somebody answered for; `None` is for all the rest of it.
    answered: BTreeMap<Place, (RolloutNumber, Option<Epoch>)>,
}

impl Evidence {
    /// Control is told how a release does in the epoch in force.
    pub(super) fn counted(&mut self, rollout: &Rollout, tally: &Tally) {
        let Some((rate, _)) = asked(rollout) else { return };
        let (requests, errors) = match rollout.session_affinity() {
            Some(_) => (tally.users.seen as f64, tally.users.erred as f64),
            None => (tally.requests as f64, tally.errors as f64),
        };
        let e = FRACTIONS.map(|fraction| {
            let tried = rate * fraction;
            let ln = errors * (tried / rate).ln() + (requests - errors) * ((1.0 - tried) / (1.0 - rate)).ln();
            ln.min(600.0).exp()
        });
        let found = e.iter().sum::<f64>() / e.len() as f64;
        let most = self.most.entry(tally.place.clone()).or_insert((tally.epoch, 0.0));
        if most.0 != tally.epoch {
            *most = (tally.epoch, 0.0);
        }
        most.1 = most.1.max(found);
    }

    /// Somebody lets it go on with this step.
    pub(super) fn answered_for(&mut self, place: &Place, rollout: &Rollout, step: u32) {
        let is_shifted = rollout.phase == Phase::Promoted;
        if step != rollout.step || is_shifted {
            let rest = is_shifted || step >= rollout.last_step();
            self.answered.insert(place.clone(), (rollout.number, (!rest).then_some(rollout.epoch)));
        }
    }

    /// What is missing before more of the requests may depend on it.
    pub(super) fn lacks(&self, place: &Place, rollout: &Rollout) -> Option<String> {
        let (_, needed) = asked(rollout)?;
        let of = (rollout.number, Some(rollout.epoch));
        if self.answered.get(place).is_some_and(|it| *it == of || *it == (rollout.number, None)) {
            return None;
        }
        let found = self.most.get(place).filter(|it| it.0 == rollout.epoch).map_or(1.0, |it| it.1);
        (found < needed * 0.999).then(|| format!("{found:.2} of {needed:.0}"))
    }
}

/// The rate and the evidence that a rollout is promoted on.
fn asked(rollout: &Rollout) -> Option<(f64, f64)> {
    match rollout.strategy.analysis.judge.as_ref()?.promotion {
        Promotion::Evidence { max_error_rate, beta } if rollout.from.is_some() && !rollout.overruled => {
            Some((max_error_rate, 1.0 / beta))
        }
        Promotion::Evidence { .. } | Promotion::Time => None,
    }
}
