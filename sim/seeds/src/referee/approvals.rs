//! What a team was promised of approvals: where a second person is required no rollout begins but what was approved by enough others, as it
//! was asked for, or what somebody called an emergency. A fold of its own.

use std::collections::{BTreeMap, BTreeSet};

use lifecycle::{Change, Event, Request, World};
use model::{Place, ReleaseNumber};
use ship::Cause;

/// What is known of requests.
#[derive(Debug, Default)]
pub(super) struct Approvals {
    waiting: BTreeMap<u64, (Request, BTreeSet<String>)>,
    /// Which release may begin where, said in the same unit.
    ready: Option<(Place, ReleaseNumber)>,
    /// How many began with approval.
    pub(super) begun: u64,
}

impl Approvals {
    /// Takes in an event, before the world does; what it says is broken comes back.
    pub(super) fn follow(&mut self, event: &Event, world: &World) -> Option<String> {
        match event {
            Event::Change(change) => self.hear(change, world),
            Event::Rollout { place, event: ship::Event::Started { to, cause, .. } } => {
                let ready = self.ready.take();
                let needed = *cause != Cause::Rollback && needs(world, place, *to);
                let unasked = needed && ready != Some((place.clone(), *to));
                unasked.then(|| format!("release {to} begins at {place} without approval"))
            }
            Event::Rollout { .. }
            | Event::LockOverridden { .. }
            | Event::BudgetOverridden { .. }
            | Event::FreezeOverridden { .. }
            | Event::TakenBack { .. }
            | Event::Objective { .. }
            | Event::AlertChanged(_)
            | Event::Paging(_)
            | Event::ErrorDecided { .. }
            | Event::ReleaseRegistered(_)
            | Event::ReleaseRetired { .. }
            | Event::ControlStarted { .. }
            | Event::ControlStopped
            | Event::Locked { .. }
            | Event::Unlocked { .. }
            | Event::DriftCorrected { .. }
            | Event::GroupBegun { .. }
            | Event::GroupReached { .. }
            | Event::CommandAnswered { .. } => None,
        }
    }

    fn hear(&mut self, change: &Change, world: &World) -> Option<String> {
        match change {
            Change::Requested(request) => {
                self.waiting.insert(request.number, (request.clone(), BTreeSet::new()));
            }
            Change::Emergency { request, .. } => {
                self.ready = Some((request.place.clone(), request.release));
            }
            Change::Approved { number, by, .. } => {
                let (request, approvers) = self.waiting.get_mut(number)?;
                approvers.insert(by.clone());
                return (request.by == *by)
                    .then(|| format!("{by} approves request {number}, which is his own"));
            }
            Change::Begun { number, .. } => {
                let Some((request, approvers)) = self.waiting.remove(number) else {
                    return Some(format!("request {number} begins, and does not wait"));
                };
                self.begun += 1;
                let lane = world.lanes.get(&request.place);
                let same = lane.and_then(|lane| lane.settled().or(lane.stable)) == request.from;
                let enough = approvers.len() >= request.required as usize;
                let sound = same && enough;
                self.ready = Some((request.place, request.release));
                return (!sound).then(|| format!("request {number} begins, and is not what was approved"));
            }
            Change::Rejected { number, .. } | Change::Voided { number, .. } => {
                self.waiting.remove(number);
            }
            Change::Reviewed { .. } => {}
        }
        None
    }
}

/// Whether somebody else has to agree there.
fn needs(world: &World, place: &Place, to: ReleaseNumber) -> bool {
    let serving = world.lanes.get(place).and_then(|lane| lane.settled().or(lane.stable));
    let asks = |release| world.spec(place, release).is_some_and(|spec| spec.changes.approvals.is_some());
    serving.is_some_and(asks) || asks(to)
}
