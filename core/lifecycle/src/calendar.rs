//! The change calendar: times in which no rollout begins, as the release that serves and the one that comes declare them. Going back
//! is always free, and a rollout under way goes on. Does not live here: when a freeze holds by the clock on the wall (`model::change`).

use jiff::tz::TimeZone;
use model::change::Freeze;
use model::objective::zone;
use model::{Place, Spec, Timestamp};
use ship::{Cause, Refusal};

use crate::event::Event;
use crate::world::World;

/// Freezes that follow on each other without an hour between them are looked through so far.
const LINKED: usize = 1_000;

/// Time in which no rollout begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// From then on.
    pub from: Timestamp,
    /// Until then.
    pub to: Timestamp,
    /// Which freezes hold in it, by their names.
    pub freezes: Vec<String>,
}

/// The freezes of the release that serves at a place.
pub fn freezes(world: &World, place: &Place) -> Vec<Freeze> {
    let serving = world.lanes.get(place).and_then(|lane| lane.settled().or(lane.stable));
    let spec = serving.and_then(|release| world.spec(place, release));
    spec.map_or_else(Vec::new, |spec| spec.changes.freeze.clone())
}

/// When freezes hold between two instants, in order; what overlaps or follows at once is one.
pub fn closed(freezes: &[Freeze], from: Timestamp, to: Timestamp) -> Vec<Closed> {
    let of = |freeze: &Freeze| {
        let name = freeze.name.clone();
        freeze.between(from, to).into_iter().map(move |(from, to)| Closed {
            from,
            to,
            freezes: vec![name.clone()],
        })
    };
    let mut all: Vec<Closed> = freezes.iter().flat_map(of).collect();
    all.sort_by_key(|closed| (closed.from, closed.to));
    let mut merged: Vec<Closed> = Vec::new();
    for next in all {
        match merged.last_mut().filter(|last| next.from <= last.to) {
            Some(last) => {
                last.to = last.to.max(next.to);
                last.freezes.extend(
                    next.freezes.into_iter().filter(|name| !last.freezes.contains(name)).collect::<Vec<_>>(),
                );
            }
            None => merged.push(next),
        }
    }
    merged
}

/// An instant as the clock of a time zone shows it: `Mon 2026-11-23 08:00 CET`.
pub fn by_the_clock(at: Timestamp, zone_name: &str) -> String {
    let tz = zone(zone_name).unwrap_or(TimeZone::UTC);
    let instant = jiff::Timestamp::from_microsecond(at.as_micros());
    instant.map_or_else(|_| at.to_string(), |it| it.to_zoned(tz).strftime("%a %F %H:%M %Z").to_string())
}

/// The freeze that keeps a rollout from beginning at this time, and until when one does.
pub(crate) fn on(
    world: &World,
    place: &Place,
    spec: &Spec,
    cause: Cause,
    at: Timestamp,
) -> Option<(Freeze, Timestamp)> {
    if cause == Cause::Rollback || world.passes.freezes {
        return None;
    }
    let mut all = freezes(world, place);
    // A freeze does not end because the next release would not have it, nor begin only once that is there.
    all.extend(
        spec.changes.freeze.iter().filter(|freeze| !all.contains(freeze)).cloned().collect::<Vec<_>>(),
    );
    let freeze = all.iter().find(|freeze| freeze.holds_until(at).is_some())?.clone();
    let mut until = at;
    for _ in 0..LINKED {
        match all.iter().filter_map(|freeze| freeze.holds_until(until)).max() {
            Some(later) => until = later,
            None => break,
        }
    }
    Some((freeze, until))
}

/// Refuses what a freeze keeps from beginning.
pub(crate) fn check(
    world: &World,
    place: &Place,
    spec: &Spec,
    cause: Cause,
    at: Timestamp,
) -> Result<(), Refusal> {
    let Some((freeze, until)) = on(world, place, spec, cause, at) else { return Ok(()) };
    let reason = freeze.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    let until = by_the_clock(until, &freeze.zone);
    Err(Refusal::new(
        format!("no change is to begin at {place} until {until} (freeze {}{reason})", freeze.name),
        format!(
            "wait (`shipshape calendar -e {}` says when it is open), or pass it once with `--override-freeze --reason TEXT`, \
             which is recorded; `shipshape rollback` is always free",
            place.environment
        ),
    ))
}

/// What a rollout passes is told before it begins.
pub(crate) fn overridden(
    world: &World,
    place: &Place,
    spec: &Spec,
    cause: Cause,
    at: Timestamp,
) -> Option<Event> {
    let (freeze, until) = on(world, place, spec, cause, at)?;
    Some(Event::FreezeOverridden { place: place.clone(), freeze: freeze.name, until })
}
