//! What users were promised who keep the release they were given: told apart from the code that deals them, by who was
//! served by whom.

use std::collections::BTreeMap;

use model::strategy::Kind;
use model::{Epoch, Place, ReleaseNumber, RolloutNumber, Weight};
use ship::Rollout;
use sim::Served;

/// Where users were last served.
#[derive(Debug, Default)]
pub(super) struct Users {
    /// The weights of the rollouts that keep users on their release.
    stretches: BTreeMap<(Place, Epoch), Stretch>,
    served: BTreeMap<Place, Kept>,
    /// How often a user came back to a release that was to be kept.
    pub(super) returns: u64,
}

/// The users of the latest rollout of a place.
#[derive(Debug, Default)]
struct Kept {
    rollout: RolloutNumber,
    /// By whom each was last served, and at which weight.
    last: BTreeMap<u32, (ReleaseNumber, Weight)>,
}

/// A time with one weight.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    rollout: RolloutNumber,
    to: ReleaseNumber,
    weight: Weight,
}

impl Users {
    /// Another stretch of time begins.
    pub(super) fn learn(&mut self, place: &Place, rollout: &Rollout) {
        let keeps = matches!(&rollout.strategy.kind, Kind::Canary { session_affinity: Some(_), .. });
        if keeps && rollout.from.is_some() {
            let stretch = Stretch { rollout: rollout.number, to: rollout.to, weight: rollout.weight };
            self.stretches.insert((place.clone(), rollout.epoch), stretch);
        }
    }

    /// Users go to the new release when its weight has grown, to the old one when it has shrunk, and else nowhere. What is
    /// broken comes back.
    pub(super) fn follow(&mut self, served: &Served) -> Option<String> {
        let stretch = *self.stretches.get(&(served.place.clone(), served.epoch))?;
        let kept = self.served.entry(served.place.clone()).or_default();
        if kept.rollout != stretch.rollout {
            *kept = Kept { rollout: stretch.rollout, last: BTreeMap::new() };
        }
        let mut broken = None;
        for (user, release) in &served.drawn {
            let Some((before, then)) = kept.last.insert(*user, (*release, stretch.weight)) else { continue };
            self.returns += 1;
            let may = if *release == stretch.to { stretch.weight > then } else { stretch.weight < then };
            if before != *release && !may {
                let (place, now) = (&served.place, stretch.weight);
                broken = Some(format!(
                    "user {user} at {place} goes from release {before} to {release} at {now}, after {then}"
                ));
            }
        }
        broken
    }
}
