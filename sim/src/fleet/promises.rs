//! What must hold of every wanted state, whatever led to it.

use model::Weight;
use ports::fleet::{Group, GroupId, Split, Wanted};

use crate::machine::Machine;

/// What a wanted state that follows the machine's present one breaks, in words.
pub(super) fn broken(machine: &Machine, next: &Wanted) -> Vec<String> {
    let mut broken = Vec::new();
    let has = &machine.wanted;
    if next.generation == has.generation && !has.groups.is_empty() && next != has {
        broken.push(format!("generation {} has two meanings", next.generation));
    }
    for group in &next.groups {
        let before = machine.wanted_group(&group.id);
        let same = |before: &Group| Group { replicas: group.replicas, ..before.clone() } == *group;
        if !before.is_none_or(same) {
            broken.push(format!("{} changed in more than its replicas", group.id));
        }
    }
    for split in &next.splits {
        shares(machine, next, split, &mut broken);
    }
    broken.into_iter().map(|what| format!("generation {}: {what}", next.generation)).collect()
}

fn shares(machine: &Machine, next: &Wanted, split: &Split, broken: &mut Vec<String>) {
    let sum: u32 = split.shares.iter().map(|share| u32::from(share.weight.basis_points())).sum();
    if sum != u32::from(Weight::ALL.basis_points()) {
        broken.push(format!("the weights at {} add up to {sum} basis points", split.place));
    }
    let before = machine.wanted.splits.iter().find(|before| before.place == split.place);
    if before.is_some_and(|before| before.epoch > split.epoch) {
        broken.push(format!("the epoch at {} goes back to {}", split.place, split.epoch));
    }
    let previewed = split.preview.as_ref().and_then(|preview| preview.release);
    if let Some(release) = previewed {
        let runs =
            next.groups.iter().any(|group| group.id.release == release && group.id.place == split.place);
        if !runs || !split.shares.iter().any(|share| share.release == release) {
            broken.push(format!("release {release} is previewed at {} and nothing runs it", split.place));
        }
    }
    for share in split.shares.iter().filter(|share| share.weight > Weight::NONE) {
        let id = GroupId { place: split.place.clone(), release: share.release };
        if !next.groups.iter().any(|group| group.id == id && group.replicas > 0) {
            broken.push(format!("{id} gets {} of the requests and has no replica", share.weight));
        }
        let had = before.and_then(|before| before.shares.iter().find(|had| had.release == share.release));
        let grows = share.weight > had.map_or(Weight::NONE, |had| had.weight);
        if grows && machine.ready(&id) == 0 {
            broken.push(format!("{id} is given {} of the requests before a replica is ready", share.weight));
        }
    }
}
