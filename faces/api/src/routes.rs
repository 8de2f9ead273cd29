//! The routes: from a request to a question for control, and from its answer to a response. Does not live here: the
//! decision itself.

use std::sync::Arc;

use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::{StatusCode, header};
use model::{EnvironmentName, ServiceName};
use runtime::{Answer, Deploy, Handle, Operate, Rollback, Ship};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::logs::{self, Format, Logs};
use crate::problem::{self, Problem};
use crate::{Health, Stop};

/// The largest request body in bytes: a manifest fits many times over.
const LARGEST_BODY_BYTES: usize = 2 * 1024 * 1024;
/// What the journal takes.
const LONGEST_ACTOR_BYTES: usize = 256;
/// What the journal takes.
const LONGEST_REASON_BYTES: usize = 16 * 1024;

/// What every route can reach.
#[derive(Clone)]
pub(crate) struct Faces {
    pub(crate) control: Handle,
    pub(crate) logs: Arc<dyn Logs>,
    pub(crate) version: String,
    pub(crate) closing: watch::Receiver<bool>,
}

type Reached<T> = Result<Json<T>, Problem>;
type Body = Result<Bytes, BytesRejection>;

pub(crate) fn router(faces: Faces) -> Router {
    Router::new()
        .route("/v1/health", get(health))
        .route("/v1/status", get(status))
        .route("/v1/logs", get(output))
        .route("/v1/deploy", post(deploy))
        .route("/v1/ship", post(ship))
        .route("/v1/rollback", post(rollback))
        .route("/v1/operate", post(operate))
        .route("/v1/stop", post(stop))
        .fallback(nowhere)
        .method_not_allowed_fallback(otherwise)
        .layer(DefaultBodyLimit::max(LARGEST_BODY_BYTES))
        .with_state(faces)
}

async fn nowhere(uri: http::Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, problem::UNKNOWN, format!("there is no {}", uri.path()))
        .instead("the routes are listed in the documentation of the crate `api`")
}

async fn otherwise(method: http::Method, uri: http::Uri) -> Problem {
    let what = format!("{} does not take {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, problem::MALFORMED, what)
}

async fn health(State(faces): State<Faces>) -> Json<Health> {
    Json(Health {
        version: faces.version,
        pid: std::process::id(),
        agent_reachable: faces.control.snapshot().reachable,
    })
}

/// Which places.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    service: Option<ServiceName>,
    environment: Option<EnvironmentName>,
}

async fn status(
    State(faces): State<Faces>,
    which: Result<Query<Which>, QueryRejection>,
) -> Reached<views::Status> {
    let which = asked(which)?;
    let snapshot = faces.control.snapshot();
    let wanted = |place: &model::Place| {
        which.service.as_ref().is_none_or(|service| *service == place.service)
            && which.environment.as_ref().is_none_or(|environment| *environment == place.environment)
    };
    Ok(Json(views::Status {
        version: faces.version,
        at: snapshot.at,
        agent_reachable: snapshot.reachable,
        gateway: snapshot.seen.gateway.clone(),
        warnings: snapshot.warnings.clone(),
        places: views::status(&snapshot.world, &snapshot.seen, &snapshot.reports, wanted),
    }))
}

async fn output(
    State(faces): State<Faces>,
    ask: Result<Query<logs::Ask>, QueryRejection>,
) -> Result<Response, Problem> {
    let ask = asked(ask)?;
    let place = ask.place();
    let snapshot = faces.control.snapshot();
    if !snapshot.world.lanes.contains_key(&place) {
        let known: Vec<String> = snapshot.world.lanes.keys().map(ToString::to_string).collect();
        let known = if known.is_empty() { "nothing yet".to_owned() } else { known.join(", ") };
        let what = format!("nothing was ever deployed at {place}");
        return Err(Problem::new(StatusCode::NOT_FOUND, problem::UNKNOWN, what).instead(format!(
            "known is {known}; `shipshape deploy ARTIFACT -e {}` starts",
            place.environment
        )));
    }
    let kind = match ask.format {
        Format::Json => "application/x-ndjson",
        Format::Text => "text/plain; charset=utf-8",
    };
    let body = logs::stream(faces.logs, ask, faces.closing).await.map_err(|error| {
        let what = format!("the output of {place} cannot be read: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, problem::INTERNAL, what)
            .instead("it lies under `logs` in the home directory; see that control may read it")
    })?;
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

async fn deploy(State(faces): State<Faces>, body: Body) -> Reached<Answer> {
    let request: Deploy = read(body)?;
    check(&request.actor, request.reason.as_deref())?;
    let named = request.artifact.iter().chain([&request.directory]);
    for path in named {
        if !path.is_absolute() {
            let what = format!("the path {} is not absolute", path.display());
            return Err(Problem::malformed(what)
                .instead("control runs in a directory of its own: send absolute paths"));
        }
    }
    Ok(Json(faces.control.deploy(request).await?))
}

async fn ship(State(faces): State<Faces>, body: Body) -> Reached<Answer> {
    let request: Ship = read(body)?;
    check(&request.actor, request.reason.as_deref())?;
    Ok(Json(faces.control.ship(request).await?))
}

async fn rollback(State(faces): State<Faces>, body: Body) -> Reached<Answer> {
    let request: Rollback = read(body)?;
    check(&request.actor, request.reason.as_deref())?;
    Ok(Json(faces.control.rollback(request).await?))
}

async fn operate(State(faces): State<Faces>, body: Body) -> Reached<Answer> {
    let request: Operate = read(body)?;
    check(&request.actor, request.reason.as_deref())?;
    Ok(Json(faces.control.operate(request).await?))
}

async fn stop(State(faces): State<Faces>, body: Body) -> Result<StatusCode, Problem> {
    let request: Stop = read(body)?;
    check(&request.actor, request.reason.as_deref())?;
    faces.control.stop(request.actor, request.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn read<T: DeserializeOwned>(body: Body) -> Result<T, Problem> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let what = format!("the request is larger than {LARGEST_BODY_BYTES} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, problem::TOO_LARGE, what)
                .instead("a manifest is a few kilobytes; artifacts are sent as a path")
        }
        _ => Problem::malformed(rejection.body_text()),
    })?;
    serde_json::from_slice(&body).map_err(|error| {
        Problem::malformed(format!("the request's body is not what is expected here: {error}"))
            .instead("`shipshape` and control may be of different versions: `shipshape --version`")
    })
}

fn asked<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    let Query(query) = query.map_err(|rejection| Problem::malformed(rejection.body_text()))?;
    Ok(query)
}

/// The journal would refuse these too, but it would sound like the disk's fault.
fn check(actor: &str, reason: Option<&str>) -> Result<(), Problem> {
    if actor.is_empty() || actor.len() > LONGEST_ACTOR_BYTES {
        let what = format!("the actor has {} bytes: it needs 1 to {LONGEST_ACTOR_BYTES}", actor.len());
        return Err(Problem::malformed(what).instead("say who asks; it goes into the journal"));
    }
    let length = reason.map_or(0, str::len);
    if length > LONGEST_REASON_BYTES {
        let what =
            format!("the reason has {length} bytes: at most {LONGEST_REASON_BYTES} fit into the journal");
        return Err(Problem::malformed(what).instead("say it in fewer words, and link to the rest"));
    }
    Ok(())
}
