//! The inbox of errors: what services print of exceptions, gathered, and what people decided about them. Does not live here:
//! gathering (`logs::inbox`), and remembering decisions (`lifecycle::inbox`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ::logs::inbox::{self, Seen};
use ::logs::{Keep, Limits, Query, Store};
use http::StatusCode;
use lifecycle::inbox::{Decided, Decision, Known};
use lifecycle::{Lane, World};
use model::{EnvironmentName, Place, ReleaseNumber, ServiceName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::problem::{self, Problem};
use crate::records::Line;

pub use ::logs::inbox::Reopened;
pub use lifecycle::inbox::Stance;

/// The shortest beginning of an identifier that names an error.
const SHORTEST_ID: usize = 4;
/// Errors in one answer.
const MOST_ERRORS: usize = 1000;

/// Which errors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ask {
    /// Of this service alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// In this environment alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// In this state; those that are open by default.
    #[serde(default)]
    pub state: Which,
    /// The one whose identifier begins so, in any state, with a sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Errors in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Which {
    /// Nobody decided, or what was decided no longer holds.
    #[default]
    Open,
    /// Somebody knows of them.
    Acknowledged,
    /// They are mended.
    Resolved,
    /// Every one.
    All,
}

/// What is thought of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Nobody decided, or what was decided no longer holds.
    Open,
    /// Somebody knows of it.
    Acknowledged,
    /// It is mended.
    Resolved,
}

/// Errors that are the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorGroup {
    /// Where they are printed.
    pub place: Place,
    /// Their fingerprint.
    pub id: String,
    /// What kind of error.
    pub kind: String,
    /// Its message without what differs each time.
    pub title: String,
    /// What is thought of it.
    pub state: State,
    /// Whether the newest release there is the first that has it.
    pub is_new: bool,
    /// How often it was seen.
    pub count: u64,
    /// And in the hour before now.
    pub per_hour: u64,
    /// When it was seen first.
    pub first_seen: Timestamp,
    /// And last.
    pub last_seen: Timestamp,
    /// In which release it was seen first.
    pub first_release: u64,
    /// The newest in which it was seen.
    pub newest_release: u64,
    /// How often in each of the newest releases that have it, in order.
    pub releases: Vec<InRelease>,
    /// What was decided last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Said>,
    /// Why that no longer holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reopened: Option<Reopened>,
    /// Its last record, when one was asked for and is still kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Line>,
}

/// How often an error was seen in a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InRelease {
    /// Which.
    pub release: u64,
    /// How often.
    pub count: u64,
}

/// What somebody decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// What.
    #[serde(flatten)]
    pub stance: Stance,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The errors that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Errors {
    /// New ones first, then those that were seen last.
    pub errors: Vec<ErrorGroup>,
    /// Errors that made room for others, at the places that were asked for.
    pub forgotten: u64,
    /// How many more there are.
    #[serde(default)]
    pub left_out: usize,
}

/// Decide about an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decide {
    /// Where it is printed.
    pub place: Place,
    /// How its identifier begins.
    pub id: String,
    /// What is decided.
    #[serde(flatten)]
    pub stance: Stance,
    /// Who asks.
    pub actor: String,
    /// Why, in their words.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Microseconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

pub(crate) fn unreadable(error: &dyn std::fmt::Display) -> Problem {
    let what = format!("the errors cannot be read: {error}");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, problem::INTERNAL, what)
        .instead("`shipshape logs --level error` asks the records themselves")
}

/// The release that is newest at a place: the one that comes, or else the one that serves.
fn newest(lane: &Lane) -> Option<ReleaseNumber> {
    lane.active().map(|rollout| rollout.to).or(lane.stable)
}

/// An error as it stands.
fn group(
    place: &Place,
    seen: Seen,
    decided: Option<&Decided>,
    newest: Option<ReleaseNumber>,
    now: i64,
) -> ErrorGroup {
    let known = decided.map(|Decided { decision, .. }| {
        let Known { release, per_hour, record } = decision.known;
        inbox::Known { release: release.0, per_hour, record }
    });
    let stance = decided.and_then(|decided| match decided.decision.stance {
        Stance::Acknowledged => Some((State::Acknowledged, inbox::Stance::Acknowledged)),
        Stance::Resolved { from } => {
            Some((State::Resolved, inbox::Stance::Resolved { from: from.map(|from| from.0) }))
        }
        Stance::Reopened => None,
    });
    let reopened =
        stance.zip(known).and_then(|((_, stance), known)| inbox::reopened(&seen, stance, known, now));
    let state = match stance {
        Some((state, _)) if reopened.is_none() => state,
        Some(_) | None => State::Open,
    };
    let said = decided.map(|Decided { decision, at }| {
        let Decision { stance, by, reason, .. } = decision.clone();
        Said { stance, by, at: *at, reason }
    });
    let per_hour = seen.per_hour(now);
    let Seen {
        fingerprint, kind, title, count, first, last, first_release, newest_release, releases, ..
    } = seen;
    ErrorGroup {
        place: place.clone(),
        id: fingerprint,
        kind,
        title,
        state,
        is_new: newest.is_some_and(|newest| first_release >= newest.0),
        count,
        per_hour,
        first_seen: Timestamp::from_micros(first),
        last_seen: Timestamp::from_micros(last),
        first_release,
        newest_release,
        releases: releases.into_iter().map(|(release, count)| InRelease { release, count }).collect(),
        decided: said,
        reopened,
        sample: None,
    }
}

/// The errors of places that hold, as they stand.
fn all(
    world: &World,
    keep: &Keep,
    now: i64,
    holds: impl Fn(&Place) -> bool,
) -> (Vec<(ErrorGroup, Arc<Store>, u64)>, u64) {
    let (mut found, mut forgotten) = (Vec::new(), 0);
    for ((service, environment), store) in keep.stores() {
        // A folder that somebody made by hand is no place.
        let (Ok(service), Ok(environment)) = (service.parse(), environment.parse()) else { continue };
        let place = Place { service, environment };
        if !holds(&place) {
            continue;
        }
        let (decisions, newest) = (world.errors.get(&place), world.lanes.get(&place).and_then(newest));
        let (errors, gone) = store.errors();
        forgotten += gone;
        for seen in errors {
            let decided = decisions.and_then(|decisions| decisions.get(&seen.fingerprint));
            let record = seen.record;
            found.push((group(&place, seen, decided, newest, now), Arc::clone(&store), record));
        }
    }
    (found, forgotten)
}

/// What is known of errors while there is no control: not what was decided about them, and not what is new.
///
/// # Errors
/// When the one that is asked for cannot be told.
pub fn without_control(keep: &Keep, ask: &Ask) -> Result<Errors, Problem> {
    answer(&World::default(), keep, ask, now())
}

/// Answers a question. May read a disk.
pub(crate) fn answer(world: &World, keep: &Keep, ask: &Ask, now: i64) -> Result<Errors, Problem> {
    let (service, environment) = (&ask.service, &ask.environment);
    let holds = |place: &Place| {
        service.as_ref().is_none_or(|service| *service == place.service)
            && environment.as_ref().is_none_or(|environment| *environment == place.environment)
    };
    let (mut found, forgotten) = all(world, keep, now, holds);
    if let Some(id) = &ask.id {
        let (mut error, store, record) = one(found, id)?;
        error.sample = sample(&store, record);
        return Ok(Errors { errors: vec![error], forgotten, left_out: 0 });
    }
    found.retain(|(error, ..)| match ask.state {
        Which::Open => error.state == State::Open,
        Which::Acknowledged => error.state == State::Acknowledged,
        Which::Resolved => error.state == State::Resolved,
        Which::All => true,
    });
    let mut errors: Vec<ErrorGroup> = found.into_iter().map(|(error, ..)| error).collect();
    errors.sort_by_key(|error| std::cmp::Reverse((error.is_new, error.last_seen)));
    let left_out = errors.len().saturating_sub(MOST_ERRORS);
    errors.truncate(MOST_ERRORS);
    Ok(Errors { errors, forgotten, left_out })
}

/// What is open and new, a warning for each place: what somebody who looks at the status wants to know first.
pub(crate) fn warnings(world: &World, keep: &Keep, now: i64, holds: impl Fn(&Place) -> bool) -> Vec<String> {
    let mut new: BTreeMap<Place, (u64, u64)> = BTreeMap::new();
    for (error, ..) in all(world, keep, now, holds).0 {
        if error.is_new && error.state == State::Open {
            let (count, release) = new.entry(error.place).or_default();
            *count += 1;
            *release = error.first_release.max(*release);
        }
    }
    let told = |(place, (count, release)): (Place, (u64, u64))| {
        let errors = if count == 1 { "1 error is".to_owned() } else { format!("{count} errors are") };
        let Place { service, environment } = &place;
        format!(
            "{errors} new in release {release} of {place}: `shipshape errors --service {service} -e {environment}`"
        )
    };
    new.into_iter().map(told).collect()
}

fn sample(store: &Store, record: u64) -> Option<Line> {
    let query = Query { after: Some(record), oldest: true, most: 1, ..Query::default() };
    let found = store.search(&query, &Limits::default());
    found.records.into_iter().find(|found| found.number == record).map(Line::from)
}

/// The one that is meant.
fn one<T>(found: Vec<(ErrorGroup, T, u64)>, id: &str) -> Result<(ErrorGroup, T, u64), Problem> {
    let id = id.to_ascii_lowercase();
    if id.len() < SHORTEST_ID || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Problem::malformed(format!("{id} names no error"))
            .instead(format!("give at least {SHORTEST_ID} digits of what `shipshape errors` shows first")));
    }
    let mut named: Vec<_> = found.into_iter().filter(|(error, ..)| error.id.starts_with(&id)).collect();
    let last = named.pop();
    match last {
        Some(only) if named.is_empty() => Ok(only),
        Some(last) => {
            let all: Vec<String> = named
                .iter()
                .chain([&last])
                .map(|(error, ..)| format!("{} at {}", error.id, error.place))
                .collect();
            let what = format!("{id} may be any of {}", all.join(", "));
            Err(Problem::malformed(what).instead("give more digits, or the service and the environment"))
        }
        None => {
            let what = format!("there is no error {id}");
            Err(Problem::new(StatusCode::NOT_FOUND, problem::UNKNOWN, what)
                .instead("`shipshape errors --state all` lists them; the rarest make room for others"))
        }
    }
}

/// What control remembers of a decision: the error that is meant, and what is known of it now.
pub(crate) fn decided(
    world: &World,
    keep: &Keep,
    asked: &Decide,
    now: i64,
) -> Result<(String, Decision), Problem> {
    let (found, _) = all(world, keep, now, |place| *place == asked.place);
    let (error, _, record) = one(found, &asked.id)?;
    if let Stance::Resolved { from: Some(from) } = asked.stance
        && error.newest_release >= from.0
    {
        let what = format!("{} was seen in release {}", error.id, error.newest_release);
        return Err(Problem::malformed(what)
            .instead("name the release that mends it, a later one; or none, when it is mended elsewhere"));
    }
    let known = Known { release: ReleaseNumber(error.newest_release), per_hour: error.per_hour, record };
    let decision =
        Decision { stance: asked.stance, known, by: asked.actor.clone(), reason: asked.reason.clone() };
    Ok((error.id, decision))
}

#[cfg(test)]
mod tests;
