//! What the fleet reports, as the rules want to be told it.

use std::collections::BTreeMap;
use std::sync::Arc;

use lifecycle::World;
use model::latency::Histogram;
use model::{Epoch, Generation, Place, ReleaseNumber};
use ports::fleet::{GroupSeen, ReplicaPhase, Seen};
use ship::{Counts, EpochTally, GroupState, Observation, Rollout};

/// The last that was seen of the fleet, and whether it still answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) seen: Arc<Seen>,
    pub(crate) reachable: bool,
    /// The generation that the fleet confirmed to this control by its answer.
    pub(crate) in_force: Generation,
}

/// What is seen of one place during its rollout.
pub(crate) fn observation(world: &World, view: &View, place: &Place, rollout: &Rollout) -> Observation {
    let changed_at = world.lanes.get(place).map(|lane| lane.changed_at).unwrap_or_default();
    let group = |number: Option<ReleaseNumber>| {
        let number = number?;
        view.seen.groups.iter().find(|group| group.id.place == *place && group.id.release == number)
    };
    let (tallies, candidate_latency) = tallies(view, place, rollout);
    Observation {
        reachable: view.reachable,
        in_force: view.in_force >= changed_at,
        stable: state(group(rollout.from)),
        candidate: state(group(Some(rollout.to))),
        instance: view.seen.instance.clone(),
        tallies,
        candidate_latency,
    }
}

fn state(group: Option<&GroupSeen>) -> GroupState {
    let Some(group) = group else {
        return GroupState::default();
    };
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let trouble = group.replicas.iter().find_map(|replica| match replica.phase {
        ReplicaPhase::Starting | ReplicaPhase::Unready | ReplicaPhase::Backoff => {
            replica.reason.clone().map(|reason| format!("replica {}: {reason}", replica.ordinal))
        }
        ReplicaPhase::Ready | ReplicaPhase::Draining | ReplicaPhase::Stopping => None,
    });
    GroupState {
        ready: count(group.replicas.iter().filter(|replica| replica.phase == ReplicaPhase::Ready).count()),
        existing: count(group.replicas.len()),
        crash_loop: group.crash_loop.clone(),
        trouble,
    }
}

/// Counts of this rollout's epochs alone: the same release may have served here before.
fn tallies(view: &View, place: &Place, rollout: &Rollout) -> (Vec<EpochTally>, Histogram) {
    let mut epochs: BTreeMap<Epoch, (Counts, Counts)> = BTreeMap::new();
    let mut latency = Histogram::default();
    for tally in view.seen.tallies.iter().filter(|t| t.place == *place && rollout.book.covers(t.epoch)) {
        let counts = Counts { requests: tally.requests, errors: tally.errors };
        let sides = epochs.entry(tally.epoch).or_default();
        if tally.release == rollout.to {
            sides.0 = counts;
            latency.add(&tally.latency);
        } else if Some(tally.release) == rollout.from {
            sides.1 = counts;
        }
    }
    let tallies = epochs
        .into_iter()
        .map(|(epoch, (candidate, stable))| EpochTally { epoch, candidate, stable })
        .collect();
    (tallies, latency)
}
