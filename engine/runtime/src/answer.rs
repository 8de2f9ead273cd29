//! What a command did, for whoever asked. Not here: how it is decided and recorded.

use lifecycle::{Answer, Change, Command, Event, World};
use model::Place;

use crate::draft::Decided;
use crate::handle::Error;

/// Where releases are moved; nowhere by some commands.
pub(crate) fn places_of(command: &Command) -> Vec<Place> {
    match command {
        Command::Deploy { service, environment, .. } => {
            vec![Place { service: service.clone(), environment: environment.clone() }]
        }
        Command::Ship { service, to, .. } => {
            vec![Place { service: service.clone(), environment: to.clone() }]
        }
        Command::Rollback { place, .. } | Command::Retry { place } | Command::Operate { place, .. } => {
            vec![place.clone()]
        }
        Command::DespiteLock(command)
        | Command::DespiteBudget(command)
        | Command::DespiteFreeze(command)
        | Command::Asked(_, command) => places_of(command),
        Command::Group { members, .. } => members.iter().flat_map(places_of).collect(),
        Command::Lock { .. }
        | Command::Unlock { .. }
        | Command::Notice { .. }
        | Command::Objective { .. }
        | Command::TakeBack { .. }
        | Command::Vote { .. }
        | Command::SettleRequest(_)
        | Command::Carry { .. }
        | Command::Objectives(_)
        | Command::Alerts(_)
        | Command::DecideError { .. }
        | Command::Paging(_) => vec![],
    }
}

/// What a command did at each place: the first, with the others beside it.
pub(crate) fn answer(
    world: &World,
    places: &[Place],
    changed: bool,
    events: &[Decided],
) -> Result<Option<Answer>, Error> {
    let of = |place| match asked(events, place) {
        Some(answer) => Ok(answer),
        None => answer_at(world, place, changed),
    };
    let mut all = places.iter().map(of).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() {
        return Ok(None);
    }
    let first = all.remove(0);
    Ok(Some(Answer { with: all, ..first }))
}

/// What waits for somebody else's approval at a place now.
fn asked(events: &[Decided], place: &Place) -> Option<Answer> {
    let request = events.iter().find_map(|decided| {
        let Event::Change(Change::Requested(request)) = &decided.event else { return None };
        (request.place == *place).then_some(request)
    })?;
    let (place, release) = (place.clone(), request.release);
    Some(Answer { place, release, rollout: None, request: Some(request.number), with: vec![] })
}

fn answer_at(world: &World, place: &Place, changed: bool) -> Result<Answer, Error> {
    let lane = world.lanes.get(place);
    let rollout = lane.and_then(|lane| lane.rollout.as_ref()).filter(|_| changed);
    let release = rollout.map(|rollout| rollout.to).or_else(|| lane.and_then(lifecycle::Lane::settled));
    match release {
        Some(release) => {
            let rollout = rollout.map(|rollout| rollout.number);
            Ok(Answer { place: place.clone(), release, rollout, request: None, with: vec![] })
        }
        None => Err(Error::Stopped(format!("internal: a command at {place} left no release there"))),
    }
}
