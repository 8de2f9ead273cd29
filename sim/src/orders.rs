//! What must hold of every wanted state, whatever led to it. What led to it is known by others.

use model::Weight;
use ports::fleet::{Group, GroupId, Split, Wanted};

use crate::machine::Machine;

/// What an order breaks by itself or beside the one before it, in words.
pub fn broken(before: &Wanted, next: &Wanted) -> Vec<String> {
    let mut broken = Vec::new();
    if next.generation == before.generation && next.generation.0 > 0 && next != before {
        broken.push("it has two meanings".to_owned());
    }
    for group in &next.groups {
        let had = before.groups.iter().find(|had| had.id == group.id);
        let same = |had: &Group| Group { replicas: group.replicas, ..had.clone() } == *group;
        if !had.is_none_or(same) {
            broken.push(format!("{} changed in more than its replicas", group.id));
        }
    }
    for split in &next.splits {
        shares(before, next, split, &mut broken);
    }
    broken.into_iter().map(|what| format!("generation {}: {what}", next.generation)).collect()
}

fn shares(before: &Wanted, next: &Wanted, split: &Split, broken: &mut Vec<String>) {
    let sum: u32 = split.shares.iter().map(|share| u32::from(share.weight.basis_points())).sum();
    if sum != u32::from(Weight::ALL.basis_points()) {
        broken.push(format!("the weights at {} add up to {sum} basis points", split.place));
    }
    let had = before.splits.iter().find(|had| had.place == split.place);
    if had.is_some_and(|had| had.epoch > split.epoch) {
        broken.push(format!("the epoch at {} goes back to {}", split.place, split.epoch));
    }
    let previewed = split.preview.as_ref().and_then(|preview| preview.release);
    if let Some(release) = previewed.filter(|it| !split.shares.iter().any(|share| share.release == *it)) {
        broken.push(format!("release {release} is previewed at {} without a share", split.place));
    }
    for share in &split.shares {
        let id = GroupId { place: split.place.clone(), release: share.release };
        if !next.groups.iter().any(|group| group.id == id && group.replicas > 0) {
            broken.push(format!("{id} gets {} of the requests and has no replica", share.weight));
        }
    }
}

/// The shares that an order gives or enlarges while nobody is ready to take them.
pub(crate) fn too_early(machine: &Machine, next: &Wanted) -> Vec<String> {
    let mut early = Vec::new();
    for split in &next.splits {
        let had = machine.wanted.splits.iter().find(|had| had.place == split.place);
        for share in &split.shares {
            let id = GroupId { place: split.place.clone(), release: share.release };
            let had = had.and_then(|had| had.shares.iter().find(|had| had.release == share.release));
            if share.weight > had.map_or(Weight::NONE, |had| had.weight) && machine.ready(&id) == 0 {
                let (generation, weight) = (next.generation, share.weight);
                early.push(format!(
                    "generation {generation}: {id} is given {weight} of the requests before a replica is ready"
                ));
            }
        }
    }
    early
}
