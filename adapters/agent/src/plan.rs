//! What follows from a wanted state and the replicas that exist: how many to start, which to let go, who may take
//! requests. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use model::Place;
use ports::fleet::{GroupId, ReplicaPhase, ReplicaSeen, Split, Wanted};
use process::ReplicaId;
use routes::{Affinity, Aim, Entry, Preview, Replica, Share};

/// The replicas that exist, by group.
pub(crate) type Replicas = BTreeMap<GroupId, Vec<ReplicaSeen>>;

/// The replicas that are to go, beside those that are on their way already.
pub(crate) fn surplus(
    wanted: &Wanted,
    replicas: &Replicas,
    leaving: &BTreeSet<ReplicaId>,
) -> BTreeSet<ReplicaId> {
    let mut all = BTreeSet::new();
    for (group, existing) in replicas {
        let keep = wanted.groups.iter().find(|wanted| wanted.id == *group).map_or(0, |group| group.replicas);
        let mut staying = staying(group, existing, leaving);
        // The ready ones with the lowest ordinals stay.
        staying.sort_by_key(|replica| (replica.phase != ReplicaPhase::Ready, replica.ordinal));
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        let going = staying.iter().skip(keep);
        all.extend(going.map(|replica| ReplicaId { group: group.clone(), ordinal: replica.ordinal }));
    }
    all
}

/// The condemned replicas whose place others have taken: as many of the rest are ready as are wanted.
pub(crate) fn replaced(
    wanted: &Wanted,
    replicas: &Replicas,
    leaving: &BTreeSet<ReplicaId>,
    condemned: &BTreeSet<ReplicaId>,
) -> BTreeSet<ReplicaId> {
    let is_replaced = |id: &&ReplicaId| {
        let keep = wanted.groups.iter().find(|group| group.id == id.group).map_or(0, |group| group.replicas);
        let existing = replicas.get(&id.group).map_or(&[][..], Vec::as_slice);
        let ready = existing.iter().filter(|replica| {
            let id = ReplicaId { group: id.group.clone(), ordinal: replica.ordinal };
            replica.phase == ReplicaPhase::Ready && !leaving.contains(&id) && !condemned.contains(&id)
        });
        !leaving.contains(id) && u32::try_from(ready.count()).unwrap_or(u32::MAX) >= keep
    };
    condemned.iter().filter(is_replaced).cloned().collect()
}

/// How many replicas of each wanted group are missing.
pub(crate) fn missing(
    wanted: &Wanted,
    replicas: &Replicas,
    leaving: &BTreeSet<ReplicaId>,
) -> Vec<(usize, u32)> {
    let lacks = |(index, group): (usize, &ports::fleet::Group)| {
        let existing =
            replicas.get(&group.id).map_or(0, |existing| staying(&group.id, existing, leaving).len());
        let lacking = group.replicas.saturating_sub(u32::try_from(existing).unwrap_or(u32::MAX));
        (lacking > 0).then_some((index, lacking))
    };
    wanted.groups.iter().enumerate().filter_map(lacks).collect()
}

/// The routing table's entries: of each split's releases, the replicas that are ready and stay.
pub(crate) fn entries(wanted: &Wanted, replicas: &Replicas, leaving: &BTreeSet<ReplicaId>) -> Vec<Entry> {
    let share = |place: &Place, share: &ports::fleet::Share| {
        let group = GroupId { place: place.clone(), release: share.release };
        let existing = replicas.get(&group).map_or(&[][..], Vec::as_slice);
        let ready = staying(&group, existing, leaving).into_iter();
        let ready = ready.filter(|replica| replica.phase == ReplicaPhase::Ready).map(|replica| Replica {
            ordinal: replica.ordinal,
            addr: (Ipv4Addr::LOCALHOST, replica.port).into(),
        });
        Share { release: share.release, weight: share.weight, replicas: ready.collect() }
    };
    let entry = |split: &Split| Entry {
        place: split.place.clone(),
        route: split.route.clone(),
        epoch: split.epoch,
        shares: split.shares.iter().map(|one| share(&split.place, one)).collect(),
        preview: split
            .preview
            .as_ref()
            .map(|preview| Preview { route: preview.route.clone(), release: preview.release }),
        aim: split.aim.as_ref().map(|aim| Aim { release: aim.release, routes: aim.routes.clone() }),
        affinity: split
            .affinity
            .as_ref()
            .map(|affinity| Affinity { by: affinity.by.clone(), salt: affinity.salt.clone() }),
    };
    wanted.splits.iter().map(entry).collect()
}

fn staying<'a>(
    group: &GroupId,
    existing: &'a [ReplicaSeen],
    leaving: &BTreeSet<ReplicaId>,
) -> Vec<&'a ReplicaSeen> {
    let leaves = |ordinal: u32| leaving.contains(&ReplicaId { group: group.clone(), ordinal });
    existing.iter().filter(|replica| !leaves(replica.ordinal)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{group, split};

    fn seen(ordinal: u32, phase: ReplicaPhase) -> ReplicaSeen {
        ReplicaSeen {
            ordinal,
            phase,
            pid: None,
            port: u16::try_from(ordinal).unwrap(),
            restarts: 0,
            out_of_memory: 0,
            in_flight: 0,
            last_exit: None,
            reason: None,
        }
    }

    fn ordinals(ids: &BTreeSet<ReplicaId>) -> Vec<u32> {
        ids.iter().map(|id| id.ordinal).collect()
    }

    #[test]
    fn those_that_are_not_ready_go_first_then_the_newest() {
        use ReplicaPhase::{Backoff, Ready, Starting};
        let mut wanted = Wanted { groups: vec![group("shop", 1)], ..Wanted::default() };
        let id = wanted.groups[0].id.clone();
        let all = [seen(1, Ready), seen(2, Backoff), seen(3, Ready), seen(4, Ready), seen(5, Starting)];
        let replicas = Replicas::from([(id.clone(), all.to_vec())]);
        let mut leaving = BTreeSet::new();
        wanted.groups[0].replicas = 2;
        assert_eq!(ordinals(&surplus(&wanted, &replicas, &leaving)), [2, 4, 5]);
        leaving.insert(ReplicaId { group: id, ordinal: 1 });
        assert_eq!(ordinals(&surplus(&wanted, &replicas, &leaving)), [2, 5]);
        assert_eq!(missing(&wanted, &replicas, &leaving), []);
        wanted.groups[0].replicas = 6;
        assert_eq!(missing(&wanted, &replicas, &leaving), [(0, 2)]);
        wanted.groups.clear();
        assert_eq!(ordinals(&surplus(&wanted, &replicas, &leaving)), [2, 3, 4, 5]);
    }

    #[test]
    fn only_ready_replicas_that_stay_are_in_the_table() {
        use ReplicaPhase::{Ready, Unready};
        let wanted =
            Wanted { groups: vec![group("shop", 1)], splits: vec![split("shop", 1)], ..Wanted::default() };
        let id = wanted.groups[0].id.clone();
        let all = vec![seen(1, Ready), seen(2, Unready), seen(3, Ready)];
        let replicas = Replicas::from([(id.clone(), all)]);
        let leaving = BTreeSet::from([ReplicaId { group: id, ordinal: 3 }]);
        let entries = entries(&wanted, &replicas, &leaving);
        let in_table: Vec<u32> =
            entries[0].shares[0].replicas.iter().map(|replica| replica.ordinal).collect();
        assert_eq!(in_table, [1]);
    }
}
