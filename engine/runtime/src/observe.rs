//! What the fleet reports, as the rules want to be told it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lifecycle::World;
use model::latency::Histogram;
use model::strategy::MAX_QUANTILES;
use model::{Epoch, Generation, Place, ReleaseNumber, Timestamp};
use ports::fleet::{GroupId, GroupSeen, ReplicaPhase, ReplicaSeen, Seen, Tally, UserTally};
use ship::checks::Begun;
use ship::users::Users;
use ship::{Counts, EpochTally, GroupState, Observation, Phase, Rollout};
use tokio::time::Instant;

/// The last that was seen of the fleet, and whether it still answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) seen: Arc<Seen>,
    pub(crate) reachable: bool,
    /// The generation that the fleet confirmed to this control by its answer.
    pub(crate) in_force: Generation,
    /// Since when the fleet answers, and takes what it is offered.
    pub(crate) watched_since: Timestamp,
    /// Since when each replica's process has been seen ready without a break; not by the wall clock, which people set.
    ready_since: BTreeMap<Process, Instant>,
    /// The generation that was offered last, and the fewest replicas of each group in all that was offered since what is
    /// seen: a replica that still counts as ready there may be on its way out.
    offered: Option<(Generation, BTreeMap<GroupId, u32>)>,
    /// The checks under way.
    pub(crate) checks: Vec<(Place, Begun)>,
}

/// One process of a replica: its group, its ordinal, and how often it was started again.
type Process = (GroupId, u32, u32);

impl View {
    /// Takes in what is seen at `at`; `in_force` is the generation that is known to be so.
    pub(crate) fn look(&mut self, seen: Arc<Seen>, in_force: Generation, at: Timestamp) {
        if !self.reachable {
            self.watched_since = at;
        }
        let is_old_news = seen.instance == self.seen.instance && seen.version < self.seen.version;
        if is_old_news {
            self.reachable = true;
            return;
        }
        self.offered.take_if(|(generation, _)| *generation <= seen.generation);
        let now = Instant::now();
        let before = std::mem::take(&mut self.ready_since);
        for group in &seen.groups {
            for replica in group.replicas.iter().filter(|replica| replica.phase == ReplicaPhase::Ready) {
                let process = process(group, replica);
                let since = before.get(&process).copied().unwrap_or(now);
                self.ready_since.insert(process, since);
            }
        }
        (self.seen, self.reachable, self.in_force) = (seen, true, in_force);
    }

    fn ready(&self, group: &GroupSeen, min_ready: Duration) -> u32 {
        let ready =
            group.replicas.iter().filter_map(|replica| self.ready_since.get(&process(group, replica)));
        let seen =
            u32::try_from(ready.filter(|since| since.elapsed() >= min_ready).count()).unwrap_or(u32::MAX);
        match &self.offered {
            Some((_, fewest)) => seen.min(fewest.get(&group.id).copied().unwrap_or_default()),
            None => seen,
        }
    }

    /// Notes what the fleet is asked for, whether it takes it or not.
    pub(crate) fn offer(&mut self, generation: Generation, groups: impl Iterator<Item = (GroupId, u32)>) {
        let before = self.offered.take().map(|(_, fewest)| fewest);
        let least = |(id, replicas): (GroupId, u32)| match &before {
            Some(fewest) => {
                let least = fewest.get(&id).copied().unwrap_or_default().min(replicas);
                (id, least)
            }
            None => (id, replicas),
        };
        self.offered = Some((generation, groups.map(least).collect()));
    }
}

fn process(group: &GroupSeen, replica: &ReplicaSeen) -> Process {
    (group.id.clone(), replica.ordinal, replica.restarts)
}

/// What is seen of one place during its rollout.
pub(crate) fn observation(world: &World, view: &View, place: &Place, rollout: &Rollout) -> Observation {
    let changed_at = world.lanes.get(place).map(|lane| lane.changed_at).unwrap_or_default();
    let group = |number: Option<ReleaseNumber>| {
        let number = number?;
        view.seen.groups.iter().find(|group| group.id.place == *place && group.id.release == number)
    };
    // On the way back nothing has to be proved: what is ready now can keep its traffic until others take it.
    let min_ready = match rollout.phase {
        Phase::RollingBack(_) => Duration::ZERO,
        Phase::Progressing | Phase::Paused(_) | Phase::Promoted | Phase::Completed | Phase::RolledBack(_) => {
            rollout.strategy.min_ready
        }
    };
    let (tallies, candidate_latency) = tallies(view, place, rollout);
    let before = before(view, place, rollout);
    Observation {
        reachable: view.reachable,
        in_force: view.in_force >= changed_at,
        watched_since: view.watched_since,
        stable: state(view, group(rollout.from), Duration::ZERO),
        candidate: state(view, group(Some(rollout.to)), min_ready),
        instance: view.seen.instance.clone(),
        tallies,
        before,
        candidate_latency,
        candidate_restarts: restarts(group(Some(rollout.to))),
        checks: view.checks.iter().filter(|(at, _)| at == place).map(|(_, begun)| *begun).collect(),
    }
}

/// The old release's counts in the epoch that the first shift ends; needed until they are written down.
fn before(view: &View, place: &Place, rollout: &Rollout) -> (Counts, Histogram) {
    let is_it = |tally: &&Tally| {
        tally.place == *place && tally.epoch == rollout.epoch && Some(tally.release) == rollout.from
    };
    match view.seen.tallies.iter().find(is_it).filter(|_| rollout.baseline.is_none()) {
        Some(tally) => (Counts { requests: tally.requests, errors: tally.errors }, tally.latency.clone()),
        None => (Counts::default(), Histogram::default()),
    }
}

fn restarts(group: Option<&GroupSeen>) -> Vec<(u32, u32)> {
    let replicas = group.into_iter().flat_map(|group| &group.replicas);
    replicas.map(|replica| (replica.ordinal, replica.restarts)).collect()
}

fn state(view: &View, group: Option<&GroupSeen>, min_ready: Duration) -> GroupState {
    let Some(group) = group else {
        return GroupState::default();
    };
    let trouble = group.replicas.iter().find_map(|replica| match replica.phase {
        ReplicaPhase::Starting | ReplicaPhase::Unready | ReplicaPhase::Backoff => {
            replica.reason.clone().map(|reason| format!("replica {}: {reason}", replica.ordinal))
        }
        ReplicaPhase::Ready | ReplicaPhase::Draining | ReplicaPhase::Stopping => None,
    });
    let ready = view.ready(group, min_ready);
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
    let mut epochs: BTreeMap<Epoch, EpochTally> = BTreeMap::new();
    let slow = |latency| rollout.baseline.as_ref().map_or([0; MAX_QUANTILES], |it| it.slow(latency));
    let mut latency = Histogram::default();
    for tally in view.seen.tallies.iter().filter(|t| t.place == *place && rollout.book.covers(t.epoch)) {
        let counts = Counts { requests: tally.requests, errors: tally.errors };
        let UserTally { seen, erred, first_erred } = tally.users;
        let users = Users { seen, erred, first_erred };
        let none = || EpochTally { epoch: tally.epoch, ..EpochTally::default() };
        let sides = epochs.entry(tally.epoch).or_insert_with(none);
        if tally.release == rollout.to {
            (sides.candidate, sides.slow.candidate) = (counts, slow(&tally.latency));
            sides.aimed = Counts { requests: tally.aimed.requests, errors: tally.aimed.errors };
            sides.users.candidate = users;
            latency.add(&tally.latency);
            latency.add(&tally.aimed.latency);
        } else if Some(tally.release) == rollout.from {
            (sides.stable, sides.slow.stable) = (counts, slow(&tally.latency));
            sides.users.stable = users;
        }
    }
    (epochs.into_values().collect(), latency)
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
            out_of_memory: 0,
            in_flight: 0,
            last_exit: None,
            reason: None,
        };
        let group = GroupSeen { id, replicas: vec![replica], crash_loop: None };
        Arc::new(Seen { groups: vec![group], ..Seen::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_counts_once_its_process_was_ready_long_enough() {
        let mut view = View::default();
        let began = Instant::now();
        let until = |ms: u64| tokio::time::sleep_until(began + Duration::from_millis(ms));
        let second = Duration::from_secs(1);
        let ready = |view: &View| state(view, view.seen.groups.first(), second).ready;
        // Whatever the wall clock says: somebody may set it.
        let look = |view: &mut View, version: u64, restarts, phase| {
            let at = Timestamp::from_micros(1_000_000_000 - version as i64 * 1_000_000);
            let seen = Seen { version, ..seen(restarts, phase).as_ref().clone() };
            view.look(Arc::new(seen), Generation(0), at);
        };
        look(&mut view, 1, 0, ReplicaPhase::Ready);
        until(500).await;
        look(&mut view, 2, 0, ReplicaPhase::Ready);
        until(999).await;
        assert_eq!(ready(&view), 0);
        until(1_000).await;
        assert_eq!(ready(&view), 1);
        look(&mut view, 3, 0, ReplicaPhase::Unready);
        until(1_200).await;
        look(&mut view, 4, 0, ReplicaPhase::Ready);
        until(2_100).await;
        assert_eq!(ready(&view), 0, "a break starts the time anew");
        until(2_200).await;
        assert_eq!(ready(&view), 1);
        look(&mut view, 5, 1, ReplicaPhase::Ready);
        until(3_100).await;
        assert_eq!(ready(&view), 0, "so does another process");
        until(3_300).await;
        assert_eq!(ready(&view), 1);
    }

    #[test]
    fn a_replica_that_was_ordered_away_is_not_ready_whatever_was_seen() {
        let mut view = View::default();
        view.look(seen(0, ReplicaPhase::Ready), Generation(1), Timestamp::default());
        let id = view.seen.groups[0].id.clone();
        let ready = |view: &View| state(view, view.seen.groups.first(), Duration::ZERO).ready;
        let offer = |view: &mut View, generation, replicas| {
            let group = (replicas > 0).then(|| (id.clone(), replicas));
            view.offer(Generation(generation), group.into_iter());
        };
        offer(&mut view, 2, 3);
        assert_eq!(ready(&view), 1, "it stays");
        offer(&mut view, 3, 0);
        offer(&mut view, 4, 1);
        assert_eq!(ready(&view), 0, "it went, and another one comes");
        let look = |view: &mut View, generation| {
            let seen = seen(0, ReplicaPhase::Ready).as_ref().clone();
            let (version, generation) = (generation, Generation(generation));
            view.look(Arc::new(Seen { generation, version, ..seen }), Generation(4), Timestamp::default());
        };
        look(&mut view, 3);
        assert_eq!(ready(&view), 0);
        look(&mut view, 4);
        assert_eq!(ready(&view), 1);
    }

    #[tokio::test]
    async fn an_old_report_that_comes_again_changes_nothing() {
        let mut view = View::default();
        let now = Seen { version: 8, ..seen(0, ReplicaPhase::Unready).as_ref().clone() };
        let old = Seen { version: 7, ..seen(0, ReplicaPhase::Ready).as_ref().clone() };
        view.look(Arc::new(now), Generation(3), Timestamp::default());
        view.look(Arc::new(old.clone()), Generation(3), Timestamp::default());
        assert_eq!((view.seen.version, view.in_force), (8, Generation(3)));
        assert_eq!(state(&view, view.seen.groups.first(), Duration::ZERO).ready, 0);
        let next_life = Seen { instance: "another".to_owned(), ..old };
        view.look(Arc::new(next_life), Generation(3), Timestamp::default());
        assert_eq!(view.seen.version, 7, "another life counts its own versions");
    }
}
