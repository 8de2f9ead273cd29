//! Which kind, version and body an event has when it is stored, and back.
//!
//! The body of version 1 is the event as `serde` writes it. The day an event's form changes, its old form is frozen
//! here beside the new one and converted on read; `tests/fixtures/` keeps a journal of every version for that.

use lifecycle::inbox::Decision;
use lifecycle::{Answer, Change, Event, Scope, Stage};
use model::drift::Drift;
use model::{Digest, ObjectiveName, Place, ReleaseNumber, RolloutNumber, ServiceName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::envelope::{Draft, Record};

/// The version of the bodies that this binary writes.
pub const VERSION: u16 = 1;

/// Why a stored event has no meaning here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A newer Shipshape wrote it.
    #[error(
        "event {seq} ({kind}, version {version}) was written by a newer Shipshape: use that version, or a newer one"
    )]
    Newer {
        /// Its number.
        seq: u64,
        /// Its kind.
        kind: String,
        /// Its version.
        version: u16,
    },
    /// Its body is not what its kind says.
    #[error("event {seq} ({kind}): its body does not fit its kind: {what}")]
    Body {
        /// Its number.
        seq: u64,
        /// Its kind.
        kind: String,
        /// What is wrong.
        what: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Started {
    version: String,
}

#[derive(Serialize, Deserialize)]
struct Retired {
    service: ServiceName,
    number: ReleaseNumber,
}

#[derive(Serialize, Deserialize)]
struct Answered {
    key: String,
    request: Digest,
    answer: Option<Answer>,
}

#[derive(Serialize, Deserialize)]
struct Locked {
    #[serde(flatten)]
    scope: Scope,
    by: String,
    reason: String,
    until: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct Overridden {
    place: Place,
    scope: Scope,
    by: String,
}

#[derive(Serialize, Deserialize)]
struct BudgetOverridden {
    place: Place,
    objective: ObjectiveName,
    level: watch::Level,
}

#[derive(Serialize, Deserialize)]
struct FreezeOverridden {
    place: Place,
    freeze: String,
    until: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct TakenBack {
    place: Place,
    objective: ObjectiveName,
    release: ReleaseNumber,
    rollout: RolloutNumber,
    blame: watch::Blame,
}

#[derive(Serialize, Deserialize)]
struct OfObjective {
    place: Place,
    objective: ObjectiveName,
    event: watch::Event,
}

#[derive(Serialize, Deserialize)]
struct ErrorDecided {
    place: Place,
    fingerprint: String,
    #[serde(flatten)]
    decision: Decision,
}

#[derive(Serialize, Deserialize)]
struct Corrected {
    instance: String,
    #[serde(flatten)]
    drift: Drift,
    new: u64,
}

#[derive(Serialize, Deserialize)]
struct GroupMember {
    place: Place,
    rollout: RolloutNumber,
}

#[derive(Serialize, Deserialize)]
struct GroupBegun {
    number: u64,
    name: String,
    members: Vec<GroupMember>,
}

#[derive(Serialize, Deserialize)]
struct GroupReached {
    number: u64,
    place: Place,
    stage: Stage,
}

#[derive(Serialize, Deserialize)]
struct InRollout {
    place: Place,
    #[serde(flatten)]
    event: ship::Event,
}

#[allow(clippy::too_many_lines, reason = "one arm for each kind, and nothing else")]
/// The draft of an event: who caused it, when, and why in their words.
pub fn draft(event: &Event, at: Timestamp, actor: &str, reason: Option<&str>) -> Draft {
    let (kind, subject, body) = match event {
        Event::ControlStarted { version } => {
            ("control.started".to_owned(), None, json(&Started { version: version.clone() }))
        }
        Event::ControlStopped => ("control.stopped".to_owned(), None, json(&serde_json::Map::new())),
        Event::ReleaseRegistered(release) => {
            ("release.registered".to_owned(), Some(release.service.to_string()), json(release))
        }
        Event::ReleaseRetired { service, number } => (
            "release.retired".to_owned(),
            Some(service.to_string()),
            json(&Retired { service: service.clone(), number: *number }),
        ),
        Event::Rollout { place, event } => (
            format!("rollout.{}", event.name()),
            Some(place.to_string()),
            json(&InRollout { place: place.clone(), event: event.clone() }),
        ),
        Event::Locked { scope, by, reason, until } => {
            let (by, reason, until) = (by.clone(), reason.clone(), *until);
            let locked = Locked { scope: scope.clone(), by, reason, until };
            ("lock.set".to_owned(), Some(subject_of(scope)), json(&locked))
        }
        Event::Unlocked { scope } => ("lock.lifted".to_owned(), Some(subject_of(scope)), json(scope)),
        Event::LockOverridden { place, scope, by } => (
            "lock.overridden".to_owned(),
            Some(place.to_string()),
            json(&Overridden { place: place.clone(), scope: scope.clone(), by: by.clone() }),
        ),
        Event::BudgetOverridden { place, objective, level } => (
            "budget.overridden".to_owned(),
            Some(place.to_string()),
            json(&BudgetOverridden { place: place.clone(), objective: objective.clone(), level: *level }),
        ),
        Event::FreezeOverridden { place, freeze, until } => (
            "freeze.overridden".to_owned(),
            Some(place.to_string()),
            json(&FreezeOverridden { place: place.clone(), freeze: freeze.clone(), until: *until }),
        ),
        Event::Change(change) => {
            let subject = match change {
                Change::Requested(request) | Change::Emergency { request, .. } => request.place.to_string(),
                Change::Approved { .. }
                | Change::Begun { .. }
                | Change::Rejected { .. }
                | Change::Voided { .. }
                | Change::Reviewed { .. } => format!("request {}", change.number()),
            };
            (format!("change.{}", change.name()), Some(subject), json(change))
        }
        Event::TakenBack { place, objective, release, rollout, blame } => {
            let (objective, release, rollout, blame) = (objective.clone(), *release, *rollout, *blame);
            let taken = TakenBack { place: place.clone(), objective, release, rollout, blame };
            ("release.takenBack".to_owned(), Some(place.to_string()), json(&taken))
        }
        Event::Objective { place, objective, event } => (
            format!("objective.{}", event.name()),
            Some(format!("{place} {objective}")),
            json(&OfObjective { place: place.clone(), objective: objective.clone(), event: event.clone() }),
        ),
        Event::AlertChanged(changed) => {
            let name = changed.labels.get(model::alert::NAME).map_or("", String::as_str);
            let subject =
                changed.place.as_ref().map_or_else(|| name.to_owned(), |place| format!("{place} {name}"));
            (format!("alert.{}", changed.to.name()), Some(subject), json(changed))
        }
        Event::ErrorDecided { place, fingerprint, decision } => (
            format!("error.{}", decision.stance.name()),
            Some(format!("{place} {fingerprint}")),
            json(&ErrorDecided {
                place: place.clone(),
                fingerprint: fingerprint.clone(),
                decision: decision.clone(),
            }),
        ),
        Event::Paging(event) => (format!("paging.{}", event.name()), Some(event.subject()), json(event)),
        Event::DriftCorrected { instance, drift, new } => (
            "drift.corrected".to_owned(),
            drift.place.as_ref().map(ToString::to_string),
            json(&Corrected { instance: instance.clone(), drift: drift.clone(), new: *new }),
        ),
        Event::GroupBegun { number, name, members } => {
            let (number, name) = (*number, name.clone());
            let member = |(place, rollout): &(Place, RolloutNumber)| GroupMember {
                place: place.clone(),
                rollout: *rollout,
            };
            let body = GroupBegun { number, name, members: members.iter().map(member).collect() };
            ("group.begun".to_owned(), Some(body.name.clone()), json(&body))
        }
        Event::GroupReached { number, place, stage } => (
            "group.reached".to_owned(),
            Some(place.to_string()),
            json(&GroupReached { number: *number, place: place.clone(), stage: *stage }),
        ),
        Event::CommandAnswered { key, request, answer } => (
            "command.answered".to_owned(),
            answer.as_ref().map(|answer| answer.place.to_string()),
            json(&Answered { key: key.clone(), request: *request, answer: answer.clone() }),
        ),
    };
    Draft {
        at,
        actor: actor.to_owned(),
        kind,
        version: VERSION,
        subject,
        reason: reason.map(str::to_owned),
        body,
    }
}

fn subject_of(scope: &Scope) -> String {
    match &scope.service {
        Some(service) => format!("{service}/{}", scope.environment),
        None => scope.environment.to_string(),
    }
}

/// Serializing plain data cannot fail; what could not be written would not read back, and sealing refuses that.
fn json(body: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(body).unwrap_or_default()
}

#[allow(clippy::too_many_lines, reason = "one arm for each kind, and nothing else")]
/// What a stored event means.
///
/// # Errors
/// When its kind or version is unknown here, or its body does not fit.
pub fn event(record: &Record) -> Result<Event, Unreadable> {
    let newer = || Unreadable::Newer { seq: record.seq, kind: record.kind.clone(), version: record.version };
    if record.version > VERSION {
        return Err(newer());
    }
    let event = match record.kind.as_str() {
        "control.started" => Event::ControlStarted { version: body::<Started>(record)?.version },
        "control.stopped" => Event::ControlStopped,
        "release.registered" => Event::ReleaseRegistered(body(record)?),
        "release.retired" => {
            let Retired { service, number } = body(record)?;
            Event::ReleaseRetired { service, number }
        }
        "lock.set" => {
            let Locked { scope, by, reason, until } = body(record)?;
            Event::Locked { scope, by, reason, until }
        }
        "lock.lifted" => Event::Unlocked { scope: body(record)? },
        "lock.overridden" => {
            let Overridden { place, scope, by } = body(record)?;
            Event::LockOverridden { place, scope, by }
        }
        "budget.overridden" => {
            let BudgetOverridden { place, objective, level } = body(record)?;
            Event::BudgetOverridden { place, objective, level }
        }
        "freeze.overridden" => {
            let FreezeOverridden { place, freeze, until } = body(record)?;
            Event::FreezeOverridden { place, freeze, until }
        }
        "release.takenBack" => {
            let TakenBack { place, objective, release, rollout, blame } = body(record)?;
            Event::TakenBack { place, objective, release, rollout, blame }
        }
        "drift.corrected" => {
            let Corrected { instance, drift, new } = body(record)?;
            Event::DriftCorrected { instance, drift, new }
        }
        "group.begun" => {
            let GroupBegun { number, name, members } = body(record)?;
            let members = members.into_iter().map(|member| (member.place, member.rollout)).collect();
            Event::GroupBegun { number, name, members }
        }
        "group.reached" => {
            let GroupReached { number, place, stage } = body(record)?;
            Event::GroupReached { number, place, stage }
        }
        "command.answered" => {
            let Answered { key, request, answer } = body(record)?;
            Event::CommandAnswered { key, request, answer }
        }
        kind if kind.starts_with("error.") => {
            let ErrorDecided { place, fingerprint, decision } = body(record)?;
            Event::ErrorDecided { place, fingerprint, decision }
        }
        kind if kind.starts_with("rollout.") => {
            let InRollout { place, event } = body(record)?;
            Event::Rollout { place, event }
        }
        kind if kind.starts_with("change.") => Event::Change(body(record)?),
        kind if kind.starts_with("objective.") => {
            let OfObjective { place, objective, event } = body(record)?;
            Event::Objective { place, objective, event }
        }
        kind if kind.starts_with("paging.") => Event::Paging(body(record)?),
        "alert.pending" | "alert.firing" | "alert.resolved" => Event::AlertChanged(body(record)?),
        _ => return Err(newer()),
    };
    Ok(event)
}

fn body<T: serde::de::DeserializeOwned>(record: &Record) -> Result<T, Unreadable> {
    T::deserialize(&record.body).map_err(|error| Unreadable::Body {
        seq: record.seq,
        kind: record.kind.clone(),
        what: error.to_string(),
    })
}
