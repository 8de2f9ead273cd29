//! What a team was promised: where somebody locked, no rollout begins, unless somebody passes the lock and says so;
//! what was put right is told, at most once a minute; what begins together ends alike. Told
//! apart from the code that keeps it: a fold of the events of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle::{Event, Scope};
use model::drift::DriftKind;
use model::{Place, RolloutNumber, Timestamp, Weight};

/// A replica that dies without end must not fill the journal.
const QUIET: Duration = Duration::from_secs(60);

/// What is known of the team's wishes.
#[derive(Debug, Default)]
pub(super) struct Policy {
    /// Until when, if that was said.
    locks: BTreeMap<Scope, Option<Timestamp>>,
    /// Where the next rollout may begin in spite of a lock.
    passed: Option<Place>,
    /// The latest rollout of each place.
    rollouts: BTreeMap<Place, RolloutNumber>,
    groups: BTreeMap<u64, BTreeMap<Place, Followed>>,
    /// When drift was last told of.
    drifts: BTreeMap<(Option<Place>, DriftKind), Timestamp>,
}

/// A member of a group.
#[derive(Debug)]
struct Followed {
    rollout: RolloutNumber,
    reached: bool,
    ended_well: Option<bool>,
}

impl Followed {
    fn new(rollout: RolloutNumber) -> Self {
        Self { rollout, reached: false, ended_well: None }
    }
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
            Event::Rollout { place, event: ship::Event::Started { number, .. } } => {
                self.rollouts.insert(place.clone(), *number);
                let free = passed.as_ref() == Some(place) || !self.is_locked(place, at);
                (!free).then(|| format!("a rollout begins at {place}, which is locked"))
            }
            // Whoever passes a lock may have to let an old release go before the rollout begins.
            Event::GroupBegun { number, members, .. } => {
                let members = members.iter().map(|(place, rollout)| (place.clone(), Followed::new(*rollout)));
                self.groups.insert(*number, members.collect());
                None
            }
            Event::GroupReached { number, place, .. } => {
                let member = self.groups.get_mut(number).and_then(|group| group.get_mut(place));
                if let Some(member) = member {
                    member.reached = true;
                }
                None
            }
            Event::Rollout { place, event } if self.is_in_a_group(place) => {
                if passed.as_ref() == Some(place) {
                    self.passed = passed;
                }
                self.follow_member(place, event)
            }
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

    fn is_in_a_group(&self, place: &Place) -> bool {
        self.groups.values().any(|group| self.is_member(group, place))
    }

    fn is_member(&self, group: &BTreeMap<Place, Followed>, place: &Place) -> bool {
        group.get(place).is_some_and(|it| self.rollouts.get(place) == Some(&it.rollout))
    }

    /// Members of a group end alike, and none takes all requests before all can.
    fn follow_member(&mut self, place: &Place, event: &ship::Event) -> Option<String> {
        let number = *self.groups.iter().find(|(_, group)| self.is_member(group, place))?.0;
        let group = self.groups.get_mut(&number)?;
        let shut = group.values().any(|member| !member.reached);
        match event {
            ship::Event::Shifted { weight, .. } if *weight == Weight::ALL && shut => {
                Some(format!("{place} takes all requests before its group can"))
            }
            ship::Event::Completed | ship::Event::RolledBack => {
                let well = *event == ship::Event::Completed;
                group.get_mut(place)?.ended_well = Some(well);
                let other = group.values().any(|member| member.ended_well == Some(!well));
                other.then(|| format!("{place} ends otherwise than its group"))
            }
            ship::Event::Started { .. }
            | ship::Event::Scaled { .. }
            | ship::Event::Shifted { .. }
            | ship::Event::Readied { .. }
            | ship::Event::StepEntered { .. }
            | ship::Event::Measured { .. }
            | ship::Event::BaselineFrozen(_)
            | ship::Event::HeaderRouted { .. }
            | ship::Event::ClockStepped { .. }
            | ship::Event::RuleMeasured(_)
            | ship::Event::Paused { .. }
            | ship::Event::Resumed { .. }
            | ship::Event::Promoted
            | ship::Event::RollbackBegun { .. } => None,
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
