//! Silences in Alertmanager's form, so that `amtool silence` works.

use axum::Json;
use axum::extract::{Path, RawQuery, Request, State};
use http::StatusCode;
use lifecycle::Command;
use model::Timestamp;
use model::alert::Labels;
use model::matcher::{Matcher, Op};
use paging::{Silence, SilenceId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::listed::{bad, form, matcher};
use crate::posted::whole;
use crate::{Backend, Refused};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Posted {
    #[serde(default)]
    id: String,
    matchers: Vec<PostedMatcher>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    created_by: String,
    comment: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedMatcher {
    name: String,
    value: String,
    is_regex: bool,
    #[serde(default = "yes")]
    is_equal: bool,
}

const fn yes() -> bool {
    true
}

pub(crate) async fn post(State(backend): State<Backend>, request: Request) -> Result<Json<Value>, Refused> {
    let body = whole(request).await?;
    let posted: Posted =
        serde_json::from_slice(&body).map_err(|error| bad(format!("this is no silence: {error}")))?;
    let replaces: Option<SilenceId> = match posted.id.as_str() {
        "" => None,
        id => Some(id.parse().map_err(|what| Refused::new(StatusCode::NOT_FOUND, what))?),
    };
    let read = |it: PostedMatcher| {
        let op = match (it.is_regex, it.is_equal) {
            (false, true) => Op::Is,
            (false, false) => Op::IsNot,
            (true, true) => Op::Matches,
            (true, false) => Op::MatchesNot,
        };
        Matcher { name: it.name, op, value: it.value }
    };
    let by = posted.created_by;
    let actor = format!(
        "{} (Alertmanager's API)",
        by.chars().filter(|c| !c.is_control()).take(100).collect::<String>()
    );
    let command = paging::Command::Silence {
        matchers: posted.matchers.into_iter().map(read).collect(),
        from: Some(posted.starts_at),
        until: posted.ends_at,
        by: by.clone(),
        reason: posted.comment.clone(),
        replaces,
    };
    let before = backend.control.snapshot().world.paging.last_silence;
    backend.control.carry_out(Command::Paging(vec![command]), actor, None).await?;
    // What is answered is in the snapshot.
    let is_it = |(id, silence): &(&SilenceId, &Silence)| {
        **id > before
            && silence.by == by
            && silence.until == posted.ends_at
            && silence.reason == posted.comment
    };
    let world = backend.control.snapshot().world.clone();
    match world.paging.silences.iter().find(is_it) {
        Some((id, _)) => Ok(Json(json!({"silenceID": id.uuid()}))),
        None => Err(Refused::new(StatusCode::CONFLICT, "somebody else ended it at once: list silences")),
    }
}

pub(crate) async fn delete(
    State(backend): State<Backend>,
    Path(id): Path<String>,
) -> Result<StatusCode, Refused> {
    let id: SilenceId = id.parse().map_err(|what| Refused::new(StatusCode::NOT_FOUND, what))?;
    let by = "Alertmanager's API".to_owned();
    let command = paging::Command::EndSilence { id, by: by.clone() };
    match backend.control.carry_out(Command::Paging(vec![command]), by, None).await {
        Ok(()) => Ok(StatusCode::OK),
        Err(error @ runtime::Error::Refused(_)) => {
            Err(Refused::new(StatusCode::NOT_FOUND, error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) async fn one(
    State(backend): State<Backend>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refused> {
    let missing = |what: String| Refused::new(StatusCode::NOT_FOUND, what);
    let id: SilenceId = id.parse().map_err(missing)?;
    let world = backend.control.snapshot().world.clone();
    let silence =
        world.paging.silences.get(&id).ok_or_else(|| missing(format!("there is no silence {id}")))?;
    Ok(Json(shown(id, silence, backend.clock.now())))
}

pub(crate) async fn all(
    State(backend): State<Backend>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<Value>>, Refused> {
    let filters = form(query.as_deref().unwrap_or_default()).into_iter().filter(|(name, _)| name == "filter");
    let filters = filters.map(|(_, value)| matcher(&value)).collect::<Result<Vec<_>, _>>()?;
    let world = backend.control.snapshot().world.clone();
    let now = backend.clock.now();
    // As Alertmanager does: a silence is found by what its matchers say, as if they were labels.
    let holds = |silence: &Silence| {
        let labels: Labels = silence.matchers.iter().map(|it| (it.name.clone(), it.value.clone())).collect();
        filters.iter().all(|filter| filter.holds(&labels))
    };
    let silences = world.paging.silences.iter().filter(|(_, silence)| holds(silence));
    Ok(Json(silences.map(|(id, silence)| shown(*id, silence, now)).collect()))
}

fn shown(id: SilenceId, silence: &Silence, now: Timestamp) -> Value {
    let state = match (silence.holds(now), silence.is_open(now)) {
        (true, _) => "active",
        (false, true) => "pending",
        (false, false) => "expired",
    };
    let matcher = |it: &Matcher| json!({"name": it.name, "value": it.value, "isRegex": it.op.is_regex(), "isEqual": it.op.is_equal()});
    json!({
        "id": id.uuid(),
        "status": {"state": state},
        "updatedAt": silence.made,
        "comment": silence.reason,
        "createdBy": silence.by,
        "startsAt": silence.from,
        "endsAt": silence.until,
        "matchers": silence.matchers.iter().map(matcher).collect::<Vec<_>>(),
    })
}
