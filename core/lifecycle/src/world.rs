//! The state that the journal's events build up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Digest, Generation, Place, Release, ReleaseNumber, ServiceName, Spec, Timestamp};

use crate::alert::{self, Alerts};
use crate::drift::{DriftKey, Noted};
use crate::event::Event;
use crate::group::Group;
use crate::inbox::{self, Decisions};
use crate::lane::{Lane, Serving};
use crate::lock::{Lock, Scope};
use crate::objective::Objectives;
use crate::request::{Asked, Requests};

/// How many releases of a service are kept; older ones that nothing uses are retired when a new one comes.
pub const KEPT_RELEASES: usize = 20;

/// Everything that is known: services with their releases, and places with their rollouts. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct World {
    /// By name.
    pub services: BTreeMap<ServiceName, Service>,
    /// By service and environment.
    pub lanes: BTreeMap<Place, Lane>,
    /// By what they cover; those whose time is over are replaced by the next.
    pub locks: BTreeMap<Scope, Lock>,
    /// What is known of objectives, by where they hold.
    pub objectives: BTreeMap<Place, Objectives>,
    /// The alerts of rules and from outside that are pending or firing.
    pub alerts: Alerts,
    /// What was decided about errors, by where they are printed.
    pub errors: BTreeMap<Place, Decisions>,
    /// Silences, and tests of who is told.
    pub paging: paging::State,
    /// Requests for change.
    pub requests: Requests,
    /// What was last said of drift.
    pub drifts: BTreeMap<DriftKey, Noted>,
    /// The groups under way, by number.
    pub groups: BTreeMap<u64, Group>,
    /// The number of the latest group.
    pub last_group: u64,
    /// The event that last changed what the fleet should look like.
    pub generation: Generation,
    /// What the command that is being decided passes; nothing in any world that is kept.
    pub(crate) passes: Passes,
}

/// What somebody takes upon himself, and who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Passes {
    /// Locks.
    pub(crate) locks: bool,
    /// Spent budgets.
    pub(crate) budgets: bool,
    /// Freezes of the change calendar.
    pub(crate) freezes: bool,
    /// Approvals: it has them.
    pub(crate) approved: bool,
    /// Who asks, and what they say of it.
    pub(crate) asked: Option<Asked>,
}

/// A service and its releases.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Service {
    /// The kept releases.
    pub releases: BTreeMap<ReleaseNumber, Arc<Release>>,
    /// The number of the latest release, kept or not.
    pub last_number: ReleaseNumber,
}

/// Why an event cannot follow. Only a damaged or foreign journal gives one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Illegal(pub(crate) String);

impl World {
    /// Moves the state; `seq` is the event's number in the journal.
    ///
    /// # Errors
    /// When the event cannot follow.
    pub fn apply(&mut self, event: &Event, seq: u64, at: Timestamp) -> Result<(), Illegal> {
        match event {
            // Whom a retry meets is remembered beside the world: it changes nothing in it.
            Event::ControlStarted { .. }
            | Event::ControlStopped
            | Event::CommandAnswered { .. }
            | Event::LockOverridden { .. }
            | Event::FreezeOverridden { .. }
            | Event::BudgetOverridden { .. } => {}
            Event::Locked { scope, by, reason, until } => {
                let lock = Lock { by: by.clone(), reason: reason.clone(), since: at, until: *until };
                self.locks.insert(scope.clone(), lock);
            }
            Event::Objective { place, objective, event } => {
                let states = self.objectives.entry(place.clone()).or_default();
                let state = states.entry(objective.clone()).or_default();
                state.apply(event, at).map_err(|illegal| Illegal(illegal.to_string()))?;
            }
            Event::Paging(event) => {
                self.paging.apply(event, at).map_err(|illegal| Illegal(illegal.to_string()))?;
            }
            Event::AlertChanged(changed) => alert::apply(&mut self.alerts, changed, at)?,
            Event::ErrorDecided { place, fingerprint, decision } => {
                inbox::remember(self.errors.entry(place.clone()).or_default(), fingerprint, decision, at);
            }
            Event::Change(change) => self.change(change, at)?,
            Event::TakenBack { place, objective, release, blame, rollout: _ } => {
                let lane = self.lanes.entry(place.clone()).or_default();
                lane.take_back(objective, *release, blame);
            }
            Event::DriftCorrected { instance, drift, new } => {
                let key = (drift.place.clone(), drift.kind);
                let noted = Noted { instance: instance.clone(), drift: drift.clone(), new: *new, at };
                self.drifts.insert(key, noted);
            }
            Event::GroupBegun { number, name, members } => self.begin_group(*number, name, members),
            Event::GroupReached { number, place, stage } => {
                if !self.reach_in_group(*number, place, *stage, at) {
                    return Err(Illegal(format!("{place} is no member of group {number}")));
                }
            }
            Event::Unlocked { scope } => {
                self.locks
                    .remove(scope)
                    .ok_or_else(|| Illegal(format!("{scope} is unlocked, and was not locked")))?;
            }
            Event::ReleaseRegistered(release) => {
                let service = self.services.entry(release.service.clone()).or_default();
                service.last_number = service.last_number.max(release.number);
                service.releases.insert(release.number, Arc::new(release.clone()));
            }
            Event::ReleaseRetired { service, number } => self.retire(service, *number)?,
            Event::Rollout { place, event } => {
                if let ship::Event::Started { from, to, .. } = event {
                    for number in from.iter().chain([to]) {
                        self.release(&place.service, *number).ok_or_else(|| {
                            Illegal(format!(
                                "a rollout at {place} names release {number}, which is not known"
                            ))
                        })?;
                    }
                }
                let lane = self.lanes.entry(place.clone()).or_default();
                lane.apply(event, Generation(seq), at)?;
                self.generation = self.generation.max(lane.changed_at);
                if matches!(event, ship::Event::Completed | ship::Event::RolledBack) {
                    self.end_groups();
                }
            }
        }
        Ok(())
    }

    fn retire(&mut self, service: &ServiceName, number: ReleaseNumber) -> Result<(), Illegal> {
        if self.in_use(service).contains(&number) {
            return Err(Illegal(format!("release {number} of {service} is retired while it is in use")));
        }
        if let Some(service) = self.services.get_mut(service) {
            service.releases.remove(&number);
        }
        for (_, lane) in self.lanes.iter_mut().filter(|(place, _)| place.service == *service) {
            lane.history.retain(|kept| *kept != number);
            lane.left.remove(&number);
            lane.rejected.remove(&number);
        }
        Ok(())
    }

    /// A release.
    pub fn release(&self, service: &ServiceName, number: ReleaseNumber) -> Option<&Arc<Release>> {
        self.services.get(service)?.releases.get(&number)
    }

    /// The locks that hold at this time.
    pub fn locks_at(&self, at: Timestamp) -> impl Iterator<Item = (&Scope, &Lock)> {
        self.locks.iter().filter(move |(_, lock)| lock.holds(at))
    }

    /// A release's effective configuration at a place.
    pub fn spec(&self, place: &Place, number: ReleaseNumber) -> Option<&Spec> {
        self.release(&place.service, number)?.specs.get(&place.environment)
    }

    /// The releases of a service that must not be forgotten.
    pub fn in_use(&self, service: &ServiceName) -> BTreeSet<ReleaseNumber> {
        let lanes = self.lanes.iter().filter(|(place, _)| place.service == *service);
        let waiting =
            self.requests.all.values().filter(|kept| kept.waits() && kept.request.place.service == *service);
        lanes.flat_map(|(_, lane)| lane.in_use()).chain(waiting.map(|kept| kept.request.release)).collect()
    }

    /// What should run and serve at a place.
    pub fn serving(&self, place: &Place) -> Option<Serving> {
        let lane = self.lanes.get(place)?;
        let spec = lane.stable.and_then(|stable| self.spec(place, stable));
        Some(lane.serving(spec.map_or(0, |spec| spec.replicas)))
    }

    /// The digests of all artifacts that a kept release runs.
    pub fn artifacts(&self) -> BTreeSet<Digest> {
        let releases = self.services.values().flat_map(|service| service.releases.values());
        releases.map(|release| release.artifact.digest).collect()
    }
}
