//! What a team was promised: where somebody locked, no rollout begins, unless somebody passes the lock and says so;
//! what was put right is told, at most once a minute; what begins together ends alike; what went back is tried again as it
//! was, when somebody asks for it. Told apart from the code that keeps it: a fold of the events of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle::{Event, Scope};
use model::drift::{Drift, DriftKind};
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
    rollouts: BTreeMap<Place, Latest>,
    /// Where operators want that tried again which went back.
    asked_again: BTreeMap<String, Place>,
    /// How often it was.
    pub(super) retried: u64,
    groups: BTreeMap<u64, BTreeMap<Place, Followed>>,
    /// What is taken back because it burns.
    pub(super) pages: super::blame::Pages,
    /// When drift was last told of.
    drifts: BTreeMap<(Option<Place>, DriftKind), Timestamp>,
}

/// The latest rollout of a place.
#[derive(Debug)]
struct Latest {
    number: RolloutNumber,
    begun: ship::Event,
    went_back: bool,
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
    pub(super) fn follow(&mut self, event: &Event, actor: &str, at: Timestamp) -> Option<String> {
        let (team, pages) = (self.follow_team(event, actor, at), self.pages.follow(event, at));
        team.or(pages)
    }

    #[allow(clippy::too_many_lines, reason = "one arm for each kind of event")]
    fn follow_team(&mut self, event: &Event, actor: &str, at: Timestamp) -> Option<String> {
        let passed = self.passed.take();
        if let Event::Rollout { place, event: ship::Event::RolledBack } = event
            && let Some(latest) = self.rollouts.get_mut(place)
        {
            latest.went_back = true;
        }
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
            Event::Rollout { place, event: event @ ship::Event::Started { number, .. } } => {
                let unasked = self.not_as_asked(place, event, actor);
                let latest = Latest { number: *number, begun: event.clone(), went_back: false };
                self.rollouts.insert(place.clone(), latest);
                let free = passed.as_ref() == Some(place) || !self.is_locked(place, at);
                if free { unasked } else { Some(format!("a rollout begins at {place}, which is locked")) }
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
            Event::DriftCorrected { drift, new, .. } => self.note(drift, *new, at),
            // What somebody else approves is no longer what one wished alone.
            Event::Change(lifecycle::Change::Requested(request)) => {
                self.asked_again.remove(&request.by);
                None
            }
            // Of the same unit as the lock that is passed, if one is.
            Event::BudgetOverridden { .. } | Event::FreezeOverridden { .. } | Event::Change(_) => {
                self.passed = passed;
                None
            }
            Event::Rollout { .. }
            | Event::Objective { .. }
            | Event::AlertChanged(_)
            | Event::ErrorDecided { .. }
            | Event::TakenBack { .. }
            | Event::Paging(_)
            | Event::ReleaseRegistered(_)
            | Event::ReleaseRetired { .. }
            | Event::ControlStarted { .. }
            | Event::ControlStopped
            | Event::CommandAnswered { .. } => None,
        }
    }

    fn note(&mut self, drift: &Drift, new: u64, at: Timestamp) -> Option<String> {
        let before = self.drifts.insert((drift.place.clone(), drift.kind), at);
        let often = before.is_some_and(|before| at >= before && at.since(before) < QUIET);
        let broken = often || new == 0;
        broken.then(|| format!("drift is told again after less than a minute, {new} times new"))
    }

    /// Somebody asks for that again which went back.
    pub(super) fn asks_again(&mut self, actor: &str, place: &Place) {
        self.asked_again.insert(actor.to_owned(), place.clone());
    }

    /// No rollout begins by itself, and what is tried again is what went back: the same release, as carefully, not one of a
    /// group without the others.
    fn not_as_asked(&mut self, place: &Place, event: &ship::Event, actor: &str) -> Option<String> {
        let ship::Event::Started { to, .. } = event else { return None };
        if actor == super::rules::PLANNER && !self.pages.takes_back(place, *to) {
            return Some(format!("a rollout begins at {place}, and nobody asked for it"));
        }
        if self.asked_again.get(actor) != Some(place) {
            return None;
        }
        self.retried += 1;
        let latest = self.rollouts.get(place);
        let same = latest.is_some_and(|latest| latest.went_back && goes_alike(&latest.begun, event));
        let sound = same && !self.is_in_a_group(place);
        (!sound).then(|| format!("{place} tries again what did not go back, or not in the same way"))
    }

    fn is_in_a_group(&self, place: &Place) -> bool {
        self.groups.values().any(|group| self.is_member(group, place))
    }

    fn is_member(&self, group: &BTreeMap<Place, Followed>, place: &Place) -> bool {
        group
            .get(place)
            .is_some_and(|it| self.rollouts.get(place).map(|latest| latest.number) == Some(it.rollout))
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
            | ship::Event::HookBegun { .. }
            | ship::Event::HookEnded { .. }
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

/// Whether both begin the same, but for their numbers.
fn goes_alike(one: &ship::Event, other: &ship::Event) -> bool {
    let begun = |event: &ship::Event| {
        let ship::Event::Started { from, to, cause, strategy, .. } = event else { return None };
        Some((*from, *to, *cause, strategy.clone()))
    };
    begun(one) == begun(other)
}
