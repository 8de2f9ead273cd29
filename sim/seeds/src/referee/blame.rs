//! What a team was promised of releases that burn late: nothing is taken back by itself but what came lately, while somebody is
//! paged and the counts say so; once for a rollout, never a release that was gone back to, and to the one before it. A fold of its own.

use std::collections::{BTreeMap, BTreeSet};

use lifecycle::Event;
use model::objective::Severity;
use model::strategy::OnFailure;
use model::{ObjectiveName, Place, ReleaseNumber, RolloutNumber, Timestamp};
use ship::{Cause, RollbackReason};
use watch::alert::To;
use watch::burn::Rule;

/// What is known of pages, and of what came last.
#[derive(Debug, Default)]
pub(super) struct Pages {
    firing: BTreeSet<(Place, ObjectiveName)>,
    latest: BTreeMap<Place, Latest>,
    /// Where the next rollout takes a release back, and to which.
    back: Option<(Place, ReleaseNumber)>,
    /// How often that was.
    pub(super) taken: u64,
}

/// The latest rollout of a place.
#[derive(Debug)]
struct Latest {
    number: RolloutNumber,
    from: Option<ReleaseNumber>,
    to: ReleaseNumber,
    is_return: bool,
    stays: bool,
    window: std::time::Duration,
    began: Timestamp,
    completed: Option<Timestamp>,
    taken: bool,
}

impl Pages {
    /// Whether a rollout at this place was announced by the event before it.
    pub(super) fn takes_back(&self, place: &Place, to: ReleaseNumber) -> bool {
        self.back.as_ref() == Some(&(place.clone(), to))
    }

    /// Takes in an event; what it says is broken comes back.
    pub(super) fn follow(&mut self, event: &Event, at: Timestamp) -> Option<String> {
        let announced = self.back.take();
        if let Some((place, to)) = announced {
            let begins = |event: &Event| {
                matches!(event, Event::Rollout { place: it, event: ship::Event::Started { to: release, cause: Cause::Rollback, .. } }
                    if *it == place && *release == to)
            };
            if !begins(event) {
                return Some(format!("{place} was said to go back to {to}, and does not"));
            }
        }
        match event {
            Event::Objective { place, objective, event } => {
                self.hear(place, objective, event);
                None
            }
            Event::TakenBack { place, objective, rollout, release, blame } => {
                self.taken += 1;
                let paged = self.firing.contains(&(place.clone(), objective.clone()));
                let latest = self.latest.get_mut(place)?;
                let fresh = latest.completed.is_some_and(|completed| at.since(completed) < latest.window);
                let own = latest.number == *rollout && latest.to == *release && !latest.is_return;
                // Told apart from the rule: more than twice the share of before, and not from before it.
                let worse = blame.bad * blame.total_before > 2 * blame.bad_before * blame.total;
                let since =
                    at.since(latest.began) + std::time::Duration::from_secs(60) >= at.since(blame.since);
                let sound = paged && fresh && own && worse && since && !latest.stays && !latest.taken;
                latest.taken = true;
                self.back = latest.from.map(|from| (place.clone(), from));
                (!sound).then(|| format!("{place} takes release {release} back, and must not"))
            }
            Event::Rollout { place, event } => self.follow_rollout(place, event, at),
            Event::ReleaseRegistered(_)
            | Event::ReleaseRetired { .. }
            | Event::ControlStarted { .. }
            | Event::ControlStopped
            | Event::Locked { .. }
            | Event::Unlocked { .. }
            | Event::LockOverridden { .. }
            | Event::BudgetOverridden { .. }
            | Event::FreezeOverridden { .. }
            | Event::Change(_)
            | Event::DriftCorrected { .. }
            | Event::GroupBegun { .. }
            | Event::GroupReached { .. }
            | Event::AlertChanged(_)
            | Event::Paging(_)
            | Event::ErrorDecided { .. }
            | Event::CommandAnswered { .. } => None,
        }
    }

    fn hear(&mut self, place: &Place, objective: &ObjectiveName, event: &watch::Event) {
        let watch::Event::AlertChanged { rule: Rule::Burn(Severity::P1), to, .. } = event else { return };
        let key = (place.clone(), objective.clone());
        match to {
            To::Firing => drop(self.firing.insert(key)),
            To::Pending | To::Resolved => drop(self.firing.remove(&key)),
        }
    }

    fn follow_rollout(&mut self, place: &Place, event: &ship::Event, at: Timestamp) -> Option<String> {
        if let ship::Event::Started { number, from, to, cause, strategy, .. } = event {
            let latest = Latest {
                number: *number,
                from: *from,
                to: *to,
                is_return: *cause == Cause::Rollback,
                stays: strategy.on_failure == OnFailure::Freeze,
                window: strategy.rollback_window(),
                began: at,
                completed: None,
                taken: false,
            };
            self.latest.insert(place.clone(), latest);
            return None;
        }
        let latest = self.latest.get_mut(place)?;
        match event {
            ship::Event::Completed => latest.completed = Some(at),
            ship::Event::RollbackBegun { reason: RollbackReason::Burn(_) } => {
                self.taken += 1;
                let paged = self.firing.iter().any(|(it, _)| it == place);
                let sound = paged && !latest.is_return && !latest.stays;
                return (!sound).then(|| format!("{place} goes back for a budget, and must not"));
            }
            // Counts stand under the minutes of the clock as it was then, and so does the beginning.
            ship::Event::ClockStepped { .. }
            | ship::Event::Started { .. }
            | ship::Event::Scaled { .. }
            | ship::Event::Shifted { .. }
            | ship::Event::Readied { .. }
            | ship::Event::StepEntered { .. }
            | ship::Event::Measured { .. }
            | ship::Event::BaselineFrozen(_)
            | ship::Event::HeaderRouted { .. }
            | ship::Event::RuleMeasured(_)
            | ship::Event::HookBegun { .. }
            | ship::Event::HookEnded { .. }
            | ship::Event::Paused { .. }
            | ship::Event::Resumed { .. }
            | ship::Event::Promoted
            | ship::Event::RollbackBegun { .. }
            | ship::Event::RolledBack => {}
        }
        None
    }
}
