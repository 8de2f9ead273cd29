//! The change calendar as faces show it. Does not live here: what is closed when (`lifecycle::calendar`).

use std::time::Duration;

use lifecycle::World;
use lifecycle::calendar::{by_the_clock, closed, freezes};
use model::{Place, Timestamp};
use serde::{Deserialize, Serialize};

/// So far ahead is shown.
const AHEAD: Duration = Duration::from_secs(14 * 24 * 3_600);

/// When rollouts may begin at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Calendar {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// Whether one may begin now.
    pub open: bool,
    /// When that changes, within two weeks; nothing otherwise.
    pub until: Option<Timestamp>,
    /// The time zone of the first freeze, by whose clock times are shown.
    pub time_zone: String,
    /// When none may begin in the next two weeks, in order.
    pub closed: Vec<ClosedTime>,
}

/// Time in which no rollout begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClosedTime {
    /// From then on.
    pub from: Timestamp,
    /// Until then.
    pub to: Timestamp,
    /// The same, as the clock of the time zone shows it.
    pub local_from: String,
    /// The same, as the clock of the time zone shows it.
    pub local_to: String,
    /// Which freezes, with their reasons.
    pub freezes: Vec<String>,
}

/// The calendar of every place, or of those that `wanted` accepts, for the next two weeks.
pub fn calendar(world: &World, at: Timestamp, wanted: impl Fn(&Place) -> bool) -> Vec<Calendar> {
    world.lanes.keys().filter(|place| wanted(place)).map(|place| one(world, place, at)).collect()
}

fn one(world: &World, place: &Place, at: Timestamp) -> Calendar {
    let freezes = freezes(world, place);
    let time_zone = freezes.first().map_or_else(|| "UTC".to_owned(), |freeze| freeze.zone.clone());
    let told = |name: &String| {
        let reason = freezes.iter().find(|it| it.name == *name).and_then(|it| it.reason.as_ref());
        reason.map_or_else(|| name.clone(), |reason| format!("{name}: {reason}"))
    };
    let all: Vec<ClosedTime> = closed(&freezes, at, at.after(AHEAD))
        .into_iter()
        .map(|it| ClosedTime {
            local_from: by_the_clock(it.from, &time_zone),
            local_to: by_the_clock(it.to, &time_zone),
            freezes: it.freezes.iter().map(told).collect(),
            from: it.from,
            to: it.to,
        })
        .collect();
    let first = all.first();
    let open = first.is_none_or(|it| at < it.from);
    let until = first.map(|it| if open { it.from } else { it.to });
    Calendar { place: place.clone(), open, until, time_zone, closed: all }
}
