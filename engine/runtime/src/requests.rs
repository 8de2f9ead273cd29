//! Requests for change that wait: what is approved begins as soon as it may, and what somebody should look at is said. Does not live
//! here: what a request needs (`lifecycle`).

use lifecycle::{Change, Command, Event, Kept, Stand, World};

use crate::draft::{Draft, Error, PLANNER};

impl Draft {
    /// What was approved begins, in the name of whoever asked; what waits in vain is over.
    pub(crate) fn settle_requests(&mut self) -> Result<(), Error> {
        let waiting = self.world.requests.all.values().filter(|kept| kept.waits());
        let waiting: Vec<(u64, String, String)> = waiting
            .map(|kept| (kept.request.number, kept.request.by.clone(), kept.request.outcome.clone()))
            .collect();
        for (number, by, why) in waiting {
            // Refused is what has to wait: for a lock, a freeze, or the rollout under way.
            let Ok(events) = lifecycle::decide(&self.world, Command::SettleRequest(number), self.at()) else {
                continue;
            };
            for event in events {
                let ends = matches!(event, Event::Change(Change::Voided { .. }));
                let (actor, reason) = if ends { (PLANNER, None) } else { (by.as_str(), Some(why.as_str())) };
                self.happened(event, actor, reason)?;
            }
        }
        Ok(())
    }
}

/// What waits for somebody.
pub(crate) fn waiting(world: &World) -> Vec<String> {
    let told = |kept: &Kept| {
        let request = &kept.request;
        let (number, release, place) = (request.number, request.release, &request.place);
        match &kept.stand {
            Stand::Waiting if kept.is_approved() => Some(format!(
                "request {number}, release {release} at {place}, is approved and waits to begin: a lock, a freeze or another rollout is in its way"
            )),
            Stand::Waiting => Some(format!(
                "request {number} of {}, release {release} at {place}, waits for approval until {}: `shipshape approve {number}`",
                request.by, request.until
            )),
            Stand::Unreviewed(rollout) => Some(format!(
                "rollout {rollout} of release {release} at {place} was an emergency of {}, and nobody has reviewed it: `shipshape review {number} --reason TEXT`",
                request.by
            )),
            Stand::Begun(_) | Stand::Rejected(..) | Stand::Voided(_) | Stand::Reviewed(..) => None,
        }
    };
    world.requests.all.values().filter_map(told).collect()
}
