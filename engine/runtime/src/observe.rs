//! What the fleet reports, as the rules want to be told it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lifecycle::World;
use model::latency::Histogram;
use model::{Epoch, Generation, Place, ReleaseNumber, Timestamp};
use ports::fleet::{GroupId, GroupSeen, ReplicaPhase, ReplicaSeen, Seen};
use ship::{Counts, EpochTally, GroupState, Observation, Rollout};

/// The last that was seen of the fleet, and whether it still answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) seen: Arc<Seen>,
    pub(crate) reachable: bool,
    /// The generation that the fleet confirmed to this control by its answer.
    pub(crate) in_force: Generation,
    /// Since when each replica's process has been seen ready without a break.
    ready_since: BTreeMap<Process, Timestamp>,
}

/// One process of a replica: its group, its ordinal, and how often it was started again.
type Process = (GroupId, u32, u32);

impl View {
    /// Takes in what is seen at `at`; `in_force` is the generation that is known to be so.
    pub(crate) fn look(&mut self, seen: Arc<Seen>, in_force: Generation, at: Timestamp) {
        let before = std::mem::take(&mut self.ready_since);
        for group in &seen.groups {
            for replica in group.replicas.iter().filter(|replica| replica.phase == ReplicaPhase::Ready) {
                let process = process(group, replica);
                let since = before.get(&process).copied().unwrap_or(at);
                self.ready_since.insert(process, since);
            }
        }
        (self.seen, self.reachable, self.in_force) = (seen, true, in_force);
    }

    fn ready(&self, group: &GroupSeen, min_ready: Duration, at: Timestamp) -> u32 {
        let ready =
            group.replicas.iter().filter_map(|replica| self.ready_since.get(&process(group, replica)));
        u32::try_from(ready.filter(|since| at >= since.after(min_ready)).count()).unwrap_or(u32::MAX)
    }
}

fn process(group: &GroupSeen, replica: &ReplicaSeen) -> Process {
    (group.id.clone(), replica.ordinal, replica.restarts)
}

/// What is seen of one place during its rollout.
pub(crate) fn observation(
    world: &World,
    view: &View,
    place: &Place,
    rollout: &Rollout,
    at: Timestamp,
) -> Observation {
    let changed_at = world.lanes.get(place).map(|lane| lane.changed_at).unwrap_or_default();
    let group = |number: Option<ReleaseNumber>| {
        let number = number?;
        view.seen.groups.iter().find(|group| group.id.place == *place && group.id.release == number)
    };
    let (tallies, candidate_latency) = tallies(view, place, rollout);
    Observation {
        reachable: view.reachable,
        in_force: view.in_force >= changed_at,
        stable: state(view, group(rollout.from), Duration::ZERO, at),
        candidate: state(view, group(Some(rollout.to)), rollout.strategy.min_ready, at),
        instance: view.seen.instance.clone(),
        tallies,
        candidate_latency,
    }
}

fn state(view: &View, group: Option<&GroupSeen>, min_ready: Duration, at: Timestamp) -> GroupState {
    let Some(group) = group else {
        return GroupState::default();
    };
    let trouble = group.replicas.iter().find_map(|replica| match replica.phase {
        ReplicaPhase::Starting | ReplicaPhase::Unready | ReplicaPhase::Backoff => {
            replica.reason.clone().map(|reason| format!("replica {}: {reason}", replica.ordinal))
        }
        ReplicaPhase::Ready | ReplicaPhase::Draining | ReplicaPhase::Stopping => None,
    });
    let ready = view.ready(group, min_ready, at);
    let proving = group.replicas.iter().any(|replica| replica.phase == ReplicaPhase::Ready)
        && ready < u32::try_from(group.replicas.len()).unwrap_or(u32::MAX);
    let proving = (proving && !min_ready.is_zero())
        .then(|| format!("each counts once it was ready for {}", model::time::format_duration(min_ready)));
    GroupState {
        ready,
        existing: u32::try_from(group.replicas.len()).unwrap_or(u32::MAX),
        crash_loop: group.crash_loop.clone(),
        trouble: trouble.or(proving),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(restarts: u32, phase: ReplicaPhase) -> Arc<Seen> {
        let id = GroupId {
            place: Place { service: "shop".parse().unwrap(), environment: "production".parse().unwrap() },
            release: ReleaseNumber(1),
        };
        let replica = ReplicaSeen {
            ordinal: 1,
            phase,
            pid: Some(1),
            port: 1,
            restarts,
            in_flight: 0,
            last_exit: None,
            reason: None,
        };
        let group = GroupSeen { id, replicas: vec![replica], crash_loop: None };
        Arc::new(Seen { groups: vec![group], ..Seen::default() })
    }

    #[test]
    fn a_replica_counts_once_its_process_was_ready_long_enough() {
        let mut view = View::default();
        let at = |ms: i64| Timestamp::from_micros(ms * 1_000);
        let second = Duration::from_secs(1);
        let ready = |view: &View, ms| state(view, view.seen.groups.first(), second, at(ms)).ready;
        view.look(seen(0, ReplicaPhase::Ready), Generation(0), at(0));
        view.look(seen(0, ReplicaPhase::Ready), Generation(0), at(500));
        assert_eq!((ready(&view, 999), ready(&view, 1_000)), (0, 1));
        view.look(seen(0, ReplicaPhase::Unready), Generation(0), at(1_100));
        view.look(seen(0, ReplicaPhase::Ready), Generation(0), at(1_200));
        assert_eq!((ready(&view, 2_100), ready(&view, 2_200)), (0, 1), "a break starts the time anew");
        view.look(seen(1, ReplicaPhase::Ready), Generation(0), at(2_300));
        assert_eq!((ready(&view, 3_200), ready(&view, 3_300)), (0, 1), "so does another process");
    }
}
