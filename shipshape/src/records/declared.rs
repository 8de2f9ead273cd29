//! What the manifests say of records, place by place. Does not live here: what follows from it.

use std::collections::{BTreeMap, BTreeSet};

use lifecycle::World;
use model::Place;
use model::otlp::Otlp;
use model::records::Records;

/// What holds at a place: as the release says that comes, or else the one that serves.
fn newest<'w>(world: &'w World, place: &Place) -> Option<&'w Records> {
    let lane = world.lanes.get(place)?;
    let release = lane.active().map(|rollout| rollout.to).or(lane.stable)?;
    Some(&world.spec(place, release)?.records)
}

/// What is taken out of a place's lines: whatever one of the releases asks for that may still print.
pub(super) fn patterns(world: &World, place: &Place) -> BTreeSet<String> {
    let releases = world.lanes.get(place).into_iter().flat_map(lifecycle::Lane::in_use);
    let specs = releases.filter_map(|release| world.spec(place, release));
    specs.flat_map(|spec| spec.records.redact.iter().cloned()).collect()
}

/// How much of a place's records is kept.
pub(super) fn retention(world: &World, place: &Place) -> logs::Retention {
    let declared = newest(world, place).map(|records| records.retention).unwrap_or_default();
    logs::Retention { bytes: declared.size, age: declared.time }
}

/// Where each place's records are sent on to, as far as they are.
pub(crate) fn exports(world: &World) -> BTreeMap<Place, Otlp> {
    let of = |place: &Place| Some((place.clone(), newest(world, place)?.export.clone()?));
    world.lanes.keys().filter_map(of).collect()
}
