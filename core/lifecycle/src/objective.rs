//! Objectives where a service runs: what is known of each, and which rollouts a spent budget keeps from beginning. Does not
//! live here: what a budget is and when it is spent (`watch`), and rollouts under way: they go on, and can always go back.

use std::collections::BTreeMap;

use model::notify::Notify;
use model::strategy::Kind;
use model::{ObjectiveName, Place, Spec, Timestamp};
use ship::{Cause, Refusal};
use watch::{Level, State};

use crate::event::Event;
use crate::world::World;

/// What is known of the objectives of one place, by name.
pub type Objectives = BTreeMap<ObjectiveName, State>;

/// What an objective's planner or an operator asks becomes events.
pub(crate) fn decide(
    world: &World,
    place: Place,
    objective: ObjectiveName,
    command: watch::Command,
    at: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let declared = declared(world, &place);
    let state = world.objectives.get(&place).and_then(|states| states.get(&objective));
    if state.is_none() && !declared.iter().any(|known| known.name == objective) {
        let known: Vec<&str> = declared.iter().map(|known| known.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(Refusal::new(
            format!("there is no objective {objective} at {place}"),
            format!("known there: {known}; declare others under `objectives` in the manifest, and deploy it"),
        ));
    }
    let events = watch::decide(state.unwrap_or(&State::default()), command, at)
        .map_err(|refused| Refusal::new(refused.what, refused.way_out))?;
    let told = |event| Event::Objective { place: place.clone(), objective: objective.clone(), event };
    Ok(events.into_iter().map(told).collect())
}

/// The same for many at once, from planners: what was overtaken is left out.
pub(crate) fn decide_all(
    world: &World,
    commands: Vec<(Place, ObjectiveName, watch::Command)>,
    at: Timestamp,
) -> Vec<Event> {
    let mut world = world.clone();
    let mut all = Vec::new();
    for (place, objective, command) in commands {
        let Ok(events) = decide(&world, place, objective, command, at) else { continue };
        for event in events {
            // Each is decided on what the ones before it left.
            if world.apply(&event, 0, at).is_ok() {
                all.push(event);
            }
        }
    }
    all
}

/// The objectives that hold at a place: those of the release that serves, or that comes first.
pub fn declared(world: &World, place: &Place) -> Vec<model::Objective> {
    spec(world, place).map_or_else(Vec::new, Spec::objectives)
}

/// The configuration that holds at a place: that of the release that serves, or that comes first.
pub fn spec<'a>(world: &'a World, place: &Place) -> Option<&'a Spec> {
    let lane = world.lanes.get(place)?;
    let serving = lane.stable.or_else(|| lane.active().map(|rollout| rollout.to))?;
    world.spec(place, serving)
}

/// Who is told of alerts, where somebody is: as the release says that serves, or that comes first.
pub fn told(world: &World) -> BTreeMap<Place, Notify> {
    let of = |place: &Place| Some((place.clone(), spec(world, place)?.notify.clone()?));
    world.lanes.keys().filter_map(of).collect()
}

/// The objectives at a place whose budgets allow less than everything, the strictest first.
pub fn limits<'a>(world: &'a World, place: &Place) -> Vec<(&'a ObjectiveName, &'a State)> {
    let declared = declared(world, place);
    let states = world.objectives.get(place).into_iter().flatten();
    let mut limits: Vec<_> = states
        .filter(|(name, state)| {
            state.level >= Level::Warn && declared.iter().any(|known| known.name == **name)
        })
        .collect();
    limits.sort_by_key(|(_, state)| std::cmp::Reverse(state.level));
    limits
}

/// The objective that keeps a rollout from beginning, if one does.
pub(crate) fn on<'a>(
    world: &'a World,
    place: &Place,
    spec: &Spec,
    cause: Cause,
) -> Option<(&'a ObjectiveName, &'a State)> {
    let is_first = world.lanes.get(place).is_none_or(|lane| lane.stable.is_none());
    // Whoever goes back mends; whoever comes first has burned nothing yet.
    if cause == Cause::Rollback || is_first {
        return None;
    }
    let is_canary = matches!(&spec.rollout.kind, Kind::Canary { steps, .. } if !steps.is_empty());
    let forbids = |level| match level {
        Level::Freeze => true,
        Level::CanaryOnly => !is_canary,
        Level::Warn | Level::Fine | Level::Unknown => false,
    };
    limits(world, place).into_iter().find(|(_, state)| forbids(state.level))
}

/// Refuses what a spent budget keeps from beginning.
pub(crate) fn check(world: &World, place: &Place, spec: &Spec, cause: Cause) -> Result<(), Refusal> {
    let Some((objective, state)) = on(world, place, spec, cause) else { return Ok(()) };
    let left = state.remaining.unwrap_or_default() as f64 / 10_000.0;
    let left = match left < 0.0 {
        true => format!("the error budget of {objective} was overspent by {:.1}% then", -left),
        false => format!("{left:.1}% of the error budget of {objective} was left then"),
    };
    let since = state.since.map_or_else(String::new, |since| format!(" since {since}"));
    let environment = &place.environment;
    let (what, instead) = match state.level {
        Level::CanaryOnly => (
            format!("only canaries are allowed at {place}{since}: {left}"),
            "give it a canary strategy (`rollout.canary.steps`), or",
        ),
        Level::Freeze | Level::Warn | Level::Fine | Level::Unknown => (
            format!("{place} is frozen{since}: {left}"),
            "mend what burns it: `shipshape rollback` is always allowed. Else",
        ),
    };
    Err(Refusal::new(
        what,
        format!(
            "{instead} wait until the budget recovers (`shipshape slo -e {environment}`), or pass it once with \
             `--override-budget --reason TEXT`, which is recorded"
        ),
    ))
}
