//! Deploy locks: nobody begins a rollout where somebody said so, until they say otherwise or the time is over. Does not
//! live here: rollouts under way; they go on, and can always go back.

use std::time::Duration;

use model::{EnvironmentName, Place, ServiceName, Timestamp};
use serde::{Deserialize, Serialize};
use ship::Refusal;

use crate::event::Event;
use crate::world::World;

/// What a lock covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// The service; every one of the environment when absent.
    pub service: Option<ServiceName>,
    /// The environment.
    pub environment: EnvironmentName,
}

/// Who locked, why, since when and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lock {
    /// Who.
    pub by: String,
    /// Why, in their words.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself; until it is unlocked when absent.
    pub until: Option<Timestamp>,
}

impl Scope {
    /// Whether it covers a place.
    pub fn covers(&self, place: &Place) -> bool {
        self.environment == place.environment
            && self.service.as_ref().is_none_or(|service| *service == place.service)
    }

    /// The options of the command line that mean this scope.
    fn options(&self) -> String {
        match &self.service {
            Some(service) => format!("--service {service} -e {}", self.environment),
            None => format!("--all -e {}", self.environment),
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.service {
            Some(service) => write!(f, "{service}/{}", self.environment),
            None => write!(f, "every service in {}", self.environment),
        }
    }
}

impl Lock {
    /// Whether it still holds.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.until.is_none_or(|until| at < until)
    }

    fn in_words(&self) -> String {
        let until = match self.until {
            Some(until) => format!("until {until}"),
            None => "until it is unlocked".to_owned(),
        };
        format!("by {} since {}, {until}: {}", self.by, self.since, self.reason)
    }
}

/// The lock that keeps a rollout from beginning at a place; the one of the place alone goes first.
pub(crate) fn on<'a>(world: &'a World, place: &Place, at: Timestamp) -> Option<(&'a Scope, &'a Lock)> {
    let covers = |(scope, lock): &(&Scope, &Lock)| scope.covers(place) && lock.holds(at);
    world.locks.iter().filter(covers).max_by_key(|(scope, _)| scope.service.is_some())
}

/// Refuses what a lock keeps from beginning.
pub(crate) fn check(world: &World, place: &Place, at: Timestamp) -> Result<(), Refusal> {
    let Some((scope, lock)) = on(world, place, at) else { return Ok(()) };
    Err(Refusal::new(
        format!("{place} is locked {}", lock.in_words()),
        format!(
            "ask {}; `shipshape unlock {}` lifts it for everybody, `--override-lock --reason TEXT` passes it once, and \
             both are recorded",
            lock.by,
            scope.options()
        ),
    ))
}

/// What is asked of a lock.
pub(crate) struct Asked {
    pub(crate) scope: Scope,
    pub(crate) by: String,
    pub(crate) reason: String,
    pub(crate) holds_for: Option<Duration>,
}

pub(crate) fn lock(world: &World, asked: Asked, at: Timestamp) -> Result<Vec<Event>, Refusal> {
    let Asked { scope, by, reason, holds_for } = asked;
    known(world, &scope)?;
    if reason.trim().is_empty() {
        return Err(Refusal::new(
            "a lock without a reason tells nobody what they wait for",
            "say why with --reason TEXT; whoever is refused reads it",
        ));
    }
    if holds_for.is_some_and(|time| time.is_zero()) {
        return Err(Refusal::new(
            "a lock for no time is over before it begins",
            "say for how long, as in --for 2h, or leave it out: then it holds until it is unlocked",
        ));
    }
    if let Some(lock) = world.locks.get(&scope).filter(|lock| lock.holds(at) && lock.by != by) {
        return Err(Refusal::new(
            format!("{scope} is locked already, {}", lock.in_words()),
            format!("ask {}, or `shipshape unlock {}` first", lock.by, scope.options()),
        ));
    }
    let until = holds_for.map(|time| at.after(time));
    Ok(vec![Event::Locked { scope, by, reason, until }])
}

pub(crate) fn unlock(world: &World, scope: Scope, at: Timestamp) -> Result<Vec<Event>, Refusal> {
    if world.locks.get(&scope).is_some_and(|lock| lock.holds(at)) {
        return Ok(vec![Event::Unlocked { scope }]);
    }
    let others = world.locks.iter().filter(|(_, lock)| lock.holds(at));
    let others: Vec<String> = others.map(|(scope, _)| format!("`{}`", scope.options())).collect();
    let instead = match others.as_slice() {
        [] => "nothing is locked: `shipshape deploy` goes ahead".to_owned(),
        some => format!("locked is what these options mean: {}", some.join(", ")),
    };
    Err(Refusal::new(format!("{scope} is not locked"), instead))
}

/// A misspelt name would lock nothing, and nobody would notice.
fn known(world: &World, scope: &Scope) -> Result<(), Refusal> {
    let all = world.services.values().flat_map(|service| service.releases.values());
    let places = all.flat_map(|release| {
        let service = &release.service;
        release.specs.keys().map(move |it| Place { service: service.clone(), environment: it.clone() })
    });
    let places: std::collections::BTreeSet<Place> = places.collect();
    if places.iter().any(|place| scope.covers(place)) {
        return Ok(());
    }
    let known: Vec<String> = places.iter().map(ToString::to_string).collect();
    let known = if known.is_empty() { "nothing yet".to_owned() } else { known.join(", ") };
    Err(Refusal::new(
        format!("there is no {scope} to lock"),
        format!("known is {known}; `shipshape deploy` makes a place known"),
    ))
}
