//! What a team was promised: where somebody locked, no rollout begins, unless somebody passes the lock and says so;
//! what was put right is told, at most once a minute. Told
//! apart from the code that keeps it: a fold of the events of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle::{Event, Scope};
use model::drift::DriftKind;
use model::{Place, Timestamp};

/// A replica that dies without end must not fill the journal.
const QUIET: Duration = Duration::from_secs(60);

/// What is known of the team's wishes.
#[derive(Debug, Default)]
pub(super) struct Policy {
    /// Until when, if that was said.
    locks: BTreeMap<Scope, Option<Timestamp>>,
    /// Where the next rollout may begin in spite of a lock.
    passed: Option<Place>,
    /// When drift was last told of.
    drifts: BTreeMap<(Option<Place>, DriftKind), Timestamp>,
}

impl Policy {
    /// Takes in an event; what it says is broken comes back.
    pub(super) fn follow(&mut self, event: &Event, at: Timestamp) -> Option<String> {
        let passed = self.passed.take();
        match event {
            Event::Locked { scope, until, .. } => {
                self.locks.insert(scope.clone(), *until);
                None
            }
            Event::Unlocked { scope } => {
                let lifted = self.locks.remove(scope);
                lifted.is_none().then(|| format!("{scope} is unlocked and was not locked"))
            }
            Event::LockOverridden { place, .. } => {
                self.passed = Some(place.clone());
                let locked = self.is_locked(place, at);
                (!locked).then(|| format!("a lock at {place} is passed, and there is none"))
            }
            Event::Rollout { place, event: ship::Event::Started { .. } } => {
                let free = passed.as_ref() == Some(place) || !self.is_locked(place, at);
                (!free).then(|| format!("a rollout begins at {place}, which is locked"))
            }
            // Whoever passes a lock may have to let an old release go before the rollout begins.
            Event::Rollout { place, .. } if passed.as_ref() == Some(place) => {
                self.passed = passed;
                None
            }
            Event::DriftCorrected { drift, new, .. } => {
                let key = (drift.place.clone(), drift.kind);
                let before = self.drifts.insert(key, at);
                let often = before.is_some_and(|before| at >= before && at.since(before) < QUIET);
                let broken = often || *new == 0;
                broken.then(|| format!("drift is told again after less than a minute, {new} times new"))
            }
            Event::Rollout { .. }
            | Event::ReleaseRegistered(_)
            | Event::ReleaseRetired { .. }
            | Event::ControlStarted { .. }
            | Event::ControlStopped
            | Event::CommandAnswered { .. } => None,
        }
    }

    fn is_locked(&self, place: &Place, at: Timestamp) -> bool {
        self.locks.iter().any(|(scope, until)| {
            let here = scope.environment == place.environment
                && scope.service.as_ref().is_none_or(|service| *service == place.service);
            here && until.is_none_or(|until| until > at)
        })
    }
}
